#!/usr/bin/env python3
"""bench/ratios.py must call a loss a loss, noise noise, and an unmeasured row neither."""

import json
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
import ratios  # noqa: E402
import run  # noqa: E402


def state(rounds, stored):
    return ratios.judge({"row": rounds}, {} if stored is None else {"row": stored})[0].state


class Ratios(unittest.TestCase):
    def file(self, text=None):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / "baseline.json"
        if text is not None:
            path.write_text(text)
        return path

    def test_a_quarter_is_the_line(self):
        self.assertEqual(state([2.51], 2.0), ratios.WORSE)
        self.assertEqual(state([2.50], 2.0), ratios.OK)
        self.assertEqual(state([1.50], 2.0), ratios.OK)
        self.assertEqual(state([1.49], 2.0), ratios.BETTER)
        self.assertEqual(state([9.0], None), ratios.NEW)

    def test_a_row_may_have_its_own_line(self):
        states = [ratios.judge({"row": [now]}, {"row": 2.0}, {"row": 1.0})[0].state
                  for now in (0.1, 4.0, 4.1)]
        self.assertEqual(states, [ratios.OK, ratios.OK, ratios.WORSE])

    def test_the_median_decides(self):
        self.assertEqual(state([2.0, 90.0, 2.1, 80.0, 1.9], 2.0), ratios.OK)
        self.assertEqual(state([2.1, 2.6, 2.7, 2.6, 1.0], 2.0), ratios.WORSE)

    def test_rounds_that_disagree_are_no_loss(self):
        self.assertEqual(state([1.0, 1.0, 2.6, 2.6, 2.6], 2.0), ratios.UNSURE)
        self.assertEqual(state([1.0, 2.1, 2.6, 2.6, 2.6], 2.0), ratios.WORSE)
        self.assertEqual(state([0.5, 0.6, 0.7, 9, 9, 9, 9, 9, 9, 9], 2.0), ratios.UNSURE)

    def test_ten_rounds_are_judged_together(self):
        first = [2.6, 2.6, 2.6, 2.1, 2.1]
        self.assertEqual(state(first, 2.0), ratios.WORSE)
        self.assertEqual(state(first + [2.0] * 5, 2.0), ratios.OK)
        self.assertEqual(state(first + [2.6] * 5, 2.0), ratios.WORSE)

    def test_exit_code_and_words(self):
        def told(measured, stored):
            verdicts = ratios.judge(measured, stored)
            return ratios.exit_code(verdicts), "\n".join(ratios.closing_lines(verdicts, "abc"))

        self.assertEqual(told({"a": [1.0]}, {"a": 1.0})[0], 0)
        code, words = told({"a": [2.0], "b": [1.0], "c": [0.1]}, {"a": 1.0, "b": 1.0, "c": 1.0})
        self.assertEqual(code, 3)
        self.assertIn("worse than stored at abc: a. ", words)
        self.assertIn("better: c. ", words)
        code, words = told({"a": [0.5], "n": [7.0]}, {"a": 1.0})
        self.assertEqual(code, 0)
        self.assertIn("nothing stored: n. ", words)
        code, words = told({"a": [0.5, 0.6, 1.3, 1.3, 1.3]}, {"a": 1.0})
        self.assertEqual(code, 0)
        self.assertIn("disagree, a busy machine: a. ", words)
        code, words = told({}, {"a": 1.0})
        self.assertEqual(code, 1)
        self.assertIn("not measured: a", words)

    def test_every_row_has_a_line(self):
        verdicts = ratios.judge({"a": [1.0, 2.0], "n": [3.0]}, {"a": 1.0, "g": 2.0})
        lines = list(ratios.table(verdicts))
        self.assertEqual([line.split()[0] for line in lines[1:]], ["a", "n", "g"])
        self.assertIn("1.00-2.00 of 2", lines[1])
        self.assertIn("+50 %", lines[1])
        self.assertTrue(lines[3].endswith(ratios.GONE))

    def test_what_is_saved_is_loaded(self):
        path = self.file()
        self.assertEqual(ratios.load(path), ("no commit", {}))
        ratios.save(path, {"a": [1.0, 3.0, 2.0]}, "abc", "now", {"cpus": 2})
        self.assertEqual(ratios.load(path), ("abc", {"a": 2.0}))
        self.assertEqual(json.loads(path.read_text())["rows"]["a"],
                         {"ratio": 2.0, "lowest": 1.0, "highest": 3.0})

    def test_a_broken_file_is_no_baseline(self):
        for text in ("", "[]", "{}", '{"commit": "c", "rows": {"a": 1}}', '{"commit": "c", "rows": []}',
                     '{"commit": "c", "rows": {"a": {"ratio": 0}}}',
                     '{"commit": "c", "rows": {"a": {"ratio": NaN}}}'):
            with self.assertRaises(ValueError, msg=text):
                ratios.load(self.file(text))


class Repetition(unittest.TestCase):
    """run.py's quick(), on rounds that are told it instead of measured."""

    def quick(self, rounds, stored, accept=False):
        """rounds: per call the ratio of every row. Returns (exit code, rows of each call)."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        bench = run.Bench.__new__(run.Bench)
        bench.bin, bench.runs, bench.report = pathlib.Path(folder.name), [], []
        bench.options = type("Options", (), {"accept": accept})
        bench.say = bench.report.append
        baseline, asked = pathlib.Path(folder.name) / "baseline.json", []
        rows = [*run.QUICK_WINDOWS, *run.QUICK_BATCHES]
        ratios.save(baseline, {row: [stored] for row in rows}, "c", "t", {})

        def quick_round(wanted, measured):
            asked.append(list(wanted))
            for row in wanted:
                measured.setdefault(row, []).append(rounds(row, len(asked)))

        bench.quick_round = quick_round
        before, run.BASELINE, run.ROOT = (run.BASELINE, run.ROOT), baseline, baseline.parent
        try:
            return bench.quick(), asked, ratios.load(baseline)[1]
        finally:
            run.BASELINE, run.ROOT = before

    def test_good_rows_are_measured_once(self):
        code, asked, _ = self.quick(lambda row, turn: 2.0, 2.0)
        self.assertEqual((code, len(asked)), (0, 5))

    def test_noise_is_measured_away(self):
        row = next(iter(run.QUICK_WINDOWS))
        code, asked, _ = self.quick(lambda r, turn: 9.0 if r == row and turn <= 3 else 2.0, 2.0)
        self.assertEqual((code, len(asked)), (0, 10))
        self.assertEqual(asked[5:], [[row]] * 5)

    def test_a_loss_stays_one(self):
        code, asked, _ = self.quick(lambda row, turn: 2.6, 2.0)
        self.assertEqual((code, len(asked), asked[-1]), (3, 10, list(run.QUICK_WINDOWS)))

    def test_accept_stores_and_judges_nothing(self):
        code, asked, stored = self.quick(lambda row, turn: 9.0, 2.0, accept=True)
        self.assertEqual((code, len(asked), set(stored.values())), (0, 10, {9.0}))

    def test_a_slow_machine_ends_in_time(self):
        def clock():
            return 1000.0 * next(ticks)

        ticks = iter(range(100))
        real, run.time.monotonic = run.time.monotonic, clock
        try:
            code, asked, _ = self.quick(lambda row, turn: 2.6, 2.0)
        finally:
            run.time.monotonic = real
        self.assertEqual((code, len(asked)), (3, run.QUICK_ROUNDS_MIN))


if __name__ == "__main__":
    unittest.main()

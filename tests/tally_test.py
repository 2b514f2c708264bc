#!/usr/bin/env python3
"""tally.py must not let a failure, a crash or an empty run pass for success."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

TALLY = pathlib.Path(__file__).with_name("tally.py")
GTEST_OK = "[==========] 3 tests from 1 test suite ran.\n[  PASSED  ] 3 tests.\n"
GTEST_BAD = "[  PASSED  ] 2 tests.\n[  FAILED  ] 1 test, listed below:\n[  FAILED  ] Ring.Turns\n"


class Tally(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def log(self, name, text):
        path = pathlib.Path(self.directory.name) / name
        path.write_text(text)
        return path

    def meson(self, *tests):
        lines = (json.dumps({"name": f"t{i}", "result": result, "stdout": stdout})
                 for i, (result, stdout) in enumerate(tests))
        return self.log("log.json", "\n".join(lines) + "\n")

    def told(self, *suites):
        """Closing line and exit code."""
        done = self.run_tally(*suites)
        return done.stdout.splitlines()[-1], done.returncode

    @staticmethod
    def run_tally(*suites):
        return subprocess.run([sys.executable, TALLY, *(f"s:{code}:{log}" for code, log in suites)],
                              capture_output=True, text=True, check=False)

    def test_cases_are_counted(self):
        log = self.meson(("OK", GTEST_OK), ("OK", "rows\n4 passed, 0 failed, 1 skipped\n"), ("OK", ""))
        self.assertEqual(self.told((0, log)), ("8 passed, 0 failed", 0))

    def test_suites_add_up(self):
        runner = self.log("run.txt", "a ok\n22 passed, 0 failed\n")
        self.assertEqual(self.told((0, self.meson(("OK", GTEST_OK))), (0, runner)),
                         ("25 passed, 0 failed", 0))

    def test_a_failed_case_fails(self):
        self.assertEqual(self.told((1, self.meson(("FAIL", GTEST_BAD)))), ("2 passed, 1 failed", 1))

    def test_failed_cases_are_named(self):
        rows = "S1 shards=1 ok 0.1s\nS2 shards=2 FAILED 1.0s: Failure: why\n1 passed, 1 failed\n"
        said = self.run_tally((1, self.meson(("FAIL", rows), ("FAIL", GTEST_BAD))),
                              (1, self.log("run.txt", rows))).stdout
        self.assertEqual(said.count("S2 shards=2 FAILED 1.0s: Failure: why"), 2)
        self.assertEqual(said.count("[  FAILED  ] Ring.Turns"), 1)
        self.assertNotIn("S1", said)
        self.assertNotIn("listed below", said)

    def test_death_before_the_closing_line_fails(self):
        self.assertEqual(self.told((1, self.meson(("ERROR", "[ RUN      ] X\n")))),
                         ("0 passed, 1 failed", 1))

    def test_a_crash_after_the_closing_line_fails(self):
        self.assertEqual(self.told((1, self.meson(("ERROR", GTEST_OK)))), ("3 passed, 1 failed", 1))
        runner = self.log("run.txt", "22 passed, 0 failed\n")
        self.assertEqual(self.told((1, runner)), ("22 passed, 1 failed", 1))

    def test_a_timeout_fails(self):
        self.assertEqual(self.told((1, self.meson(("TIMEOUT", "")))), ("0 passed, 1 failed", 1))

    def test_nothing_ran_fails(self):
        missing = pathlib.Path(self.directory.name) / "missing.json"
        self.assertEqual(self.told((0, missing)), ("0 passed, 1 failed", 1))
        self.assertEqual(self.told((0, self.meson(("SKIP", "")))), ("0 passed, 1 failed", 1))
        self.assertEqual(self.told((0, self.log("run.txt", "0 passed, 0 failed\n")))[1], 1)
        self.assertEqual(self.told()[1], 1)

    def test_a_message_in_the_middle_is_not_the_sum(self):
        runner = self.log("run.txt", "row says 9 passed, 0 failed\n1 passed, 2 failed\n")
        self.assertEqual(self.told((1, runner)), ("1 passed, 2 failed", 1))


if __name__ == "__main__":
    unittest.main()

"""Ratios of `./dev bench --quick` beside the stored ones: what is worse, what is better, what it means.

Ratio      Engine's cost through the bare limit's, of one round; both were measured a moment apart, so
           another machine, or a busy one, moves both. A row's value is the median of its rounds.
Worse      more than 25 % above the stored ratio, and three quarters of the rounds above it at all; run.py
           measures such a row again before it believes it.
           A row that a busy disk moves may be given a wider line than 25 % (run.py: appends).
Unsure     the median is that high, but the rounds disagree: a busy machine, told and not failed.
Better     more than 25 % below: worth storing, or the next loss of that size goes unseen.
Stored     baseline.json: {"commit", "time", "machine", "rows": {row: {"ratio", "lowest", "highest"}}}.
"""

import json
import statistics

TOLERANCE = 0.25
ROUNDS_AGREED = 0.75
OK, WORSE, UNSURE, BETTER, NEW, GONE = "ok", "WORSE", "unsure", "better", "new", "NOT MEASURED"
EXIT_WORSE = 3


class Verdict:
    """One row: its rounds, what is stored, what to think of it."""

    def __init__(self, row, rounds, stored, tolerance=TOLERANCE):
        self.row, self.rounds, self.stored, self.tolerance = row, rounds, stored, tolerance
        self.ratio = statistics.median(rounds) if rounds else None
        self.state = self._state()

    def _state(self):
        if self.ratio is None:
            return GONE
        if self.stored is None:
            return NEW
        if self.ratio > self.stored * (1 + self.tolerance):
            agreed = sum(ratio > self.stored for ratio in self.rounds)
            return WORSE if agreed >= ROUNDS_AGREED * len(self.rounds) else UNSURE
        if self.ratio < self.stored * (1 - self.tolerance):
            return BETTER
        return OK

    def change(self):
        """-0.1: a tenth cheaper than stored."""
        return self.ratio / self.stored - 1 if self.ratio is not None and self.stored else None


def judge(measured, stored, tolerances=None):
    """measured: row -> ratios of its rounds; stored: row -> ratio. Stored rows that nobody measured, too.
    tolerances: row -> its own, where it has one."""
    tolerances = tolerances or {}
    rows = [*measured, *(row for row in stored if row not in measured)]
    return [Verdict(row, measured.get(row, []), stored.get(row), tolerances.get(row, TOLERANCE))
            for row in rows]


def rows_in(verdicts, *states):
    return [verdict.row for verdict in verdicts if verdict.state in states]


def exit_code(verdicts):
    """3: something is worse; 1: a stored row was not measured, so nobody knows; else 0."""
    if rows_in(verdicts, WORSE):
        return EXIT_WORSE
    return 1 if rows_in(verdicts, GONE) else 0


def table(verdicts):
    yield (f"{'ratio to the limit':32} {'stored':>7} {'now':>7} {'change':>7} {'line':>7}  "
           f"{'rounds':15} verdict")
    for verdict in verdicts:
        change = verdict.change()
        rounds = verdict.rounds
        spread = f"{min(rounds):.2f}-{max(rounds):.2f} of {len(rounds)}" if rounds else "-"
        yield (f"{verdict.row:32} {_shown(verdict.stored)} {_shown(verdict.ratio)} "
               f"{'-' if change is None else f'{change * 100:+.0f} %':>7} "
               f"{f'+{verdict.tolerance * 100:.0f} %':>7}  {spread:15} {verdict.state}")


def closing_lines(verdicts, commit):
    """What to do about it."""
    worse, better = rows_in(verdicts, WORSE), rows_in(verdicts, BETTER)
    if worse:
        yield (f"beyond their line, worse than stored at {commit}: {'; '.join(worse)}. "
               "Meant so? ./dev bench --accept")
    if unsure := rows_in(verdicts, UNSURE):
        yield (f"the rounds disagree, a busy machine: {'; '.join(unsure)}. "
               "Not judged; run it again when it is idle")
    if better:
        yield f"more than {TOLERANCE * 100:.0f} % better: {'; '.join(better)}. Keep it: ./dev bench --accept"
    if new := rows_in(verdicts, NEW):
        yield f"nothing stored: {'; '.join(new)}. Store it: ./dev bench --accept"
    if gone := rows_in(verdicts, GONE):
        yield f"stored, but not measured: {'; '.join(gone)}"
    if exit_code(verdicts) == 0:
        yield f"no ratio is beyond its line, worse than stored at {commit}"


def load(path):
    """(commit, row -> ratio). ValueError says what is wrong with the file."""
    try:
        baseline = json.loads(path.read_text())
        rows = {row: float(figures["ratio"]) for row, figures in baseline["rows"].items()}
        commit = str(baseline["commit"])
    except FileNotFoundError:
        return "no commit", {}
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: {error!r}") from error
    if wrong := [row for row, ratio in rows.items() if not 0 < ratio < float("inf")]:
        raise ValueError(f"{path}: no ratio: {', '.join(wrong)}")
    return commit, rows


def save(path, measured, commit, time, machine):
    rows = {row: {"ratio": round(statistics.median(rounds), 3), "lowest": round(min(rounds), 3),
                  "highest": round(max(rounds), 3)} for row, rounds in measured.items()}
    path.write_text(json.dumps({"commit": commit, "time": time, "machine": machine, "rows": rows},
                               indent=1) + "\n")


def _shown(ratio):
    return f"{'-' if ratio is None else f'{ratio:.2f}':>7}"

#!/usr/bin/env python3
"""Adds up what the suites of `./dev test` said: names of failures, one line per suite, then the sum.

    tally.py SUITE:EXIT_CODE:LOG…    LOG: meson's testlog.json, or the output of a Python runner

The last line is "N passed, M failed", and nothing else. Counted are the cases inside the tests (of gtest,
and of runners that close with such a line); a test that tells nothing counts as one. A suite whose command
failed, or that ran nothing, has at least one failure. Exit code 1 unless everything passed.
"""

import json
import pathlib
import re
import sys

CLOSING_LINE = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
GTEST_PASSED = re.compile(r"^\[  PASSED  \] (\d+) tests?\.$", re.M)
GTEST_FAILED = re.compile(r"^\[  FAILED  \] (\d+) tests?, listed below:$", re.M)
FAILED_CASE = re.compile(r" FAILED\b(?! *\])|^\[  FAILED  \] (?!\d+ tests?,)")
CASES_TOLD_MAX = 20
GTEST_SKIPPED = re.compile(r"^\[  SKIPPED \] (\d+) tests?, listed below:$", re.M)


class Count:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def text(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def cases_told(output):
    """What a test's output says about its cases; None if it says nothing."""
    closing = CLOSING_LINE.findall(output)
    if closing:
        passed, failed, skipped = closing[-1]
        return Count(int(passed), int(failed), int(skipped or 0))
    passed, failed = GTEST_PASSED.findall(output), GTEST_FAILED.findall(output)
    if passed or failed:
        skipped = GTEST_SKIPPED.findall(output)
        return Count(*(int(found[-1]) if found else 0 for found in (passed, failed, skipped)))
    return None


def count_test(output, succeeded):
    """A test that failed has a failure even when it died before it could say so."""
    told = cases_told(output) or Count(passed=1 if succeeded else 0)
    if not succeeded and told.failed == 0:
        told.failed = 1
    return told


def failed_cases(output):
    """The lines in which a test names its failed cases, with their reasons if it gives any."""
    return [line for line in output.splitlines() if FAILED_CASE.search(line)][:CASES_TOLD_MAX]


def count_meson(lines):
    """One JSON object per line. Returns the count, and the failed tests with their cases."""
    total, failures = Count(), []
    for line in lines:
        if not line.strip():
            continue
        test = json.loads(line)
        if test["result"] == "SKIP":
            total.skipped += 1
            continue
        one = count_test(test.get("stdout") or "", test["result"] in ("OK", "EXPECTEDFAIL"))
        if one.failed:
            failures.append(f"{test['name']} ({test['result']})")
            failures += [f"  {line}" for line in failed_cases(test.get("stdout") or "")]
        total.add(one)
    return total, failures


def count_suite(log, code):
    text = log.read_text(errors="replace") if log.exists() else ""
    if log.suffix == ".json":
        count, failures = count_meson(text.splitlines())
    else:
        count, failures = count_test(text, code == 0), failed_cases(text)
    if (code != 0 or count.passed + count.failed == 0) and count.failed == 0:
        count.failed = 1
        failures.append("nothing ran" if count.passed == 0 else f"exit code {code}")
    return count, failures


def main(arguments):
    total = Count()
    for argument in arguments:
        suite, code, log = argument.split(":", 2)
        count, failures = count_suite(pathlib.Path(log), int(code))
        for failure in failures:
            print(f"FAILED {suite}: {failure}")
        if failures:
            print(f"  see {log}")
        print(f"{suite}: {count.text()}")
        total.add(count)
    print(f"{total.passed} passed, {total.failed} failed")
    return 0 if total.failed == 0 and total.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

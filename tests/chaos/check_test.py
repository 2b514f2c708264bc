#!/usr/bin/env python3
"""The checker on histories that are known to be clean, and on the same ones broken in every way it must see.

    check_test.py [--seeds N] [--history FILE] [--events N]

Every mutation (mutate.py) must be found under its own name in each history that has a place for it, and has
to find such a place. --history: a recorded one as well, of a run without anomalies. --events: how long a
clean history of that length takes, and the memory. Closes with the sum; the mutation score stands before it.
"""

import argparse
import json
import random
import resource
import sys
import time

sys.dont_write_bytecode = True

import check
import model
import mutate

PLACES_MIN = 3  # histories in which a mutation found a place


def judge(lines):
    return check.check_events(lines).report


def judge_mutant(lines, kind):
    """True if the checker says so; a history that it cannot read is not an answer."""
    return judge(lines).counts[kind] > 0


def test_clean(histories):
    failures = []
    for name, lines in histories:
        report = judge(lines)
        if report.counts:
            failures.append(f"{name}: {dict(report.counts)}, {next(iter(report.told.values()))[0]}")
    return failures


def test_mutations(histories, rng):
    """(killed, all, failures)"""
    killed = total = 0
    failures = []
    for kind, function in mutate.MUTATIONS:
        places = 0
        for name, lines in histories:
            broken = mutate.mutate(lines, function, rng)
            if broken is None:
                continue
            places += 1
            total += 1
            found = judge_mutant(broken, kind)
            killed += found
            if not found:
                failures.append(f"{function.__name__} in {name}: no {kind}")
        if places < min(PLACES_MIN, len(histories)):
            failures.append(f"{function.__name__}: only {places} of {len(histories)} histories have a "
                            "place for it")
    untested = set(check.KINDS) - {kind for kind, _ in mutate.MUTATIONS}
    return killed, total, failures + [f"no mutation makes {kind}" for kind in untested]


def test_incomplete(lines):
    """What was broken off is never called clean."""
    failures = []
    for name, cut in (("without its end", [line for line in lines if line["e"] != "done"]),
                      ("without the store", [line for line in lines if line["e"] != "stored"]),
                      ("without the last reading", [line for line in lines if not line.get("final")]),
                      ("without its beginning", lines[1:]),
                      ("half", lines[:len(lines) // 2])):
        try:
            judge(cut)
        except check.Incomplete:
            continue
        failures.append(f"a history {name} was judged")
    return failures


def measure(events):
    lines = [json.dumps(line) for line in model.history(0, steps=events // 28, crashes=3, users=12)]
    began = time.monotonic()
    done = check.check_events(map(json.loads, lines))
    took = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{done.events} events in {took:.1f} s, {peak // 1024} MiB with the history itself in memory; "
          f"anomalies {dict(done.report.counts)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--history", action="append", default=[])
    parser.add_argument("--events", type=int)
    args = parser.parse_args()
    if args.events:
        return measure(args.events)
    histories = [(f"seed {seed}", model.history(seed, steps=60)) for seed in range(args.seeds)]
    for path in args.history:
        with open(path, encoding="utf-8") as lines:
            histories.append((path, [json.loads(line) for line in lines]))
    failures = test_clean(histories)
    killed, total, missed = test_mutations(histories, random.Random(1))
    failures += missed + test_incomplete(histories[0][1])
    for failure in failures:
        print(f"{failure} FAILED")
    print(f"mutation score {killed} of {total} ({len(mutate.MUTATIONS)} mutations)")
    print(f"{len(histories) + total + 5 - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

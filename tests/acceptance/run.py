#!/usr/bin/env python3
"""Runs the rows of spec/features.md against the real ringtalkd, at each shard count asked for.

One line per row and shard count; the last line is the sum. Exit code 1 if anything failed.
    run.py --build-dir build --shards 1,2,4 [--only S1,S3] [--test-build-dir build-killpoints]
"""

import argparse
import concurrent.futures
import fnmatch
import os
import signal
import sys
import threading
import time
import traceback

sys.dont_write_bytecode = True

import bad_groups  # noqa: F401  (registers its rows, as all of these)
import bad_input  # noqa: F401
import disk_full  # noqa: F401
import kernel_fitness  # noqa: F401
import matrix  # noqa: F401
import redis_faults  # noqa: F401
import rows_account  # noqa: F401
import rows_chat  # noqa: F401
import rows_clients  # noqa: F401
import rows_full  # noqa: F401
import rows_group_load  # noqa: F401
import rows_groups  # noqa: F401
import rows_http  # noqa: F401
import rows_limits  # noqa: F401
import rows_ops  # noqa: F401
import rows_people  # noqa: F401
import rows_profile  # noqa: F401
import rows_unread  # noqa: F401
import server
import storage
import store_faults  # noqa: F401
from registry import ROWS, Context, Skip

_print_lock = threading.Lock()


def say(text):
    with _print_lock:
        print(text, flush=True)


class Sum:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.lock = threading.Lock()

    def count(self, outcome):
        with self.lock:
            setattr(self, outcome, getattr(self, outcome) + 1)

    def line(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


def run_one(context, id, function, total, verbose=False):
    """One row: its line, and on failure the reason and the end of its servers' logs."""
    server.servers_of_row().clear()
    began = time.monotonic()
    head = f"{id} shards={context.shards}"
    try:
        remark = function(context)
    except Skip as skip:
        total.count("skipped")
        say(f"{head} skipped: {skip}")
    except BaseException as error:  # a row must never take the run with it
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        total.count("failed")
        text = f"{head} FAILED {time.monotonic() - began:.2f}s: {type(error).__name__}: {error}"
        where = traceback.extract_tb(error.__traceback__)
        own = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in where][-4:]
        text += f"\n    at {' > '.join(own)}"
        if verbose:
            text += "\n" + traceback.format_exc()
        for used in server.servers_of_row():
            tail = used.log_tail().replace("\n", "\n    | ")
            text += f"\n    log of {used.label}:\n    | {tail}"
        say(text)
    else:
        total.count("passed")
        say(f"{head} ok {time.monotonic() - began:.2f}s" + (f" ({remark})" if remark else ""))


def run_shards(args, chosen, shards, total):
    context = Context(server.find_ringtalkd(args.build_dir), shards,
                      server.find_ringtalkd(args.test_build_dir) if args.test_build_dir else None,
                      args.kills, args.keep, args.sanitizer)
    for row in chosen:
        if row.alone:
            run_one(context, row.id, row.function, total, args.verbose)
    together = sorted((row for row in chosen if not row.alone), key=lambda row: not row.slow)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for job in [pool.submit(run_one, context, row.id, row.function, total, args.verbose)
                    for row in together]:
            job.result()
    if context.shared_server is not None:  # exit 0 after SIGTERM proves that no row crashed it

        def ends_well(ctx):
            ctx.shared_server.use()
            ctx.close()
        run_one(context, "END", ends_well, total, args.verbose)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build-dir", default="build", help="where ringtalkd is")
    parser.add_argument("--test-build-dir", help="a build with -Dkillpoints=true, for clock and stall cases")
    parser.add_argument("--shards", default="1,2,4", help="shard counts, one run each")
    parser.add_argument("--store", choices=("embedded", "mysql"), default="embedded",
                        help="which driver the servers run on; a MariaDB is started and stopped for mysql")
    parser.add_argument("--only", help="row ids, comma separated; * and ? stand for anything")
    parser.add_argument("--kills", type=int, default=25, help="kill -9 repetitions of S8")
    parser.add_argument("--jobs", type=int, default=8, help="rows running at the same time")
    parser.add_argument("--sanitizer", choices=("asan", "tsan"),
                        help="what the build has: stretches bounds of time, skips bounds of memory")
    parser.add_argument("--keep", action="store_true", help="keep data directories and logs")
    parser.add_argument("--verbose", action="store_true", help="full stack of a failure")
    parser.add_argument("--list", action="store_true", help="print the row ids and end")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: (server.kill_all(), os._exit(1)))
    if args.list:
        for row in ROWS.values():
            print(row.id, row.function.__name__)
        return 0
    wanted = []
    for pattern in (args.only or "*").split(","):
        found = fnmatch.filter(ROWS, pattern)
        if not found:
            parser.error(f"no such row: {pattern}")
        wanted += [id for id in found if id not in wanted]
    storage.use(args.store, args.build_dir)
    total = Sum()
    for shards in (int(text) for text in args.shards.split(",")):
        run_shards(args, [ROWS[id] for id in wanted], shards, total)
    say(total.line())
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())

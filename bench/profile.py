#!/usr/bin/env python3
"""Where the processor time of a message goes: by thread, by symbol, by stage; and its instructions.

Question       Which part of the path costs what? run.py says how much a message costs, this says where.
Time           ringtalkd under bench_chat_driver's closed loop, as in run.py, and `perf record -e cpu-clock`
               on it for --seconds. Samples are shares; times the server's processor time per message in the
               same run they are microseconds. Cycles: those at the nominal clock of /proc/cpuinfo.
Stages         A sample belongs to the innermost frame that a stage claims (STAGES below), so memcpy counts
               for whom it copies. Kernel frames first: work on behalf of a send is a send.
Instructions   callgrind_chat under valgrind, which knows no io_uring: the whole server on the simulator's
               rings; start, first messages and end are not counted. They do not depend on the
               machine or its load; they are the figure to compare before and after a change.
What misleads  perf itself takes some per cent. What the compiler inlined counts for the caller. Loopback
               receives for the client inside the server's send, so "send" holds part of the client's cost.
Exit code      0 measured, 1 could not measure (a package that is missing is named), 2 a check failed.
"""

import argparse
import collections
import json
import pathlib
import re
import shutil
import subprocess
import sys

import run

FREQUENCY = 999
STACK_BYTES = 1024  # enough for the few callers that name a stage
THREAD_SHARE_MIN = 0.02
INSTRUCTION_MESSAGES = 4096
PACKAGES = {"perf": "linux-perf", "valgrind": "valgrind"}

KERNEL_STAGES = (
    ("kernel: receive", r"^(io_recv|io_recvmsg|tcp_recvmsg|inet6?_recvmsg|sock_recvmsg)"),
    ("kernel: send", r"^(io_send|io_sendmsg|tcp_sendmsg|inet6?_sendmsg|sock_sendmsg)"),
    ("kernel: write, sync", r"^(io_write|io_fsync|io_uring_fallocate|vfs_(write|iter_write|fsync|fallocate)|"
                            r"ksys_p?write|ext4_|xfs_|btrfs_|blk_|submit_bio|do_fsync|__x64_sys_f(data)?sync|"
                            r"__x64_sys_(pwrite64|write|fallocate|sync_file_range)|ksys_sync_file_range)"),
)
KERNEL_OTHER = "kernel: other"
STAGES = (
    ("repeat window", r"shard::(RepeatWindow::|Messages::(fingerprints|repeats|forget_repeat))"),
    ("parse", r"ringtalk::proto::(?!encode_|message_(data|ack)_bytes|make_header)|"
              r"gateway::TcpConnection::(process|on_bytes|keep)|engine::Stream::on_recv"),
    ("results, delivery", r"shard::(DeliveryWatch|Messages::(decided|acknowledge|deliver|on_deliver|push_to|"
                          r"finish_placement|on_appended|on_append_done|drop_p|unlink_from_session|confirm|"
                          r"tell_refused))|proto::(encode|message_(data|ack)_bytes|make_header)|"
                          r"engine::(SendQueue|BlockPool|Stream::(push|reserve|flush|on_send|became_dirty))|"
                          r"gateway::TcpConnection::(push|reserve|on_drained)"),
    ("store, commit", r"ringtalk::store::|shard::Messages::(store_|place|on_opened|open_conversation)|"
                      r"sqlite3"),
    ("session, admission", r"ringtalk::shard::|gateway::Tcp"),
    ("loop, ring, lanes", r"ringtalk::engine::"),
)
OTHER = "other"
# callgrind only: what stands in place of the kernel and of the clients.
STAND_IN = "stand-ins"
STAND_INS = re.compile(r"engine::(Fake|fake)|ringtalk::(sim|bench)::")
OWNER = re.compile(r"ringtalk::(?!proto::)")  # clients use proto, too

FRAME = re.compile(r"^\s*([0-9a-f]+) (.*) \((.*)\)$")


def plain(symbol):
    """Without arguments: Messages::send(…, proto::MessageDataView const&) is no parser."""
    symbol = symbol.replace("(anonymous namespace)::", "").replace("non-virtual thunk to ", "")
    symbol = symbol.partition("(")[0]
    while (inner := re.sub(r"<[^<>]*>", "", symbol)) != symbol:
        symbol = inner
    return symbol


def stands_in(frames):
    """Whether this is work of the simulated kernel or clients, not of the server."""
    owner = next((frame for frame in frames if OWNER.search(frame)), "")
    return bool(STAND_INS.search(owner))


def compiled(stages):
    return [(stage, re.compile(pattern)) for stage, pattern in stages]


def first_claim(frames, stages, default):
    """The stage that claims the innermost possible frame."""
    for frame in frames:
        for stage, pattern in stages:
            if pattern.search(frame):
                return stage
    return default


class Sample:
    def __init__(self, thread):
        self.thread = thread
        self.frames = []  # (symbol, is kernel), innermost first

    def in_kernel(self):
        return bool(self.frames) and self.frames[0][1]

    def symbol(self):
        return self.frames[0][0] if self.frames else "?"

    def stage(self, kernel_stages, stages):
        if self.in_kernel():
            return first_claim((s for s, kernel in self.frames if kernel), kernel_stages, KERNEL_OTHER)
        return first_claim((s for s, _ in self.frames), stages, OTHER)


def samples_of(lines):
    """Of `perf script -F comm,tid,ip,sym,dso`: a line per thread, a line per frame, an empty line."""
    sample = None
    for line in lines:
        line = line.rstrip("\n")
        if not line.strip():
            if sample:
                yield sample
            sample = None
        elif sample is None:
            comm, _, tid = line.strip().rpartition(" ")
            sample = Sample((comm.strip(), tid))
        elif found := FRAME.match(line):
            address, symbol, where = found.groups()
            kernel = where.startswith("[kernel") or where.startswith("[unknown]") and len(address) == 16
            sample.frames.append((symbol if kernel else plain(symbol), kernel))
    if sample:
        yield sample


def print_profile(samples, us_per_message, cycles_per_us, top):
    """samples: Sample…; us_per_message: processor time of all of them."""
    if not samples:
        raise run.SetupError("perf saw no sample of ringtalkd")
    us = us_per_message / len(samples)
    threads = collections.defaultdict(list)
    for sample in samples:
        threads[sample.thread].append(sample)
    print(f"\n{'thread':24} {'us/message':>10} {'user':>7} {'kernel':>7}")
    ordered = sorted(threads.items(), key=lambda item: -len(item[1]))
    for (comm, tid), own in ordered:
        kernel = sum(sample.in_kernel() for sample in own)
        print(f"{comm + ' ' + tid:24} {len(own) * us:10.4f} {(len(own) - kernel) * us:7.4f} "
              f"{kernel * us:7.4f}")
    for (comm, tid), own in ordered:
        if len(own) < THREAD_SHARE_MIN * len(samples):
            continue
        print(f"\n{f'{comm} {tid}: top symbols':57} {'us/message':>10} {'share':>6}")
        for (symbol, kernel), count in collections.Counter(
                (s.symbol(), s.in_kernel()) for s in own).most_common(top):
            name = f"{symbol} [kernel]" if kernel else symbol.replace("ringtalk::", "")
            print(f"  {name:55} {count * us:10.4f} {count * 100 / len(own):5.1f} %")
    kernel_stages, stages = compiled(KERNEL_STAGES), compiled(STAGES)
    counts = collections.Counter(sample.stage(kernel_stages, stages) for sample in samples)
    print(f"\n{'stage':24} {'us/message':>10} {'cycles':>8} {'share':>6}")
    for stage in [*(s for s, _ in KERNEL_STAGES), KERNEL_OTHER, *(s for s, _ in STAGES), OTHER]:
        count = counts[stage]
        share = count * 100 / len(samples)
        print(f"{stage:24} {count * us:10.4f} {count * us * cycles_per_us:8.0f} {share:5.1f} %")
    print(f"{'sum':24} {us_per_message:10.4f} {us_per_message * cycles_per_us:8.0f}")


def nominal_mhz():
    found = re.search(r"^cpu MHz\s*: ([0-9.]+)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return float(found[1]) if found else 0.0


def record(bench, window, options):
    """Starts everything, samples the server; returns (samples, driver's figures)."""
    server = bench.start_engine(options.shards)
    with server:
        bench.make_users(server, options.connections)
        data = bench.work / "perf.data"
        # The driver measures what perf measures: it is still at work when perf ends.
        perf = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY),
                "--call-graph", f"dwarf,{STACK_BYTES}", "-p", str(server.ports["pid"]), "-o", data,
                "--", "sleep", str(options.seconds)]
        later = ["sh", "-c", f'sleep {options.warmup + 1}; exec "$@"', "sh", *map(str, perf)]
        starter = subprocess.Popen(later, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            figures = bench.drive(server, f"w={window}", "bench_chat_driver", [
                "--connections", options.connections, "--payload", 100, "--window", window,
                "--seconds", options.seconds + 1, "--warmup", options.warmup])
        finally:
            complaint = starter.communicate()[1]
        if starter.returncode != 0:
            raise run.SetupError(f"perf record: exit {starter.returncode}: {complaint.strip()[-600:]}\n"
                                 "(not root? kernel.perf_event_paranoid must be 1 or less)")
    done = subprocess.run(["perf", "script", "-i", data, "--no-inline", "-F", "comm,tid,ip,sym,dso"],
                          capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise run.SetupError(f"perf script: exit {done.returncode}: {done.stderr.strip()[-600:]}")
    return list(samples_of(done.stdout.splitlines())), figures


# --- Instructions -------------------------------------------------------------------------------------

def self_costs(lines):
    """Of a callgrind.out file made with --separate-callers: chain of names, innermost first -> Ir."""
    names, costs = {}, collections.Counter()
    chain, skip = None, False
    for line in lines:
        if line.startswith("fn="):
            number, _, name = line[3:].rstrip("\n").partition(" ")
            if name:
                names[number] = name
            chain = number
        elif line.startswith(("cfn=", "cfi=", "cfl=", "cob=")):
            number, _, name = line.partition("=")[2].rstrip("\n").partition(" ")
            if name and line.startswith("cfn="):
                names[number] = name
        elif line.startswith("calls="):
            skip = True  # the next line is the cost of what was called
        elif chain and line[:1] in "0123456789+-*":
            if not skip:
                costs[chain] += int(line.split()[1])
            skip = False
    by_chain = collections.Counter()
    for number, cost in costs.items():
        by_chain[names[number]] += cost
    return by_chain


def count_instructions(bench, messages, window, shards):
    """(stage -> Ir, messages really sent)."""
    out = bench.work / "callgrind.out"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--separate-callers=5",
               "--toggle-collect=ringtalk::bench::counted_exchange*",
               bench.bin / "callgrind_chat", "--messages", messages, "--window", window, "--shards", shards]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise run.SetupError(f"callgrind_chat: exit {done.returncode}: {(done.stdout + done.stderr)[-600:]}")
    stages = compiled(STAGES)
    found = collections.Counter()
    with open(out, encoding="utf-8", errors="replace") as lines:
        for chain, cost in self_costs(lines).items():
            frames = [plain(frame) for frame in chain.split("'")]
            found[STAND_IN if stands_in(frames) else first_claim(frames, stages, OTHER)] += cost
    return found, json.loads(done.stdout)["messages"]


def print_instructions(bench, window, shards):
    found, sent = count_instructions(bench, INSTRUCTION_MESSAGES, window, shards)
    print(f"\n{'stage':24} {'instructions/message':>20}")
    for stage in [*(s for s, _ in STAGES), OTHER]:
        print(f"{stage:24} {found[stage] / sent:20.0f}")
    print(f"{'sum':24} {sum(n for s, n in found.items() if s != STAND_IN) / sent:20.0f}")
    print(f"(beside them the simulated kernel and clients: {found[STAND_IN] / sent:.0f})")


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=run.ROOT / "build")
    parser.add_argument("--window", type=int, default=16, help="unacknowledged per connection (%(default)s)")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5, help="sampled (%(default)s)")
    parser.add_argument("--warmup", type=float, default=2)
    parser.add_argument("--top", type=int, default=15, help="symbols of each thread (%(default)s)")
    parser.add_argument("--only", choices=["time", "instructions"], help="half of it")
    options = parser.parse_args()
    options.build = options.build.resolve()
    return options


def main():
    options = parse_options()
    tools = [tool for part, tool in (("time", "perf"), ("instructions", "valgrind"))
             if options.only in (None, part)]
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        print("\n".join(f"{tool} is missing: apt-get install {PACKAGES[tool]}" for tool in missing),
              file=sys.stderr)
        return 1
    bench = run.Bench(options)
    bench.work.mkdir(parents=True)
    try:
        if "perf" in tools:
            samples, figures = record(bench, options.window, options)
            print(f"w={options.window}, {options.connections} connections, {options.shards} shard(s): "
                  f"{figures['acked_per_second']:.0f} messages/s, {len(samples)} samples")
            print_profile(samples, figures["server_cpu_us_per_message"], nominal_mhz(), options.top)
        if "valgrind" in tools:
            print_instructions(bench, options.window, options.shards)
    except run.CorrectnessError as error:
        print(f"CORRECTNESS: {error}", file=sys.stderr)
        return 2
    except run.SetupError as error:
        print(f"could not measure: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(bench.work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""bench/profile.py must give every sample and every instruction to the stage it belongs to."""

import importlib.util
import pathlib
import sys
import unittest

BENCH = pathlib.Path(__file__).resolve().parent.parent / "bench"
sys.path.insert(0, str(BENCH))
# By its file: a module named profile is Python's own.
spec = importlib.util.spec_from_file_location("bench_profile", BENCH / "profile.py")
profile = importlib.util.module_from_spec(spec)
spec.loader.exec_module(profile)

PERF = """shard-0  101
\tffffffff81234567 tcp_v4_rcv ([kernel.kallsyms])
\tffffffff81234568 io_send ([kernel.kallsyms])
\t    7f0000001234 io_uring_enter (/usr/lib/libc.so.6)
\t    560000001234 ringtalk::engine::UringRing::turn(unsigned long) (/build/ringtalkd)

shard-0  101
\t    7f0000001234 __memmove_avx512 (/usr/lib/libc.so.6)
\t    560000001234 ringtalk::engine::SendQueue::push(std::span<x>, ringtalk::proto::X&) (/build/ringtalkd)
\t    560000001235 ringtalk::shard::Messages::send(ringtalk::proto::MessageDataView const&) (/build/ringtalkd)

iou-wrk-99 102
\tffffffff81234567 copy_folio ([kernel.kallsyms])
\tffffffff81234567 ext4_file_write_iter ([kernel.kallsyms])

rt-log  103
"""

CALLGRIND = """# callgrind format
events: Ir
fn=(1) ringtalk::proto::read(int)'ringtalk::sim::Client::poll()
12 5
+3 7
cfn=(2) ringtalk::store::crc32c(unsigned int)'ringtalk::engine::FakeRing::turn()
calls=1 0
12 9000
* 1
fn=(2)
1 40
fn=(3) memcpy'ringtalk::engine::SendQueue::push(ringtalk::store::Heads&)'main
-2 100
fn=(1)
1 1000
"""


class Profile(unittest.TestCase):
    def test_names_without_arguments(self):
        for symbol, name in {
                "ringtalk::shard::Messages::send(ringtalk::proto::MessageDataView const&)":
                    "ringtalk::shard::Messages::send",
                "ringtalk::gateway::(anonymous namespace)::load(int)": "ringtalk::gateway::load",
                "non-virtual thunk to ringtalk::shard::Shard::on_tick()": "ringtalk::shard::Shard::on_tick",
                "std::map<int, ringtalk::store::Heads<int> >::find(int)": "std::map::find",
                "memcpy": "memcpy"}.items():
            self.assertEqual(profile.plain(symbol), name)

    def test_samples(self):
        samples = list(profile.samples_of(PERF.splitlines()))
        self.assertEqual([sample.thread for sample in samples],
                         [("shard-0", "101"), ("shard-0", "101"), ("iou-wrk-99", "102"), ("rt-log", "103")])
        self.assertEqual([sample.in_kernel() for sample in samples], [True, False, True, False])
        kernel, user = profile.compiled(profile.KERNEL_STAGES), profile.compiled(profile.STAGES)
        self.assertEqual([sample.stage(kernel, user) for sample in samples],
                         ["kernel: send", "results, delivery", "kernel: write, sync", profile.OTHER])

    def test_instructions(self):
        costs = profile.self_costs(CALLGRIND.splitlines())
        found = {chain.split("'")[0]: cost for chain, cost in costs.items()}
        self.assertEqual(found, {"ringtalk::proto::read(int)": 1013, "memcpy": 100,
                                 "ringtalk::store::crc32c(unsigned int)": 40})
        frames = {chain: [profile.plain(name) for name in chain.split("'")] for chain in costs}
        self.assertEqual([profile.stands_in(names) for names in frames.values()], [True, False, False])
        stages = profile.compiled(profile.STAGES)
        self.assertEqual([profile.first_claim(names, stages, profile.OTHER) for names in frames.values()],
                         ["parse", "store, commit", "results, delivery"])

    def test_stages_of_the_path(self):
        stages = profile.compiled(profile.STAGES)
        for symbol, stage in {
                "ringtalk::proto::encode_message_ack": "results, delivery",
                "ringtalk::proto::parse_message_data": "parse",
                "ringtalk::gateway::TcpConnection::process": "parse",
                "ringtalk::gateway::TcpConnection::push": "results, delivery",
                "ringtalk::shard::Messages::fingerprints": "repeat window",
                "ringtalk::shard::Messages::admit": "session, admission",
                "ringtalk::shard::Messages::store_now": "store, commit",
                "ringtalk::engine::UringRing::turn": "loop, ring, lanes",
                "malloc": profile.OTHER}.items():
            self.assertEqual(profile.first_claim([symbol], stages, profile.OTHER), stage, symbol)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""generate.py and reference.py must agree over a real MariaDB and Redis, and the dirt must be there."""

import dataclasses
import json
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import servers  # noqa: E402
from teamtalk import generate, layout, reference  # noqa: E402

SMALL = generate.Options(users=100, groups=22, pairs=120, messages=6000)


class Files(unittest.TestCase):
    def write(self, options):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        site = generate.Site(options)
        site.write(folder.name)
        site.write_sounds(folder.name + "/sounds")
        return {str(path.relative_to(folder.name)): path.read_bytes()
                for path in pathlib.Path(folder.name).rglob("*") if path.is_file()}

    def test_the_seed_decides_every_byte(self):
        first = self.write(SMALL)
        self.assertEqual(first, self.write(SMALL))
        other = self.write(dataclasses.replace(SMALL, seed=2))
        for name in ("IMUser.tsv", "IMMessage_3.tsv", "IMGroupMessage_5.tsv", "redis.jsonl",
                     "expectations.json"):
            self.assertNotEqual(first[name], other[name], name)

    def test_every_kind_of_dirt_is_there(self):
        for seed in range(3):
            dirt = generate.Site(dataclasses.replace(SMALL, seed=seed)).dirt
            self.assertEqual([kind for kind, count in dirt.items() if count == 0], [])
            self.assertEqual(set(dirt), set(generate.DIRT))

    def test_sizes_are_as_asked(self):
        site = generate.Site(dataclasses.replace(SMALL, messages=20_000))
        self.assertEqual((len(site.users), len(site.groups), len(site.pairs)), (100, 22, 120))
        self.assertAlmostEqual(sum(map(len, site.tables.values())), 20_000, delta=1000)


class Loaded(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mysql, cls.redis = servers.MariaDb(), servers.Redis()
        cls.addClassCleanup(cls.mysql.close)
        cls.addClassCleanup(cls.redis.close)

    def loaded(self, options):
        """The expectations, and a function that gives a fresh Reference."""
        with tempfile.TemporaryDirectory() as folder:
            site = generate.Site(options)
            site.write(folder)
            database = f"site_{options.variant}_{options.numbering}"
            site.load(folder, self.mysql.address, database)
            self.addCleanup(self.mysql.sql, f"DROP DATABASE {database}")
            self.redis.flushall()
            site.fill(self.redis.address)
            expected = json.loads(pathlib.Path(folder, "expectations.json").read_text("utf-8"))
        return expected, lambda: reference.Reference(self.mysql.address, database, self.redis.address,
                                                     options.variant, options.numbering), database

    def test_the_database_says_what_was_meant(self):
        for variant, numbering in ((layout.INSTALLER, "installer"), (layout.OLD, "sample"),
                                   (layout.LOWER, "installer")):
            with self.subTest(variant):
                options = dataclasses.replace(SMALL, variant=variant, numbering=numbering)
                expected, fresh, _ = self.loaded(options)
                self.assertEqual(reference.compare(expected, fresh()), [])
                self.assertGreater(len(expected["conversations"]), 100)

    def test_a_difference_is_seen(self):
        expected, fresh, database = self.loaded(SMALL)
        talk = next(t for t in expected["conversations"] if t["type"] == 1 and t["count"] > 3)
        table = f"IMMessage_{talk['id'] % 8}"
        pair = talk["users"]
        user, (kind, peer, *_) = next((id, found[0]) for id, found in expected["sessions"].items() if found)
        group = next(iter(expected["groups"]))
        member = next(iter(expected["groups"][group]["members"]))
        for change, place in (
                (f"UPDATE {table} SET content = 'x' WHERE relateId = {talk['id']} AND status = 0"
                 f" AND msgId <> {generate.NO_ID} LIMIT 1", "/conversations/"),
                (f"DELETE FROM IMRecentSession WHERE userId = {user} AND peerId = {peer} AND type = {kind}",
                 f"/sessions/{user}"),
                (f"UPDATE IMUser SET nick = 'x' WHERE id = {pair[0]}", f"/users/{pair[0]}/nick"),
                (("group_member", "HDEL", f"group_member_{group}", member),
                 f"/groups/{group}/members/{member}"),
                (("unread", "SET", f"msg_id_{talk['id']}", 10 ** 6), "/next")):
            before = len(reference.compare(expected, fresh()))
            if isinstance(change, str):
                self.mysql.sql(change, database)
            else:
                with self.redis.resp(layout.REDIS_NUMBERS["installer"][change[0]]) as redis:
                    redis.do(*change[1:])
            found = reference.compare(expected, fresh())
            self.assertGreater(len(found), before, change)
            self.assertTrue(any(place in line for line in found), (change, found[:5]))

    def test_the_original_would_accept_it(self):
        """What its own programs ask: the columns by name, and inserts that rely on the defaults."""
        _, _, database = self.loaded(SMALL)
        columns = self.mysql.sql(
            f"SELECT column_name FROM information_schema.columns WHERE table_schema = '{database}'"
            " AND table_name = 'IMUser' ORDER BY ordinal_position")
        self.assertEqual([name for name, in columns], list(layout.USER_COLUMNS))
        self.mysql.sql("INSERT INTO IMGroup (name, creator, userCnt) VALUES ('x', 1, 0)", database)
        newest = "SELECT status, version FROM IMGroup ORDER BY id DESC LIMIT 1"
        self.assertEqual(self.mysql.sql(newest, database), [["1", "1"]])


if __name__ == "__main__":
    unittest.main()

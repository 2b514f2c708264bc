"""`ringtalkctl migrate` and `handback` on TeamTalk deployments with the dirt of years (tests/teamtalk): what
is found afterwards is what was meant when they were made; nothing is lost, whenever it is killed; what was
handed back can be taken over again.

Usage: migrate_test.py --ringtalkctl PATH [--messages N] [--only WORD]
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [HERE, TESTS]
sys.dont_write_bytecode = True

import servers  # noqa: E402
from teamtalk import generate, layout  # noqa: E402

NO_ID = generate.NO_ID
SINGLE, GROUP = generate.SINGLE, generate.GROUP
TABLES = range(layout.MESSAGE_TABLES)
OURS = ("RTConversation", "RTReadCursor", "RTSession", "RTGroupMember", "RTPushReg", "RTMerged", "RTSchema")
# Moments, and numbers of rows that only have to differ from each other.
VOLATILE = {"RTReadCursor": {"updated"}, "RTPushReg": {"updated"}, "RTMerged": {"merged"},
            "IMRecentSession": {"id"}, "IMGroupMember": {"id"}}


class World:
    """The servers of one run."""

    def __init__(self, ctl):
        self.ctl = ctl
        address = os.environ.get("RINGTALK_TEST_MYSQL")
        self.mariadb = None if address else servers.MariaDb()
        self.address = address or self.mariadb.address
        self.redis = servers.Redis()  # others would not like it flushed
        self.folder = tempfile.TemporaryDirectory(prefix="ringtalk-migrate-")
        self.secret = os.path.join(self.folder.name, "password")
        self.host, self.port, self.user, self.password = self.address.split(":")
        with open(self.secret, "w", encoding="utf-8") as out:
            out.write(self.password + "\n")
        self.count = 0
        self.sites = {}

    def close(self):
        for name in range(1, self.count + 1):
            servers.Sql(self.address).do(f"DROP DATABASE IF EXISTS rt_migrate_{os.getpid()}_{name}")
        self.redis.close()
        if self.mariadb:
            self.mariadb.close()
        self.folder.cleanup()

    def new_database(self):
        self.count += 1
        return f"rt_migrate_{os.getpid()}_{self.count}"

    def site(self, **options):
        """A deployment, freshly loaded; what it is made of is made once."""
        wanted = generate.Options(**options)
        if wanted not in self.sites:
            folder = os.path.join(self.folder.name, str(len(self.sites)))
            made = generate.Site(wanted)
            made.write(folder)
            self.sites[wanted] = made, folder
        made, folder = self.sites[wanted]
        database = self.new_database()
        self.redis.flushall()
        made.load(folder, self.address, database)
        made.fill(self.redis.address)
        with open(os.path.join(folder, "expectations.json"), encoding="utf-8") as text:
            return Deployment(self, database, wanted, made, json.load(text))


class Deployment:
    def __init__(self, world, database, options, made, expected):
        self.world, self.database, self.options = world, database, options
        self.made, self.expected = made, expected
        self.sql = servers.Sql(world.address, database)

    def name(self, table):
        return layout.table_name(table, self.options.variant) if table.startswith("IM") else table

    def do(self, text):
        return self.sql.do(text)

    def numbers(self, text):
        return [tuple(None if cell == "NULL" else int(cell) for cell in row) for row in self.do(text)]

    def options_of_ctl(self):
        numbers = layout.REDIS_NUMBERS[self.options.numbering]
        words = ["--mysql", f"{self.world.host}:{self.world.port}", "--user", self.world.user,
                 "--password-file", self.world.secret, "--database", self.database]
        for pool, number in numbers.items():
            words += ["--redis-pool", f"{pool}={self.world.redis.address}/{number}"]
        return words

    def dbproxy_conf(self, more=""):
        """The path of the original's file about it."""
        path = os.path.join(self.world.folder.name, f"{self.database}.conf")
        host, port = self.world.redis.address.split(":")
        with open(path, "w", encoding="utf-8") as out:
            out.write(f"teamtalk_master_host={self.world.host}\nteamtalk_master_port={self.world.port}\n"
                      f"teamtalk_master_dbname={self.database}\nteamtalk_master_username={self.world.user}\n"
                      f"teamtalk_master_password={self.world.password}\n{more}")
            for pool, number in layout.REDIS_NUMBERS[self.options.numbering].items():
                out.write(f"{pool}_host={host}\n{pool}_port={port}\n{pool}_db={number}\n"
                          f"{pool}_maxconncnt=8\n")
        return path

    def start(self, *words, options=None):
        return subprocess.Popen([self.world.ctl, *words, *(options or self.options_of_ctl())],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ctl(self, *words, code=0, options=None):
        process = self.start(*words, options=options)
        out, self.error = process.communicate(timeout=1200)
        assert process.returncode == code, \
            f"{words}: exit {process.returncode}, not {code}: {out}{self.error}"
        return json.loads(out) if "--json" in words and code == 0 else out

    def said(self, *words):
        for word in words:
            assert word in self.error, f"{word!r} is not in {self.error!r}"

    def tables(self):
        return sorted(row[0] for row in self.do("SHOW TABLES"))

    def state(self):
        """Everything, to the byte: definitions, rows, keys of Redis."""
        tables = self.tables()
        definitions = [self.do(f"SHOW CREATE TABLE `{table}`")[0][1] for table in tables]
        names = ", ".join(f"`{table}`" for table in tables)
        return definitions, self.do(f"CHECKSUM TABLE {names} EXTENDED"), self.redis_content()

    def redis_content(self):
        content = {}
        for number in range(6):
            with self.world.redis.resp(number) as redis:
                for key in redis.do("KEYS", "*"):
                    kind = redis.do("TYPE", key)
                    if kind == b"hash":
                        flat = redis.do("HGETALL", key)
                        content[number, key] = dict(zip(flat[::2], flat[1::2]))
                    else:
                        content[number, key] = redis.do("GET", key)
        return content

    def pool(self, pool):
        return layout.REDIS_NUMBERS[self.options.numbering][pool]

    def rows(self, table):
        """Rows of a table as sorted dictionaries, without what differs from run to run."""
        columns = [row[0] for row in self.do(f"SHOW COLUMNS FROM `{self.name(table)}`")]
        kept = [column for column in columns if column not in VOLATILE.get(table, ())
                and not (column == "id" and "Message_" in table)]
        names = ", ".join(f"`{column}`" for column in kept)
        return sorted(map(tuple, self.do(f"SELECT {names} FROM `{self.name(table)}`")))

    def meaning(self):
        names = [*OURS, "IMRelationShip", "IMRecentSession", "IMGroupMember", "IMGroup", "IMUser"]
        names += [f"{kind}_{n}" for kind in ("IMMessage", "IMGroupMessage") for n in TABLES]
        return {name: self.rows(name) for name in names}

    def all_messages(self):
        """(type, conversation) -> [(msgId, author, created, row, status)], in a reader's order."""
        talks = collections.defaultdict(list)
        for n in TABLES:
            for kind, table, owner, author in ((SINGLE, "IMMessage", "relateId", "fromId"),
                                               (GROUP, "IMGroupMessage", "groupId", "userId")):
                for conversation, *row in self.numbers(
                        f"SELECT {owner}, msgId, {author}, created, id, status"
                        f" FROM `{self.name(f'{table}_{n}')}`"):
                    talks[kind, conversation].append(tuple(row))
        for rows in talks.values():
            rows.sort(key=lambda row: (row[0], row[2], row[3]))
        return talks


def visible(rows):
    return [row for row in rows if row[4] == 0 and row[0] not in (0, NO_ID)]


def highest(rows):
    return max((row[0] for row in rows if row[0] != NO_ID), default=0)


# ---- what has to be found after a take-over ----

def check_taken(site):
    expected = site.expected
    talks = site.all_messages()
    assert sum(map(len, talks.values())) == expected["messages"], "messages were lost, or doubled"
    relations = {id: (small, big) for id, small, big in
                 site.numbers(f"SELECT id, smallId, bigId FROM `{site.name('IMRelationShip')}`")}
    assert len(set(relations.values())) == len(relations), "a pair has two relations"
    assert set(relations.values()) == set(site.made.pairs), "a pair was lost"
    figures = {(kind, id): rest for kind, id, *rest in
               site.numbers("SELECT type, convId, newest, small, hidden, time FROM RTConversation")}
    doubled = check_merged(site, relations)
    check_conversations(site, talks, relations, figures, doubled)
    check_positions(site, talks, relations, figures, doubled)
    check_groups(site, talks, figures)
    check_sessions(site, relations, figures)
    tokens = {user: ["ios" if int(service) == 1 else "android", token] for user, device, service, token in
              site.do("SELECT userId, deviceId, serviceType, token FROM RTPushReg WHERE deviceId = ''")}
    assert tokens == expected["tokens"], "push tokens"


def check_merged(site, relations):
    """Ids of main relations of pairs that had several."""
    merged = dict(site.numbers("SELECT relateId, mainId FROM RTMerged"))
    wanted = {other.id: all_[0].id for all_ in site.made.pairs.values() for other in all_[1:]}
    assert merged == wanted, f"merged {merged}, not {wanted}"
    assert not set(merged) & set(relations)
    return set(merged.values())


def check_conversations(site, talks, relations, figures, doubled):
    for relation, (small, _) in relations.items():
        check_figures(talks[SINGLE, relation], figures.get((SINGLE, relation)), small)
    told = {(talk["type"], talk["id"]): talk for talk in site.expected["conversations"]}
    assert told
    seen = 0
    for (kind, id), talk in told.items():
        rows = visible(talks[kind, id])
        newest = figures[kind, id][0] if (kind, id) in figures else 0
        if kind == SINGLE and id in doubled:
            main = site.made.relations[id - 1]
            last = max(m.created for m in main.messages)
            late = sorted((m for other in talk["others"] for m in site.made.relations[other - 1].messages
                           if m.created > last), key=lambda m: m.created)
            assert newest + 1 == talk["next"] + len(late), f"{id}: {newest}"
            appended = [row for row in talks[kind, id] if row[0] >= talk["next"] and row[0] != NO_ID]
            assert [(row[1], row[2]) for row in appended] == [(m.author, m.created) for m in late], f"{id}"
            assert len(rows) == talk["count"] + sum(m.status == 0 for m in late)
            seen += 1
        else:
            assert newest + 1 == talk["next"], f"{kind}/{id}: {newest}, next {talk['next']}"
            assert len(rows) == talk["count"]
        tail = [tuple(line[:3]) for line in talk["tail"]]
        start = len(rows[:talk["count"]]) - len(tail)
        assert [row[:3] for row in rows[start:talk["count"]]] == tail, f"{kind}/{id}"
    assert seen or not doubled, "no conversation of two relations was looked at"


def check_figures(rows, found, small):
    shown = visible(rows)
    ids = {row[0]: row[1] for row in shown}  # of equal ones the last
    if found is None:
        assert not highest(rows), "it has messages, and no row"
        return
    newest, small_count, hidden, moment = found
    assert newest >= highest(rows)
    assert hidden == newest - len(ids), f"{hidden} hidden of {newest}, {len(ids)} shown"
    assert small_count == sum(author == small for author in ids.values())
    assert moment == (shown[-1][2] if shown else 0), (moment, found, shown[-3:])


def positions(site):
    return {(user, kind, target): id for user, kind, target, id in
            site.numbers("SELECT userId, type, convId, msgId FROM RTReadCursor")}


def check_positions(site, talks, relations, figures, doubled):
    ids = {pair: id for id, pair in relations.items()}
    found = positions(site)
    for user, entries in site.expected["unread"].items():
        for kind, target, count, cursor in entries:
            pair = tuple(sorted((int(user), target)))
            id = ids[pair] if kind == SINGLE else target
            if id in doubled if kind == SINGLE else str(target) not in site.expected["groups"]:
                continue
            top = highest(talks[kind, id])
            mine = found.get((int(user), kind, target), 0)
            assert min(mine, top) == min(cursor, top), f"{user}: {kind}/{target}: {mine}, not {cursor}"
            if kind == SINGLE:
                behind = sum(row[0] > mine and row[1] == target for row in visible(talks[kind, id]))
                assert behind == count, f"{user}: {kind}/{target}: {behind} unread, not {count}"


def check_groups(site, talks, figures):
    members, unused, found = collections.defaultdict(dict), set(), positions(site)
    for group, user, status, joined in site.numbers(
            f"SELECT groupId, userId, status, updated FROM `{site.name('IMGroupMember')}`"):
        assert (group, user) not in unused, "a member has two rows"
        unused.add((group, user))
        if status == 0:
            members[group][user] = joined
    sides = {(group, user): rest for group, user, *rest in
             site.numbers("SELECT groupId, userId, firstMsgId, shield, hiddenTo FROM RTGroupMember")}
    removed = {(user, group) for user, group in site.numbers(
        f"SELECT userId, peerId FROM `{site.name('IMRecentSession')}` WHERE type = 2 AND status <> 0")}
    counts = dict(site.numbers(f"SELECT id, userCnt FROM `{site.name('IMGroup')}` WHERE status = 0"))
    assert set(counts) == set(map(int, site.expected["groups"]))
    for id, group in ((int(id), group) for id, group in site.expected["groups"].items()):
        wanted = {int(user): joined for user, joined in group["members"].items()}
        assert members[id] == wanted, f"group {id}: {members[id]}, not {wanted}"
        assert counts[id] == len(wanted)
        newest = figures[GROUP, id][0] if (GROUP, id) in figures else 0
        assert newest + 1 == group["next"], f"group {id}: {newest}, next {group['next']}"
        rows = visible(talks[GROUP, id])
        for user, joined in wanted.items():
            first, muted, hidden_to = sides[id, user]
            assert first == min((row[0] for row in rows if row[2] >= joined), default=newest + 1)
            assert muted == int(user in group["muted"])
            read = found.get((user, GROUP, id), 0)
            assert hidden_to == (max(read, 1) if newest and (user, id) in removed else 0)
    assert {key for key in sides} == {(id, user) for id in counts for user in members[id]}
    for id in counts:
        check_figures(talks[GROUP, id], figures.get((GROUP, id)), -1)


def check_sessions(site, relations, figures, exact=True):
    rows = site.numbers(
        f"SELECT userId, peerId, type, status, updated FROM `{site.name('IMRecentSession')}`")
    found = {row[:3]: row[3:] for row in rows}
    assert len(found) == len(rows), "a session has two rows"
    for user, entries in site.expected["sessions"].items():
        for kind, peer, status, updated in entries:
            mine, moment = found[int(user), peer, kind]
            assert mine == status and (moment == updated if exact else moment >= updated), \
                f"{user} with {kind}/{peer}: {mine}, {moment}, not {status}, {updated}"
    hidden = {(user, peer): id for user, peer, id in
              site.numbers("SELECT userId, peerId, hiddenTo FROM RTSession WHERE type = 1")}
    for id, (small, big) in relations.items():
        newest = figures[SINGLE, id][0] if (SINGLE, id) in figures else 0
        for user, peer in ((small, big), (big, small)):
            if newest:
                status = found[user, peer, SINGLE][0]
                assert hidden.get((user, peer), 0) == (newest if status else 0), f"{user} with {peer}"


# ---- cases ----

SMALL = {"users": 64, "groups": 16, "pairs": 80, "messages": 3000}


def dry_run_changes_nothing(world):
    site = world.site(**SMALL)
    before = site.state()
    report = site.ctl("migrate", "--json")
    text = site.ctl("migrate")
    assert site.state() == before, "the dry run wrote"
    assert not report["applied"] and report["surveyed"] and len(report["statements"]) > 25, report
    assert "nothing was changed" in text and "--apply" in text, text
    counts = {finding["name"]: finding["count"] for finding in report["findings"]}
    dirt = site.made.dirt
    doubled = sum(len(relations) > 1 for relations in site.made.pairs.values())
    assert counts["relations_double"] == doubled > 0
    assert counts["members_double"] == dirt["duplicate_members"] > 0
    assert counts["sessions_untyped"] == dirt["sessions_of_no_kind"] > 0
    assert counts["users_locked"] == dirt["empty_passwords"] > 0
    assert counts["names_shared"] == dirt["duplicate_names"] > 0
    assert counts["groups_unused"] == dirt["deleted_groups"] > 0
    assert counts["departments_unsent"] == 1
    assert counts["ids_insane"] + counts.get("group_ids_insane", 0) == dirt["no_ids"] > 0
    assert counts["ids_double"] + counts.get("group_ids_double", 0) > 0
    assert counts["sounds_lost"] > 0
    rows = collections.Counter(row[1:4] for row in site.made.rows["IMRecentSession"] for row in [tuple(row)])
    assert counts["sessions_double"] == sum(count > 1 for count in rows.values()) > 0
    assert all(finding["examples"] for finding in report["findings"])
    assert 0 < report["taken"]["members_joined"] <= dirt["only_in_redis"]
    assert 0 < report["taken"]["members_left"] <= dirt["only_in_mysql"]
    assert report["taken"]["tokens_skipped"] == dirt["tokens_without_prefix"] > 0


def takes_over(world):
    for variant in layout.VARIANTS:
        for numbering in layout.REDIS_NUMBERS if variant == layout.INSTALLER else ("installer",):
            site = world.site(variant=variant, numbering=numbering)
            users = site.rows("IMUser")
            redis = site.redis_content()
            site.ctl("migrate", "--apply")
            check_taken(site)
            assert site.redis_content() == redis, "Redis was written to"
            if variant != layout.OLD:
                assert site.rows("IMUser") == users, "a user was changed"
            done = site.state()
            assert site.ctl("migrate", "--apply", "--json") == {"applied": True, "up_to_date": True}
            assert "up to date" in site.ctl("migrate")
            assert site.state() == done, "the second time wrote"


def survives_being_killed(world):
    clean = world.site(**SMALL)
    lines = clean.ctl("migrate", "--apply").count("\n")
    assert lines > 20
    wanted = clean.meaning()
    for every in (1, 7):  # killed at each line of progress, at some of them
        site = world.site(**SMALL)
        kills, at = 0, every
        while at < lines:
            process = site.start("migrate", "--apply")
            for _ in range(at):
                if not process.stdout.readline():
                    break
            process.kill()
            process.communicate()
            kills += process.returncode == -9
            at += every
        assert kills >= lines // every // 2, f"only {kills} were killed in time"
        site.ctl("migrate", "--apply")
        assert site.meaning() == wanted, f"killed {kills} times, something else came out"
        check_taken(site)
    print(f"  killed at each of {lines} lines")


def hands_back(world):
    site = world.site(**SMALL)
    site.ctl("migrate", "--apply")
    taken, groups = site.meaning(), site.rows("IMGroupMember")
    site.world.redis.flushall()  # it is not believed, and not needed
    report = site.ctl("handback", "--stopped", "--json")
    locked = {user["name"] for user in site.expected["users"].values()
              if not user["password"] and not user["status"]}
    assert set(report["without_password"]) == locked
    check_redis(site)
    assert site.rows("IMGroupMember") == groups
    assert "nothing was changed" in site.ctl("migrate"), "it can be looked at"
    state = site.state()
    site.ctl("handback", "--stopped", code=1)
    site.said("handed back already")
    assert site.state() == state
    site.ctl("migrate", "--apply")
    again = site.meaning()
    for table in ("RTConversation", "RTPushReg", "RTMerged", "RTSchema", "RTSession"):
        assert again[table] == taken[table], f"{table} differs after the way there and back"
    check_sessions(site, {id: (small, big) for id, small, big in
                          site.numbers("SELECT id, smallId, bigId FROM IMRelationShip")},
                   {(kind, id): rest for kind, id, *rest in
                    site.numbers("SELECT type, convId, newest, small, hidden, time FROM RTConversation")},
                   exact=False)
    check_unread(site)


def unread_counts(site):
    """By what our tables say: (user, type, target) -> messages of others behind what he read, if any."""
    talks, found, counts = site.all_messages(), positions(site), {}
    for user, peer, id in site.numbers("SELECT userId, peerId, hiddenTo FROM RTSession WHERE type = 1"):
        found[user, SINGLE, peer] = max(found.get((user, SINGLE, peer), 0), id)  # removing is reading
    for id, small, big in site.numbers("SELECT id, smallId, bigId FROM IMRelationShip"):
        rows = visible(talks[SINGLE, id])
        for user, peer in ((small, big), (big, small)):
            count = sum(row[0] > found.get((user, SINGLE, peer), 0) and row[1] == peer for row in rows)
            if count:
                counts[user, SINGLE, peer] = count
    for group, user, first, hidden_to in site.numbers(
            "SELECT groupId, userId, firstMsgId, hiddenTo FROM RTGroupMember"):
        position = max(found.get((user, GROUP, group), 0), first - 1, hidden_to)
        count = sum(row[0] > position for row in visible(talks[GROUP, group]))
        if count:
            counts[user, GROUP, group] = count
    return counts


def expected_counts(site):
    """The same, asked of Redis as the original's servers ask."""
    counts = {}
    with site.world.redis.resp(site.pool("unread")) as redis:
        for (user,) in site.numbers("SELECT id FROM IMUser"):
            flat = redis.do("HGETALL", f"unread_{user}")
            for peer, count in zip(flat[::2], flat[1::2]):
                if int(count):
                    counts[user, SINGLE, int(peer)] = int(count)
        for group, user in site.numbers("SELECT groupId, userId FROM RTGroupMember"):
            total = redis.do("HGET", f"{group}_im_group_msg", "count")
            copy = redis.do("HGET", f"{user}_{group}_im_user_group", "count")
            if int(total) > int(copy):
                counts[user, GROUP, group] = int(total) - int(copy)
    return counts


def check_unread(site):
    ghosts = {user for pair in site.made.pairs for user in pair if str(user) not in site.expected["users"]}
    ours = {key: count for key, count in unread_counts(site).items() if key[0] not in ghosts}
    theirs = expected_counts(site)
    assert ours == theirs, {key: (ours.get(key), theirs.get(key)) for key in set(ours) | set(theirs)
                            if ours.get(key) != theirs.get(key)}


def check_redis(site):
    """Everything that the original's servers ask of Redis."""
    check_unread(site)
    newest = {(kind, id): value for kind, id, value in
              site.numbers("SELECT type, convId, newest FROM RTConversation")}
    talks = site.all_messages()
    for key, rows in talks.items():
        newest[key] = max(newest.get(key, 0), highest(rows))
    with site.world.redis.resp(site.pool("unread")) as redis:
        for (id,) in site.numbers("SELECT id FROM IMRelationShip"):
            assert int(redis.do("GET", f"msg_id_{id}")) == newest.get((SINGLE, id), 0)
        for id in site.expected["groups"]:
            assert int(redis.do("GET", f"group_msg_id_{id}")) == newest.get((GROUP, int(id)), 0)
    for id, group in site.expected["groups"].items():
        with site.world.redis.resp(site.pool("group_member")) as redis:
            flat = redis.do("HGETALL", f"group_member_{id}")
            members = {user.decode(): int(joined) for user, joined in zip(flat[::2], flat[1::2])}
            assert members == group["members"], f"group {id}"
        with site.world.redis.resp(site.pool("group_set")) as redis:
            flat = redis.do("HGETALL", f"group_set_{id}")
            muted = sorted(int(name[:-2]) for name, on in zip(flat[::2], flat[1::2]) if on == b"1")
            assert muted == group["muted"]
    with site.world.redis.resp(site.pool("token")) as redis:
        for user, (kind, token) in site.expected["tokens"].items():
            assert redis.do("GET", f"device_{user}").decode() == f"{kind}:{token}"
            assert redis.do("GET", f"device_{token}").decode() == user


def busy_in_between(world):
    """What happens under ringtalk is there under the original, and what happens there is here again."""
    site = world.site(**SMALL)
    site.ctl("migrate", "--apply")
    id, newest = site.numbers("SELECT convId, newest FROM RTConversation WHERE type = 1 AND hidden = 0"
                              " AND newest > 10 ORDER BY convId LIMIT 1")[0]
    small, big = site.numbers(f"SELECT smallId, bigId FROM IMRelationShip WHERE id = {id}")[0]
    table, now = f"IMMessage_{id % 8}", int(time.time())
    for step in (1, 2, 3):
        site.do(f"INSERT INTO {table} (relateId, fromId, toId, msgId, content, type, status, updated,"
                f" created, rtSeq, rtKey, rtSmall) VALUES ({id}, {big}, {small}, {newest + step}, 'x', 1, 0,"
                f" {now}, {now}, {newest + step}, REPEAT('k', 16), 0)")
    for user, peer, read in ((small, big, newest + 1), (big, small, newest + 3)):
        site.do(f"REPLACE INTO RTReadCursor VALUES ({user}, 1, {peer}, {read}, {now})")
    # Both took it off their lists: one of them before the last message, the other behind it.
    site.do(f"REPLACE INTO RTSession VALUES ({small}, {big}, 1, {newest + 2}),"
            f" ({big}, {small}, 1, {newest + 3})")
    site.do(f"UPDATE IMRecentSession SET status = 1, updated = 5 WHERE type = 1"
            f" AND userId IN ({small}, {big}) AND peerId IN ({small}, {big})")
    group = next(int(id) for id, group in site.expected["groups"].items() if len(group["members"]) > 3)
    users = sorted(map(int, site.expected["groups"][str(group)]["members"]))
    top = site.numbers("SELECT COALESCE(MAX(newest), 0) FROM RTConversation WHERE type = 2"
                       f" AND convId = {group}")[0][0]
    site.do(f"INSERT INTO IMGroupMessage_{group % 8} (groupId, userId, msgId, content, type, status, updated,"
            f" created, rtSeq) VALUES ({group}, {users[0]}, {top + 1}, 'y', 17, 0, {now}, {now}, {top + 1})")
    for user in users:
        site.do(f"REPLACE INTO RTReadCursor VALUES ({user}, 2, {group}, {top}, {now})")
    site.do(f"UPDATE RTGroupMember SET hiddenTo = 0 WHERE groupId = {group}")
    site.do(f"UPDATE RTGroupMember SET hiddenTo = {top} WHERE groupId = {group} AND userId = {users[1]}")
    site.do(f"DELETE FROM IMRecentSession WHERE type = 2 AND peerId = {group}"
            f" AND userId = {users[2]}")
    site.do("INSERT INTO RTLane VALUES (0, 7)")
    site.do("REPLACE INTO RTPassword VALUES (1, 'hash', 'p', 's')")

    site.ctl("handback", "--stopped")
    counts = expected_counts(site)
    assert counts[small, SINGLE, big] == 1, "its removal read the second, the third is new"
    assert (big, SINGLE, small) not in counts
    assert counts[users[2], GROUP, group] == 1
    assert (users[0], GROUP, group) not in counts, "an author has read"
    lists = {row[:3]: row[3:] for row in
             site.numbers("SELECT userId, peerId, type, status, updated FROM IMRecentSession")}
    assert lists[small, big, SINGLE] == (0, now), lists[small, big, SINGLE]
    assert lists[big, small, SINGLE] == (1, 5), lists[big, small, SINGLE]
    assert lists[users[0], group, GROUP] == (0, now)
    assert lists[users[1], group, GROUP][0] == 1, "a removed group stays removed"
    assert lists[users[2], group, GROUP] == (0, now), "a member without a row has one"
    assert site.numbers(f"SELECT lastChated FROM IMGroup WHERE id = {group}")[0][0] == now
    assert site.numbers("SELECT COUNT(*) FROM RTSchema WHERE name = 'version'")[0][0] == 0

    # The original goes on: its rows know nothing of ours.
    with world.redis.resp(site.pool("unread")) as redis:
        next_id = redis.do("INCRBY", f"msg_id_{id}", 1)
        assert next_id == newest + 4
        redis.do("HINCRBY", f"unread_{big}", small, 1)
    site.do(f"INSERT INTO {table} (relateId, fromId, toId, msgId, content, type, status, updated, created)"
            f" VALUES ({id}, {small}, {big}, {next_id}, 'z', 1, 0, {now}, {now})")
    site.do(f"UPDATE IMRecentSession SET status = 0, updated = {now} WHERE type = 1"
            f" AND userId IN ({small}, {big}) AND peerId IN ({small}, {big})")
    site.ctl("migrate", "--apply")
    assert site.numbers(f"SELECT newest, hidden FROM RTConversation WHERE type = 1 AND convId = {id}") == [
        (next_id, 0)]
    for n in TABLES:
        for ours in (f"IMMessage_{n} WHERE rtSmall IS NOT NULL OR", f"IMGroupMessage_{n} WHERE"):
            assert site.numbers(f"SELECT COUNT(*) FROM {ours} rtSeq IS NOT NULL") == [(0,)]
    check_unread(site)
    assert site.numbers("SELECT COUNT(*) FROM RTPassword") == [(1,)], "the better hashes stay"


def refuses(world):
    site = world.site(**SMALL)
    plain = site.options_of_ctl()

    def untouched(*words, options=None, says=()):
        before = site.state()
        site.ctl("migrate", *words, code=1, options=options)
        site.said(*says)
        assert site.state() == before, f"{words} wrote"

    closed = servers.free_port()
    away = [word.replace(world.redis.address, f"127.0.0.1:{closed}") if word.startswith("token=") else word
            for word in plain]
    untouched("--apply", options=away, says=("token", "connect"))
    mysql = plain.index("--mysql") + 1
    untouched("--apply", options=[*plain[:mysql], f"127.0.0.1:{closed}", *plain[mysql + 1:]],
              says=("cannot connect to MySQL",))
    secret = plain.index("--password-file") + 1
    untouched("--apply", options=[*plain[:secret], os.devnull, *plain[secret + 1:]], says=("cannot read",))
    untouched("--apply", options=[*plain, "--redis-pool", "nonsense=127.0.0.1:1/2"], says=("--redis-pool",))
    with world.redis.resp(site.pool("unread")) as redis:
        redis.do("SET", "last_update_group", int(time.time()))
    untouched("--apply", says=("have to be stopped", "--stopped"))
    site.ctl("migrate")
    site.said("have to be stopped")
    with world.redis.resp(site.pool("unread")) as redis:
        redis.do("SET", "last_update_group", 1)
    site.do("ALTER TABLE IMMessage_3 CHANGE fromId sender int unsigned not null")
    untouched("--apply", says=("IMMessage_3 has no column fromId",))
    site.do("ALTER TABLE IMMessage_3 CHANGE sender fromId int unsigned not null")
    site.ctl("handback", "--stopped", code=1)
    site.said("ringtalkctl migrate")
    site.ctl("migrate", "--apply")
    site.do("UPDATE RTSchema SET value = 99")
    untouched("--apply", says=("newer version (99)",))
    site.ctl("handback", "--stopped", code=1)
    site.said("newer version")


def of_an_empty_database(world):
    site = world.site(**SMALL)
    empty = Deployment(world, world.new_database(), site.options, site.made, site.expected)
    servers.Sql(world.address).do(f"CREATE DATABASE {empty.database}")
    assert "empty" in empty.ctl("migrate", "--without-redis")
    assert empty.tables() == []
    empty.ctl("migrate", "--apply", "--without-redis")
    assert empty.ctl("migrate", "--json")["up_to_date"]
    assert set(layout.tables(layout.INSTALLER)) < set(empty.tables())


def without_redis(world):
    site = world.site(**SMALL)
    site.ctl("migrate", "--apply", "--without-redis")
    assert sum(map(len, site.all_messages().values())) == site.expected["messages"]
    assert unread_counts(site) == {}, "everything counts as read"
    assert site.numbers("SELECT COUNT(*) FROM RTPushReg") == [(0,)]


def from_dbproxy_conf(world):
    site = world.site(**SMALL)
    path = site.dbproxy_conf("teamtalk_slave_host=other.example\n")
    sections = site.ctl("migrate", "--print-config", options=["--dbproxy-conf", path])
    assert f"database = \"{site.database}\"" in sections and "group_member_db = 5" in sections, sections
    assert "read_host = " in sections and "\npassword" not in sections, sections
    site.ctl("migrate", "--apply", options=["--dbproxy-conf", path])
    check_taken(site)


def a_large_one(world, messages):
    users = max(200, messages // 200)
    site = world.site(users=users, groups=max(30, users // 20), pairs=max(300, messages // 25),
                      messages=messages)
    begun = time.monotonic()
    site.ctl("migrate", "--json")
    looked = time.monotonic()
    site.ctl("migrate", "--apply")
    done = time.monotonic()
    print(f"  {site.expected['messages']} messages: looked at in {looked - begun:.1f} s, taken over in"
          f" {done - looked:.1f} s")
    check_taken(site)
    site.ctl("handback", "--stopped")
    print(f"  handed back in {time.monotonic() - done:.1f} s (and checked)")


CASES = [dry_run_changes_nothing, takes_over, survives_being_killed, hands_back, busy_in_between, refuses,
         of_an_empty_database, without_redis, from_dbproxy_conf]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ringtalkctl", required=True)
    parser.add_argument("--messages", type=int, default=0, help="only: a deployment of that size, with times")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    try:
        world = World(os.path.abspath(args.ringtalkctl))
    except servers.Unavailable as problem:
        print(problem)
        return 77  # meson: skipped
    try:
        if args.messages:
            a_large_one(world, args.messages)
            return 0
        for case in CASES:
            if args.only in case.__name__:
                print(case.__name__, flush=True)
                case(world)
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

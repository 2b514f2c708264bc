#!/usr/bin/env python3
"""Reads a TeamTalk deployment by plain queries, and says what generate.py's expectations.json says.

    reference.py EXPECTATIONS --mysql HOST:PORT:USER:PASSWORD --database NAME --redis HOST:PORT

compares the two and exits 1 at a difference. It shares no code with the engine, and with the generator only
the layout and the form of the answer: where all three agree, none of them made it up.
"""

import argparse
import collections
import json
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import servers  # noqa: E402
from teamtalk import layout  # noqa: E402
from teamtalk.generate import NO_ID, TAIL, below, content_mark, digest  # noqa: E402


class Reference:
    def __init__(self, mysql, database, redis, variant=layout.INSTALLER, numbering="installer"):
        """mysql, redis: addresses as in RINGTALK_TEST_*; redis may be None: it is away. What was read once
        is not read again: make another one when something changed."""
        self.client, self.variant = servers.Sql(mysql, database), variant
        self.read = {}  # (kind, number of the table) -> conversation -> its messages
        self.pools = {pool: {} for pool in layout.REDIS_NUMBERS[numbering]}
        if redis:
            host, _, port = redis.rpartition(":")
            for pool, number in layout.REDIS_NUMBERS[numbering].items():
                with servers.Resp((host, int(port)), number) as resp:
                    self.pools[pool] = read_all(resp)

    def rows(self, columns, table, rest=""):
        """Texts and numbers; NULL is None. Texts are asked for in hex: a text may be the word NULL."""
        name = layout.table_name(table, self.variant)
        wanted = ", ".join(f"hex({c[5:]})" if c.startswith("text ") else c for c in columns)
        texts = [c.startswith("text ") for c in columns]
        return [[None if cell == "NULL" else bytes.fromhex(cell).decode() if text else int(cell)
                 for cell, text in zip(row, texts)]
                for row in self.client.do(f"SELECT {wanted} FROM `{name}` {rest}")]

    # ---- people ----

    def users(self):
        shield = "0" if self.variant == layout.OLD else "push_shield_status"
        return {str(id): {"name": name, "nick": nick, "status": status, "departId": depart,
                          "sign": sign or "", "shield": quiet, "updated": updated, "has_password": bool(password)}
                for id, name, nick, status, depart, sign, quiet, updated, password in self.rows(
                    ["id", "text name", "text nick", "status", "departId", "text sign_info", shield,
                     "updated", "text password"], "IMUser")}

    def names(self):
        return {name: id for name, id in self.rows(["text name", "max(id)"], "IMUser",
                                                   "WHERE status = 0 GROUP BY name")}

    def tokens(self):
        out = {}
        for key, value in self.pools["token"].items():
            kind, found, token = value.partition(":") if isinstance(value, str) else ("", "", "")
            owner = key.removeprefix("device_")
            if found and kind in ("ios", "android") and token and owner.isdigit():
                out[owner] = [kind, token]
        return out

    # ---- groups ----

    def groups(self):
        """Members as Redis has them if it has the group, else as MySQL has them."""
        stored = collections.defaultdict(dict)
        for group, user, updated in self.rows(["groupId", "userId", "max(updated)"], "IMGroupMember",
                                              "WHERE status = 0 GROUP BY groupId, userId"):
            stored[group][user] = updated
        out = {}
        for id, name, creator, type, version in self.rows(
                ["id", "text name", "creator", "type", "version"], "IMGroup", "WHERE status = 0"):
            hashed = self.pools["group_member"].get(f"group_member_{id}")
            members = stored[id] if hashed is None else {int(u): int(t) for u, t in hashed.items()}
            muted = self.pools["group_set"].get(f"group_set_{id}", {})
            out[str(id)] = {"name": name, "creator": creator, "type": type, "version": version,
                            "members": {str(user): joined for user, joined in sorted(members.items())},
                            "muted": sorted(int(key[:-2]) for key, value in muted.items() if value == "1"),
                            "next": self.next(self.group_highest().get(id, 0), f"group_msg_id_{id}")}
        return out

    def group_highest(self):
        if not hasattr(self, "_group_highest"):
            self._group_highest = self.highest("IMGroupMessage", "groupId")
        return self._group_highest

    def highest(self, table, column):
        out = {}
        for number in range(layout.MESSAGE_TABLES):
            out |= dict(self.rows([column, "max(msgId)"], f"{table}_{number}",
                                  f"WHERE msgId <> {NO_ID} GROUP BY {column}"))
        return out

    def next(self, highest, key):
        return max(highest, int(self.pools["unread"].get(key, 0))) + 1

    # ---- conversation lists ----

    def sessions(self, users, groups):
        best = {int(user): {} for user in users}
        for user, peer, kind, status, updated in self.rows(["userId", "peerId", "type", "status", "updated"],
                                                           "IMRecentSession"):
            members = groups.get(str(peer), {"members": ()})["members"]
            there = kind == 1 and str(peer) in users or kind == 2 and str(user) in members
            if user in best and there:
                ranked = status == 0, updated, status
                if ranked > best[user].get((kind, peer), (False, -1, 0)):
                    best[user][kind, peer] = ranked
        return {str(user): [[kind, peer, status, updated]
                            for (kind, peer), (_, updated, status) in sorted(sessions.items())]
                for user, sessions in best.items()}

    # ---- messages ----

    def relations(self):
        """(small, big) -> relations, the one with most messages first."""
        count = collections.Counter()
        for number in range(layout.MESSAGE_TABLES):
            table = f"IMMessage_{number}"
            count.update(dict(self.rows(["relateId", "count(*)"], table, "GROUP BY relateId")))
        out = collections.defaultdict(list)
        for id, small, big in self.rows(["id", "smallId", "bigId"], "IMRelationShip"):
            out[small, big].append(id)
        return {pair: sorted(ids, key=lambda id: -count[id]) for pair, ids in out.items()}

    def listed(self, kind, id):
        """[msgId, author, created, type, content's md5] in the order of a reader."""
        number = id % layout.MESSAGE_TABLES
        if (kind, number) not in self.read:
            table, owner, author = (("IMMessage", "relateId", "fromId") if kind == 1
                                    else ("IMGroupMessage", "groupId", "userId"))
            talks = self.read[kind, number] = collections.defaultdict(list)
            for talk, *line, mark in self.rows(
                    [owner, "msgId", author, "created", "type", "text md5(content)"], f"{table}_{number}",
                    f"WHERE status = 0 AND msgId <> {NO_ID} ORDER BY {owner}, msgId, created, id"):
                talks[talk].append([*line, mark or "NULL"])
        return self.read[kind, number][id]

    def conversation(self, kind, id, relations=None):
        """relations: of relations(), for a single one."""
        lines = self.listed(kind, id)
        pair, others = (), []
        if kind == 1:
            for (small, big), ids in (relations or self.relations()).items():
                if id in ids:
                    pair, others = [small, big], [other for other in ids if other != id]
        highest = (self.single_highest() if kind == 1 else self.group_highest()).get(id, 0)
        return {"type": kind, "id": id, "users": list(pair), "others": others,
                "next": self.next(highest, f"{'msg_id' if kind == 1 else 'group_msg_id'}_{id}"),
                "newest": highest, "count": len(lines), "digest": digest(lines), "tail": lines[-TAIL:]}

    def single_highest(self):
        if not hasattr(self, "_single_highest"):
            self._single_highest = self.highest("IMMessage", "relateId")
        return self._single_highest

    def unread(self, users, groups, relations):
        out = {user: [] for user in users}
        for pair, ids in relations.items():
            lines = self.listed(1, ids[0])
            for user, peer in (pair, pair[::-1]):
                if str(user) not in users:
                    continue
                count = int(self.pools["unread"].get(f"unread_{user}", {}).get(str(peer), 0))
                theirs = [line[0] for line in lines if line[1] == peer]
                cursor = below(theirs, count) if count > 0 else self.single_highest().get(ids[0], 0)
                out[str(user)].append([1, peer, sum(id > cursor for id in theirs), cursor])
        for id, group in groups.items():
            lines = self.listed(2, int(id))
            highest = self.group_highest().get(int(id), 0)
            total = self.pools["unread"].get(f"{id}_im_group_msg", {}).get("count")
            for user, joined in group["members"].items():
                first = min((line[0] for line in lines if line[2] >= joined), default=highest + 1)
                copy = self.pools["unread"].get(f"{user}_{id}_im_user_group", {}).get("count")
                cursor = highest
                if total is not None and copy is None:
                    cursor = first - 1
                elif total is not None and int(total) > int(copy):
                    cursor = below([line[0] for line in lines], int(total) - int(copy))
                count = sum(line[0] > cursor and line[0] >= first and line[1] != int(user) for line in lines)
                out[user].append([2, int(id), count, cursor])
        return {user: sorted(found) for user, found in out.items()}

    # ---- behind a take-over: what docs/MIGRATE.md makes of it ----

    def appended(self, relations):
        """Main relation -> [msgId, author, created, type, mark, status] of what comes behind its own."""
        if not hasattr(self, "_appended"):
            doubled = {ids[0]: ids[1:] for ids in relations.values() if len(ids) > 1}
            rows = self.rows_of({id for main, others in doubled.items() for id in (main, *others)})
            self._appended = {}
            for main, others in doubled.items():
                last = max((created for created, *_ in rows[main]), default=0)
                late = sorted((row for other in others for row in rows[other] if row[0] > last),
                              key=lambda row: row[:2])
                first = self.next(self.single_highest().get(main, 0), f"msg_id_{main}")
                self._appended[main] = [[first + at, author, created, type, mark or "NULL", status]
                                        for at, (created, _, author, type, mark, status) in enumerate(late)]
        return self._appended

    def rows_of(self, relations):
        """Relation -> [created, id, author, type, mark, status], whatever is hidden."""
        out = collections.defaultdict(list)
        for number in range(layout.MESSAGE_TABLES):
            here = ", ".join(str(id) for id in sorted(relations) if id % layout.MESSAGE_TABLES == number)
            for id, *row in self.rows(["relateId", "created", "id", "fromId", "type", "text md5(content)",
                                       "status"], f"IMMessage_{number}",
                                      f"WHERE relateId IN ({here})") if here else ():
                out[id].append(row)
        return out

    def served(self, kind, id, relations):
        """The newest id, and the lines of listed() that a client gets: of an id several have, the last."""
        late = self.appended(relations).get(id, ()) if kind == 1 else ()
        highest = (self.single_highest() if kind == 1 else self.group_highest()).get(id, 0)
        newest = self.next(highest, f"{'msg_id' if kind == 1 else 'group_msg_id'}_{id}") - 1 + len(late)
        lines = {line[0]: line for line in self.all_lines(kind, id, late)}
        return newest, [lines[number] for number in sorted(lines)]

    def all_lines(self, kind, id, late):
        return ([line for line in self.listed(kind, id) if line[0] > 0]
                + [line[:5] for line in late if line[5] == 0])

    def first_of(self, group, joined):
        """The first message that a member may see."""
        newest, lines = self.served(2, group, None)
        return min((line[0] for line in lines if line[2] >= joined), default=newest + 1)

    def sounds(self):
        """The mark of a sound message -> its duration, and whether the image server has it."""
        return {content_mark(str(id)): (duration, bool(path and size and duration)) for
                id, path, size, duration in self.rows(["id", "text path", "size", "duration"], "IMAudio")}

    def lists_of(self, wanted, users, groups, relations):
        """User -> his conversations with a message: (kind, peer) -> (unread, on his list, newest line)."""
        # A peer whose row somebody deleted stays on the list: the original does not look for one.
        ghosts = {str(user): None for pair in relations for user in pair}
        sessions = {user: {(kind, peer): status for kind, peer, status, _ in rows}
                    for user, rows in self.sessions(users | ghosts, groups).items()}
        out = {user: {} for user in wanted}
        for pair, ids in relations.items():
            for user, peer in (pair, pair[::-1]):
                if user in out:
                    found = self.pair_of(user, peer, ids[0], sessions[str(user)], relations)
                    out[user] |= {(1, peer): found} if found else {}
        for id, group in groups.items():
            for user, joined in ((int(user), joined) for user, joined in group["members"].items()):
                if user in out:
                    found = self.membership_of(user, int(id), joined, sessions[str(user)])
                    out[user] |= {(2, int(id)): found} if found else {}
        return out

    def pair_of(self, user, peer, id, sessions, relations):
        _, lines = self.served(1, id, relations)
        if not lines:
            return None
        if sessions.get((1, peer), 1) != 0:
            return 0, False, lines[-1]  # removing is reading; a row that is missing is a removed one
        count = int(self.pools["unread"].get(f"unread_{user}", {}).get(str(peer), 0))
        late = self.appended(relations).get(id, ())
        theirs = [line[0] for line in self.all_lines(1, id, late) if line[1] == peer]
        position = below(theirs, count) if count > 0 else lines[-1][0]
        return sum(line[0] > position and line[1] == peer for line in lines), True, lines[-1]

    def membership_of(self, user, id, joined, sessions):
        """In a group his own messages count as others' do: the original's counters do not tell them apart."""
        newest, lines = self.served(2, id, None)
        first = self.first_of(id, joined)
        if not lines or lines[-1][0] < first:
            return None
        total = self.pools["unread"].get(f"{id}_im_group_msg", {}).get("count")
        copy = self.pools["unread"].get(f"{user}_{id}_im_user_group", {}).get("count")
        position = newest
        if total is not None and copy is None:
            position = first - 1
        elif total is not None and int(total) > int(copy):
            position = below([line[0] for line in self.all_lines(2, id, ())], int(total) - int(copy))
        removed = sessions.get((2, id), 0) != 0
        position = max(position, first - 1, int(removed))
        return sum(line[0] > position for line in lines), not removed, lines[-1]

    def answer(self, sampled):
        """All of it; sampled: [(type, id)]."""
        users, groups, relations = self.users(), self.groups(), self.relations()
        return {"users": users, "names": self.names(), "tokens": self.tokens(), "groups": groups,
                "sessions": self.sessions(users, groups), "unread": self.unread(users, groups, relations),
                "conversations": [self.conversation(kind, id, relations) for kind, id in sampled]}


def read_all(resp):
    """Strings and hashes of a database."""
    keys, cursor = [], b"0"
    while True:
        cursor, found = resp.do("SCAN", cursor, "COUNT", 1000)
        keys += found
        if cursor == b"0":
            break
    keys = sorted(set(keys))
    kinds = resp.many([("TYPE", key) for key in keys]) if keys else []
    values = resp.many([("GET" if kind == b"string" else "HGETALL", key) for key, kind in zip(keys, kinds)])
    out = {}
    for key, value in zip(keys, values):
        if isinstance(value, list):
            value = {value[at].decode(): value[at + 1].decode() for at in range(0, len(value), 2)}
        out[key.decode()] = value if isinstance(value, dict) else value.decode()
    return out


def differences(expected, found, place=""):
    """The places where they are not the same, in words."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys(), key=str):
            if key not in found:
                yield f"{place}/{key} is missing"
            elif key not in expected:
                yield f"{place}/{key} is there: {str(found[key])[:80]}"
            else:
                yield from differences(expected[key], found[key], f"{place}/{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found)):
            yield from differences(one, other, f"{place}/{index}")
    elif expected != found:
        yield f"{place}: {str(found)[:120]} instead of {str(expected)[:120]}"


def compare(expectations, reference):
    """reference: a Reference. Returns the differences."""
    wanted = {key: expectations[key] for key in ("users", "names", "tokens", "groups", "sessions", "unread",
                                                 "conversations")}
    wanted["users"] = {id: {key: value for key, value in user.items() if key != "password"}
                       | {"has_password": user["password"] is not None}
                       for id, user in wanted["users"].items()}
    found = reference.answer([(talk["type"], talk["id"]) for talk in wanted["conversations"]])
    return list(differences(wanted, found))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("expectations", help="expectations.json of generate.py")
    parser.add_argument("--mysql", required=True, help="HOST:PORT:USER:PASSWORD")
    parser.add_argument("--database", default="teamtalk")
    parser.add_argument("--redis", required=True, help="HOST:PORT")
    args = parser.parse_args(argv)
    expectations = json.loads(pathlib.Path(args.expectations).read_text("utf-8"))
    options = expectations["options"]
    found = compare(expectations, Reference(args.mysql, args.database, args.redis, options["variant"],
                                            options["numbering"]))
    for line in found[:50]:
        print(line)
    print(f"{len(expectations['conversations'])} conversations compared, {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

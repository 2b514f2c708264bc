#!/usr/bin/env python3
"""Makes a TeamTalk deployment as sites have them: MySQL rows, Redis keys, and the dirt of years in both.

    generate.py --out DIR [--messages 1000000 …]           files only
    generate.py --mysql HOST:PORT:USER:PASSWORD --database NAME [--redis HOST:PORT] …   and loads them

The same options and seed give the same bytes. expectations.json says what whoever opens the deployment has to
find, computed from what was meant, not from what was stored; reference.py asks the database instead.

Files    schema.sql, TABLE.tsv, redis.jsonl ([pool, command…] a line), expectations.json, and with sounds the
         image server's tree in sounds/
Dirt     see DIRT; each kind is there at least once if the site is not tiny (64 users, 16 groups, 80 pairs)
"""

import argparse
import base64
import collections
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import servers  # noqa: E402
from teamtalk import layout  # noqa: E402

NO_ID = 4294967295  # what a failed INCRBY became
EPOCH = 1_500_000_000
SINGLE, GROUP = 1, 2
TAIL = 200  # messages of a sampled conversation that are told one by one; the digest is over all
SHOWN = 0   # status of a message, session, member, group or user that counts

DIRT = """repeated_ids no_ids doubled_relations duplicate_sessions hidden_duplicates duplicate_members
deleted_groups empty_passwords duplicate_names left_users null_contents sounds_without_path sounds_without_row
only_in_redis only_in_mysql groups_without_hash empty_tokens tokens_without_prefix counters_behind
counters_missing counters_ahead deleted_messages unread_above_messages totals_missing copies_missing
peers_gone sessions_of_no_kind strangers_in_groups""".split()


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Options:
    seed: int = 1
    users: int = 200
    groups: int = 30
    pairs: int = 300
    messages: int = 10_000
    sample: int = 1000
    variant: str = layout.INSTALLER
    numbering: str = "installer"


@dataclasses.dataclass
class Message:
    """A row of a message table; id is known when all of them are."""
    __slots__ = ("created", "order", "conversation", "author", "msg_id", "number", "type", "status", "id")
    created: int
    order: int         # breaks ties of created
    conversation: object
    author: int
    msg_id: int
    number: object     # of the text, of the sound (type 2 and 18), or None: NULL
    type: int
    status: int
    id: int


class Conversation:
    """A relation or a group, and its messages."""

    def __init__(self, kind, id, one, other=0):
        self.kind, self.id, self.one, self.other = kind, id, one, other
        self.messages = []
        self.counter = None  # in Redis

    def listed(self):
        """What a reader gets, in its order."""
        shown = [m for m in self.messages if m.status == SHOWN and m.msg_id != NO_ID]
        return sorted(shown, key=lambda m: (m.msg_id, m.created, m.id))

    def highest(self):
        return max((m.msg_id for m in self.messages if m.msg_id != NO_ID), default=0)

    def next(self):
        return max(self.highest(), self.counter or 0) + 1


class Site:
    def __init__(self, options):
        self.options = options
        self.dirt = collections.Counter({kind: 0 for kind in DIRT})
        self.rows = {name: [] for name in layout.tables(options.variant)}
        self.redis = []  # [pool, command…]
        self.audio = []  # path or None, by number - 1
        self.texts = 0
        self.key = hashlib.blake2b(str(options.seed).encode()).digest()
        self.make_people()
        self.make_groups()
        self.make_pairs()
        self.make_messages()
        self.number_messages()
        self.make_sessions()
        self.make_unread()
        self.make_tokens()
        self.make_rest()

    def random(self, part):
        """Parts do not disturb each other's numbers."""
        return random.Random(f"{self.options.seed}/{part}")

    def note(self, kind, condition=True):
        if condition:
            self.dirt[kind] += 1
        return condition

    def command(self, pool, *words):
        self.redis.append([pool, *map(str, words)])

    # ---- users and departments ----

    def make_people(self):
        pick = self.random("people")
        old = self.options.variant == layout.OLD
        for number in range(1, 12):
            # Number 3 was deleted; 5 was inserted by hand and is never sent to clients.
            self.rows["IMDepart"].append([number, f"部门 {number}", number % 4, number // 4, int(number == 3),
                                          EPOCH, 0 if number == 5 else EPOCH + number])
        self.users = {}
        for number in range(self.options.users):
            id = 1 + number + number // 50  # ids have gaps
            plain, salt = f"pass{id}", str(pick.randrange(10_000))
            password, status = md5(md5(plain) + salt), 0
            name = f"user{id:05}"
            if number % 20 == 7:
                password = salt = ""
                self.note("empty_passwords")
            elif number % 25 == 11:
                status = 3
                self.note("left_users")
            elif number % 50 == 49:
                name = self.users[last]["name"]  # noqa: F821 (the row before is an ordinary one)
                self.note("duplicate_names")
            last = id
            sign = None if old and number % 9 == 0 else f"签名 {id} 😀"[:pick.randrange(12)]
            user = {"name": name, "nick": f"用户{id}" + "🙂" * (number % 13 == 0), "status": status,
                    "departId": pick.randrange(1, 12), "sign": sign or "",
                    "shield": 0 if old else int(number % 10 == 3), "password": plain if password else None,
                    "updated": EPOCH + pick.randrange(10_000_000)}
            self.users[id] = user
            row = {"id": id, "sex": number % 3, "name": name, "domain": f"yonghu{id}",
                   "nick": user["nick"], "password": password, "salt": salt,
                   "phone": f"1{id:010}"[:11], "email": f"{id}@example.com",
                   "avatar": None if number % 17 == 0 else f"/g0/000/000/{id}.png",
                   "departId": user["departId"], "status": status, "created": EPOCH,
                   "updated": user["updated"], "push_shield_status": user["shield"], "sign_info": sign}
            self.rows["IMUser"].append([row[column] for column in layout.user_columns(self.options.variant)])
        self.ids = list(self.users)

    def names(self):
        """Who logs in by a name: of those who are active the one with the highest id."""
        return {user["name"]: id for id, user in sorted(self.users.items()) if user["status"] == 0}

    # ---- groups ----

    def make_groups(self):
        pick = self.random("groups")
        self.groups = {}  # id -> {…, members: {user: join time}} as they have to be found
        self.group_conversations = {}
        rows = []
        for number in range(self.options.groups):
            id = number + 1
            size = min(len(self.ids) // 2, pick.choice((2, 3, 5, 8, 20, 60, 200)))
            members = {user: EPOCH + pick.randrange(1000, 2_000_000) for user in pick.sample(self.ids, size)}
            status = int(self.note("deleted_groups", number % 10 == 9))
            creator = next(iter(members)) if number % 3 else 0
            group = {"name": f"群 {id}", "creator": creator, "type": 1 + number % 2, "version": size,
                     "status": status, "members": members, "muted": []}
            stored, hashed = dict(members), dict(members)
            missing = next(iter(members))
            match number % 7:
                case 1:
                    del stored[missing]
                    self.note("only_in_redis")
                case 2:
                    stored[self.outsider(pick, members)] = EPOCH + 5  # not in the hash: not a member
                    self.note("only_in_mysql")
                case 3:
                    rows.append((id, missing, 1, EPOCH, EPOCH + 10))
                    rows.append((id, missing, 0, EPOCH, EPOCH + 11))
                    self.note("duplicate_members")
                case 4:
                    hashed = {}
                    self.note("groups_without_hash")
                case 5:
                    rows.append((id, self.outsider(pick, members), 1, EPOCH, EPOCH + 12))  # left
            rows += [(id, user, 0, joined, joined) for user, joined in stored.items()]
            for user, joined in hashed.items():
                self.command("group_member", "HSET", f"group_member_{id}", user, joined)
            for user in list(members)[1:4] if number % 5 == 0 else ():
                self.command("group_set", "HSET", f"group_set_{id}", f"{user}_1", 1)
                group["muted"].append(user)
            if number % 5 == 1:
                self.command("group_set", "HSET", f"group_set_{id}", f"{missing}_1", 0)
            self.rows["IMGroup"].append([
                id, group["name"], "", creator, group["type"], 2 * size if number % 4 == 0 else size, status,
                size, 0, EPOCH, EPOCH + 500])
            self.groups[id] = group
            self.group_conversations[id] = Conversation(GROUP, id, id)
        pick.shuffle(rows)
        self.rows["IMGroupMember"] = [[number, *row] for number, row in enumerate(rows, 1)]

    def outsider(self, pick, members):
        while (user := pick.choice(self.ids)) in members:
            pass
        return user

    # ---- relations ----

    def make_pairs(self):
        pick = self.random("pairs")
        self.relations = []  # Conversation, by relation id - 1
        self.pairs = {}      # (small, big) -> [Conversation], the main one first
        again = []
        wanted = min(self.options.pairs, len(self.ids) * (len(self.ids) - 1) // 4)
        while len(self.pairs) < wanted:
            pair = tuple(sorted(pick.sample(self.ids, 2)))
            if len(self.pairs) == 10:
                pair = (self.ids[0], self.ids[-1] + 1000)  # his row was deleted by hand
                self.note("peers_gone")
            if pair in self.pairs:
                continue
            self.pairs[pair] = [self.relate(pick, pair)]
            if len(self.pairs) % 40 == 20:
                again.append(pair)
            if again and len(self.pairs) % 40 == 39:  # the slave lagged
                pair = again.pop()
                self.pairs[pair].append(self.relate(pick, pair))
                self.note("doubled_relations")

    def relate(self, pick, pair):
        id = len(self.relations) + 1
        created = EPOCH + id
        self.rows["IMRelationShip"].append([id, *pair, 0, created, created + pick.randrange(1000)])
        self.relations.append(Conversation(SINGLE, id, *pair))
        return self.relations[-1]

    # ---- messages ----

    def make_messages(self):
        """How many each conversation has: few much, many little, and some none."""
        pick = self.random("messages")
        main = [relations[0] for relations in self.pairs.values()]
        second = [relation for relations in self.pairs.values() for relation in relations[1:]]
        talks = main + list(self.group_conversations.values())
        pick.shuffle(talks)
        weights = [(rank + 10) ** -0.7 for rank in range(len(talks))]
        left = self.options.messages - 3 * len(second)
        share = left / sum(weights)
        self.order = 0
        for rank, talk in enumerate(talks):
            count = 0 if rank % 97 == 96 else int(weights[rank] * share)
            if talk.kind == SINGLE and len(self.pairs[talk.one, talk.other]) > 1:
                count = max(count, 8)
            self.talk(pick, talk, count, rank)
        for relation in second:
            self.talk(pick, relation, 3, 1)

    def talk(self, pick, talk, count, rank):
        time, next_id = EPOCH + pick.randrange(1_000_000), 1
        if talk.kind == GROUP:
            authors = list(self.groups[talk.id]["members"])
            if rank % 4 == 0:
                authors.append(self.outsider(pick, self.groups[talk.id]["members"]))  # he left since
                self.note("strangers_in_groups", count > 0)
        else:
            authors = [talk.one, talk.other]
        lost_at = count // 2 if rank % 30 == 5 and count > 20 else -1
        for number in range(count):
            if number == lost_at:  # Redis came back with an old counter
                next_id -= pick.randrange(5, 10)
                self.note("repeated_ids")
            time += int(pick.expovariate(1 / 300))
            id = next_id
            if number and pick.random() < 0.01:
                next_id += pick.randrange(1, 4)  # inserts that failed
                id = next_id
            next_id += 1
            if rank % 25 == 3 and number % 50 == 7:
                id, next_id = NO_ID, next_id - 1
                self.note("no_ids")
            # The clock of another server: nearly, not strictly in the order of ids.
            created = time - 5 if pick.random() < 0.01 else time
            type, content = self.content(pick, talk)
            status = int(self.note("deleted_messages", pick.random() < 0.01))
            self.order += 1
            talk.messages.append(Message(created, self.order, talk, pick.choice(authors), id, content, type,
                                         status, 0))
        self.count_in_redis(talk, rank)

    def content(self, pick, talk):
        """Type and number of a text or sound."""
        chance = pick.random()
        if chance < 0.03:
            return (2 if talk.kind == SINGLE else 18), self.sound(pick, talk)
        if chance < 0.033 and talk.kind == SINGLE:
            self.note("null_contents")
            return 1, None
        self.texts += 1
        return (1 if talk.kind == SINGLE else 17), self.texts

    def sound(self, pick, talk):
        number = len(self.audio) + 1
        kind, size, duration = number % 12, 200, 1 + number % 50
        path = f"/g0/000/{number // 1000:03}/{number}.audio"
        if kind == 3:
            path, _ = None if number % 24 == 3 else "", self.note("sounds_without_path")
        if kind == 5:
            size = 0
        if kind == 7:
            duration = 0
        if kind == 9:
            self.note("sounds_without_row")
        else:
            url = f"http://127.0.0.1:8700{path}" if path else path
            self.rows["IMAudio"].append([number, talk.one, talk.other or talk.id, url, size, duration,
                                         EPOCH + number])
        self.audio.append(path if path and size and duration and kind != 9 else None)
        return number

    def count_in_redis(self, talk, rank):
        """The counter of the conversation's ids: right, ahead, behind or lost."""
        counter = talk.highest()
        if self.note("counters_ahead", rank % 13 == 6):
            counter += 3
        elif self.note("counters_behind", rank % 17 == 9 and counter > 4):
            counter -= 4
        elif self.note("counters_missing", rank % 19 == 8):
            return
        talk.counter = counter
        name = "msg_id" if talk.kind == SINGLE else "group_msg_id"
        self.command("unread", "SET", f"{name}_{talk.id}", counter)

    def number_messages(self):
        """Ids of rows are in the order in which they arrived, in each table."""
        self.tables = {name: [] for name in self.rows if "Message_" in name}
        for talk in [*self.relations, *self.group_conversations.values()]:
            name = "IMMessage" if talk.kind == SINGLE else "IMGroupMessage"
            self.tables[f"{name}_{talk.id % layout.MESSAGE_TABLES}"] += talk.messages
        for messages in self.tables.values():
            messages.sort(key=lambda m: (m.created, m.order))
            for id, message in enumerate(messages, 1):
                message.id = id

    def text(self, number):
        """As a client sends it: base64 of what only clients can read."""
        size = 3072 if number % 5000 == 0 else 16 * (1 + number * 7919 % 8)
        data = hashlib.blake2b(str(number).encode(), key=self.key).digest()
        return base64.b64encode((data * (size // len(data) + 1))[:size]).decode()

    def stored(self, message):
        if message.number is None:
            return None
        return str(message.number) if message.type in (2, 18) else self.text(message.number)

    # ---- conversation lists ----

    def make_sessions(self):
        pick = self.random("sessions")
        self.sessions = {id: {} for id in self.ids}  # user -> (type, peer) -> (status, updated), as found
        rows = []

        def add(user, peer, kind, status, updated):
            """Of several rows the newest that shows counts, else the newest."""
            rows.append((user, peer, kind, status, EPOCH, updated))
            known = user in self.sessions and kind in (SINGLE, GROUP) and (
                peer in self.users if kind == SINGLE else
                peer in self.groups and self.groups[peer]["status"] == SHOWN
                and user in self.groups[peer]["members"])
            if known:
                before = self.sessions[user].get((kind, peer))
                if before is None or (before[0] != SHOWN, -before[1]) > (status != SHOWN, -updated):
                    self.sessions[user][kind, peer] = status, updated

        for number, ((small, big), relations) in enumerate(self.pairs.items()):
            last = max((m.created for relation in relations for m in relation.messages), default=None)
            if last is None:
                continue
            for user, peer in ((small, big), (big, small)):
                status = int(pick.random() < 0.05)
                add(user, peer, SINGLE, status, last - pick.randrange(3))
                if number % 30 == 4:
                    add(user, peer, SINGLE, 1 - status, last + pick.randrange(-100, 100))
                    self.note("hidden_duplicates")
                if number % 30 == 14:
                    add(user, peer, SINGLE, status, last - 1000)
                    self.note("duplicate_sessions")
        for id, group in self.groups.items():
            for user in group["members"]:
                if pick.random() < 0.9:
                    add(user, id, GROUP, int(pick.random() < 0.05), EPOCH + pick.randrange(5_000_000))
            add(self.outsider(pick, group["members"]), id, GROUP, 1, EPOCH)
        add(self.ids[0], self.ids[1], 0, 0, EPOCH)
        self.note("sessions_of_no_kind")
        pick.shuffle(rows)
        self.rows["IMRecentSession"] = [[number, *row] for number, row in enumerate(rows, 1)]

    # ---- unread ----

    def make_unread(self):
        pick = self.random("unread")
        self.unread = {id: {} for id in self.ids}  # user -> (type, peer) -> (count, cursor)
        for number, ((small, big), relations) in enumerate(self.pairs.items()):
            for user, peer in ((small, big), (big, small)):
                if user not in self.users:
                    continue
                listed = relations[0].listed()
                theirs = [m.msg_id for m in listed if m.author == peer]
                unread = 0
                if pick.random() < 0.4:
                    unread = 1_000_000 if number % 40 < 4 else pick.randrange(1, 8)
                    self.note("unread_above_messages", unread > len(theirs))
                    self.command("unread", "HSET", f"unread_{user}", peer, unread)
                cursor = below(theirs, unread) if unread else relations[0].highest()
                self.unread[user][SINGLE, peer] = sum(id > cursor for id in theirs), cursor
        for id, group in self.groups.items():
            talk = self.group_conversations[id]
            listed = talk.listed()
            total = None
            if not self.note("totals_missing", id % 11 == 6):
                total = len(talk.messages) + pick.randrange(3)
                self.command("unread", "HSET", f"{id}_im_group_msg", "count", total)
            for user, joined in group["members"].items():
                # A reader is shown what came since he joined.
                since = [m for m in listed if m.created >= joined]
                first = min((m.msg_id for m in since), default=talk.highest() + 1)
                if self.note("copies_missing", pick.random() < 0.1):
                    cursor = first - 1
                else:
                    unread = pick.choice((0, 0, 0, 1, 3, 10, 100))
                    copy = max((total or 50) - unread, 0)
                    self.command("unread", "HSET", f"{user}_{id}_im_user_group", "count", copy)
                    unread = (total or 0) - copy
                    cursor = below([m.msg_id for m in listed], unread) if unread > 0 else talk.highest()
                if total is None:
                    cursor = talk.highest()
                if group["status"] == SHOWN:
                    count = sum(m.msg_id > cursor and m.msg_id >= first and m.author != user for m in listed)
                    self.unread[user][GROUP, id] = count, cursor

    # ---- tokens and what else is there ----

    def make_tokens(self):
        self.tokens = {}
        for number, user in enumerate(self.ids):
            kind, token = ("ios", "android")[number % 2], md5(f"{self.options.seed}/{user}")
            value = f"{kind}:{token}"
            match number % 8:
                case 0 | 1 | 2 | 3:
                    self.tokens[user] = [kind, token]
                case 4:
                    value = ""
                    self.note("empty_tokens")
                case 5:
                    value = token
                    self.note("tokens_without_prefix")
                case _:
                    continue
            self.command("token", "SET", f"device_{user}", value)
            if value:
                self.command("token", "SET", f"device_{token}", user)
        self.command("token", "SET", "device_", "")

    def make_rest(self):
        self.rows["IMAdmin"] = [[1, "admin", md5("admin"), 0, EPOCH, EPOCH]]
        self.rows["IMDiscovery"] = [[n, f"发现 {n}", f"http://example.com/{n}", n, int(n == 3), EPOCH, EPOCH]
                                    for n in range(1, 6)]
        if "IMTransmitFile" in self.rows:
            self.rows["IMTransmitFile"] = [
                [n, self.ids[n % len(self.ids)], self.ids[n * 3 % len(self.ids)], f"文件 {n}.txt", 1000 + n,
                 md5(f"task{n}"), 0, EPOCH + n, EPOCH + n] for n in range(1, 11)]
        self.command("unread", "SET", "total_user_update", EPOCH)
        self.command("unread", "SET", "last_update_group", EPOCH)
        self.command("sync", "SET", "unused", "1")

    # ---- what has to be found ----

    def expectations(self):
        sample = self.random("sample")
        talks = [relations[0] for relations in self.pairs.values() if relations[0].messages]
        talks += [talk for id, talk in self.group_conversations.items() if self.groups[id]["status"] == SHOWN]
        chosen = sample.sample(talks, min(self.options.sample, len(talks)))
        return {
            "options": dataclasses.asdict(self.options),
            "users": {str(id): {key: user[key] for key in ("name", "nick", "status", "departId", "sign",
                                                          "shield", "updated", "password")}
                      for id, user in self.users.items()},
            "names": self.names(),
            "groups": {str(id): {key: group[key] for key in ("name", "creator", "type", "version")}
                       | {"members": {str(user): joined for user, joined in sorted(group["members"].items())},
                          "muted": sorted(group["muted"]), "next": self.group_conversations[id].next()}
                       for id, group in self.groups.items() if group["status"] == SHOWN},
            "sessions": {str(user): [[kind, peer, *found] for (kind, peer), found in sorted(sessions.items())]
                         for user, sessions in self.sessions.items()},
            "unread": {str(user): [[kind, peer, *found] for (kind, peer), found in sorted(unread.items())]
                       for user, unread in self.unread.items()},
            "tokens": {str(user): token for user, token in self.tokens.items()},
            "conversations": [self.told(talk) for talk in sorted(chosen, key=lambda t: (t.kind, t.id))],
            "dirt": dict(self.dirt),
            "messages": sum(map(len, self.tables.values())),
        }

    def told(self, talk):
        lines = [[m.msg_id, m.author, m.created, m.type, content_mark(self.stored(m))] for m in talk.listed()]
        others = self.pairs[talk.one, talk.other][1:] if talk.kind == SINGLE else []
        users = [talk.one, talk.other] if talk.kind == SINGLE else []
        return {"type": talk.kind, "id": talk.id, "users": users,
                "others": [other.id for other in others], "next": talk.next(), "newest": talk.highest(),
                "count": len(lines), "digest": digest(lines), "tail": lines[-TAIL:]}

    # ---- where it goes ----

    def table_rows(self, name):
        if name not in self.tables:
            yield from self.rows[name]
            return
        for m in self.tables[name]:
            talk = m.conversation
            who = [m.author] if talk.kind == GROUP else [
                m.author, talk.other if m.author == talk.one else talk.one]
            yield [m.id, talk.id, *who, m.msg_id, self.stored(m), m.type, m.status, m.created, m.created]

    def write(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "schema.sql").write_text(layout.schema(self.options.variant), "utf-8")
        for name in self.rows:
            with open(folder / f"{name}.tsv", "w", encoding="utf-8", newline="\n") as out:
                for row in self.table_rows(name):
                    out.write("\t".join(map(cell, row)) + "\n")
        with open(folder / "redis.jsonl", "w", encoding="utf-8") as out:
            out.writelines(json.dumps(command) + "\n" for command in self.redis)
        with open(folder / "expectations.json", "w", encoding="utf-8") as out:
            json.dump(self.expectations(), out, ensure_ascii=False)

    def write_sounds(self, folder):
        """The files that an image server would answer with: what comes after the duration."""
        for number, path in enumerate(self.audio, 1):
            if path:
                place = pathlib.Path(folder, path.lstrip("/"))
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(sound_bytes(number))

    def load(self, folder, address, database):
        load(folder, address, database, self.options.variant)

    def fill(self, address):
        fill(self.redis, address, self.options.numbering)


def sound_bytes(number):
    return (hashlib.blake2b(f"sound {number}".encode()).digest() * 4)[:200]


def below(ids, count):
    """The id just below the count-th newest of these; 0 if there are fewer."""
    return ids[-count] - 1 if count <= len(ids) else 0


def cell(value):
    if value is None:
        return "\\N"
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def content_mark(content):
    return "NULL" if content is None else md5(content)


def digest(lines):
    return md5("".join("\t".join(map(str, line)) + "\n" for line in lines))


def load(folder, address, database, variant):
    """A written site, into a database that is made for it."""
    servers.Sql(address).do(f"CREATE DATABASE `{database}` DEFAULT CHARACTER SET utf8")
    client = servers.Sql(address, database)
    client.do(pathlib.Path(folder, "schema.sql").read_text("utf-8"))
    for name in layout.tables(variant):
        path = os.path.abspath(os.path.join(folder, f"{name}.tsv")).replace("\\", "\\\\").replace("'", "\\'")
        columns = ", ".join(layout.user_columns(variant)) if name == "IMUser" else ""
        lines = client.do(f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE `{layout.table_name(name, variant)}` "
                          f"CHARACTER SET utf8mb4 {'(' + columns + ')' if columns else ''}; SHOW WARNINGS")
        if lines:
            raise RuntimeError(f"{name}: {lines[:3]}")


def fill(commands, address, numbering):
    host, _, port = address.rpartition(":")
    by_pool = collections.defaultdict(list)
    for pool, *words in commands:
        by_pool[pool].append(words)
    for pool, wanted in by_pool.items():
        with servers.Resp((host, int(port)), layout.REDIS_NUMBERS[numbering][pool]) as redis:
            for at in range(0, len(wanted), 1000):
                redis.many(wanted[at:at + 1000])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    for field in dataclasses.fields(Options):
        choices = {"variant": layout.VARIANTS, "numbering": tuple(layout.REDIS_NUMBERS)}.get(field.name)
        parser.add_argument(f"--{field.name}", type=field.type, default=field.default, choices=choices,
                            help=f"{field.default} without it")
    parser.add_argument("--out", required=True, help="directory for the files")
    parser.add_argument("--sounds", action="store_true", help="write the image server's files, too")
    parser.add_argument("--mysql", help="HOST:PORT:USER:PASSWORD; load it there")
    parser.add_argument("--database", default="teamtalk", help="a new one")
    parser.add_argument("--redis", help="HOST:PORT; fill it")
    args = parser.parse_args(argv)
    site = Site(Options(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Options)}))
    site.write(args.out)
    if args.sounds:
        site.write_sounds(os.path.join(args.out, "sounds"))
    if args.mysql:
        site.load(args.out, args.mysql, args.database)
    if args.redis:
        site.fill(args.redis)
    print(f"{sum(map(len, site.tables.values()))} messages, {len(site.users)} users, "
          f"{len(site.groups)} groups, {len(site.pairs)} pairs, {len(site.redis)} Redis commands in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

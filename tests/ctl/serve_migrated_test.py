"""What ringtalkd serves from a migrated TeamTalk deployment (tests/teamtalk) is what plain queries of the
deployment gave before: whole histories, newest ids, unread counts and conversation lists, by real sockets.

Usage: serve_migrated_test.py --ringtalkctl PATH --build-dir DIR [--messages N] [--samples N] [--users N]
                              [--seed N] [--show N]

Each sampled history is fetched by somebody who may see it, newest to oldest, in pages as clients ask for
them. With --users 0 only histories and newest ids are compared. Sounds come as a duration without a sound.
"""

import argparse
import collections
import json
import os
import random
import struct
import sys
import time
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [HERE, TESTS, os.path.join(TESTS, "acceptance")]
sys.dont_write_bytecode = True

import migrate_test  # noqa: E402
import servers  # noqa: E402
import wire  # noqa: E402
from client import Client  # noqa: E402
from server import Server, User, find_ringtalkd, md5hex  # noqa: E402
from teamtalk import generate, reference  # noqa: E402

SINGLE, GROUP = generate.SINGLE, generate.GROUP
LEGACY_LOGINS = 5
STRANGERS = 5  # who ask for a group that they are not in
PAGE = 100
SOUND_TYPES = (wire.SOUND, wire.GROUP_SOUND)
NO_CONTENT = generate.content_mark("")


class Truth:
    """The deployment as it was before the take-over, asked of MySQL and Redis."""

    def __init__(self, site):
        self.queries = reference.Reference(site.world.address, site.database, site.world.redis.address,
                                           site.options.variant, site.options.numbering)
        self.users, self.groups = self.queries.users(), self.queries.groups()
        self.relations, self.sounds = self.queries.relations(), self.queries.sounds()
        names = self.queries.names()
        # Who logs in by a name is the one whom the name stands for.
        self.active = {int(id) for id, user in self.users.items()
                       if user["status"] == 0 and user["has_password"] and names[user["name"]] == int(id)}
        for id in range(generate.layout.MESSAGE_TABLES):  # read all of it while it is as it was
            self.queries.listed(SINGLE, id)
            self.queries.listed(GROUP, id)
        self.queries.appended(self.relations)
        self.queries.single_highest()
        self.queries.group_highest()

    def history(self, kind, id, joined=0):
        """(id, author, time, type, content) from the oldest to the newest, and the newest id."""
        newest, lines = self.queries.served(kind, id, self.relations)
        first = self.queries.first_of(id, joined) if joined else 1
        shown = [self.message(line) for line in lines if line[0] >= first]
        return [message for message in shown if message], newest if newest >= first else 0

    def message(self, line):
        """What a client gets for a line of the reference; None: nothing."""
        *head, type, mark = line
        if type not in SOUND_TYPES:
            return (*head, type, NO_CONTENT if mark == "NULL" else mark)
        duration, _ = self.sounds.get(mark, (0, False))
        # This version asks no image server: of a sound that was taken over it knows the duration only.
        return *head, type, generate.md5(f"sound of {duration} s")

    def members_of(self, group):
        """User -> when he joined; nobody in one that is out of use."""
        return self.groups.get(str(group), {"members": {}})["members"]

    def lists_of(self, wanted):
        return self.queries.lists_of(wanted, self.users, self.groups, self.relations)


def received(entry):
    """The same of what came."""
    data, type = entry["msg_data"], entry["msg_type"]
    mark = generate.md5(data.decode("utf-8", "replace"))
    if type in SOUND_TYPES:
        mark = f"{len(data)} bytes of a sound"
        if len(data) == 4:
            mark = generate.md5(f"sound of {struct.unpack('>I', data)[0]} s")
    return entry["msg_id"], entry["from_session_id"], entry["create_time"], type, mark


def pull(client, kind, target):
    """The whole history, oldest first, and the number of pages. Times of old rows may fall as ids rise."""
    out, begin, pages = [], 0, 0
    while True:
        got = client.ask(wire.LIST_REQ, session_type=kind, session_id=target, msg_id_begin=begin,
                         msg_cnt=PAGE)
        assert (got["session_type"], got["session_id"], got["msg_id_begin"]) == (kind, target, begin), got
        page, pages = got["msg_list"], pages + 1
        ids = [entry["msg_id"] for entry in page]
        assert ids == sorted(set(ids), reverse=True) and len(ids) <= PAGE, f"no page: {ids}"
        assert not begin or not ids or ids[0] <= begin, f"{ids[:3]} asked from {begin}"
        out += map(received, page)
        if not page or ids[-1] == 1:
            return out[::-1], pages
        begin = ids[-1] - 1


# ---- what is looked at ----

def sample(site, truth, count, pick):
    """[(kind, id, target, reader)]: a quarter at random, the rest for what may go wrong."""
    made = site.made
    talks = {(SINGLE, relations[0].id): relations for relations in made.pairs.values()}
    talks |= {(GROUP, id): [talk] for id, talk in made.group_conversations.items()}
    readers = {}
    for (kind, id), (talk, *_) in talks.items():
        people = ((talk.one, talk.other) if kind == SINGLE else made.groups[id]["members"])
        may = sorted(user for user in people if user in truth.active)
        if may:
            readers[kind, id] = may
    talks = {key: talks[key] for key in readers}
    kinds = {key: dirt_of(relations) for key, relations in talks.items()}
    size = {key: len(relations[0].messages) for key, relations in talks.items()}
    wanted = [sorted(size, key=size.get, reverse=True), [key for key in kinds if "doubled" in kinds[key]],
              [key for key in kinds if kinds[key] & {"repeated", "no_id"}],
              [key for key in kinds if "counter" in kinds[key]], [key for key in kinds if key[0] == GROUP],
              sorted((key for key in kinds if key[0] == GROUP), key=size.get, reverse=True)]
    chosen = {}
    for number, keys in enumerate(wanted):
        share = count * 3 // 4 // len(wanted)
        keys = [key for key in keys if key not in chosen]
        keys = keys[:share] if number in (0, 5) else pick.sample(keys, min(share, len(keys)))
        chosen |= dict.fromkeys(keys)
    rest = [key for key in talks if key not in chosen]
    chosen |= dict.fromkeys(pick.sample(rest, min(count - len(chosen), len(rest))))
    out = []
    for kind, id in chosen:
        may = readers[kind, id]
        if kind == GROUP and pick.random() < 0.7:  # who came late sees little of it, or nothing
            may = [min(may, key=made.groups[id]["members"].get)]
        reader = pick.choice(may)
        talk = talks[kind, id][0]
        target = id if kind == GROUP else talk.other if reader == talk.one else talk.one
        out.append((kind, id, target, reader))
    groups = [id for kind, id in chosen if kind == GROUP and str(id) in truth.groups]
    for id in groups[:STRANGERS]:
        out.append((GROUP, id, id, pick.choice(sorted(truth.active - set(made.groups[id]["members"])))))
    seen = collections.Counter(word for key in chosen for word in kinds[key])
    return out, seen


def dirt_of(relations):
    talk, found = relations[0], set()
    ids = [m.msg_id for m in talk.messages if m.msg_id != generate.NO_ID]
    found |= {"doubled"} if len(relations) > 1 else set()
    found |= {"repeated"} if len(set(ids)) < len(ids) else set()
    found |= {"no_id"} if len(ids) < len(talk.messages) else set()
    found |= {"counter"} if talk.counter != talk.highest() else set()
    return found


# ---- the server ----

def serve(site, build_dir):
    config = tomllib.loads(site.ctl("migrate", "--print-config",
                                    options=["--dbproxy-conf", site.dbproxy_conf()]))
    config["mysql"] |= {"password_file": site.world.secret}
    config |= {"store": {"driver": "mysql"}, "limits": {"requests_per_second": 0}}
    return Server(find_ringtalkd(build_dir), shards=2, label="migrated", config=config)


class Door:
    """Logs users in: the first few with the password that the original has, then by session token."""

    def __init__(self, site, server):
        self.server, self.people, self.legacy = server, site.expected["users"], LEGACY_LOGINS

    def enter(self, id):
        person, token = self.people[str(id)], None
        if self.legacy > 0:
            self.legacy -= 1
        else:
            status, text = self.server.http("POST", f"/api/v1/users/{id}/token")
            assert status in (200, 201), text
            token = json.loads(text)["token"]
        user = User(id, person["name"], person["nick"], None if token else person["password"], token)
        client = Client(self.server.address)
        got = client.ask_login(user.name, user.secret)
        assert got["result_code"] == wire.OK, f"{user.name}: {got!r}"
        assert client.user_id == id and got["user_info"]["user_nick_name"] == user.nick, f"{got!r}"
        return client


# ---- comparisons; each gives its differences in words ----

def compare(place, wanted, got):
    """Of two lists of messages."""
    if wanted == got:
        return
    ours, theirs = {line[0]: line for line in wanted}, {line[0]: line for line in got}
    for id in sorted(ours.keys() | theirs.keys()):
        if ours.get(id) != theirs.get(id):
            yield f"{place}: message {id} is {theirs.get(id)}, not {ours.get(id)}"


def check_histories(truth, door, samples):
    differences, kept, counts = [], [], collections.Counter()
    by_reader = collections.defaultdict(list)
    for kind, id, target, reader in samples:
        by_reader[reader].append((kind, id, target))
    for reader, talks in sorted(by_reader.items()):
        with door.enter(reader) as client:
            for kind, id, target in talks:
                members = truth.members_of(id) if kind == GROUP else {}
                if kind == GROUP and str(reader) not in members:  # not his, or out of use
                    wanted, newest = [], 0
                else:
                    wanted, newest = truth.history(kind, id, members.get(str(reader), 0))
                got, pages = pull(client, kind, target)
                place = f"{('pair', 'group')[kind - 1]} {id}, read by {reader}"
                differences += compare(place, wanted, got)
                latest = client.latest_id(target, kind)
                if latest != newest:
                    differences.append(f"{place}: the newest id is {latest}, not {newest}")
                late = truth.queries.appended(truth.relations).get(id, ()) if kind == SINGLE else ()
                counts.update({
                    "histories": 1, "pairs": kind == SINGLE, "groups": kind == GROUP, "pages": pages,
                    "closed": kind == GROUP and not wanted, "messages": len(got), "late": len(late),
                    "of groups": len(got) * (kind == GROUP),
                    "sounds": sum(line[3] in SOUND_TYPES for line in got)})
                kept.append((place, wanted, got))
    return differences, kept, counts


def check_lists(truth, door, users):
    differences, counts = [], collections.Counter()
    for user, talks in truth.lists_of(users).items():
        with door.enter(user) as client:
            unread, listed = client.unread_all(), client.sessions_all()
        assert len(listed) < 100 and sum(on for _, on, _ in talks.values()) < 100, "the list has an end"
        wanted = {key: (count, *shown(line)) for key, (count, _, line) in talks.items() if count}
        got = {key: (entry["unread_cnt"], *shown_of(entry)) for key, entry in unread.items()}
        differences += keyed(f"unread of {user}", wanted, got)
        counts.update({"users": 1, "unread": len(wanted)})
        wanted = {key: (line[2], *shown(line)) for key, (_, on, line) in talks.items() if on}
        got = {key: (entry["updated_time"], *shown_of(entry)) for key, entry in listed.items()}
        differences += keyed(f"list of {user}", wanted, got)
        counts.update({"listed": len(wanted)})
    return differences, counts


def shown(line):
    """A message as lists show it: author, type, content; of a sound a text that says so."""
    _, author, _, type, mark = line
    if type in SOUND_TYPES:
        return author, type, md5hex(wire.SOUND_PLACEHOLDER.decode())
    return author, type, NO_CONTENT if mark == "NULL" else mark


def shown_of(entry):
    return (entry["latest_msg_from_user_id"], entry["latest_msg_type"],
            generate.md5(entry["latest_msg_data"].decode()))


def keyed(place, wanted, got):
    for key in sorted(wanted.keys() | got.keys()):
        if wanted.get(key) != got.get(key):
            yield (f"{place}, {('pair with', 'group')[key[0] - 1]} {key[1]}: {got.get(key)}, not"
                   f" {wanted.get(key)}")


def self_check(kept, pick):
    """One field of one expected message altered, or the message gone, has to be seen."""
    place, wanted, got = pick.choice([one for one in kept if one[1] and one[1] == one[2]])
    at = pick.randrange(len(wanted))
    for field in range(1, 5):
        line = list(wanted[at])
        line[field] = line[field] + 1 if field < 4 else "another"
        found = list(compare(place, [*wanted[:at], tuple(line), *wanted[at + 1:]], got))
        assert len(found) == 1 and f"message {wanted[at][0]} " in found[0], found
    assert list(compare(place, wanted[:at] + wanted[at + 1:], got)), "a message too many was not seen"
    assert list(compare(place, wanted, got[:at] + got[at + 1:])), "a lost message was not seen"
    print(f"  self-check: message {wanted[at][0]} of {place}, altered in each field, gone, too many: seen")


def run(world, args):
    begun, times = time.monotonic(), {}

    def passed(name):
        nonlocal begun
        now = time.monotonic()
        times[name], begun = now - begun, now

    users = max(200, args.messages // 200)
    site = world.site(users=users, groups=max(30, users // 20), pairs=max(300, args.messages // 25),
                      messages=args.messages, seed=args.seed)
    passed("made and loaded")
    truth = Truth(site)
    passed("reference")
    site.ctl("migrate", "--apply")
    passed("migrated")
    pick = random.Random(f"{args.seed}/served")
    samples, dirt = sample(site, truth, args.samples, pick)
    with serve(site, args.build_dir) as server:
        passed("started")
        door = Door(site, server)
        differences, kept, counts = check_histories(truth, door, samples)
        passed("histories")
        chosen = pick.sample(sorted(truth.active), min(args.users, len(truth.active)))
        more, figures = check_lists(truth, door, chosen)
        passed("lists")
        assert door.legacy == 0, "not enough logins by password"
    c, f = counts, figures
    print(f"{site.expected['messages']} messages migrated; {c['histories']} histories ({c['pairs']} pairs, "
          f"{c['groups']} groups, {c['closed']} of them with nothing for the reader) of {c['messages']} "
          f"messages ({c['of groups']} of groups) in {c['pages']} pages, {c['sounds']} of them sounds, "
          f"{c['late']} appended; with "
          + ", ".join(f"{name}: {dirt[name]}" for name in ("doubled", "repeated", "no_id", "counter"))
          + f"; {f['users']} users with {f['unread']} unread and {f['listed']} listed; "
          f"{len(differences)} + {len(more)} differences; "
          + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in times.items()), flush=True)
    self_check(kept, pick)
    differences += more
    assert not differences, "\n  ".join(["differs:", *differences[:args.show]])
    assert counts["late"] and all(dirt[name] for name in ("doubled", "repeated", "no_id", "counter")), dirt


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ringtalkctl", required=True)
    parser.add_argument("--build-dir", required=True)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=60, help="conversations")
    parser.add_argument("--users", type=int, default=100, help="whose counts and lists are compared")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=3, help="differences to print")
    args = parser.parse_args()
    try:
        world = migrate_test.World(os.path.abspath(args.ringtalkctl))
    except servers.Unavailable as problem:
        print(problem)
        return 77  # meson: skipped
    try:
        run(world, args)
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

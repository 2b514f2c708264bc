"""Histories of a server that does everything right, made without one: what the checker's test starts from.

A virtual clock and a heap: sends take time to be committed, acknowledgements and pushes to arrive (in order
for each session), crashes throw away what is on its way, keep or drop what was not yet acknowledged, and take
back young read marks. Members come and go, clients repeat what is in doubt, read, and count unread messages.
"""

import heapq
import itertools
import random
import zlib

from history import FORMAT, group_key, pair_key

MS = 1000


class World:
    def __init__(self, seed, users=6, groups=2):
        self.rng = random.Random(seed)
        self.now = 1_000_000
        self.order = itertools.count()
        self.heap, self.lines = [], []
        self.users = list(range(1, users + 1))
        self.stored = {}      # conversation -> [(op, author, hash)]
        self.ids = {}         # op -> id
        self.sessions = {}    # s -> user
        self.arrives = {}     # s -> when its newest frame arrives
        self.numbers = itertools.count(1)
        self.op = 0
        self.known = {}       # op -> (author, conversation, hash)
        self.flying = {}      # (op, s) -> True
        self.doubtful = []
        self.cursor, self.marked_at, self.sure = {}, {}, {}  # sure: what a crash leaves in any case
        self.members, self.first = {}, {}
        self.changes = 0
        self.changing = set()
        self.write("begin", format=FORMAT, seed=seed, deadline=40 * MS)
        for n in range(1, groups + 1):
            self.members[group_key(n)] = set(self.users[:4])
            self.first |= {(group_key(n), user): 1 for user in self.users[:4]}
            self.write("create", g=group_key(n), m=self.users[:4], t0=self.now - 1)

    def write(self, event, **fields):
        self.lines.append({"t": self.now, "e": event} | fields)

    def at(self, delay, action, session=None, durable=False):
        """In the order of a session's frames; what was not delivered at a crash never is."""
        when = self.now + delay
        if session is not None:
            when = self.arrives[session] = max(when, self.arrives.get(session, 0) + 1)
        heapq.heappush(self.heap, (when, next(self.order), action, session, durable))

    def run(self, until=None):
        while self.heap and (until is None or self.heap[0][0] <= until):
            when, _order, action, session, _durable = heapq.heappop(self.heap)
            self.now = max(self.now, when)
            if session is None or session in self.sessions:
                action()
        if until is not None:
            self.now = max(self.now, until)

    def advance(self):
        self.run(self.now + self.rng.randint(1, 3 * MS))

    # ---- clients -------------------------------------------------------------------------------------

    def login(self, user):
        session = next(self.numbers)
        self.sessions[session] = user
        self.write("login", s=session, u=user)

    def leave(self, session, why):
        self.write("end", s=session, why=why)
        del self.sessions[session]
        for op, by in [key for key in self.flying if key[1] == session]:
            del self.flying[op, by]
            self.write("unknown", op=op, s=by)
            self.doubtful.append(op)

    def readers(self, conversation):
        if conversation in self.members:
            return self.members[conversation]
        return {int(user) for user in conversation.split("-")}

    def begin_send(self):
        session, user = self.rng.choice(list(self.sessions.items()))
        groups = [group for group, members in self.members.items() if user in members]
        if groups and self.rng.random() < 0.5:
            conversation = self.rng.choice(groups)
        else:
            conversation = pair_key(user, self.rng.choice([one for one in self.users if one != user]))
        self.op += 1
        self.known[self.op] = user, conversation, zlib.crc32(b"%d" % self.op)
        self.send(session, self.op)

    def repeat(self):
        """What is in doubt once more, by another session of the same user."""
        for op in self.doubtful[:]:
            mine = [s for s, user in self.sessions.items() if user == self.known[op][0]]
            if mine and self.known[op][0] in self.readers(self.known[op][1]):
                self.doubtful.remove(op)
                self.send(self.rng.choice(mine), op)

    def send(self, session, op):
        user, conversation, hash = self.known[op]
        self.write("send", op=op, s=session, u=user, c=conversation, h=hash)
        self.flying[op, session] = True
        # On one connection in the order of sending, as its bytes are.
        self.at(self.rng.randint(1, 2 * MS), lambda: self.commit(op, session), session)

    def commit(self, op, session):
        author, conversation, hash = self.known[op]
        texts = self.stored.setdefault(conversation, [])
        if author not in self.readers(conversation):
            return self.at(MS, lambda: self.outcome("refused", op, session, code=4), session)
        if self.rng.random() < 0.02 and op not in self.ids:
            return self.at(MS, lambda: self.outcome("refused", op, session, code=2), session)
        if op in self.ids:
            return self.at(MS, lambda: self.outcome("ok", op, session, id=self.ids[op]), session)
        texts.append((op, author, hash))
        id = self.ids[op] = len(texts)
        if conversation in self.members:
            self.cursor[author, conversation] = max(self.cursor.get((author, conversation), 0), id)
        for other, user in self.sessions.items():
            if user in self.readers(conversation) and other != session:
                self.at(self.rng.randint(1, 3 * MS), lambda other=other: self.write(
                    "push", s=other, c=conversation, id=id, m=[op, author, hash]), other)
        self.at(self.rng.randint(1, 3 * MS), lambda: self.outcome("ok", op, session, id=id), session)

    def outcome(self, kind, op, session, **fields):
        del self.flying[op, session]
        self.write(kind, op=op, s=session, **fields)

    def page(self, user, conversation, begin, count):
        texts = self.stored.get(conversation, [])
        first = self.first.get((conversation, user), 1)
        top = min(begin or len(texts), len(texts))
        if user not in self.readers(conversation):
            return []
        return [[id, *texts[id - 1]] for id in range(top, max(first - 1, top - count), -1)]

    def read(self, session):
        user = self.sessions[session]
        conversation = self.rng.choice(sorted(self.stored) or ["1-2"])
        if conversation not in self.members and user not in self.readers(conversation):
            return
        begin, count, asked = self.rng.choice((0, self.rng.randint(1, 50))), self.rng.randint(1, 20), self.now
        found = self.page(user, conversation, begin, count)
        self.at(MS, lambda: self.write("list", s=session, u=user, c=conversation, t0=asked, **{"from": begin},
                                       n=count, m=found), session)

    def mark(self, session):
        user = self.sessions[session]
        mine = [one for one in sorted(self.stored) if user in self.readers(one) and self.stored[one]]
        if not mine:
            return
        conversation = self.rng.choice(mine)
        newest = len(self.stored[conversation])
        id = self.rng.choice((0, self.rng.randint(1, newest)))
        self.write("mark", s=session, u=user, c=conversation, id=id)
        key = user, conversation
        if self.now - self.marked_at.get(key, 0) >= 400 * MS:
            self.sure[key] = self.cursor.get(key, 0)
        self.cursor[key] = max(self.cursor.get(key, 0), id or newest)
        self.marked_at[key] = self.now

    def unread(self, session):
        user, asked, counts = self.sessions[session], self.now, {}
        for conversation, texts in self.stored.items():
            if user in self.readers(conversation):
                after = max(self.cursor.get((user, conversation), 0),
                            self.first.get((conversation, user), 1) - 1)
                count = sum(1 for text in texts[after:] if text[1] != user)
                if count:
                    counts[conversation] = count
        self.at(MS, lambda: self.write("unread", s=session, u=user, t0=asked, n=counts), session)

    def change(self):
        group = self.rng.choice(list(self.members))
        if group in self.changing:
            return
        user = self.rng.choice(self.users)
        inside = user in self.members[group]
        if inside and len(self.members[group]) < 3:
            return
        self.changes += 1
        number = self.changes
        self.changing.add(group)
        self.write("change", x=number, g=group, add=[] if inside else [user], remove=[user] if inside else [])

        def take_effect():
            if inside:
                self.members[group].discard(user)
            else:
                self.members[group].add(user)
                self.first[group, user] = len(self.stored.get(group, ())) + 1

        def answer():
            self.changing.discard(group)
            self.write("changed", x=number)
        self.at(MS, take_effect, durable=True)
        self.at(2 * MS, answer)

    def kick(self):
        session = self.rng.choice(list(self.sessions))
        user = self.sessions[session]
        self.leave(session, self.rng.choice(("logout", "cut", "kick")))
        self.login(user)

    # ---- the server ----------------------------------------------------------------------------------

    def crash(self):
        self.write("fault", kind="kill", crash=True)
        flying, self.heap = sorted(self.heap, key=lambda one: one[:2]), []
        for _when, _order, action, _session, durable in flying:  # written, not answered: there or not
            if durable and self.rng.random() < 0.5:
                action()
        self.heap = []
        for op, _session in list(self.flying):
            author, conversation, hash = self.known[op]
            texts = self.stored.setdefault(conversation, [])
            fresh = op not in self.ids and author in self.readers(conversation)
            if fresh and self.rng.random() < 0.5:
                texts.append((op, author, hash))
                self.ids[op] = len(texts)
        for key, when in self.marked_at.items():
            if self.now - when < 400 * MS and self.rng.random() < 0.5:
                own = [id for id, text in enumerate(self.stored.get(key[1], ()), 1) if text[1] == key[0]]
                written = max(own, default=0) if key[1] in self.members else 0
                self.cursor[key] = max(written, self.sure.get(key, 0))
        self.now += MS
        users = [self.sessions[session] for session in list(self.sessions)]
        for session in list(self.sessions):
            self.leave(session, "lost")
        for group in self.changing:
            self.write("doubt", x=self.open_change(group))
        self.changing.clear()
        self.now += 10 * MS
        self.write("late", us=MS)
        self.write("up")
        for group, members in self.members.items():
            self.write("members", g=group, m=sorted(members), t0=self.now)
        for user in users:
            self.login(user)
        self.repeat()

    def open_change(self, group):
        return next(line["x"] for line in reversed(self.lines)
                    if line["e"] == "change" and line["g"] == group)

    def quiet(self):
        self.run()
        self.now += MS
        self.write("quiet", since=self.now, echoed=True)
        self.now += MS

    def load(self, steps):
        # Reads are rarer than sends, as in life.
        weights = {self.begin_send: 60, self.change: 2, self.kick: 1, self.repeat: 2}
        for _ in range(steps):
            session = self.rng.choice(list(self.sessions))
            reads = [lambda: self.read(session), lambda: self.mark(session), lambda: self.unread(session)]
            action = self.rng.choices(list(weights) + reads, [*weights.values(), 4, 4, 3])[0]
            action()
            self.advance()

    def finish(self):
        self.quiet()
        self.write("healed")
        for session, user in list(self.sessions.items()):
            self.mark(session)
            self.unread(session)
            self.run()
        for user in self.users:
            session = next(self.numbers)
            self.sessions[session] = user
            self.write("login", s=session, u=user)
            for conversation in sorted(self.stored):
                if user not in self.readers(conversation):
                    continue
                begin = 0
                while True:
                    page = self.page(user, conversation, begin, 100)
                    self.now += 1
                    self.write("list", s=session, u=user, c=conversation, t0=self.now - 1,
                               **{"from": begin}, n=100, m=page, final=1)
                    if not page or page[-1][0] == 1:
                        break
                    begin = page[-1][0] - 1
        for conversation, texts in self.stored.items():
            self.write("stored", c=conversation, m=[[id, *text] for id, text in enumerate(texts, 1)])
        self.write("done")
        return self.lines


def history(seed, steps=300, crashes=2, **more):
    """The lines of one clean history."""
    world = World(seed, **more)
    for user in world.users:
        world.login(user)
        world.login(user)
    for n in range(crashes + 1):
        world.load(steps)
        if n < crashes:
            if world.rng.random() < 0.5:
                world.quiet()
            world.load(steps // 4)
            world.crash()
    return world.finish()

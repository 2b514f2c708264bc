#!/usr/bin/env python3
"""Checks a recorded history (history.py has the format) against what the server promises.

    check.py HISTORY [--json]        exit 0: no anomaly; 1: anomalies, listed; 2: not a complete history

It shares no code with the engine, nor with what recorded the history, and believes nobody's clock but the
recorder's, which is one for all clients: a message was committed after each send up to its id was begun
and before anything from its id on was seen. All time is compared through these bounds (`lo`, `hi`), so a
slow recorder makes the checker milder, never wrong.

lost            acknowledged or seen once, and not (or not as that) there in the end; a change of members too
phantom         visible, though nobody sent it, or not so, or not yet
zombie          visible, though every attempt to send it was refused
duplicate       one operation under two ids
divergence      one id with two contents: among acknowledgements, pushes, reads and the store
gap             ids of a conversation, or of one page of it, are not without a hole
inversion       begun after another was seen, yet a smaller id; or ids against one connection's order
hole            a session got a later message of a conversation and not the earlier, or went back
undelivered     quiet had come, the session lived, the message never came
drift           an unread count that no order of events explains
leak            a conversation shown to somebody, or written to by somebody, who was not in it then
stuck           a send without an outcome in its time, though the connection lived

Sends whose outcome is unknown may be there or not; once seen they must stay. While a change of members is
on its way, or its outcome unknown, both answers are right.
Bound: some 300 bytes an operation and some for a read; none for an event.
"""

import argparse
import array
import bisect
import collections
import json
import sys

FORMAT = 1
NEVER = 1 << 62
LISTED_MAX = 10      # anomalies told of each kind
MARK_DURABLE_US = 5_000_000  # a read mark is promised to survive a crash 1 s later
KINDS = ("lost", "phantom", "zombie", "duplicate", "divergence", "gap", "inversion", "hole", "undelivered",
         "drift", "leak", "stuck")


class Incomplete(Exception):
    """The history lacks what a verdict needs."""


class Report:
    def __init__(self):
        self.counts = collections.Counter()
        self.told = collections.defaultdict(list)

    def add(self, kind, text):
        self.counts[kind] += 1
        if len(self.told[kind]) < LISTED_MAX:
            self.told[kind].append(text)


class Timeline:
    """Whether one user was in one group: stretches of out, unsure and in."""

    OUT, UNSURE, IN = 0, 1, 2

    def __init__(self):
        self.times, self.states = [-NEVER], [self.OUT]

    def set(self, time, state):
        if self.states[-1] != state:
            self.times.append(time)
            self.states.append(state)

    def _between(self, begin, end):
        first = max(0, bisect.bisect_right(self.times, begin) - 1)
        last = max(first, bisect.bisect_right(self.times, end) - 1)
        return self.states[first:last + 1]

    def possible(self, begin, end):
        return any(state != self.OUT for state in self._between(begin, end))

    def certain(self, begin, end):
        return all(state == self.IN for state in self._between(begin, end))

    def surely_left(self, begin, end):
        """True if he was out at some moment between, however it went."""
        return begin < end and any(state == self.OUT for state in self._between(begin, end))

    def came(self, begin, end):
        """The earliest moment at which the stay could have begun that lies in, or reaches into, this time."""
        at = max(0, bisect.bisect_right(self.times, begin) - 1)
        while self.states[at] == self.OUT:
            at += 1
        while at > 0 and self.states[at - 1] != self.OUT:
            at -= 1
        return self.times[at]

    def surely_in_since(self, end):
        """He is in at `end`: since when in any case?"""
        return self.times[max(0, bisect.bisect_right(self.times, end) - 1)]


class Always(Timeline):
    """One of the two of a conversation."""

    def __init__(self):
        self.times, self.states = [-NEVER], [self.IN]


ALWAYS, NOWHERE = Always(), Timeline()


class Conversation:
    def __init__(self, key):
        self.key = key
        self.group = key.startswith("g")
        self.pair = () if self.group else tuple(int(one) for one in key.split("-"))
        self.ops = {}         # id -> op, as first seen
        self.stored = {}      # id -> op, as the store has it in the end
        self.lo = self.hi = self.own = None  # by id; own: author -> his ids, ascending

    def arrange(self, check, newest):
        """The bounds of each id's commit; what is missing bounds nothing."""
        self.lo, self.hi = [0] * (newest + 1), [NEVER] * (newest + 1)
        self.own = collections.defaultdict(list)
        latest = 0
        for id in range(1, newest + 1):
            op = self.ops.get(id)
            if op is not None:
                latest = max(latest, check.begun[op])
                self.own[check.author[op]].append(id)
            self.lo[id] = latest
        earliest = NEVER
        for id in range(newest, 0, -1):
            op = self.ops.get(id)
            if op is not None:
                earliest = min(earliest, check.seen[op])
            self.hi[id] = earliest
        self.hi[0] = 0

    def newest_surely(self, time):
        """The largest id that was there at that time in any case."""
        return max(0, bisect.bisect_right(self.hi, time) - 1)

    def newest_possibly(self, time):
        return max(0, bisect.bisect_right(self.lo, time) - 1)

    def others(self, user, after, newest):
        """How many ids in (after, newest] are not his own."""
        if newest <= after:
            return 0
        own = self.own.get(user, ())
        return newest - after - (bisect.bisect_right(own, newest) - bisect.bisect_right(own, after))


class Session:
    __slots__ = ("user", "begun", "ended", "runs", "quiet")

    def __init__(self, user, begun):
        self.user, self.begun, self.ended = user, begun, NEVER
        self.runs = {}   # conversation -> [first, last, first, last, …] of ids pushed
        self.quiet = -1  # `since` of the newest quiet it lived through


class Check:
    def __init__(self):
        self.report = Report()
        self.events = 0
        self.began = self.done = self.healed = False
        self.deadline = 0
        self.conversations = {}
        self.sessions = {}
        # Operations: their numbers are dense, so they are indices.
        self.begun, self.seen = array.array("q", [0]), array.array("q", [NEVER])
        self.id, self.author = array.array("Q", [0]), array.array("I", [0])
        self.hash, self.first_session = array.array("I", [0]), array.array("I", [0])
        self.attempts, self.refused = array.array("H", [0]), array.array("H", [0])
        self.acked_at = array.array("q", [NEVER])
        self.conversation_of = [None]
        self.resent = collections.defaultdict(set)  # op -> sessions of its repetitions
        self.waiting = {}       # (op, session) -> when
        self.fault = None       # the newest of these that was declared
        self.spans = []         # [begin, end] in which nobody can be held to a deadline
        self.crashes = []
        self.failing = False    # between a crash and the next start
        self.timelines = collections.defaultdict(Timeline)  # (group, user)
        self.changes = {}
        self.groups = collections.defaultdict(set)  # group -> users it ever had
        self.marks = collections.defaultdict(list)  # (user, conversation) -> (time, id, session)
        self.quiets, self.quiet_since = [], []
        self.lists = []
        self.unreads = []
        self.finals = collections.defaultdict(list)
        self.final_span = {}
        self.trespass = []
        self.doubts = 0         # connections that ended before an outcome

    # ---- reading -------------------------------------------------------------------------------------

    def take(self, event):
        self.events += 1
        getattr(self, "on_" + event["e"])(event["t"], event)

    def conversation(self, key):
        found = self.conversations.get(key)
        if found is None:
            found = self.conversations[key] = Conversation(key)
        return found

    def on_begin(self, _time, event):
        if event["format"] != FORMAT:
            raise Incomplete(f"format {event['format']}, this checker knows {FORMAT}")
        self.began, self.deadline = True, event["deadline"]

    def on_login(self, time, event):
        self.sessions[event["s"]] = Session(event["u"], time)

    def on_end(self, time, event):
        session = self.sessions[event["s"]]
        session.ended = min(session.ended, time)

    def on_send(self, time, event):
        op, session = event["op"], event["s"]
        if op == len(self.begun):
            self.begun.append(time)
            self.seen.append(NEVER)
            self.id.append(0)
            self.author.append(event["u"])
            self.hash.append(event["h"])
            self.first_session.append(session)
            self.attempts.append(1)
            self.refused.append(0)
            self.acked_at.append(NEVER)
            self.conversation_of.append(self.conversation(event["c"]))
        else:
            self.attempts[op] += 1
            self.resent[op].add(session)
        self.waiting[op, session] = time

    def decide(self, time, event):
        """The time of the send that this outcome is for; None if it had one already."""
        began = self.waiting.pop((event["op"], event["s"]), None)
        if began is not None and time - began > self.deadline:
            allowed = self.deadline + self.excused(began, time)
            if time - began > allowed:
                self.report.add("stuck", f"op {event['op']} on session {event['s']}: {event['e']} "
                                         f"{(time - began) / 1e6:.2f} s after it was sent")
        return began

    def excused(self, begin, end):
        return sum(max(0, min(end, till) - max(begin, since)) for since, till in self.spans)

    def on_ok(self, time, event):
        op = event["op"]
        if not 0 < op < len(self.begun):
            return self.report.add("phantom", f"acknowledged: op {op}, which nobody sent")
        began = self.decide(time, event)
        self.acked_at[op] = min(time, self.acked_at[op])
        conversation = self.conversation_of[op]
        self.see(time, conversation, event["id"], op, self.author[op], self.hash[op], "acknowledged")
        if began is not None and conversation.group:
            self.trespass.append((began, time, self.author[op], conversation, event["id"]))

    def on_refused(self, time, event):
        self.decide(time, event)
        self.refused[event["op"]] += 1

    def on_unknown(self, time, event):
        self.decide(time, event)
        self.doubts += 1

    def see(self, time, conversation, id, op, author, hash, where):
        """Something visible. True if it is what somebody sent."""
        if not 0 < op < len(self.begun):
            self.report.add("phantom", f"{conversation.key} id {id} {where}: no operation {op}")
            return False
        if self.conversation_of[op] is not conversation or self.author[op] != author or self.hash[op] != hash:
            self.report.add("phantom", f"{conversation.key} id {id} {where}: op {op} was not sent like that")
            return False
        if time < self.begun[op]:
            self.report.add("phantom", f"{conversation.key} id {id} {where}: op {op} was sent later")
        if time < self.seen[op]:
            self.seen[op] = time
        known = conversation.ops.setdefault(id, op)
        if known != op:
            self.report.add("divergence", f"{conversation.key} id {id} {where}: op {op}, was op {known}")
        if self.id[op] == 0:
            self.id[op] = id
        elif self.id[op] != id:
            self.report.add("duplicate", f"{conversation.key}: op {op} {where} with id {id}, "
                                         f"was id {self.id[op]}")
        return True

    def on_push(self, time, event):
        conversation, id = self.conversation(event["c"]), event["id"]
        op, author, hash = event["m"]
        session = self.sessions[event["s"]]
        self.see(time, conversation, id, op, author, hash, f"pushed to user {session.user}")
        if not conversation.group and session.user not in conversation.pair:
            self.report.add("leak", f"{conversation.key} id {id} pushed to user {session.user}")
        runs = session.runs.setdefault(conversation, [])
        if runs and id <= runs[-1]:
            self.report.add("hole", f"session {event['s']}: {conversation.key} id {id} pushed after "
                                    f"{runs[-1]}")
        elif runs and id == runs[-1] + 1:
            runs[-1] = id
        else:
            runs += (id, id)

    def on_list(self, time, event):
        conversation, user = self.conversation(event["c"]), event["u"]
        ids = []
        for id, op, author, hash in event["m"]:
            ids.append(id)
            self.see(time, conversation, id, op, author, hash, f"read by user {user}")
        if ids and not conversation.group and user not in conversation.pair:
            self.report.add("leak", f"{conversation.key} read by user {user}")
        if any(a != b + 1 for a, b in zip(ids, ids[1:])):
            self.report.add("gap", f"{conversation.key} read by user {user}: a page of {ids}")
        if event.get("final"):
            key = (user, conversation)
            self.finals[key] += ids
            since = self.final_span.setdefault(key, [event["t0"], time])
            since[1] = time
        if event["n"] > 0:
            self.lists.append((event["t0"], time, user, conversation, event["from"],
                               ids[0] if ids else 0, ids[-1] if ids else 0))

    def on_mark(self, time, event):
        self.marks[event["u"], self.conversation(event["c"])].append((time, event["id"], event["s"]))

    def on_unread(self, time, event):
        counts = {self.conversation(key): count for key, count in event["n"].items()}
        self.unreads.append((event["t0"], time, event["s"], event["u"], counts, bool(event.get("cut"))))

    def on_create(self, time, event):
        for user in event["m"]:
            timeline = self.timeline(event["g"], user)
            timeline.set(event["t0"], Timeline.UNSURE)
            timeline.set(time, Timeline.IN)

    def timeline(self, group, user):
        self.groups[group].add(user)
        return self.timelines[group, user]

    def on_change(self, time, event):
        before = {}
        for state, users in ((Timeline.IN, event["add"]), (Timeline.OUT, event["remove"])):
            for user in users:
                timeline = self.timeline(event["g"], user)
                before[user] = timeline.states[-1], state
                if timeline.states[-1] != state:
                    timeline.set(time, Timeline.UNSURE)
        self.changes[event["x"]] = event["g"], before

    def settle(self, time, event, which):
        group, states = self.changes.pop(event["x"])
        for user, both in states.items():
            self.timeline(group, user).set(time, both[which])

    def on_changed(self, time, event):
        self.settle(time, event, 1)

    def on_unchanged(self, time, event):
        # While its disk fails the server says no to a change whose sync failed, and cannot know: the next
        # start may find it written.
        if self.failing:
            return self.on_doubt(time, event)
        self.settle(time, event, 0)

    def on_doubt(self, _time, event):
        del self.changes[event["x"]]

    def on_members(self, time, event):
        """What the server says of a group that nobody is changing: ends every doubt, or contradicts."""
        listed = set(event["m"])
        for user in listed | self.groups[event["g"]]:
            timeline = self.timeline(event["g"], user)
            now = Timeline.IN if user in listed else Timeline.OUT
            if timeline.states[-1] == Timeline.UNSURE:
                timeline.set(time, now)
            elif timeline.states[-1] != now:
                self.report.add("lost", f"{event['g']}: user {user} is {'in' if user in listed else 'out'}, "
                                        "against the last change that was answered")
                timeline.set(time, now)

    def on_fault(self, time, event):
        if event.get("crash"):
            self.crashes.append(time)
            self.failing = True
        if self.fault is None or self.fault[1] != NEVER:  # else it died again before it served
            self.fault = [time, NEVER]
            self.spans.append(self.fault)

    def on_up(self, time, _event):
        self.fault[1] = time
        self.failing = False

    def on_late(self, time, event):
        self.spans.append([time - event["us"], time])

    def on_quiet(self, time, event):
        if event["echoed"]:
            self.quiets.append(time)
            self.quiet_since.append(event["since"])
        for session in self.sessions.values():
            if session.ended == NEVER:
                session.quiet = event["since"]

    def on_healed(self, _time, _event):
        self.healed = True

    def on_stored(self, time, event):
        conversation = self.conversation(event["c"])
        for id, op, author, hash in event["m"]:
            self.see(time, conversation, id, op, author, hash, "stored")
            if id in conversation.stored:
                self.report.add("divergence", f"{conversation.key} id {id} is stored twice")
            conversation.stored[id] = op

    def on_done(self, time, _event):
        self.done = True
        self.end = time

    # ---- judging -------------------------------------------------------------------------------------

    def judge(self):
        if not (self.began and self.healed and self.done):
            raise Incomplete("begin, healed and done are not all there: the run was broken off")
        for (op, session), began in self.waiting.items():
            ended = min(self.sessions[session].ended, self.end)
            if ended - began > self.deadline + self.excused(began, ended):
                self.report.add("stuck", f"op {op} on session {session}: no outcome")
        readers = collections.defaultdict(dict)
        for (user, conversation), ids in self.finals.items():
            readers[conversation][user] = ids
        for conversation in list(self.conversations.values()):
            self.judge_end(conversation, readers[conversation])
        self.judge_operations()
        self.judge_orders()
        for session in self.sessions.items():
            self.judge_session(*session)
        for one in self.lists:
            self.judge_list(*one)
        for one in self.trespass:
            self.judge_author(*one)
        for one in self.unreads:
            self.judge_unread(*one)
        return self.report

    def where(self, conversation, user):
        if conversation.group:
            return self.timelines.get((conversation.key, user), NOWHERE)
        return ALWAYS if user in conversation.pair else NOWHERE

    def judge_end(self, conversation, readers):
        """The final reads and the store: complete, without a hole, and everything that ever was seen."""
        newest = max((max(ids, default=0) for ids in readers.values()), default=0)
        newest = max(newest, max(conversation.stored, default=0))
        if conversation.ops and not conversation.stored:
            raise Incomplete(f"{conversation.key}: the store was not read in the end")
        if len(conversation.stored) != newest:
            missing = [id for id in range(1, newest + 1) if id not in conversation.stored][:5]
            self.report.add("gap", f"{conversation.key}: {len(conversation.stored)} stored, newest id "
                                   f"{newest}, missing {missing}")
        for id, op in conversation.ops.items():
            if conversation.stored.get(id) != op:
                self.report.add("lost", f"{conversation.key} id {id}: op {op} was there, the store has "
                                        f"{conversation.stored.get(id)}")
        conversation.arrange(self, newest)
        for user in conversation.pair or self.groups[conversation.key]:
            timeline = self.where(conversation, user)
            if user not in readers:
                if conversation.ops and timeline.states[-1] == Timeline.IN:
                    raise Incomplete(f"{conversation.key}: user {user} did not read it in the end")
                continue
            began, ended = self.final_span[user, conversation]
            ids = sorted(readers[user])
            if len(set(ids)) != len(ids):
                self.report.add("gap", f"{conversation.key} read by user {user}: an id twice")
            there = set(ids)
            for id in range(1, newest + 1):
                if id not in there and timeline.certain(conversation.lo[id], ended):
                    self.report.add("lost", f"{conversation.key} id {id}: not there when user {user} read "
                                            "all")
            if ids and ids[-1] - ids[0] + 1 != len(there):
                self.report.add("gap", f"{conversation.key} read by user {user}: {len(there)} ids from "
                                       f"{ids[0]} to {ids[-1]}")
            if ids and not self.may_see(conversation, timeline, ids[0], began, ended):
                self.report.add("leak", f"{conversation.key} id {ids[0]} read by user {user} in the end")

    def judge_operations(self):
        for op in range(1, len(self.begun)):
            if self.seen[op] != NEVER and self.refused[op] == self.attempts[op]:
                self.report.add("zombie", f"{self.conversation_of[op].key} id {self.id[op]}: op {op} was "
                                          "refused")

    def judge_orders(self):
        for conversation in self.conversations.values():
            told = 0
            for id in range(1, len(conversation.lo)):
                if conversation.lo[id] > conversation.hi[id] and told < 3:
                    told += 1
                    self.report.add("inversion", f"{conversation.key} about id {id}: something up to it was "
                                                 "begun after something from it on had been seen")
        newest = {}
        for op in range(1, len(self.begun)):
            if self.id[op] == 0 or op in self.resent:
                continue
            key = self.first_session[op], self.conversation_of[op]
            if self.id[op] <= newest.get(key, 0):
                self.report.add("inversion", f"{key[1].key}: op {op} has id {self.id[op]}, an earlier one of "
                                             f"the same connection {newest[key]}")
            newest[key] = max(self.id[op], newest.get(key, 0))

    def may_see(self, conversation, timeline, id, began, ended):
        """Whether a read in that time may show it."""
        if id >= len(conversation.lo):
            return True  # told as lost
        return (timeline.possible(conversation.lo[id], conversation.hi[id])
                and timeline.possible(began, ended)
                and not timeline.surely_left(conversation.hi[id], began))

    def sent_here(self, conversation, id, number):
        op = conversation.ops.get(id)
        return op is None or self.first_session[op] == number or number in self.resent.get(op, ())

    def judge_session(self, number, session):
        """Each message that was committed while it was there came, in order, but its own."""
        user = session.user
        for conversation in self.conversations.values():
            timeline = self.where(conversation, user)
            runs = session.runs.get(conversation, ())
            if timeline is NOWHERE:
                if runs and conversation.group:
                    self.report.add("leak", f"{conversation.key} pushed to user {user}")
                continue
            pushed_to = runs[-1] if runs else 0
            first = conversation.newest_possibly(session.begun) + 1
            last = max(pushed_to - 1, conversation.newest_surely(session.quiet) if session.quiet >= 0 else 0)
            at = 0
            id = first
            while id <= last:
                while at < len(runs) and runs[at + 1] < id:
                    at += 2
                if at < len(runs) and runs[at] <= id:
                    id = runs[at + 1] + 1
                    continue
                if (not self.sent_here(conversation, id, number) and id < len(conversation.lo)
                        and timeline.certain(conversation.lo[id], conversation.hi[id])):
                    kind = "hole" if id < pushed_to else "undelivered"
                    self.report.add(kind, f"{conversation.key} id {id}: not pushed to session {number} of "
                                          f"user {user}, which got up to {pushed_to}")
                id += 1
            if not conversation.group or len(timeline.states) <= 3:  # never left
                continue
            for begin, end in zip(runs[::2], runs[1::2]):
                for id in range(begin, min(end + 1, len(conversation.lo))):
                    if not timeline.possible(conversation.lo[id], conversation.hi[id]):
                        self.report.add("leak", f"{conversation.key} id {id} pushed to user {user}, who was "
                                                "out")

    def judge_list(self, began, ended, user, conversation, begin, top, bottom):
        timeline = self.where(conversation, user)
        for id in {top, bottom} - {0}:
            if not self.may_see(conversation, timeline, id, began, ended):
                self.report.add("leak", f"{conversation.key} id {id} read by user {user}, who may not see it")
        wanted = conversation.newest_surely(began)
        if begin:
            wanted = min(wanted, begin)
        if wanted and top < wanted and timeline.certain(conversation.lo[wanted], ended):
            self.report.add("gap", f"{conversation.key} read by user {user} from {begin}: newest is {top}, "
                                   f"{wanted} was there")

    def judge_author(self, began, ended, user, conversation, id):
        if not self.where(conversation, user).possible(began, ended):
            self.report.add("leak", f"{conversation.key} id {id} written by user {user}, who was out")

    def read_bounds(self, user, conversation, session, began, ended):
        """The least and the greatest read position that he may have had, and how many of his sends flew.

        In a group these count as unread for the moment between their commit and their acknowledgement.
        """
        crash = bisect.bisect_left(self.crashes, began)
        last_crash = self.crashes[crash - 1] if crash else -NEVER
        quiet = bisect.bisect_left(self.quiets, began)
        quiet, quiet_at = (self.quiet_since[quiet - 1], self.quiets[quiet - 1]) if quiet else (-NEVER, -NEVER)
        least = most = 0
        for time, id, by in self.marks.get((user, conversation), ()):
            if time > ended:
                break
            most = max(most, id or conversation.newest_possibly(ended))
            kept = time > last_crash or time < last_crash - MARK_DURABLE_US
            # Surely taken: something that was asked later on the same connection has its answer.
            taken = by == session or (time <= quiet and self.sessions[by].ended > quiet_at)
            if kept and time <= began and taken:
                there = conversation.newest_surely(time)
                least = max(least, min(id, there) if id else there)
        flying = 0
        if conversation.group:  # who writes has read
            own = conversation.own.get(user, ())
            for id in reversed(own[:bisect.bisect_right(own, conversation.newest_possibly(ended))]):
                most = max(most, id)
                if self.decided_before(conversation.ops[id], began):
                    least = max(least, id)
                    break
                flying += 1
        return least, most, flying

    def decided_before(self, op, time):
        """Whether its author had its acknowledgement, or a start on the log that has it, by then."""
        crash = bisect.bisect_right(self.crashes, self.begun[op])
        return self.acked_at[op] <= time or (crash < len(self.crashes) and self.crashes[crash] <= time)

    def judge_unread(self, began, ended, session, user, counts, cut):
        for conversation, count in counts.items():
            if count and not self.where(conversation, user).possible(began, ended):
                self.report.add("leak", f"{conversation.key}: user {user}, who is not in it, has {count} "
                                        "unread")
        for conversation in self.conversations.values():
            timeline = self.where(conversation, user)
            count = counts.get(conversation, 0)
            if timeline is NOWHERE or conversation.lo is None or (cut and not count):
                continue
            least_read, most_read, flying = self.read_bounds(user, conversation, session, began, ended)
            surely, possibly = conversation.newest_surely(began), conversation.newest_possibly(ended)
            fewest = most = 0
            if timeline.possible(began, ended):
                after = least_read
                if conversation.group:
                    came = timeline.came(began, ended)
                    after = max(after, bisect.bisect_left(conversation.hi, came) - 1)
                most = conversation.others(user, after, possibly) + flying
            if timeline.certain(began, ended):
                after = most_read
                if conversation.group:
                    came = timeline.surely_in_since(ended)
                    after = max(after, bisect.bisect_left(conversation.lo, came) - 1)
                fewest = conversation.others(user, after, surely)
            if not fewest <= count <= most:
                self.report.add("drift", f"{conversation.key}: user {user} has {count} unread, not {fewest} "
                                         f"to {most} (read up to {least_read}…{most_read}, newest "
                                         f"{surely}…{possibly})")


def check_events(events):
    """The finished Check of an iterable of events, in their order."""
    check = Check()
    number = 0
    try:
        for event in events:
            number += 1
            check.take(event)
    except (ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise Incomplete(f"line {number}: {type(error).__name__}: {error}") from error
    check.judge()
    return check


def summary(check):
    operations = len(check.begun) - 1
    unknown = sum(1 for op in range(1, operations + 1)
                  if check.acked_at[op] == NEVER and check.refused[op] < check.attempts[op])
    return {"events": check.events, "sends": operations,
            "acknowledged": sum(1 for time in check.acked_at if time != NEVER),
            "refused": sum(1 for op in range(1, operations + 1) if check.refused[op] == check.attempts[op]),
            "unknown": unknown, "doubts": check.doubts, "sessions": len(check.sessions),
            "conversations": len(check.conversations),
            "crashes": len(check.crashes), "reads": len(check.lists), "unread_reads": len(check.unreads),
            "anomalies": {kind: check.report.counts[kind] for kind in KINDS if check.report.counts[kind]}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("history")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        with open(args.history, encoding="utf-8") as lines:
            check = check_events(map(json.loads, lines))
    except Incomplete as error:
        print(f"incomplete: {error}", file=sys.stderr)
        return 2
    found = summary(check)
    if args.json:
        print(json.dumps(found | {"told": check.report.told}))
    else:
        print(", ".join(f"{value} {key}" for key, value in found.items() if key != "anomalies"))
        for kind in KINDS:
            for text in check.report.told.get(kind, ()):
                print(f"{kind}: {text}")
        print("; ".join(f"{kind} {count}" for kind, count in found["anomalies"].items()) or "no anomaly")
    return 1 if check.report.counts else 0


if __name__ == "__main__":
    sys.exit(main())

"""Breaks clean histories, each time in one way, so that a test can ask whether the checker notices.

Each mutation changes the lines in place and returns True, or False if this history has no place for it. Where
a server that has the defect would show it consistently (an id that is skipped, two messages in the wrong
order), so does the mutation: every line that names the message changes.
"""

import json

MUTATIONS = []


def breaks(kind):
    """kind: what the checker has to call it."""
    def add(function):
        MUTATIONS.append((kind, function))
        return function
    return add


def mutate(lines, function, rng):
    """A broken copy, or None."""
    lines = json.loads(json.dumps(lines))
    return lines if function(History(lines, rng)) else None


class History:
    def __init__(self, lines, rng):
        self.lines, self.rng = lines, rng
        self.sends, self.repeated = {}, set()
        for line in self.of("send"):
            if line["op"] in self.sends:
                self.repeated.add(line["op"])
            self.sends.setdefault(line["op"], line)
        self.ids = {line["op"]: line["id"] for line in self.of("ok")}
        self.healed = next(at for at, line in enumerate(lines) if line["e"] == "healed")

    def of(self, event):
        return [line for line in self.lines if line["e"] == event]

    def pick(self, choices):
        choices = list(choices)
        return self.rng.choice(choices) if choices else None

    def stored(self, conversation):
        return next(line["m"] for line in self.of("stored") if line["c"] == conversation)

    def conversations(self, least=2, group=None):
        return [line["c"] for line in self.of("stored") if len(line["m"]) >= least
                and (group is None or line["c"].startswith("g") == group)]

    def finals(self, conversation):
        return [line for line in self.of("list") if line.get("final") and line["c"] == conversation]

    def place_of(self, line):
        return next(at for at, other in enumerate(self.lines) if other is line)

    def delete(self, unwanted):
        unwanted = {id(line) for line in unwanted}
        self.lines[:] = [line for line in self.lines if id(line) not in unwanted]

    def forget(self, conversation, message):
        """Takes an id out of everything that shows the end."""
        stored = [line for line in self.of("stored") if line["c"] == conversation]
        for line in self.finals(conversation) + stored:
            line["m"] = [one for one in line["m"] if one[0] != message]

    def renumber(self, conversation, new_id):
        """Gives messages other ids, wherever they are named."""
        for line in self.lines:
            if line["e"] == "ok" and self.sends[line["op"]]["c"] == conversation:
                line["id"] = new_id(line["id"])
            elif line.get("c") != conversation:
                continue
            elif line["e"] == "push":
                line["id"] = new_id(line["id"])
            elif line["e"] in ("list", "stored"):
                line["m"] = [[new_id(one[0]), *one[1:]] for one in line["m"]]
                line["m"].sort(key=lambda one: one[0], reverse=line["e"] == "list")

    def users(self):
        return {line["u"] for line in self.of("login")}

    def patience(self):
        """After that long a send is overdue, whatever was declared a fault."""
        spans = zip([line["t"] for line in self.of("fault")], [line["t"] for line in self.of("up")])
        late = sum(line["us"] for line in self.of("late"))
        return self.lines[0]["deadline"] + late + sum(up - fault for fault, up in spans)

    def pair_pushes(self):
        return [line for line in self.of("push") if not line["c"].startswith("g")]

    def session_of(self, number):
        """Its login and its end (None: it lived on)."""
        login = next(line for line in self.of("login") if line["s"] == number)
        return login, next((line for line in self.of("end") if line["s"] == number), None)

    def stranger_to(self, conversation, time):
        """A session of that time, of one who never was in that group, or is not one of the pair."""
        if conversation.startswith("g"):
            inside = {user for line in self.lines if line.get("g") == conversation
                      for user in line.get("m", []) + line.get("add", [])}
        else:
            inside = {int(one) for one in conversation.split("-")}
        return self.pick(line for line in self.of("login") if line["u"] not in inside and line["t"] < time)


@breaks("lost")
def acknowledged_and_gone(history):
    """The newest of a conversation, as after a power cut without a sync."""
    choices = [(c, history.stored(c)[-1]) for c in history.conversations()]
    found = history.pick((c, m) for c, m in choices if m[1] in history.ids)
    if found:
        history.forget(found[0], found[1][0])
    return bool(found)


@breaks("lost")
def pushed_and_gone(history):
    """Never acknowledged, but somebody saw it."""
    pushed = {line["m"][0] for line in history.of("push")}
    found = history.pick((c, history.stored(c)[-1]) for c in history.conversations()
                         if history.stored(c)[-1][1] in pushed)
    if not found:
        return False
    for line in history.of("ok"):
        if line["op"] == found[1][1]:
            line["e"] = "unknown"
    history.forget(found[0], found[1][0])
    return True


@breaks("lost")
def one_reader_misses_the_end(history):
    line = history.pick(line for c in history.conversations(group=False) for line in history.finals(c)[:1]
                        if line["m"])
    if line:
        del line["m"][0]
    return bool(line)


@breaks("lost")
def members_forgotten(history):
    line = history.pick(line for line in history.of("members") if line["m"])
    if not line:
        return False
    unsure = {user for change in history.of("change") if change["g"] == line["g"]
              for user in change["add"] + change["remove"]}
    user = history.pick(user for user in line["m"] if user not in unsure)
    if user is None:
        return False
    line["m"].remove(user)
    return True


@breaks("phantom")
def body_damaged(history):
    line = history.pick(history.of("push"))
    line["m"] = [0, 0, line["m"][2] ^ 1]
    return True


@breaks("phantom")
def nobody_sent_it(history):
    line = history.pick(history.of("push"))
    line["m"] = [len(history.sends) + 7, line["m"][1], line["m"][2]]
    return True


@breaks("phantom")
def bit_flipped_in_the_store(history):
    message = history.pick(m for c in history.conversations(1) for m in history.stored(c))
    message[3] ^= 1 << history.rng.randrange(32)
    return True


@breaks("phantom")
def under_another_name(history):
    line = history.pick(line for line in history.of("list") if line["m"])
    message = history.pick(line["m"])
    message[2] = history.pick(history.users() - {message[2]})
    return True


@breaks("phantom")
def in_another_conversation(history):
    one, other = history.pick(history.conversations()), history.pick(history.conversations())
    if one == other:
        return False
    here, there = history.pick(history.stored(one)), history.pick(history.stored(other))
    there[1:] = here[1:]
    return True


@breaks("phantom")
def before_it_was_sent(history):
    line = history.pick(history.of("push"))
    sent = history.sends[line["m"][0]]
    history.delete([line])
    line["t"] = sent["t"] - 1
    history.lines.insert(history.place_of(sent), line)
    login, _ = history.session_of(line["s"])
    if login["t"] > line["t"]:
        return False
    # Its number is known only to the line of the send: the checker has to see it come first.
    return True


@breaks("zombie")
def refused_and_stored(history):
    line = history.pick(line for line in history.of("ok") if line["op"] not in history.repeated)
    line["e"], line["code"] = "refused", 2
    return True


@breaks("duplicate")
def repetition_stored_again(history):
    c = history.pick(history.conversations(group=False))
    messages = history.stored(c)
    again = [messages[-1][0] + 1, *history.pick(messages)[1:]]
    messages.append(again)
    first_pages = {}
    for line in history.finals(c):
        first_pages.setdefault(line["u"], line)
    for line in first_pages.values():
        line["m"].insert(0, list(again))
    return True


@breaks("duplicate")
def acknowledged_under_two_ids(history):
    line = history.pick(history.of("ok"))
    line["id"] += 1
    return True


@breaks("divergence")
def two_swapped_for_one_reader(history):
    line = history.pick(line for c in history.conversations() for line in history.finals(c)
                        if len(line["m"]) >= 2)
    if not line:
        return False
    at = history.rng.randrange(len(line["m"]) - 1)
    one, other = line["m"][at], line["m"][at + 1]
    one[1:], other[1:] = other[1:], one[1:]
    return True


@breaks("divergence")
def id_given_twice(history):
    """After a restart the counter was older than the log: the id's second owner is acknowledged, too."""
    c = history.pick(history.conversations())
    one, other = history.stored(c)[-2:]
    if one[1] not in history.ids or other[1] not in history.ids:
        return False
    for line in history.of("ok"):
        if line["op"] == other[1]:
            line["id"] = one[0]
    for line in history.of("push"):
        if line["m"][0] == other[1]:
            line["id"] = one[0]
    return True


@breaks("divergence")
def stored_twice(history):
    messages = history.stored(history.pick(history.conversations(1)))
    messages.append(list(history.pick(messages)))
    return True


@breaks("gap")
def id_skipped(history):
    """From one message on all ids are one more: a number was given out and not used."""
    c = history.pick(history.conversations())
    after = history.rng.randrange(len(history.stored(c)))
    history.renumber(c, lambda id: id + (id > after))
    return True


@breaks("gap")
def hole_in_a_page(history):
    line = history.pick(line for line in history.of("list") if len(line["m"]) >= 3)
    if line:
        del line["m"][history.rng.randrange(1, len(line["m"]) - 1)]
    return bool(line)


@breaks("gap")
def stale_page(history):
    """A read that began after a message had been acknowledged does not show it."""
    for line in history.rng.sample(history.of("list"), len(history.of("list"))):
        if line.get("final") or line["from"] or not line["m"] or line["c"].startswith("g"):
            continue
        acked = [one["id"] for one in history.of("ok") if one["t"] < line["t0"]
                 and history.sends[one["op"]]["c"] == line["c"]]
        if acked and line["m"][0][0] <= max(acked):
            del line["m"][0]
            return True
    return False


@breaks("inversion")
def later_before_earlier(history):
    """Two in the wrong order for everybody, though the second was begun after the first's acknowledgement."""
    acked = {line["op"]: line["t"] for line in history.of("ok")}
    choices = []
    for c in history.conversations():
        for one, other in zip(history.stored(c), history.stored(c)[1:]):
            if one[1] in acked and acked[one[1]] < history.sends[other[1]]["t"]:
                choices.append((c, one[0]))
    found = history.pick(choices)
    if found:
        c, low = found
        history.renumber(c, lambda id: {low: low + 1, low + 1: low}.get(id, id))
    return bool(found)


@breaks("inversion")
def one_connection_out_of_order(history):
    choices = []
    for c in history.conversations():
        for one, other in zip(history.stored(c), history.stored(c)[1:]):
            first, second = history.sends[one[1]], history.sends[other[1]]
            if first["s"] == second["s"] and not {one[1], other[1]} & history.repeated:
                choices.append((c, one[0]))
    found = history.pick(choices)
    if found:
        c, low = found
        history.renumber(c, lambda id: {low: low + 1, low + 1: low}.get(id, id))
    return bool(found)


def pushes_in_order(history):
    out = {}
    for line in history.of("push"):
        out.setdefault((line["s"], line["c"]), []).append(line)
    return out.values()


@breaks("hole")
def push_skipped(history):
    """One of a pair's pushes is missing, and a later one came."""
    choices = []
    for pushes in pushes_in_order(history):
        if pushes[0]["c"].startswith("g"):
            continue
        login, _ = history.session_of(pushes[0]["s"])
        choices += [line for line in pushes[:-1] if history.sends[line["m"][0]]["t"] > login["t"]]
    line = history.pick(choices)
    if line:
        history.delete([line])
    return bool(line)


@breaks("hole")
def pushes_exchanged(history):
    found = history.pick((one, other) for pushes in pushes_in_order(history)
                         for one, other in zip(pushes, pushes[1:])
                         if history.sends[other["m"][0]]["t"] < one["t"])
    if not found:
        return False
    one, other = found
    for name in ("id", "m"):
        one[name], other[name] = other[name], one[name]
    return True


@breaks("hole")
def pushed_again(history):
    line = history.pick(history.of("push"))
    history.lines.insert(history.place_of(line) + 1, dict(line))
    return True


@breaks("undelivered")
def last_push_missing(history):
    """Quiet came, and a session that had lived since before the send never got it."""
    quiet = history.of("quiet")[-1]
    choices = []
    for pushes in pushes_in_order(history):
        login, end = history.session_of(pushes[0]["s"])
        last = pushes[-1]
        if (end is None and not last["c"].startswith("g") and last["t"] < quiet["since"]
                and history.sends[last["m"][0]]["t"] > login["t"] and last["m"][0] in history.ids):
            choices.append(last)
    line = history.pick(choices)
    if line:
        history.delete([line])
    return bool(line)


@breaks("undelivered")
def session_forgotten(history):
    """No push at all to one living session."""
    quiet = history.of("quiet")[-1]
    choices = []
    for login in history.of("login"):
        mine = [line for line in history.of("push") if line["s"] == login["s"]]
        late = [line for line in mine if history.sends[line["m"][0]]["t"] > login["t"]
                and not line["c"].startswith("g") and line["t"] < quiet["since"]]
        if late and history.session_of(login["s"])[1] is None:
            choices.append(mine)
    mine = history.pick(choices)
    if mine:
        history.delete(mine)
    return bool(mine)


def exact_unreads(history):
    return [line for line in history.lines[history.healed:] if line["e"] == "unread" and line["n"]]


@breaks("drift")
def one_unread_too_many(history):
    found = history.pick((line, c) for line in exact_unreads(history) for c in certain(history, line["u"])
                         if c in line["n"])
    if found:
        found[0]["n"][found[1]] += 1
    return bool(found)


@breaks("drift")
def unread_forgotten(history):
    found = history.pick((line, c) for line in exact_unreads(history) for c in certain(history, line["u"])
                         if c in line["n"])
    if found:
        del found[0]["n"][found[1]]
    return bool(found)


def certain(history, user):
    """Pairs of his in which nothing of the read mark was ever in doubt."""
    return [c for c in history.conversations(1, group=False) if str(user) in c.split("-")
            and not any(line["c"] == c and line["u"] == user for line in history.of("mark"))]


@breaks("leak")
def pushed_to_a_stranger(history):
    line = history.pick(history.pair_pushes())
    stranger = line and history.stranger_to(line["c"], line["t"])
    if not stranger:
        return False
    line["s"] = stranger["s"]
    return True


@breaks("leak")
def read_by_a_stranger(history):
    c = history.pick(history.conversations())
    at = history.lines[history.healed]["t"]
    stranger = history.stranger_to(c, at)
    if not stranger:
        return False
    messages = sorted(history.stored(c), reverse=True)[:5]
    history.lines.insert(history.healed, {
        "t": at, "e": "list", "s": stranger["s"], "u": stranger["u"], "c": c, "t0": at, "from": 0, "n": 5,
        "m": [list(one) for one in messages]})
    return True


def memberships(history):
    """(group, user, removed, added again or None) of changes that were answered, in order of time."""
    done = {line["x"]: line["t"] for line in history.of("changed")}
    out = []
    for line in history.of("change"):
        for user in line["remove"]:
            back = [other for other in history.of("change") if other["g"] == line["g"]
                    and user in other["add"] and other["t"] > line["t"]]
            unsure = [other for other in history.of("change") if other["g"] == line["g"]
                      and user in other["add"] + other["remove"] and other["x"] not in done]
            if line["x"] in done and not unsure:
                out.append((line["g"], user, done[line["x"]], back[0]["t"] if back else None))
    return out


@breaks("leak")
def pushed_after_he_left(history):
    choices = []
    for group, user, left, back in memberships(history):
        for line in history.of("push"):
            sent = history.sends[line["m"][0]]["t"]
            if line["c"] == group and sent > left and (back is None or line["t"] < back):
                for login in history.of("login"):
                    end = history.session_of(login["s"])[1]
                    lived = login["t"] < line["t"] and (end is None or end["t"] > line["t"])
                    if login["u"] == user and lived:
                        choices.append((line, login["s"]))
    found = history.pick(choices)
    if found:
        line, session = found
        history.lines.insert(history.place_of(line) + 1, line | {"s": session})
    return bool(found)


@breaks("leak")
def history_from_before_he_came(history):
    """The last reading of somebody who was removed and added again, or added late, begins too early."""
    choices = []
    for c in history.conversations(group=True):
        pages = {}
        for line in history.finals(c):
            if line["m"]:
                pages[line["u"]] = line
        changes = [line for line in history.of("change") if line["g"] == c]
        acked = {line["op"]: line["t"] for line in history.of("ok")}
        for user, line in pages.items():
            first = line["m"][-1][0]
            before = next((m for m in history.stored(c) if m[0] == first - 1), None)
            added = [change for change in changes if user in change["add"]]
            if before and added and acked.get(before[1], 1 << 62) < added[-1]["t"]:
                choices.append((line, before))
    found = history.pick(choices)
    if found:
        found[0]["m"].append(list(found[1]))
    return bool(found)


@breaks("leak")
def written_after_he_left(history):
    """A member's send turns out to be that of one who had been removed."""
    choices = []
    for group, user, left, back in memberships(history):
        for line in history.of("ok"):
            sent = history.sends[line["op"]]
            if (sent["c"] == group and sent["t"] > left and (back is None or line["t"] < back)
                    and line["op"] not in history.repeated):
                choices.append((sent, user))
    found = history.pick(choices)
    if found:
        sent, user = found
        sent["u"] = user
        for line in history.lines:
            for message in line.get("m", ()) if line["e"] in ("list", "stored") else ():
                if message[1] == sent["op"]:
                    message[2] = user
            if line["e"] == "push" and line["m"][0] == sent["op"]:
                line["m"][1] = user
    return bool(found)


@breaks("leak")
def strangers_unread(history):
    line = history.pick(history.of("unread"))
    c = history.pick(c for c in history.conversations(group=False) if str(line["u"]) not in c.split("-"))
    if not c:
        return False
    line["n"][c] = 1
    return True


@breaks("stuck")
def no_outcome(history):
    """The acknowledgement never came, the connection lived on."""
    allowed = history.patience()
    last = history.lines[-1]["t"]
    choices = []
    for line in history.of("ok"):
        sent = history.sends[line["op"]]
        end = history.session_of(line["s"])[1]
        if (line["op"] not in history.repeated
                and (end["t"] if end else last) - sent["t"] > allowed):
            choices.append(line)
    line = history.pick(choices)
    if line:
        history.delete([line])
    return bool(line)


@breaks("stuck")
def unknown_too_late(history):
    """The connection lived long past the deadline before it broke: that is no excuse."""
    allowed = history.patience()
    choices = []
    for line in history.of("ok"):
        end = history.session_of(line["s"])[1]
        if end and line["op"] not in history.repeated and end["t"] - history.sends[line["op"]]["t"] > allowed:
            choices.append((line, end))
    found = history.pick(choices)
    if found:
        line, end = found
        history.delete([line])
        line["e"], line["t"] = "unknown", end["t"]
        del line["id"]
        history.lines.insert(history.place_of(end) + 1, line)
    return bool(found)

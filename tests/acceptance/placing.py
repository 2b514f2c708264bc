"""Users whose homes are known: on the same shard, and on different ones in either role.

Where a user lives is asked from the server (GET /api/v1/sessions while he is logged in), not computed:
a test that shares the engine's arithmetic would share its mistakes.
"""

import json

import wire
from client import Failure, log_in, require, require_equal

USERS_PER_TRY = 8
TRIES = 6


def shard_of(server, user):
    """The home shard of a user, seen by a mobile login that tells nobody."""
    with log_in(server, user, wire.ANDROID):
        status, text = server.http("GET", f"/api/v1/sessions?user={user.id}")
        require_equal(status, 200, f"GET /api/v1/sessions {text[:200]}")
        sessions = json.loads(text)["sessions"]
        require(len(sessions) == 1, f"sessions of {user.name}: {sessions}")
        return sessions[0]["shard"]


def pick(users, shards):
    """(where, a, b) for: one shard; two shards, the smaller id first and last. None if these lack."""
    left = list(zip(users, shards))
    out = []
    for where, fits in (
            ("on one shard", lambda a, b: a[1] == b[1]),
            ("on two shards, A before B", lambda a, b: a[1] != b[1] and a[0].id < b[0].id),
            ("on two shards, B before A", lambda a, b: a[1] != b[1] and a[0].id > b[0].id)):
        found = next(((a, b) for a in left for b in left if a is not b and fits(a, b)), None)
        if found is None:
            return None
        left = [one for one in left if one not in found]
        out.append((where, found[0][0], found[1][0]))
    return out


def placed_pairs(server):
    """[(where, a, b)]: with one shard one pair, else one per way to be placed."""
    if server.shards == 1:
        return [("one shard", *server.make_users(2))]
    users, shards = [], []
    for _ in range(TRIES):
        more = server.make_users(USERS_PER_TRY)
        users += more
        shards += [shard_of(server, user) for user in more]
        found = pick(users, shards)
        if found:
            return found
    raise Failure(f"{len(users)} users, but all on shards {sorted(set(shards))}")


def for_each_placing(server, check):
    """check(a, b) for each placing; a failure says for which."""
    for where, a, b in placed_pairs(server):
        try:
            check(a, b)
        except Failure as failure:
            raise type(failure)(f"{where}: {failure}") from failure


def pick_members(users, shards, count, of):
    """(count users of one shard, count others on nearly all of the `of` shards, two at least), or None."""
    homes = {}
    for user, shard in zip(users, shards):
        homes.setdefault(shard, []).append(user)
    full = next((shard for shard, found in homes.items() if len(found) >= count), None)
    if full is None:
        return None
    together, homes[full] = homes[full][:count], homes[full][count:]
    apart = []
    while len(apart) < count and any(homes.values()):
        for shard in sorted(homes, key=lambda shard: shard == full):
            if homes[shard] and len(apart) < count:
                apart.append(homes[shard].pop())
    met = {shards[users.index(user)] for user in apart}
    return (together, apart) if len(apart) == count and len(met) >= max(2, min(of - 1, count)) else None


def placed_members(server, count):
    """[(where, users)] for a group: with one shard one set, else one together and one scattered."""
    if server.shards == 1:
        return [("one shard", server.make_users(count))]
    users, shards = [], []
    for _ in range(TRIES):
        more = server.make_users(max(USERS_PER_TRY, 2 * count))
        users += more
        shards += [shard_of(server, user) for user in more]
        found = pick_members(users, shards, count, server.shards)
        if found:
            return list(zip(("members on one shard", "members on different shards"), found))
    raise Failure(f"{len(users)} users, but all on shards {sorted(set(shards))}")


def for_each_members(server, count, check):
    """check(*users) for each placing of a group's people; a failure says for which."""
    for where, users in placed_members(server, count):
        try:
            check(*users)
        except Failure as failure:
            raise type(failure)(f"{where}: {failure}") from failure

"""`ringtalkctl export-teamtalk`: what users did on an embedded store is in the MySQL database afterwards, to
the byte, and the original finds its way around in it (handback).

Usage: export_test.py --ringtalkctl PATH --build-dir DIR
"""

import argparse
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [TESTS, os.path.join(TESTS, "acceptance")]
sys.dont_write_bytecode = True

import servers  # noqa: E402
import wire  # noqa: E402
from client import Client  # noqa: E402
from server import Server, find_ringtalkd  # noqa: E402

NICK = "Ärger 🙂"
LONG_PHONE = "0123456789012"
SOUND = b"\0\0\0\7" + bytes(range(256)) * 3


def log_in(server, user, kind=wire.WINDOWS):
    client = Client(server.address)
    got = client.ask_login(user.name, user.secret, kind)
    assert got["result_code"] == wire.OK, got
    return client


def live(server):
    """Some days of a small company. Returns its users and group."""
    alice, bob, carol = server.make_users(3)
    status, text = server.http("POST", "/api/v1/groups", {"name": "Lunch", "members": [alice.id, bob.id]})
    assert status == 201, text
    group = json.loads(text)["id"]
    with log_in(server, alice) as a, log_in(server, bob) as b, log_in(server, carol) as c:
        for number in range(1, 41):
            a.say(bob.id, f"to bob {number}".encode())
        assert b.say(alice.id, SOUND, kind=wire.SOUND) == 41
        b.send(wire.READ_ACK, seq=0, user_id=0, session_id=alice.id, msg_id=35, session_type=wire.SINGLE)
        c.say(alice.id, "我们 😀".encode())
        a.say(group, b"hungry?", kind=wire.GROUP_TEXT)
        a.say(group, SOUND, kind=wire.GROUP_SOUND)
        a.send(wire.REMOVE_SESSION_REQ, user_id=0, session_type=wire.SINGLE, session_id=carol.id)
        a.expect(wire.REMOVE_SESSION_RES)
        phone = log_in(server, bob, wire.IOS)
        phone.send(wire.DEVICE_TOKEN_REQ, user_id=0, device_token="ab" * 32, client_type=wire.IOS)
        phone.expect(wire.DEVICE_TOKEN_RES)
        phone.close()
    status, text = server.http("PATCH", f"/api/v1/users/{carol.id}", {"nick": NICK})
    assert status == 200, text
    return alice, bob, carol, group


def check(sql, redis, server, ctl, people):
    alice, bob, carol, group = people
    do = sql.do
    assert [row[0] for row in do("SELECT name FROM IMUser ORDER BY id")] == [u.name for u in people[:3]]
    assert do(f"SELECT nick, phone FROM IMUser WHERE id = {carol.id}") == [[NICK, LONG_PHONE[:11]]]
    relations = {(int(small), int(big)): int(id) for id, small, big in
                 do("SELECT id, smallId, bigId FROM IMRelationShip")}
    assert set(relations) == {(alice.id, bob.id), (alice.id, carol.id)}, relations
    id = relations[alice.id, bob.id]
    rows = do("SELECT fromId, toId, msgId, rtSeq, rtSmall, content, type, status FROM"
              f" IMMessage_{id % 8} WHERE relateId = {id} ORDER BY id")
    for number, row in enumerate(rows[:40], 1):
        n = str(number)
        assert row == [str(alice.id), str(bob.id), n, n, n, f"to bob {n}", "1", "0"], row
    assert len(rows) == 41 and rows[40][:5] == [str(bob.id), str(alice.id), "41", "41", "40"], rows[40]
    check_sound(do, rows[40], "2", bob.id, alice.id)
    id = relations[alice.id, carol.id]
    assert do(f"SELECT content FROM IMMessage_{id % 8} WHERE relateId = {id}") == [["我们 😀"]]
    rows = do("SELECT userId, groupId, msgId, rtSeq, 0, content, type, status FROM"
              f" IMGroupMessage_{group % 8} ORDER BY id")
    assert rows[0] == [str(alice.id), str(group), "1", "1", "0", "hungry?", "17", "0"], rows
    check_sound(do, rows[1], "18", alice.id, group)
    assert sorted(do(f"SELECT userId, firstMsgId FROM RTGroupMember WHERE groupId = {group}")) == sorted(
        [[str(alice.id), "1"], [str(bob.id), "1"]])
    assert do(f"SELECT status, hiddenTo FROM IMRecentSession s JOIN RTSession USING (userId, peerId, type)"
              f" WHERE userId = {alice.id} AND peerId = {carol.id}") == [["1", "1"]]
    assert do("SELECT userId, serviceType, token FROM RTPushReg") == [[str(bob.id), "1", "ab" * 32]]
    assert do(f"SELECT msgId FROM RTReadCursor WHERE userId = {bob.id} AND type = 1"
              f" AND convId = {alice.id}") == [["35"]]
    assert do("SELECT value FROM RTSchema WHERE name = 'version'") != []

    # The original's servers would ask these.
    ctl("handback", "--stopped")
    with redis.resp(1) as unread:
        assert unread.do("HGETALL", f"unread_{bob.id}") == [str(alice.id).encode(), b"5"]
        assert unread.do("HGETALL", f"unread_{alice.id}") == [str(bob.id).encode(), b"1"], "his sound"
        assert unread.do("GET", f"msg_id_{relations[alice.id, bob.id]}") == b"41"
        assert unread.do("GET", f"group_msg_id_{group}") == b"2"
        left = {user: int(unread.do("HGET", f"{group}_im_group_msg", "count"))
                - int(unread.do("HGET", f"{user}_{group}_im_user_group", "count"))
                for user in (alice.id, bob.id)}
        assert left == {alice.id: 0, bob.id: 2}, left
    with redis.resp(4) as token:
        assert token.do("GET", f"device_{bob.id}") == b"ios:" + b"ab" * 32
    with redis.resp(5) as member:
        assert set(member.do("HKEYS", f"group_member_{group}")) == {
            str(alice.id).encode(), str(bob.id).encode()}


def check_sound(do, row, kind, author, receiver):
    assert row[6] == kind and row[0] == str(author), row
    assert do(f"SELECT fromId, toId, size, duration FROM IMAudio WHERE id = {row[5]}") == [
        [str(author), str(receiver), str(len(SOUND) - 4), "7"]]
    assert do(f"SELECT HEX(data) FROM RTAudio WHERE audioId = {row[5]}") == [[SOUND[4:].hex().upper()]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ringtalkctl", required=True)
    parser.add_argument("--build-dir", required=True)
    args = parser.parse_args()
    path = os.path.abspath(args.ringtalkctl)
    try:
        mariadb = None if "RINGTALK_TEST_MYSQL" in os.environ else servers.MariaDb()
        redis = servers.Redis()
    except servers.Unavailable as problem:
        print(problem)
        return 77  # meson: skipped
    address = mariadb.address if mariadb else os.environ["RINGTALK_TEST_MYSQL"]
    host, port, user, password = address.split(":")
    database = f"rt_export_{os.getpid()}"
    with redis, tempfile.TemporaryDirectory(prefix="ringtalk-export-") as folder:
        secret = os.path.join(folder, "password")
        with open(secret, "w", encoding="utf-8") as out:
            out.write(password + "\n")
        options = ["--mysql", f"{host}:{port}", "--user", user, "--password-file", secret,
                   "--database", database]
        options_of_redis = ["--redis", redis.address]

        def ctl(verb, *words, code=0):
            command = [path, verb, *words, *options, *(options_of_redis if verb == "handback" else [])]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == code, f"{verb}: exit {done.returncode}: {done.stdout}{done.stderr}"
            return done.stdout + done.stderr

        servers.Sql(address).do(f"CREATE DATABASE {database}")
        try:
            sql = servers.Sql(address, database)
            assert "no store" in ctl("export-teamtalk", folder, code=1)
            assert sql.do("SHOW TABLES") == []
            server = Server(find_ringtalkd(args.build_dir), shards=2, label="export", keep=True)
            try:
                people = live(server)
                assert "a server is running" in ctl("export-teamtalk", server.data_dir, code=1)
                assert sql.do("SHOW TABLES") == []
                server.close()
                with contextlib.closing(sqlite3.connect(os.path.join(server.data_dir, "ringtalk.db"))) as db:
                    db.execute("UPDATE user SET phone = ? WHERE id = ?", (LONG_PHONE, people[2].id))
                    db.commit()  # as somebody's script may
                said = ctl("export-teamtalk", server.data_dir)
                assert "44 messages, 2 of them sounds" in said and "1 value cut" in said, said
                assert all(f"original's form: {u.name}" in said for u in people[:3]), said
                check(sql, redis, server, ctl, people)
                assert "an empty one is wanted" in ctl("export-teamtalk", server.data_dir, code=1)
            finally:
                server.keep = False
                server.close()
        finally:
            servers.Sql(address).do(f"DROP DATABASE {database}")
            if mariadb:
                mariadb.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a server's store is, for the tests that look into it or write into it while it is stopped.

use("mysql") makes every Server from then on keep its data in a database of its own, at a MariaDB that is
started here and stopped at the end; else it is the embedded store under the server's data directory.
"""

import contextlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import servers  # noqa: E402

_names = itertools.count(1)
_mysql = None  # the MariaDB of all servers that need none of their own
_make_schema = None


def use(store, build_dir, mysql=None):
    """mysql: a MariaDB that runs already."""
    global _mysql, _make_schema
    if store == "mysql" and _mysql is None:
        _mysql = mysql or servers.MariaDb()
        _make_schema = os.path.join(os.path.abspath(build_dir), "tests", "acceptance", "make_schema")


def is_mysql():
    return _mysql is not None


def storage_of(server, alone=False):
    """alone: the test is going to do something to the store that others would notice."""
    if not is_mysql():
        return EmbeddedStorage(server)
    return MySqlStorage(server, servers.MariaDb() if alone else _mysql)


class EmbeddedStorage:
    config = {}

    def __init__(self, server):
        self.server = server

    def connect(self):
        return contextlib.closing(sqlite3.connect(os.path.join(self.server.data_dir, "ringtalk.db")))

    def push_tokens(self):
        """{user: (vendor, token)}"""
        with self.connect() as db:
            return {user: (vendor, token)
                    for user, vendor, token in db.execute("SELECT user_id, vendor, token FROM push_token")}

    def add_legacy_users(self, rows):
        """(id, name, status, password, salt) each"""
        with self.connect() as db:
            columns = {column[1]: column for column in db.execute("PRAGMA table_info(user)")}
            nothing = "" if columns["password"][3] else None
            with db:
                for id, name, status, legacy, salt in rows:
                    db.execute("INSERT INTO user (id, name, nick, department, status, legacy_password, "
                               "legacy_salt, password) VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
                               (id, name, name.capitalize(), status, legacy, salt, nothing))

    def better_hash(self, name):
        with self.connect() as db:
            return db.execute("SELECT password FROM user WHERE name = ?", (name,)).fetchone()[0]

    @contextlib.contextmanager
    def refusing_writes(self):
        """Another process holds the database."""
        with self.connect() as db:
            db.isolation_level = None
            db.execute("BEGIN IMMEDIATE")
            yield
            db.execute("ROLLBACK")

    def records(self, ringtalkctl):
        """{kind: records} in the log."""
        done = subprocess.run([ringtalkctl, "store", "dump", self.server.data_dir, "--json"],
                              capture_output=True, check=False)
        if b"there is no message log" in done.stderr:  # nobody has written yet
            return {}
        if done.returncode != 0:
            raise RuntimeError(f"store dump: {done.stderr[-300:]}")
        out = {}
        for line in done.stdout.splitlines():
            kind = json.loads(line)["kind"]
            out[kind] = out.get(kind, 0) + 1
        return out

    def close(self):
        pass


def text(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


class MySqlStorage:
    def __init__(self, server, mysql):
        self.server, self.mysql, self.name = server, mysql, f"ringtalk_{os.getpid()}_{next(_names)}"
        subprocess.run([_make_schema, self.name], env=os.environ | mysql.environment(), check=True)
        self.config = {"store": {"driver": "mysql"},
                       "mysql": {"host": mysql.host, "port": mysql.port, "user": mysql.user,
                                 "password": mysql.password, "database": self.name}}

    def sql(self, statements):
        return self.mysql.sql(statements, self.name)

    def push_tokens(self):
        vendors = {"1": "ios", "7": "android"}
        return {int(user): (vendors[kind], token)
                for user, kind, token in self.sql("SELECT userId, serviceType, token FROM RTPushReg")}

    def add_legacy_users(self, rows):
        self.sql("".join(
            "INSERT INTO IMUser (id, name, nick, departId, status, password, salt, created, updated) "
            f"VALUES ({id}, {text(name)}, {text(name.capitalize())}, 0, {status}, {text(legacy)}, "
            f"{text(salt)}, 1, 1);\n"
            for id, name, status, legacy, salt in rows))

    def better_hash(self, name):
        found = self.sql("SELECT hash FROM RTPassword p JOIN IMUser u ON u.id = p.userId "
                         f"WHERE u.name = {text(name)}")
        return found[0][0] if found else None

    @contextlib.contextmanager
    def refusing_writes(self):
        self.mysql.sql("SET GLOBAL read_only = 1")
        yield
        self.mysql.sql("SET GLOBAL read_only = 0")

    def records(self, _ringtalkctl):
        def count(*tables):
            return sum(int(self.sql(f"SELECT COUNT(*) FROM {table}")[0][0]) for table in tables)
        messages = [f"{name}_{n}" for name in ("IMMessage", "IMGroupMessage") for n in range(8)]
        found = {"message": count(*messages), "cursor": count("RTReadCursor")}
        return {kind: rows for kind, rows in found.items() if rows}

    def close(self):
        if self.mysql is _mysql:
            self.mysql.sql(f"DROP DATABASE IF EXISTS {self.name}")  # a server may be closed twice
        else:
            self.mysql.close()

"""The rows of spec/features.md as functions, and the servers they run against.

A row is a function of a Context; it fails by raising, and may return a remark for its line. Rows run
in parallel, so each makes its own users; a row that restarts, kills or measures a server takes its own.
"""

import threading

import server

ROWS = {}  # id -> Row, in the order of definition
SLOWER = {None: 1, "asan": 5, "tsan": 10}  # how much longer things may take under a sanitizer


class Skip(Exception):
    """The row cannot be run with what was given (said on its line, counted apart)."""


class Row:
    def __init__(self, id, function, alone, slow):
        self.id, self.function, self.alone, self.slow = id, function, alone, slow


def row(id, alone=False, slow=False):
    """Registers a row. alone: measures time, nothing runs beside it. slow: is started first."""
    def add(function):
        if id in ROWS:
            raise ValueError(f"row {id} twice")
        ROWS[id] = Row(id, function, alone, slow)
        return function
    return add


class Context:
    """What rows of one run at one shard count share."""

    def __init__(self, ringtalkd, shards, test_ringtalkd=None, kills=25, keep=False, sanitizer=None):
        """sanitizer: what ringtalkd was built with. It slows everything and keeps freed memory, so
        bounds of time are stretched by `patience` and bounds of memory mean nothing."""
        self.ringtalkd, self.shards, self.test_ringtalkd = ringtalkd, shards, test_ringtalkd
        self.kills, self.keep, self.sanitizer = kills, keep, sanitizer
        self.patience = SLOWER[sanitizer]
        self.lock = threading.Lock()
        self.shared_server = None

    def server(self, config=None, env=None, test_build=False, label="own", **more):
        """A server for one row."""
        binary = self.test_ringtalkd if test_build else self.ringtalkd
        return server.Server(binary, self.shards, config, env, self.keep, f"{label}-{self.shards}", **more)

    def shared(self):
        """The server of the rows that disturb nobody; sends are not paced on it."""
        with self.lock:
            if self.shared_server is None:
                self.shared_server = self.server({"limits": {"sends_per_second": 0}}, label="shared")
        self.shared_server.use()
        return self.shared_server

    def close(self):
        if self.shared_server is not None:
            self.shared_server.close()

#!/usr/bin/env python3
"""MySQL misbehaves under load: what is promised of messages, sessions and memory meanwhile and afterwards.

Promises D6 and D7: every send is decided in the end, as acknowledged or as refused; what was acknowledged is
readable, with ids 1…N without a gap, and was delivered once; what was refused is nowhere. Sessions that need
no database go on, memory grows by 64 MiB at most, and service resumes by itself within 5 s of the first query
that the server answers. Each row has a MariaDB of its own; where the fault is in the network, it is behind a
proxy. Run alone, this file runs only these rows.
"""

import sys

if __name__ == "__main__":  # before the rows are defined: run.py imports this file to define them
    import run
    sys.exit(run.main(["--store", "mysql", "--only", "MY*", *sys.argv[1:]]))

import collections
import contextlib
import os
import subprocess
import threading
import time

import groups
import storage
import wire
from client import Client, Failure, log_in, marked_body, require, require_equal
from registry import Skip, row

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fault_proxy import FaultProxy  # noqa: E402

CONFIG = {"limits": {"sends_per_second": 0}}
RESUMED_S = 5.0
DECIDED_S = 30       # after the server answers again, on a busy machine
MEMORY_KIB = 64 << 10
OUTAGE_S = 6.0       # longer than the deadline of a send
SENDS_PER_S = 30     # of each writer: 4 s of them are less than may be in flight
WRITERS = 6
MESSAGE_TABLES = [f"{name}_{number}" for name in ("IMMessage", "IMGroupMessage") for number in range(8)]


class Writer:
    """Who writes to whom (a person, or a group of two), what he was told, and what the other one heard."""

    def __init__(self, server, author, reader, group=0):
        self.author, self.reader, self.group = author, reader, group
        self.target = group or reader.id
        self.kind = wire.GROUP_TEXT if group else wire.TEXT
        self.client, self.listener = log_in(server, author), log_in(server, reader)
        self.waiting, self.acked, self.heard = {}, {}, {}
        self.sent = 0
        self.extra = collections.deque()  # texts to send besides; filled by other threads

    def send(self, text=None):
        self.sent += 1
        text = text or marked_body(self.author.id, self.sent, 40 + self.sent % 300)
        seq = self.client.next_seq()
        self.waiting[seq] = text
        self.client.send_raw(self.client.message(self.target, text, seq, self.kind))

    def take(self, seconds=0.0):
        """What has come. Returns how many acknowledgements."""
        came = 0
        while (got := self.client.next_frame(time.monotonic() + seconds)) is not None:
            if got.command == wire.MSG_ACK:
                text = self.waiting.pop(got.seq, None)
                require(text is not None, f"{got!r}: acknowledged twice")
                require(got["msg_id"] > 0 and got["msg_id"] not in self.acked, f"{got!r}: an id of another")
                self.acked[got["msg_id"]] = text
                came += 1
        while (got := self.listener.next_frame(time.monotonic())) is not None:
            if got.command == wire.MSG_DATA:
                require(got["msg_id"] not in self.heard, f"{got!r}: delivered twice")
                self.heard[got["msg_id"]] = got["msg_data"]
        return came

    def history(self, server):
        """Everything that a reader finds, by id."""
        out, begin = {}, 0
        with log_in(server, self.reader) as client:
            while page := client.list(self.group or self.author.id, begin,
                                      kind=wire.GROUP if self.group else wire.SINGLE):
                out |= {entry["msg_id"]: entry["msg_data"] for entry in page}
                if page[-1]["msg_id"] == 1:
                    break
                begin = page[-1]["msg_id"] - 1
        return out

    def check(self, server):
        who = f"{self.author.name} to {self.group and 'group' or self.reader.name}"
        self.listener.heartbeat(30)
        self.take()
        for got in self.listener.pending:
            if got.command == wire.MSG_DATA:
                self.heard[got["msg_id"]] = got["msg_data"]
        stored = self.history(server)
        require_equal(sorted(stored), list(range(1, len(self.acked) + 1)), f"ids stored, {who}")
        require_equal(stored, self.acked, f"what is stored and what was acknowledged, {who}")
        require_equal(self.heard, self.acked, f"what was delivered and what was acknowledged, {who}")

    def close(self):
        self.client.close()
        self.listener.close()


class Traffic:
    """All writers write all the time, on a thread of their own; failures there are raised here."""

    def __init__(self, ctx, server):
        self.ctx, self.server, self.refused_before = ctx, server, refused(server)
        users = server.make_users(2 * WRITERS)
        self.writers = []
        for author, reader in zip(users[:WRITERS], users[WRITERS:]):
            group = 0 if len(self.writers) % 3 else groups.admin_create(server, [author, reader])
            self.writers.append(Writer(server, author, reader, group))
        self.acks, self.last_ack = 0, 0.0
        self.memory = self.memory_most = server.rss_kib()
        self.sending, self.ended, self.error = True, False, None
        self.thread = threading.Thread(target=self.live, daemon=True)
        self.thread.start()

    def live(self):
        try:
            due = looked = time.monotonic()
            while not self.ended:
                now = time.monotonic()
                if now >= due and self.sending:
                    for writer in self.writers:
                        writer.send(writer.extra.popleft() if writer.extra else None)
                    due = max(due + 1 / SENDS_PER_S, now - 1)
                for writer in self.writers:
                    if came := writer.take():
                        self.acks, self.last_ack = self.acks + came, time.monotonic()
                if now - looked > 0.5:
                    looked, self.memory_most = now, max(self.memory_most, self.server.rss_kib())
                time.sleep(0.005)
        except BaseException as error:  # whoever waits raises it
            self.error = error

    def wait(self, condition, seconds, what):
        deadline = time.monotonic() + seconds * self.ctx.patience
        while not condition():
            if self.error is not None:
                raise self.error
            require(time.monotonic() < deadline, f"{what} within {seconds} s: {self.state()}")
            time.sleep(0.01)

    def state(self):
        sent = sum(writer.sent for writer in self.writers)
        return f"{sent} sent, {self.acks} acknowledged, {self.refused()} refused"

    def refused(self):
        return refused(self.server) - self.refused_before

    def flows(self, count=60, seconds=DECIDED_S):
        """That many more are acknowledged."""
        wanted = self.acks + count
        self.wait(lambda: self.acks >= wanted, seconds, f"{count} acknowledgements")

    def some_refused(self):
        """More are, within the 4 s; the rest of the time is the machine's."""
        before = self.refused()
        self.wait(lambda: self.refused() > before, 15, "a refusal")

    def pause(self):
        """Nothing is sent any more, and all is decided."""
        self.sending = False
        self.wait(self.decided, DECIDED_S, "all sends decided")

    def resumed(self, answers, seconds=RESUMED_S):
        """answers: tells whether the server answers a query. Returns the seconds from then to an
        acknowledgement."""
        self.wait(answers, DECIDED_S, "the server answers")
        began = time.monotonic()
        self.wait(lambda: self.last_ack > began, seconds, "an acknowledgement after the server answered")
        took = self.last_ack - began
        self.flows()
        return took

    def finish(self):
        """Stops writing; everything is decided and as it was decided. Returns a remark."""
        self.pause()
        self.ended = True
        self.thread.join()
        if self.error is not None:
            raise self.error
        for writer in self.writers:
            writer.client.heartbeat(30)
            writer.take()
        require(self.decided(), f"acknowledged after it was refused: {self.state()}")
        for writer in self.writers:
            writer.check(self.server)
            writer.close()
        grown = (self.memory_most - self.memory) >> 10
        if self.ctx.sanitizer is None:
            require(self.memory_most - self.memory <= MEMORY_KIB, f"memory grew by {grown} MiB")
        return f"{self.acks} acknowledged, {self.refused()} refused, +{grown} MiB"

    def decided(self):
        return sum(len(writer.waiting) for writer in self.writers) == self.refused()


def refused(server):
    return server.metric("ringtalk_sends_refused_total")


def repeats(server, cause):
    """Batches that were written again, by cause."""
    _, text = server.http("GET", "/metrics", token=False)
    found = [line for line in text.splitlines()
             if line.startswith("ringtalk_store_repeats_total{") and f'cause="{cause}"' in line]
    require(found, f"/metrics has no ringtalk_store_repeats_total of {cause}")
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in found)


class Deployment:
    """A server with a MariaDB of its own, and a proxy between them if asked for."""

    def __init__(self, ctx, label, proxied=False, traffic=True, prepare="", config=None):
        """prepare: statements before the server starts."""
        if not storage.is_mysql():
            raise Skip("needs --store mysql")
        self.ctx, self.proxy, self.traffic = ctx, None, None
        self.server = ctx.server(CONFIG | (config or {}), label=label, own_storage=True, start=False)
        self.mysql = self.server.storage.mysql
        try:
            if proxied:
                self.proxy = FaultProxy((self.mysql.host, self.mysql.port))
                with open(self.server.config_path, encoding="utf-8") as file:
                    text = file.read()
                old = f"port = {self.mysql.port}\n"
                require(old in text, "the port of MySQL in the configuration")
                with open(self.server.config_path, "w", encoding="utf-8") as file:
                    file.write(text.replace(old, f"port = {self.proxy.port}\n"))
            if prepare:
                self.sql(prepare)
            self.server.start()
            self.guest = self.server.make_user()
            self.spectators = [log_in(self.server, user) for user in self.server.make_users(2)]
            if traffic:
                self.traffic = Traffic(ctx, self.server)
                self.traffic.flows()
        except BaseException:
            self.close()
            raise

    def sql(self, text):
        return self.mysql.sql(text, self.server.storage.name)

    def answers(self):
        """Whether a query gets through where the server sends its own."""
        return self.mysql.answers() and bool(self.mysql.sql("SELECT 1"))

    def outage(self, seconds=OUTAGE_S):
        """While nothing can be stored: refusals come, and sessions live."""
        ends = time.monotonic() + seconds
        self.traffic.some_refused()
        while time.monotonic() < ends:
            self.session_lives()
            time.sleep(0.1)
        require(self.traffic.error is None, f"{self.traffic.error}")

    def session_lives(self):
        for client in self.spectators:
            client.heartbeat(10 * self.ctx.patience)
        self.server.metric("ringtalk_sends_refused_total")

    def logins_work(self):
        """Each connection that is found dead costs the login that found it; they are few."""
        user, deadline, in_a_row = self.guest, time.monotonic() + DECIDED_S * self.ctx.patience, 0
        while in_a_row < 10:
            with Client(self.server.address) as client:
                code = client.ask_login(user.name, user.secret)["result_code"]
            in_a_row = in_a_row + 1 if code == wire.OK else 0
            require(time.monotonic() < deadline, f"logins still fail: code {code}")

    def idle_connections_end(self):
        """All that the server closes with a wait_timeout of 1 s; one that is used now and then may stay."""
        ends = time.monotonic() + 3
        while time.monotonic() < ends and self.sql("SELECT id FROM information_schema.processlist"
                                                   " WHERE user = 'ringtalk'"):
            time.sleep(0.05)

    def finish(self):
        remark = self.traffic.finish() if self.traffic is not None else None
        for client in self.spectators:
            client.close()
        self.server.close()
        return remark

    def close(self):
        if self.traffic is not None:
            self.traffic.ended = True
        if self.proxy is not None:
            self.proxy.close()
        if self.mysql.running():
            self.mysql.cont()
        if self.server.running():
            self.server.kill9()
        if not self.server.keep:
            self.server.storage.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        died = kind is not None and self.server.process is not None and not self.server.running()
        text = self.server.exit_text() if died else ""
        self.close()
        if died and issubclass(kind, Exception):
            raise Failure(f"{error} [the server died: {text}]") from error


def cycles(ctx, usual=2):
    """As many times each fault is made: 20 with --kills 250."""
    return max(usual, usual * ctx.kills // 25)


def resumes(took):
    return f"resumed in {max(took):.1f}s at most"


@row("MY1", slow=True)
def killed(ctx):
    with Deployment(ctx, "MY1") as site:
        took = []
        for _ in range(cycles(ctx)):
            site.mysql.kill9()
            site.outage()
            site.mysql.start(wait=False)
            took.append(site.traffic.resumed(site.answers))
        return f"{resumes(took)}; {site.finish()}"


@row("MY2", slow=True)
def stopped(ctx):
    with Deployment(ctx, "MY2") as site:
        took = []
        for _ in range(cycles(ctx)):
            site.mysql.stop()
            site.outage()
            site.mysql.cont()
            took.append(site.traffic.resumed(site.answers))
        return f"{resumes(took)}; {site.finish()}"


@row("MY3", slow=True)
def black_hole(ctx):
    with Deployment(ctx, "MY3", proxied=True) as site:
        took = []
        for turn in range(cycles(ctx)):
            site.proxy.silence()
            site.outage()
            if turn % 2:  # what was on its way is lost with the connections
                site.proxy.cut()
            site.proxy.heal()
            took.append(site.traffic.resumed(site.answers))
        return f"{resumes(took)}; {site.finish()}"


@row("MY4", slow=True)
def read_only(ctx):
    with Deployment(ctx, "MY4") as site:
        took = []
        one, two = site.server.make_users(2)
        with log_in(site.server, one) as client:
            client.say(two.id, b"before")
        for _ in range(cycles(ctx)):
            site.sql("SET GLOBAL read_only = 1")
            site.outage()
            with log_in(site.server, two) as client:  # reading needs no writing
                require(client.list(one.id), "no history while the server is read-only")
            busy = site.traffic.writers[1]  # nor where somebody tries all the time
            with log_in(site.server, busy.reader, wire.ANDROID) as client:  # beside his PC
                require(client.list(busy.author.id), "no history of a conversation in which sends wait")
            site.sql("SET GLOBAL read_only = 0")
            took.append(site.traffic.resumed(site.answers))
        return f"{resumes(took)}; {site.finish()}"


@row("MY5", slow=True)
def no_connection_free(ctx):
    with Deployment(ctx, "MY5", proxied=True) as site:
        took = []
        before = site.sql("SELECT @@max_connections")[0][0]
        for _ in range(cycles(ctx)):
            # The least that MariaDB takes; and somebody else has them all.
            site.sql("SET GLOBAL max_connections = 10")
            with Crowd(site, 10):
                site.outage()
            site.sql(f"SET GLOBAL max_connections = {before}")
            took.append(site.traffic.resumed(site.answers))
        return f"{resumes(took)}; {site.finish()}"


class Crowd:
    """Takes all connections of a server, those of our own, too: they are cut until none comes back."""

    def __init__(self, site, size):
        self.site, self.size, self.clients, self.ended = site, size, [], False

    def __enter__(self):
        self.site.proxy.refuse()
        self.site.proxy.cut()
        mysql = self.site.mysql
        words = ["mariadb", "--no-defaults", f"--host={mysql.host}", f"--port={mysql.port}",
                 f"--user={mysql.user}", f"--password={mysql.password}", "-e", "SELECT sleep(3600)"]
        deadline = time.monotonic() + 60
        while (there := len(self.sleepers())) < self.size:
            require(time.monotonic() < deadline, f"{there} of {self.size} connections taken")
            if len([c for c in self.clients if c.poll() is None]) < self.size:
                self.clients.append(subprocess.Popen(words, stdout=subprocess.DEVNULL,
                                                     stderr=subprocess.DEVNULL))
            time.sleep(0.02)
        self.site.proxy.heal()
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.kill()
            client.wait()
        # The server notices late that they are gone; the next crowd must not count them.
        deadline = time.monotonic() + 60
        while there := self.sleepers():
            require(time.monotonic() < deadline, f"connections {there} do not end")
            for id in there:
                with contextlib.suppress(RuntimeError):  # it ended by itself
                    self.site.mysql.sql(f"KILL {id}")
            time.sleep(0.02)

    def sleepers(self):
        """Connections of this server's crowds."""
        return [int(row[0]) for row in self.site.mysql.sql(
            "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT sleep%'")]


@row("MY6", slow=True)
def deadlocks(ctx):
    with Deployment(ctx, "MY6") as site:
        site.sql("CREATE TABLE scratch (n int PRIMARY KEY) ENGINE = InnoDB")
        wanted = 5 * cycles(ctx)
        deadline = time.monotonic() + 60 * ctx.patience
        count, turn = 0, 0
        lanes = [lane for lane, in site.sql("SELECT lane FROM RTLane")]
        while count < wanted:
            require(time.monotonic() < deadline, f"{count} of {wanted} deadlocks in a minute")
            turn += 1
            # First the message tables, then the lane: the other way round than the engine. Rows of its own
            # make it the heavier one, so that the engine is the victim.
            locks = "".join(f"SELECT count(*) FROM {table} FOR UPDATE; " for table in MESSAGE_TABLES)
            try:
                site.sql("SET SESSION innodb_lock_wait_timeout = 2; "
                         "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN; "
                         f"INSERT INTO scratch SELECT seq + {turn * 100_000} FROM seq_1_to_20000; {locks}"
                         f"DO sleep(0.05); SELECT * FROM RTLane WHERE lane = {lanes[turn % len(lanes)]}"
                         " FOR UPDATE; ROLLBACK")
            except RuntimeError as error:  # or we are it
                require("Deadlock" in str(error) or "Lock wait timeout" in str(error), str(error))
            count = int(site.sql("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")[0][1])
        site.traffic.flows()
        conflicts = repeats(site.server, "conflict")
        require(conflicts > 0, "the engine was never the victim")
        return f"{count} deadlocks, {conflicts} of them ours; {site.finish()}"


@row("MY7", slow=True)
def lost_answers(ctx):
    """D7: the answer of COMMIT does not come, and whether it took effect differs."""
    wanted = 4 * ctx.kills
    with Deployment(ctx, "MY7", proxied=True) as site:
        site.proxy.at_statement("COMMIT", "after", nth=3, every=True)
        site.traffic.wait(lambda: site.proxy.struck >= wanted // 2, 300, f"{wanted // 2} lost answers")
        site.proxy.at_statement("COMMIT", "before", nth=3, every=True)
        site.traffic.wait(lambda: site.proxy.struck >= wanted, 300, f"{wanted} lost answers")
        site.proxy.heal()
        site.traffic.flows()
        for _ in range(2):  # the link stays, silent: our own patience ends it
            struck = site.proxy.struck
            site.proxy.at_statement("COMMIT", "mute")
            site.traffic.wait(lambda: site.proxy.struck > struck, 30, "a lost answer")
            site.traffic.flows()
        return f"{site.proxy.struck} answers lost; {site.finish()}"


UNFIT = """DELIMITER //
CREATE TRIGGER unfit_{table} BEFORE INSERT ON {table} FOR EACH ROW
IF NEW.content LIKE 'unfit%' THEN
  SIGNAL SQLSTATE '22001' SET MYSQL_ERRNO = 1406, MESSAGE_TEXT = 'too long';
END IF//
DELIMITER ;
"""


@row("MY8", slow=True)
def refused_rows(ctx):
    """One row of a batch is refused by MySQL: that one, and only that."""
    with Deployment(ctx, "MY8") as site:
        for table in MESSAGE_TABLES:
            site.sql(UNFIT.format(table=table))
        site.traffic.flows()
        before, wanted = site.traffic.refused(), 0
        for turn in range(10 * cycles(ctx)):
            for writer in site.traffic.writers[:1 + turn % WRITERS]:
                wanted += 1
                writer.extra.append(b"unfit %d" % wanted)
            site.traffic.flows(10)
        site.traffic.wait(lambda: site.traffic.refused() - before >= wanted, DECIDED_S, "the unfit refused")
        site.traffic.flows()
        require_equal(site.traffic.refused() - before, wanted, "refused")
        return f"{wanted} unfit; {site.finish()}"


@row("MY9", slow=True)
def four_byte_characters(ctx):
    """In texts and names, as they are: over the wire, in the history, after a restart, and in the tables."""
    text, name = "😀 汉字 é \U0001f1e8\U0001f1f3\U00010348".encode(), "名😀"
    with Deployment(ctx, "MY9", traffic=False) as site:
        server = site.server
        one = server.make_user(name=f"a{name}", nick=f"昵称🙂{name}", password="secret")
        two = server.make_user()
        group = groups.admin_create(server, [one, two], name=f"群{name}")
        for turn in range(2):
            with log_in(server, one) as author, log_in(server, two) as reader:
                author.seq = turn * 100  # or it is a repeat of the one before the restart
                for target, kind in ((two.id, wire.TEXT), (group, wire.GROUP_TEXT)):
                    author.say(target, text, kind)
                    require_equal(reader.hear()["msg_data"], text, "text delivered")
                for peer, kind in ((one.id, wire.SINGLE), (group, wire.GROUP)):
                    require_equal([entry["msg_data"] for entry in reader.list(peer, kind=kind)],
                                  [text] * (turn + 1), "texts in the history")
            require_equal(server.list_users()[one.name]["nick"], one.nick, "nick in the list")
            require_equal(groups.admin_info(server, group)["name"], f"群{name}", "name of the group")
            if turn == 0:
                server.restart()
        for table, column, wanted in (("IMUser", "name", one.name), ("IMUser", "nick", one.nick),
                                      ("IMGroup", "name", f"群{name}")):
            found = site.sql(f"SELECT hex({column}) FROM {table} WHERE hex({column}) = hex('{wanted}')")
            require_equal(found, [[wanted.encode().hex().upper()]], f"{column} in {table}")
        stored = sum(int(site.sql(f"SELECT count(*) FROM {table} WHERE hex(content) = '{text.hex()}'")[0][0])
                     for table in MESSAGE_TABLES)
        require_equal(stored, 4, "rows with the text")
        return site.finish()


@row("MY10", slow=True)
def killed_connections(ctx):
    """Somebody's KILL, or a server that was restarted behind a balancer: all connections, again and again."""
    with Deployment(ctx, "MY10") as site:
        killed_count = 0
        for _ in range(20 * cycles(ctx)):
            for id, in site.sql("SELECT id FROM information_schema.processlist WHERE user = 'ringtalk'"):
                with contextlib.suppress(RuntimeError):  # it has gone by itself
                    site.sql(f"KILL CONNECTION {id}")
                    killed_count += 1
            site.traffic.flows(20)
        require(killed_count > 0, "no connection was there to be killed")
        refusals = site.traffic.refused()
        require_equal(refusals, 0, "refused although the server was there all the time")
        return f"{killed_count} killed; {site.finish()}"


@row("MY11", slow=True)
def idle_connections_closed(ctx):
    """The server closes what is idle for a second; the next request must not notice."""
    with Deployment(ctx, "MY11", traffic=False, prepare="SET GLOBAL wait_timeout = 1") as site:
        one, two = site.server.make_users(2)
        with log_in(site.server, one) as author, log_in(site.server, two) as reader:
            for turn in range(1, 4):
                for request in (
                        lambda: require_equal(author.say(two.id, b"%d" % turn), turn, "msg_id"),
                        lambda: require_equal(len(reader.list(one.id)), turn, "messages in the history"),
                        site.server.make_user):
                    site.idle_connections_end()
                    request()
        require_equal(refused(site.server), 0, "refused")
        return site.finish()


@row("MY12", slow=True)
def slow_line(ctx):
    """Late, slow and in pieces of a byte: slower, and nothing else."""
    with Deployment(ctx, "MY12", proxied=True) as site:
        for make_worse in (lambda: site.proxy.delay(0.03, 0.05), lambda: site.proxy.throttle(100_000),
                           lambda: site.proxy.segments(1)):
            site.proxy.heal()
            make_worse()
            site.traffic.flows(100)
            site.session_lives()
        site.proxy.heal()
        site.traffic.flows()
        return site.finish()


@row("MY13", slow=True)
def half_open(ctx):
    """The server's side of every connection is gone, and nobody said so."""
    with Deployment(ctx, "MY13", proxied=True) as site:
        took = []
        for _ in range(cycles(ctx)):
            require(site.proxy.half_open() > 0, "no connection to lose")
            began = time.monotonic()
            site.traffic.wait(lambda: site.traffic.last_ack > began + 0.2, DECIDED_S, "an acknowledgement")
            took.append(site.traffic.last_ack - began)
            site.traffic.flows()
            site.logins_work()
        return f"noticed and {resumes(took)}; {site.finish()}"


@row("MY14", slow=True)
def cut_anywhere(ctx):
    """Connections end at some byte, in either direction: of a statement, of its answer, of a login."""
    with Deployment(ctx, "MY14", proxied=True) as site:
        for turn in range(10 * cycles(ctx)):
            before = site.proxy.struck
            site.proxy.cut_after(1 + turn * 211 % 3000, ("up", "down")[turn % 2])
            site.traffic.wait(lambda: site.proxy.struck > before, DECIDED_S, "a link to be cut")
            site.traffic.flows(10)
        site.proxy.heal()
        site.traffic.flows()
        return site.finish()

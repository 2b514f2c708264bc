"""A program on a pseudo-terminal, and as much of a terminal as it takes to see what a person sees.

Bound: the screen is endless downwards and never wraps; a test that needs wrapping would need more.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

TIMEOUT_S = 20.0
ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([@-~])")


class Screen:
    """Lines of characters and a cursor: carriage return, new line, erase to the end, cursor left.
    full: also what a program does that takes the whole screen."""

    def __init__(self, full=False):
        self.lines, self.column, self.rest, self.bells, self.full = [""], 0, "", 0, full

    def feed(self, text):
        text = self.rest + text
        self.rest = ""
        at = 0
        while at < len(text):
            char = text[at]
            if char == "\x1b":
                found = ESCAPE.match(text, at)
                if not found:
                    if len(text) - at > 16:
                        raise AssertionError(f"an escape sequence nobody knows: {text[at:at + 20]!r}")
                    self.rest = text[at:]
                    return
                self.obey(found.group(1), found.group(2))
                at = found.end()
                continue
            at += 1
            if char == "\r":
                self.column = 0
            elif char == "\n":
                self.lines.append("")
            elif char == "\a":
                self.bells += 1
            elif char < " " or "\x7f" <= char < "\xa0":
                raise AssertionError(f"a control character reached the terminal: {char!r}")
            else:
                line = self.lines[-1].ljust(self.column)
                self.lines[-1] = line[:self.column] + char + line[self.column + 1:]
                self.column += 1

    def obey(self, argument, final):
        if final == "K" and argument in ("", "0"):
            self.lines[-1] = self.lines[-1][:self.column]
        elif final == "D":
            self.column -= int(argument or 1)
        elif self.full and final in "hl" and argument in ("?1049", "?25"):
            pass
        elif self.full and final == "H" and argument == "":
            self.column = 0
        elif self.full and final == "J" and argument == "":  # home and erase come together
            self.lines = [""]
        else:
            raise AssertionError(f"an escape sequence nobody expects: {argument}{final}")


class Terminal:
    def __init__(self, command, columns=100, env=None, full_screen=False, term="xterm"):
        env = dict(os.environ if env is None else env) | {"TERM": term}
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave  # kept open: its settings are looked at after the program has ended
        self.screen = Screen(full_screen)
        self.raw = b""
        self.pending = b""  # the start of a character
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env,
                                        start_new_session=True)

    def type(self, text):
        os.write(self.master, text.encode() if isinstance(text, str) else text)

    def enter(self, text):
        self.type(text + "\r")

    def resize(self, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)  # it has no controlling terminal that would

    def pump(self, seconds):
        """Reads what comes within that time."""
        if not select.select([self.master], [], [], max(0.0, seconds))[0]:
            return False
        data = os.read(self.master, 65536)
        self.raw += data
        data = self.pending + data
        text = data.decode("utf-8", "ignore")
        self.pending = b""
        for cut in (1, 2, 3):  # a character whose end is still to come
            try:
                data[-cut:].decode("utf-8")
                break
            except UnicodeDecodeError:
                if data[-cut] >= 0xC0:
                    self.pending = data[-cut:]
                    break
        self.screen.feed(text)
        return True

    def wait(self, condition, what, timeout=TIMEOUT_S):
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                shown = "\n".join(self.screen.lines[-15:])
                raise AssertionError(f"not on the screen within {timeout:g} s: {what}\n--- screen\n{shown}\n---")
            self.pump(min(left, 0.2))

    def expect(self, text, timeout=TIMEOUT_S):
        """A whole line (not the one being typed) holds that text. Returns the line."""
        found = []

        def there():
            found[:] = [line for line in self.screen.lines[:-1] if text in line]
            return bool(found)
        self.wait(there, repr(text), timeout)
        return found[-1]

    def expect_input(self, text, timeout=TIMEOUT_S):
        """The line being typed is exactly that."""
        self.wait(lambda: self.screen.lines[-1].rstrip() == text.rstrip(), f"input line {text!r}", timeout)

    def never(self, text):
        assert not any(text in line for line in self.screen.lines), f"{text!r} should not be there"

    def exit_code(self, timeout=TIMEOUT_S):
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still running after {timeout:g} s"
            self.pump(0.05)
        while self.pump(0.05):
            pass
        return self.process.returncode

    def settings_restored(self):
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

#!/usr/bin/env python3
"""Runs a command for which the kernel refuses chosen system calls, as another kernel or a container would.

    refuse.py io_uring_setup=EPERM [io_uring_register:31=EINVAL …] -- COMMAND…

NAME=ERRNO refuses every call; NAME:OPCODE=ERRNO only calls with that second argument. A seccomp filter,
so children and threads are bound by it, too. It stays with the process that it becomes (no fork).
"""

import ctypes
import errno
import os
import struct
import sys

# The same numbers on every architecture: these calls are younger than the common table.
NUMBERS = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427}

LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # classic BPF
NUMBER_AT, OPCODE_AT = 0, 24                         # in struct seccomp_data; the low half of args[1]
ALLOW, FAIL = 0x7FFF0000, 0x00050000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2


def program(rules):
    """rules: (number, opcode or None, errno). One after the other, what none refuses is allowed."""
    code = []
    for number, opcode, error in rules:
        code.append((LOAD_WORD, 0, 0, NUMBER_AT))
        if opcode is None:
            code.append((JUMP_IF_EQUAL, 0, 1, number))
        else:
            code.append((JUMP_IF_EQUAL, 0, 3, number))
            code.append((LOAD_WORD, 0, 0, OPCODE_AT))
            code.append((JUMP_IF_EQUAL, 0, 1, opcode))
        code.append((RETURN, 0, 0, FAIL | error))
    code.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in code), len(code)


def install(rules):
    """Binds this process. OSError where the kernel has no seccomp filters."""
    libc = ctypes.CDLL(None, use_errno=True)
    text, lines = program(rules)
    held = ctypes.create_string_buffer(text, len(text))

    class Program(ctypes.Structure):
        _fields_ = [("lines", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    filter = Program(lines, ctypes.addressof(held))
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, FILTER, ctypes.byref(filter), 0, 0)):
        if libc.prctl(*call) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"prctl: {os.strerror(code)}")


def parse(text):
    call, _, error = text.partition("=")
    name, _, opcode = call.partition(":")
    return NUMBERS[name], int(opcode) if opcode else None, getattr(errno, error)


def wrapper(*rules):
    """The words to put in front of a command."""
    return [sys.executable, os.path.abspath(__file__), *rules, "--"]


def main():
    words = sys.argv[1:]
    try:
        split = words.index("--")
        rules = [parse(text) for text in words[:split]]
        command = words[split + 1:]
        os.stat(command[0])
    except (ValueError, KeyError, AttributeError, IndexError, OSError) as problem:
        print(f"refuse.py: {problem!r}\n{__doc__}", file=sys.stderr)
        return 2
    install(rules)
    os.execv(command[0], command)


if __name__ == "__main__":
    sys.exit(main())

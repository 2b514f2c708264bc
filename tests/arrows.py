#!/usr/bin/env python3
"""Include arrows: which room of the house may look into which.

Fails on an #include "…" that is not in the table, on a folder with sources that the table does not know,
on an include that is not written from the root, and on a .cc file that no meson.build names.
    arrows.py [ROOT]
"""

import pathlib
import re
import sys

# Room: what it may include besides itself: rooms, folders of rooms, or single files.
EVERYTHING = ["proto", "engine", "store", "shard", "gateway", "tools", "bench", "tests"]
ARROWS = {
    "proto": ["engine/base"],
    "engine": [],
    "store": ["engine", "proto/ids.h"],
    "shard": ["engine", "proto", "store"],
    "gateway": ["engine", "proto", "store", "shard"],
    "tools/ctl": ["engine", "proto", "store", "gateway/settings.h"],
    "tools/loadgen": ["engine", "proto"],
    "bench": EVERYTHING,
    "tests": EVERYTHING,
}
NOT_OURS = re.compile(r"^(\.git|build|build-.*|var)$")
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def is_below(path, folder):
    return path == folder or path.startswith(folder + "/")


def room_of(path):
    """The longest entry of the table that holds this path, or None."""
    return max((room for room in ARROWS if is_below(path, room)), key=len, default=None)


def is_allowed(room, target):
    return any(is_below(target, place) for place in [room, *ARROWS[room]])


def sources_of(root):
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.suffix in (".cc", ".h", ".cpp", ".hpp", ".c") and not NOT_OURS.match(name.split("/")[0]):
            yield name, path


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def check_includes(name, text):
    room = room_of(name)
    if room is None:
        yield f"{name}: its folder is in no room: add it to the table in tests/arrows.py"
        return
    for found in INCLUDE.finditer(text):
        target = found.group(1)
        where = f"{name}:{line_of(text, found.start(1))}"
        if room_of(target) is None:
            yield f"{where}: \"{target}\" is not written from the root, or its folder is in no room"
        elif not is_allowed(room, target):
            yield f"{where}: {room} may not include {target}"


def build_names(root, name):
    """True if a meson.build at or above the file names it, in full or as 'stem' + '_suffix.cc'."""
    folder = (root / name).parent
    while True:
        build = folder / "meson.build"
        if build.exists():
            text = re.sub(r"#.*", "", build.read_text())
            own = (root / name).relative_to(folder).as_posix()
            if f"'{own}'" in text:
                return True
            for suffix in re.findall(r"\+\s*'(\w*\.cc)'", text):
                if own.endswith(suffix) and f"'{own[:-len(suffix)]}'" in text:
                    return True
        if folder == root:
            return False
        folder = folder.parent


def check(root):
    problems, count = [], 0
    for name, path in sources_of(root):
        count += 1
        problems += check_includes(name, path.read_text(errors="replace"))
        if path.suffix == ".cc" and not build_names(root, name):
            problems.append(f"{name}: no meson.build names it")
    if count == 0:
        problems.append(f"{root}: no sources")
    return problems, count


def check_the_checker():
    """A checker that passes everything is worse than none."""
    def says(name, include):
        return len(list(check_includes(name, f'// x\n#include "{include}"\n')))
    assert says("proto/frame.h", "engine/base/bytes.h") == 0
    assert says("proto/frame.h", "engine/loop.h") == 1
    assert says("proto/frame.h", "engine/base_of_something.h") == 1
    assert says("engine/loop.h", "proto/ids.h") == 1
    assert says("store/store.h", "proto/ids.h") == 0
    assert says("store/store.h", "proto/frame.h") == 1
    assert says("shard/login.cc", "proto/login.pb.h") == 0
    assert says("shard/login.cc", "gateway/server.h") == 1
    assert says("tools/loadgen/main.cc", "store/store.h") == 1
    assert says("tools/ctl/main.cc", "store/store.h") == 0
    assert says("tools/new/main.cc", "std") == 1
    assert says("tests/a.cc", "gateway/server.h") == 0
    assert says("gateway/server.cc", "tests/a.h") == 1
    assert says("engine/loop.cc", "loop.h") == 1
    assert says("cache/lru.h", "engine/loop.h") == 1


def main(arguments):
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parent.parent).resolve()
    check_the_checker()
    problems, count = check(root)
    for problem in problems:
        print(problem)
    print(f"{count} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Every route of the HTTP interface stands in docs/API.md, every verb and option of ringtalkctl in docs/CTL.md,
nothing stands there that does not exist, and the links between the pages lead somewhere.

docs_test.py RINGTALKCTL
"""

import glob
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def first_cells(page, count):
    """Of each row of the first table: the words in backticks, for as many cells."""
    table = re.search(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.M)
    assert table, "no table"
    return [[re.findall(r"`([^`]+)`", cell) or re.findall(r"[A-Z]+", cell) for cell in row.split("|")[1:count + 1]]
            for row in table[1].splitlines()]


def check_routes():
    routes = set(re.findall(r'^ *\{"([A-Z]+)", "(/[^"]*)", &AdminApi::', read("gateway/admin_api.cc"), re.M))
    routes |= {("GET", path) for path in re.findall(r'request\.path == "(/[^"]*)"', read("gateway/http_gateway.cc"))}
    assert len(routes) > 10, "the tables of routes look different: adapt this test"
    told = {(method, path) for paths, methods in first_cells(read("docs/API.md"), 2)
            for path in paths for method in methods}
    assert told == routes, f"docs/API.md: missing {routes - told}, not there {told - routes}"
    return len(routes)


def check_verbs(ringtalkctl):
    script = subprocess.run([ringtalkctl, "completion", "bash"], capture_output=True, text=True, check=True).stdout
    verbs = set(re.findall(r" path='([^']+)' ;;", script))
    words = re.findall(r"^    '[^']*'\) words='([^']*)' files=", script, re.M)
    assert verbs and words, "the completion script looks different: adapt this test"
    page = read("docs/CTL.md")
    told = set()
    for (verb, *below), in first_cells(page, 1):
        told |= {verb} | {f"{verb} {one}" for one in below}
    told.remove("completion")  # hidden
    assert told == verbs, f"docs/CTL.md: missing {verbs - told}, not there {told - verbs}"
    options = {word for line in words for word in line.split() if word.startswith("--")}
    named = set(re.findall(r"--[a-z][a-z-]*", page))
    assert options <= named, f"docs/CTL.md: missing {options - named}"
    return len(verbs)


def anchors(page):
    page = re.sub(r"^    .*\n", "", page, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.*)$", page, re.M)}


def check_links():
    count = 0
    for name in ["README.md"] + sorted(glob.glob("docs/*.md", root_dir=ROOT)):
        for target in re.findall(r"\]\(([^)\s]+)\)", read(name)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            assert os.path.exists(os.path.join(ROOT, path)), f"{name}: no {target}"
            assert not anchor or anchor in anchors(read(path)), f"{name}: no heading for {target}"
            count += 1
    for page in glob.glob("docs/*.md", root_dir=ROOT):
        assert f"]({page}" in read("README.md"), f"README.md does not lead to {page}"
    return count


def main():
    print(f"ok: {check_routes()} routes, {check_verbs(sys.argv[1])} verbs, {check_links()} links")


if __name__ == "__main__":
    main()

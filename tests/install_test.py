#!/usr/bin/env python3
"""Installs a build into an empty directory and compares the tree; then over an edited configuration.

The unit file is also given to systemd-analyze, where that exists. install_test.py BUILD PREFIX SYSCONFDIR
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

UNIT = "lib/systemd/system/ringtalk.service"
PROGRAMS = ["bin/ringtalkd", "bin/ringtalkctl", "bin/ringtalk-loadgen"]
DATA = [UNIT, "lib/sysusers.d/ringtalk.conf", "share/man/man8/ringtalkd.8",
        "share/bash-completion/completions/ringtalkctl.bash",
        "share/doc/ringtalk/examples/60-ringtalk.conf"]
SCENARIOS = [f"share/ringtalk/scenarios/{name}.toml" for name in
             ("idle", "chat", "group", "broadcast", "login-storm", "reconnect-storm", "churn", "slow-readers",
              "mixed-day", "offline-drain")]
DOCS = ["README.md"] + [f"docs/{name}.md" for name in
                        ("API", "ARCHITECTURE", "BENCH", "CHAOS", "CONFIGURE", "CTL", "LOADGEN", "MIGRATE",
                         "OPERATING", "PROTOCOL", "STORE_FORMAT", "STORE_MYSQL")]
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def install(build, into):
    done = subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", into],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def tree(into):
    return {os.path.relpath(os.path.join(folder, name), into): os.path.join(folder, name)
            for folder, _, names in os.walk(into) for name in names}


def check_tree(found, prefix, sysconfdir):
    inside = prefix.strip("/") + "/"
    config = sysconfdir.strip("/") + "/ringtalk/ringtalk.toml"
    wanted = {inside + name for name in PROGRAMS + DATA + SCENARIOS} | {config}
    wanted |= {inside + "share/doc/ringtalk/" + name for name in DOCS}
    assert set(found) == wanted, f"missing {wanted - set(found)}, not wanted {set(found) - wanted}"
    for name, path in found.items():
        mode = stat.S_IMODE(os.stat(path).st_mode)
        program = name.removeprefix(inside) in PROGRAMS
        assert mode == (0o755 if program else 0o644), f"{name}: mode {mode:o}"
    with open(found[config], encoding="utf-8") as one, \
            open(os.path.join(ROOT, "conf/ringtalk.toml"), encoding="utf-8") as other:
        assert one.read() == other.read(), "ringtalk.toml"
    version = subprocess.run([found[inside + "bin/ringtalkd"], "--config", found[config], "--check-config"],
                             capture_output=True, text=True)
    assert version.returncode == 0, version.stderr
    return found[inside + UNIT], config


def check_links(found, inside):
    """What a page names beside itself is installed there, too."""
    for name in DOCS:
        page = inside + "share/doc/ringtalk/" + name
        with open(found[page], encoding="utf-8") as text:
            targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", text.read())
        for target in targets:
            path = os.path.normpath(os.path.join(os.path.dirname(page), target))
            assert re.match(r"[a-z]+:", target) or path in found, f"{page}: {target} is not installed"


def check_unit(path, prefix, sysconfdir):
    with open(path, encoding="utf-8") as unit:
        text = unit.read()
    assert "@" not in re.sub(r"@(system-service|privileged|resources)\b", "", text), "a place was not filled in"
    assert f"ExecStart={prefix}/bin/ringtalkd --config {sysconfdir}/ringtalk/ringtalk.toml " in text, "ExecStart"
    for key in ("Type=notify", "WatchdogSec=", "ProtectSystem=strict", "NoNewPrivileges=yes", "StateDirectory="):
        assert re.search(f"^{key}", text, re.M), f"no {key}"
    if not shutil.which("systemd-analyze"):
        return "systemd-analyze is not here"
    with tempfile.TemporaryDirectory() as folder:  # the program and the page are not installed
        copy = os.path.join(folder, "ringtalk.service")
        with open(copy, "w", encoding="utf-8") as unit:
            unit.write(re.sub(r"^Documentation=.*\n", "", text.replace(f"{prefix}/bin/ringtalkd", "/bin/true"),
                              flags=re.M))
        done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
        complaints = [line for line in done.stderr.splitlines() if "ringtalk.service" in line]
        assert not complaints, "\n".join(complaints)
        done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=20", copy],
                              capture_output=True, text=True)
        assert done.returncode == 0 or "unrecognized option" in done.stderr, done.stdout[-300:] + done.stderr
    return "systemd-analyze agrees"


def check_second_install(build, into, config):
    path = os.path.join(into, config)
    with open(path, "a", encoding="utf-8") as own:
        own.write("# mine\n")
    install(build, into)
    with open(path, encoding="utf-8") as own:
        assert own.read().endswith("# mine\n"), "an edited configuration was overwritten"
    assert os.path.exists(path + ".new"), "the default must lie beside it"


def main():
    build, prefix, sysconfdir = sys.argv[1:]
    sysconfdir = os.path.join(prefix, sysconfdir)
    with tempfile.TemporaryDirectory() as into:
        install(build, into)
        found = tree(into)
        unit, config = check_tree(found, prefix, sysconfdir)
        check_links(found, prefix.strip("/") + "/")
        said = check_unit(unit, prefix, sysconfdir)
        check_second_install(build, into, config)
    print(f"ok: {len(PROGRAMS + DATA + SCENARIOS + DOCS) + 1} files, {said}")


if __name__ == "__main__":
    main()

"""Commands that change who one is."""

from __future__ import annotations

import re

from goclaw.security.shell.call import Call

NAMES = frozenset(
    [
        "sudo",
        "sudoedit",
        "su",
        "doas",
        "pkexec",
        "runuser",
        "run0",
        "gosu",
        "su-exec",
        "nsenter",
        "unshare",
        "chroot",
        "mount",
        "umount",
        "setcap",
        "getcap",
        "capsh",
        "setpriv",
        "visudo",
        "passwd",
        "usermod",
        "useradd",
        "adduser",
        "userdel",
        "groupadd",
        "groupmod",
        "newuidmap",
        "newgidmap",
        "vipw",
        "chpasswd",
        "sudo-rs",
        "ksu",
        "sg",
        "newgrp",
        "gpasswd",
        "chsh",
        "groupdel",
        "addgroup",
        "deluser",
        "delgroup",
        "modprobe",
        "insmod",
        "rmmod",
        "kmod",
        "systemd-nspawn",
        "lxc-attach",
        "fusermount",
        "fusermount3",
        "losetup",
        "pivot_root",
    ]
)
LENDS = re.compile(r"(?:/usr)?/s?bin/|/usr/lib/")
SETS_ID = re.compile(r"(?:[ugoa]*[+=][rwxXt]*s)|0*[2467][0-7]{3}$")


def refuse(call: Call) -> str | None:
    if call.name in NAMES:
        return "other user"
    if call.name == "machinectl" and {"shell", "login"} & set(call.operands[:1]):
        return "other user"
    if call.name == "systemd-run" and call.option("--uid", "--gid") is not None:
        return "other user"
    if call.name == "ip" and {"exec"} & set(call.operands[:3]):
        return "other namespace"
    if call.name == "chmod" and (like := call.option("--reference")) and LENDS.match(call.where(like)):
        return "set-id"
    if call.name in ("chmod", "install", "mkdir"):
        modes = call.operands[:1] if call.name == "chmod" else [call.option("-m", "--mode") or ""]
        modes += [each for each in call.flags if call.name == "chmod"]
        if any(SETS_ID.match(part) for mode in modes for part in mode.split(",")):
            return "set-id"
    return None

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
    ]
)
SETS_ID = re.compile(r"(?:[ugoa]*[+=][rwxXt]*s)|0*[2467][0-7]{3}$")


def refuse(call: Call) -> str | None:
    if call.name in NAMES:
        return "other user"
    if call.name in ("chmod", "install"):
        modes = call.operands[:1] if call.name == "chmod" else [call.option("-m", "--mode") or ""]
        modes += [each for each in call.flags if call.name == "chmod"]
        if any(SETS_ID.match(part) for mode in modes for part in mode.split(",")):
            return "set-id"
    return None

"""Ending processes of others."""

from __future__ import annotations

import re

from goclaw.security.shell.call import Call

NAMES = frozenset({"killall", "killall5", "pkill", "xkill", "skill", "taskkill"})
UNITS = frozenset({"stop", "kill", "restart", "disable", "mask", "isolate", "try-restart", "reload-or-restart"})
HARD = re.compile(r"(?:sig)?(?:kill|stop)|0*(?:9|19|137|147)|0x0*(?:9|13)", re.IGNORECASE)


def refuse(call: Call) -> str | None:
    if call.name in NAMES:
        return "by name"
    if call.name == "fuser" and (call.short("k") or call.long("--kill")):
        return "by file"
    if call.name in ("systemctl", "service") and UNITS & set(call.operands[:2]):
        return "service"
    if call.name == "loginctl" and call.operands[:1] and call.operands[0].startswith(("terminate", "kill")):
        return "session"
    if call.name in ("supervisorctl", "rc-service", "initctl", "sv") and UNITS & set(call.operands[:2]):
        return "service"
    return _kill(call.args) if call.name == "kill" else None


def _kill(args: list[str]) -> str | None:
    if args[:1] in (["-l"], ["-L"], ["--list"], ["--table"]):
        return None
    at = 0
    while at < len(args):
        word = args[at]
        at += 1
        value = None
        if word in ("-s", "-n", "--signal", "-q"):
            value = args[at] if at < len(args) else ""
            at += 1
        elif match := re.match(r"--signal=(.*)|-[sn](.+)|-([A-Za-z]\w*|\d+)$", word):
            value = match[1] or match[2] or match[3]
            if HARD.fullmatch(word[1:]):
                value = word[1:]
            if match[3] == "1" and at > 1:
                return "everything"
        elif word == "--":
            continue
        elif re.fullmatch(r"0*1|-0*1", word):
            return "init"
        if value is not None and HARD.fullmatch(value):
            return "hard"
        if value is None and re.fullmatch(r"-?0*1", word):
            return "init"
    return None

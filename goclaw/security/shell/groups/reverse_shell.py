"""Connections that carry a shell, and what they are made of. Code of interpreters is judged in `code`."""

from __future__ import annotations

import re

from goclaw.security.shell.call import Call
from goclaw.security.shell.languages import language, module

CATS = re.compile(r"nc|ncat|netcat|nc\.\w+|pnc|rustcat|rcat|cryptcat|sbd|pwncat|websocat|wscat|gs-netcat")
HELP = frozenset({"-h", "--help", "-V", "--version"})


def refuse(call: Call) -> str | None:
    name = call.name
    if CATS.fullmatch(name) and not (call.args and HELP.issuperset(call.args)):
        return "netcat"
    if name == "socat" and not (call.args and HELP.issuperset(call.args)):
        return "socat"
    if name == "telnet" and call.operands:
        return "telnet"
    if name == "openssl" and {"s_client", "s_server"} & set(call.operands[:1]):
        return "openssl"
    if name in ("zmodload", "ztcp", "zsocket") and (name != "zmodload" or "net" in " ".join(call.args)):
        return "socket of a shell"
    if name == "xterm" and call.option("-display") not in (None, ":0", ":0.0"):
        return "remote display"
    if name in ("mkfifo", "mknod"):
        return "pipe"
    if language(name) == "python" and (module(call) or "").casefold() == "pty":
        return "terminal"
    return None

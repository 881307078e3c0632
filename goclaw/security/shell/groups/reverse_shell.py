"""Connections that carry a shell, and what they are made of. Code of interpreters is judged in `code`."""

from __future__ import annotations

import re

from goclaw.security.shell.call import Call
from goclaw.security.shell.code import _module, language

CATS = re.compile(r"nc|ncat|netcat|nc\.\w+|pnc|rustcat|rcat")
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
    if name in ("mkfifo", "mknod"):
        return "pipe"
    if language(name) == "python" and (_module(call) or "").casefold() == "pty":
        return "terminal"
    return None

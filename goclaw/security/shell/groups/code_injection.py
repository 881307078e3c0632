"""Text that becomes code without being readable beforehand.

Shells and interpreters are followed in `shells` and `code`; here is what needs no text to be refused.
"""

from __future__ import annotations

from goclaw.security.shell.call import Call


def refuse(call: Call) -> str | None:
    if call.name == "enable" and call.short("f"):
        return "loaded builtin"
    return None

"""The part of a file that is the house's: what stands between two markers, and nothing else, is replaced.

Contract: agent-loop.md §7.5, nodes-autonomy.md §12.
"""

from __future__ import annotations

import re

START = "<!-- GOCLAW MANAGED BLOCK START -->"
END = "<!-- GOCLAW MANAGED BLOCK END -->"
MARKERS = re.compile(f"{re.escape(START)}|{re.escape(END)}")


class Tangled(ValueError):
    """The markers do not make one block: nobody can tell what is whose."""


def installed(text: str | None, block: str) -> str:
    """`text` with `block` in it, appended if it has none; None is a file that is missing. Raises Tangled.

    Everything outside of the markers stays as it is, to the last byte.
    """
    ending = "\r\n" if text is not None and "\r\n" in text else "\n"
    body = ending.join(("", *block.strip("\r\n").splitlines(), ""))
    if not text:
        return f"{START}{body}{END}{ending}"
    found = list(MARKERS.finditer(text))
    if not found:
        gap = "" if text.endswith(2 * ending) else ending if text.endswith(ending) else 2 * ending
        return f"{text}{gap}{START}{body}{END}{ending}"
    if [marker[0] for marker in found] != [START, END]:
        raise Tangled(f"{len(found)} markers where there should be a start and an end")
    start, end = found
    return text[: start.end()] + body + text[end.start() :]

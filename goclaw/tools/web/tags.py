"""Tags as a parser can bear them: libxml2 takes minutes for one of 100,000 attributes, and cannot be stopped."""

from __future__ import annotations

import re

MOST = 1000  # attributes of a tag; our decision
_ATTRIBUTE = r"""[\s/]++[^\s/>=][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)?+)?+"""
CROWDED = re.compile(rf"(<[a-zA-Z][^\s/<>]*+(?:{_ATTRIBUTE}){{{MOST}}})(?:{_ATTRIBUTE})++")


def bearable(html: str) -> str:
    """The page without the attributes of a tag beyond the thousandth. Blocking, in time that grows with the text."""
    return CROWDED.sub(r"\1", html)

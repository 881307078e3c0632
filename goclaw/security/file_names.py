"""File names that models and channels choose, as names we can have. Contract: security.md §7.3."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 200  # bytes
SUFFIX = 32  # bytes of an ending worth keeping when a name is cut
RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(?=\.|\Z)", re.IGNORECASE)
SEPARATORS = re.compile(r"[/\\]")
BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def safe_name(given: str, otherwise: str = "file") -> str:
    """The last name in `given` without control and bidi characters, at most 200 bytes; never hidden or reserved."""
    name = SEPARATORS.split(given)[-1]
    name = "".join(
        sign for sign in name if sign not in BIDI and unicodedata.category(sign) not in ("Cc", "Cs", "Zl", "Zp")
    )
    name = name.strip().rstrip(". ") or otherwise
    if name.startswith(".") or RESERVED.match(name):
        name = f"_{name}"
    return _cut(name)


def _cut(name: str) -> str:
    if len(name.encode()) <= LONGEST:
        return name
    stem, dot, suffix = name.rpartition(".")
    ending = f"{dot}{suffix}" if stem and len(suffix.encode()) <= SUFFIX else ""
    cut = (stem if ending else name).encode()[: LONGEST - len(ending.encode())].decode("utf-8", "ignore")
    return cut + ending if ending else cut.rstrip(". ")

"""Texts that are known in part. A noncharacter stands for what cannot be known before the command runs."""

from __future__ import annotations

import ast
import operator
import re
import unicodedata
from collections.abc import Callable

HOLE = "\ufdd0"  # anything
NET = "\ufdd1"  # what came from the network
FILE = "\ufdd2"  # what stands in a file
NUMBER = "\ufdd3"
STAR, QUERY, BRACKET = "\ufdd4", "\ufdd5", "\ufdd6"  # `*`, `?`, `[` that match names
PROCESS = "\ufdd7"  # followed by its number: the name of a `<(…)`

BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
MARKS = re.compile("[\ufdd0-\ufdef]")
UNKNOWN = re.compile(f"[{HOLE}{NET}{FILE}{NUMBER}]")
GLOB = re.compile(f"[{STAR}{QUERY}{BRACKET}]")
ACTIVE = str.maketrans({"*": STAR, "?": QUERY})
PASSIVE = str.maketrans({STAR: "*", QUERY: "?", BRACKET: "["})
PATTERN = re.compile(rf"[*?\[{STAR}{QUERY}{BRACKET}]")

INVISIBLE = re.compile(  # §2.1 step 2 and §3.1 step 4
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)

OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def normal(text: str) -> str:
    """NFKC without invisible characters: what a text looks like. Contract: security.md §3.1 step 4."""
    return text if text.isascii() else INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


def joined(text: str) -> str:
    """With line ends as every shell reads them. Contract: security.md §3.1 step 2."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def active(text: str) -> str:
    """Unquoted text: its wildcards match names."""
    opening = text.find("[")
    if opening >= 0 and text.find("]", opening + 2) > 0:
        text = text.replace("[", BRACKET)
    return text.translate(ACTIVE)


def plain(text: str) -> str:
    """The same with every wildcard as the character it is."""
    return text if text.isascii() else text.translate(PASSIVE)


def known(text: str) -> bool:
    return UNKNOWN.search(text) is None


def number(text: str) -> int | None:
    """The value of constant arithmetic; None for anything else."""
    if len(text) > 64 or not re.fullmatch(r"[\d\s()+*/%-]+", text, re.ASCII):
        return None
    try:
        tree = ast.parse(re.sub(r"\b0+(?=\d)", "", text).replace("/", "//").strip(), mode="eval").body
        return _number(tree)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _number(node: ast.expr) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_number(left), _number(right))
    raise ValueError


def regex(pattern: str, *, greedy: bool = True) -> str | None:
    """A shell pattern as an expression; None if it is too rich to be tried within bounds."""
    many = ".*" if greedy else ".*?"
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = plain(pattern[at])
        at += 1
        if char == "*":
            out.append(many)
        elif char == "?":
            out.append(".")
        elif char == "[" and (end := pattern.find("]", at + 1)) > 0:
            inside = plain(pattern[at:end]).replace("\\", "\\\\").replace("[", "\\[")
            out.append("[" + ("^" + inside[1:] if inside[0] in "!^" else inside) + "]")
            at = end + 1
        else:
            out.append(re.escape(char))
    if out.count(many) > 3:
        return None
    try:
        re.compile("".join(out))
    except re.error:
        return None
    return "".join(out)

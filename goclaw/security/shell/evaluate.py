"""The text that simple text commands print, when all they work on is known. Contract: security.md §3.2."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from goclaw.security.shell.limits import VALUE
from goclaw.security.shell.syntax.escapes import unescape
from goclaw.security.shell.text import HOLE, NUMBER, known, plain

FORMAT = re.compile(r"%(%|[-+ #0]*(\d+|\*)?(?:\.(\d+|\*))?([a-zA-Z]))")
SETS = {
    "[:lower:]": "abcdefghijklmnopqrstuvwxyz",
    "[:upper:]": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "[:space:]": " \t\n\r\v\f",
    "[:digit:]": "0123456789",
}


def echo(arguments: list[str], _stdin: str) -> str:
    end = "\n"
    escapes = False
    while arguments and re.fullmatch(r"-[neE]+", arguments[0]):
        end = "" if "n" in arguments[0] else end
        escapes = "e" in arguments[0]
        arguments = arguments[1:]
    text = " ".join(arguments)
    read = unescape(re.sub(r"\\0([0-7]{0,3})", r"\\\1", text)).partition("\\c")[0]
    if escapes:
        return read + end
    return (text if read == text else HOLE) + end  # shells disagree whether echo reads escapes


def printf(arguments: list[str], _stdin: str) -> str:
    if arguments and arguments[0] == "--":
        arguments = arguments[1:]
    if not arguments:
        return ""
    if arguments[0].startswith("-v"):
        return ""
    form, rest = unescape(arguments[0]), list(arguments[1:])
    out, size = list[str](), 0
    while True:
        before = len(rest)

        def one(match: re.Match[str]) -> str:
            if match[1] == "%":
                return "%"
            if match[2] == "*" or match[3] == "*":
                return HOLE
            value = rest.pop(0) if rest else ""
            return _converted(match[4], value, match[2], match[3])

        out.append(FORMAT.sub(one, form))
        size += len(out[-1])
        if not rest or len(rest) == before or size > VALUE:
            return "".join(out) if size <= VALUE else HOLE


def _converted(kind: str, value: str, width: str | None, precision: str | None) -> str:
    match kind:
        case "s":
            text = value if precision is None else value[: int(precision[:4])]
        case "b":
            text = unescape(value)
        case "c":
            text = value[:1]
        case "d" | "i" | "u":
            text = value or "0"
        case "x" | "o" | "X":
            text = NUMBER
        case _:
            text = HOLE
    return text.rjust(min(int(width), 999)) if width and width.isdigit() else text


def decoded(arguments: list[str], stdin: str, decode: Callable[[str], bytes]) -> str | None:
    """Decodes standard input with `-d`; None if it is something else that the command does."""
    flags = [each for each in arguments if each.startswith("-") and each != "-"]
    operands = [each for each in arguments if not each.startswith("-") or each == "-"]
    wanted = any(flag in ("--decode", "-D") or re.fullmatch(r"-[a-zA-Z]*d[a-zA-Z]*", flag) for flag in flags)
    if not wanted or operands not in ([], ["-"], ["/dev/stdin"]) or not known(stdin):
        return None
    return _bytes(decode, stdin)


def _bytes(decode: Callable[[str], bytes], text: str) -> str:
    try:
        return decode(re.sub(r"\s+", "", text)).decode(errors="replace")
    except (binascii.Error, ValueError):
        return HOLE


def base64d(arguments: list[str], stdin: str) -> str | None:
    def decode(text: str) -> bytes:
        return base64.b64decode(text + "=" * (-len(text) % 4))

    return decoded(arguments, stdin, decode)


def base32d(arguments: list[str], stdin: str) -> str | None:
    return decoded(arguments, stdin, lambda text: base64.b32decode(text + "=" * (-len(text) % 8), casefold=True))


def xxd(arguments: list[str], stdin: str) -> str | None:
    flags = "".join(each.lstrip("-") for each in arguments if each.startswith("-"))
    if "r" not in flags or "p" not in flags or not known(stdin) or any(not e.startswith("-") for e in arguments):
        return None
    return _bytes(bytes.fromhex, stdin)


def rev(arguments: list[str], stdin: str) -> str | None:
    if arguments or not known(stdin):
        return None
    return "\n".join(line[::-1] for line in stdin.split("\n"))


def tr(arguments: list[str], stdin: str) -> str | None:
    if not known(stdin):
        return None
    delete = arguments[:1] == ["-d"]
    sets = [_characters(plain(each)) for each in arguments[1 if delete else 0 :]]
    if delete and len(sets) == 1 and sets[0] is not None:
        return stdin.translate({ord(char): None for char in sets[0]})
    if len(sets) != 2 or arguments[0].startswith("-"):
        return None
    first, second = sets
    if first is None or not second:
        return None
    second = second + second[-1] * (len(first) - len(second))
    return stdin.translate(dict(zip(map(ord, first), second, strict=False)))


def _characters(text: str) -> str | None:
    if text in SETS:
        return SETS[text]
    if "[:" in text or not known(text):
        return None
    text = unescape(text)
    return re.sub(
        r"(.)-(.)",
        lambda m: "".join(map(chr, range(ord(m[1]), min(ord(m[2]), 0xFFFF) + 1)))[:4096],
        text,
        flags=re.DOTALL,
    )


def named(arguments: list[str], _stdin: str) -> str | None:
    """`which X`, `type -p X`."""
    names = [each for each in arguments if not each.startswith("-")]
    return names[0] + "\n" if len(names) == 1 else None


def basename(arguments: list[str], _stdin: str) -> str | None:
    if len(arguments) == 1 and known(arguments[0]):
        return arguments[0].rstrip("/").rpartition("/")[2] + "\n"
    return None


def yes(arguments: list[str], _stdin: str) -> str:
    return ((" ".join(arguments) or "y") + "\n") * 2


def silent(_arguments: list[str], _stdin: str) -> str:
    return ""


PRINTS: dict[str, Callable[[list[str], str], str | None]] = {
    "echo": echo,
    "printf": printf,
    "base64": base64d,
    "base32": base32d,
    "xxd": xxd,
    "rev": rev,
    "tr": tr,
    "which": named,
    "basename": basename,
    "yes": yes,
    **dict.fromkeys(
        [
            "true",
            "false",
            ":",
            "cd",
            "export",
            "readonly",
            "unset",
            "set",
            "shift",
            "test",
            "[",
            "sleep",
            "mkdir",
            "touch",
            "rm",
            "exit",
            "local",
        ],
        silent,
    ),
}

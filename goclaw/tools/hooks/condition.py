"""When a hook is asked: a small expression over a call. Contract: tools.md §22 (`if_expr`).

    tool_name == "exec" && (size(tool_input.command) > 200 || "sudo" in tool_input.command) && depth < 2

Names: `tool_name`, `tool_input` with `.member` and `[…]`, `depth`. Literals as in JSON, lists too. `== != < <= > >=
in && || !`, `size()`, parentheses. What is not there is null. Nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

LONGEST = 2000  # characters
DEEPEST = 32  # of parentheses, lists, negations and comparisons
TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_]\w*)"""
    r"""|(?P<sign>==|!=|<=|>=|&&|\|\||[<>!().,\[\]]))""",
    re.ASCII,
)
NAMES = frozenset({"tool_name", "tool_input", "depth"})
CONSTANTS: Mapping[str, Any] = {"true": True, "false": False, "null": None}
ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}

Facts = Mapping[str, Any]
Value = Callable[[Facts], Any]


class Unfit(ValueError):
    """No condition, or one that cannot be answered here. Says where or why."""


def condition(text: str) -> Callable[[Facts], bool]:
    """Reads an expression once. Raises Unfit; so does asking it about values it cannot compare."""
    if len(text) > LONGEST:
        raise Unfit(f"longer than {LONGEST} characters")
    parser = _Parser(_tokens(text))
    value = parser.either()
    if parser.left:
        raise Unfit(f"unexpected {parser.left[0][1]}")
    return lambda facts: _truth(value(facts))


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise Unfit(f"unexpected {text[at : at + 10].strip()}")
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.left = tokens
        self._depth = 0

    def either(self) -> Value:
        parts = [self._both()]
        while self._take("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda facts: any(_truth(part(facts)) for part in parts)

    def _both(self) -> Value:
        parts = [self._compared()]
        while self._take("&&"):
            parts.append(self._compared())
        return parts[0] if len(parts) == 1 else lambda facts: all(_truth(part(facts)) for part in parts)

    def _compared(self) -> Value:
        one = self._plain()
        kind, sign = self.left[0] if self.left else ("", "")
        if sign in ("==", "!=") and kind == "sign":
            self.left.pop(0)
            other, wanted = self._plain(), sign == "=="
            return lambda facts: _same(one(facts), other(facts)) is wanted
        if sign in ORDER and kind == "sign":
            self.left.pop(0)
            other, compare = self._plain(), ORDER[sign]
            return lambda facts: _ordered(compare, one(facts), other(facts))
        if (kind, sign) == ("name", "in"):
            self.left.pop(0)
            other = self._plain()
            return lambda facts: _within(one(facts), other(facts))
        return one

    def _plain(self) -> Value:
        self._depth += 1
        if self._depth > DEEPEST:
            raise Unfit("nested too deeply")
        try:
            return self._value()
        finally:
            self._depth -= 1

    def _value(self) -> Value:
        if not self.left:
            raise Unfit("it ends too early")
        kind, text = self.left.pop(0)
        match kind, text:
            case "string", _:
                said = _string(text)
                return lambda _: said
            case "number", _:
                number = float(text) if "." in text else int(text)
                return lambda _: number
            case "sign", "!":
                inner = self._plain()
                return lambda facts: not _truth(inner(facts))
            case "sign", "(":
                inner = self.either()
                self._need(")")
                return inner
            case "sign", "[":
                return self._list()
            case "name", "size":
                self._need("(")
                inner = self.either()
                self._need(")")
                return lambda facts: _size(inner(facts))
            case "name", _ if text in CONSTANTS:
                constant = CONSTANTS[text]
                return lambda _: constant
            case "name", _ if text in NAMES:
                return self._members(lambda facts: facts.get(text))
        raise Unfit(f"unexpected {text}")

    def _list(self) -> Value:
        items: list[Value] = []
        while not self._take("]"):
            if items:
                self._need(",")
            items.append(self._plain())
        return lambda facts: [item(facts) for item in items]

    def _members(self, value: Value) -> Value:
        while True:
            if self._take("."):
                if not self.left or self.left[0][0] != "name":
                    raise Unfit("a member has a name")
                value = _member(value, _constant(self.left.pop(0)[1]))
            elif self._take("["):
                key = self._plain()
                self._need("]")
                value = _member(value, key)
            else:
                return value

    def _take(self, sign: str) -> bool:
        if self.left and self.left[0] == ("sign", sign):
            self.left.pop(0)
            return True
        return False

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise Unfit(f"{sign} is missing")


def _string(text: str) -> str:
    inner = text[1:-1]
    if text[0] == "'":
        inner = inner.replace("\\'", "'").replace('"', '\\"')
    try:
        return msgspec.json.decode(f'"{inner}"', type=str)
    except msgspec.DecodeError:
        raise Unfit(f"no text: {text[:40]}") from None


def _constant(value: Any) -> Value:
    return lambda _: value


def _member(of: Value, key: Value) -> Value:
    def value(facts: Facts) -> Any:
        whole, name = of(facts), key(facts)
        match whole, name:
            case dict(), str():
                return whole.get(name)
            case list(), int() if 0 <= name < len(whole):
                return whole[name]
        return None

    return value


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _ordered(compare: Callable[[Any, Any], bool], one: Any, other: Any) -> bool:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (one, other))
    if not numbers and not (isinstance(one, str) and isinstance(other, str)):
        raise Unfit("only numbers and texts have an order")
    return compare(one, other)


def _within(one: Any, other: Any) -> bool:
    match other:
        case str():
            return isinstance(one, str) and one in other
        case list():
            return any(_same(one, each) for each in other)
        case dict():
            return isinstance(one, str) and one in other
        case None:
            return False
    raise Unfit("`in` wants a text, a list or an object")


def _size(value: Any) -> int:
    match value:
        case str() | list() | dict():
            return len(value)
        case None:
            return 0
    raise Unfit("size() wants a text, a list or an object")


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise Unfit("a condition is true or false")

"""What somebody wants changed, as changes of keys of the file. Contract: config-cli.md §2, §3, §6.2.

Keys may be spelled as in the file; null takes a key away; `***` leaves the secret that is there; a value that holds
already, wherever it comes from, is no change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from msgspec import Struct

from goclaw.settings.convert import plain
from goclaw.settings.edit import GONE, Path
from goclaw.settings.keys import fields, row_field, snake, spellings, subsection
from goclaw.settings.problems import Problem, quoted
from goclaw.settings.section import MASK, TELLING, Secret, Section
from goclaw.settings.settings import Settings


class Leaf(Struct, frozen=True):
    """A key of the file that holds a secret, or several: text, a list, or an object of them."""

    path: Path  # as the file spells it
    key: str  # as we do
    value: Any


class Merge:
    """Reads a patch. `held` is the file's object, `effective` every value in force, masked, by dotted key."""

    def __init__(self, held: Mapping[str, Any], effective: Mapping[str, Any]) -> None:
        self.held = held
        self.effective = effective
        self.edits: dict[Path, Any] = {}
        self.gone: set[str] = set()  # dotted keys, also of rows and sections, that are taken away
        self.touched: set[str] = set()  # dotted keys that get a value
        self.problems: list[Problem] = []

    def patch(self, wanted: Mapping[str, Any]) -> None:
        self._section(Settings, wanted, self.held, (), "")

    def _section(self, kind: type[Section], wanted: Any, held: Any, path: Path, prefix: str) -> None:
        held = held if isinstance(held, dict) else {}
        seen: dict[str, str] = {}
        for key, value in wanted.items():
            name, inner = _meant(kind, key)
            if name in seen:
                self._wrong(prefix + name, f"{quoted(key)} is the same key as {quoted(seen[name])}, keep one")
                continue
            seen[name] = key
            here = (*path, _spelled(kind, name, held))
            if snake(name) in kind.IGNORED:
                continue
            if inner is None and name not in fields(kind):
                self._unknown(here, prefix + name, value, held)
            elif inner is None:
                self._leaf(fields(kind)[name].type, value, held.get(here[-1]), here, prefix + name)
            elif value is None:
                self._take(here, prefix + name, here[-1] in held)
            elif isinstance(value, dict):
                before = len(self.edits)
                self._section(inner, value, held.get(here[-1]), here, f"{prefix}{name}.")
                if before == len(self.edits) and not self._there(f"{prefix}{name}."):
                    self.edits[here] = {}  # a row that sets nothing is a row
            else:
                self.edits[here] = value

    def _leaf(self, kind: Any, value: Any, held: Any, path: Path, key: str) -> None:
        if value is None:
            self._take(path, key, held is not None)
        elif key in self.effective and same(value, self.effective[key]):
            return
        elif is_secret(kind):
            self._secret(value, held, path, key)
        else:
            self.touched.add(key)
            self.edits[path] = merged(held, value)
            for name in _bare(value, held):
                self._wrong(key, f"{key}: {quoted(name)} looks like a secret, and none is kept there")

    def _secret(self, value: Any, held: Any, path: Path, key: str) -> None:
        """What is masked stays as it is; what is empty is no secret, and is not asked for by mistake."""
        if value == MASK:
            return
        if isinstance(value, str) and not value.strip():
            self._wrong(key, f"{key}: expected a secret; null takes it away")
            return
        if isinstance(value, dict):
            own = held if isinstance(held, dict) else {}
            value = merged(own, value)
            left = [name for name, one in value.items() if one == MASK]
        elif isinstance(value, list):
            own = dict(enumerate(held)) if isinstance(held, list) else {}
            value = [own.get(at, MASK) if one == MASK else one for at, one in enumerate(value)]
            left = [str(at) for at, one in enumerate(value) if one == MASK]
        else:
            left = []
        for name in left[:20]:
            self._wrong(key, f"{key}: there is no secret {quoted(name)} that {MASK} could stand for")
        self.edits[path] = value

    def _take(self, path: Path, key: str, held: bool) -> None:
        self.gone.add(key)
        if held:
            self.edits[path] = GONE

    def _unknown(self, path: Path, key: str, value: Any, held: Mapping[str, Any]) -> None:
        """It is refused with the whole text, unless it shall go."""
        if value is None and path[-1] not in held:
            self._wrong(key, f"unknown key {quoted(key)}")
        else:
            self.edits[path] = GONE if value is None else value

    def _there(self, prefix: str) -> bool:
        return any(key.startswith(prefix) for key in self.effective)

    def _wrong(self, key: str, message: str) -> None:
        self.problems.append(Problem(key, message))


def unmasked(wanted: Any, held: Any) -> tuple[dict[Path, Any], list[Problem]]:
    """Changes that put the file's own secrets where a whole new text says `***`, and what stands for nothing."""
    old = {leaf.key: leaf.value for leaf in secret_leaves(held)}
    changes: dict[Path, Any] = {}
    merge = Merge({}, {})
    for leaf in secret_leaves(wanted):
        if leaf.value == MASK:
            changes[leaf.path] = old.get(leaf.key, GONE)
        elif isinstance(leaf.value, str) and not leaf.value.strip() and leaf.value != old.get(leaf.key):
            merge._secret("", None, leaf.path, leaf.key)
        elif MASK in _values(leaf.value):
            merge._secret(leaf.value, old.get(leaf.key), leaf.path, leaf.key)
            if isinstance(leaf.value, dict):  # a whole text forgets what it does not name
                names = leaf.value.keys()
                made = merge.edits[leaf.path]
                merge.edits[leaf.path] = {name: one for name, one in made.items() if name in names}
    return changes | merge.edits, merge.problems


def _bare(wanted: Any, held: Any) -> Iterator[str]:
    """Names of new secrets inside of an object of anything."""
    for name, value in wanted.items() if isinstance(wanted, dict) else ():
        own = held.get(name) if isinstance(held, dict) else None
        if isinstance(value, str) and value not in ("", MASK, own) and TELLING.search(name):
            yield name
        yield from _bare(value, own)


def _values(leaf: Any) -> list[Any]:
    return list(leaf.values()) if isinstance(leaf, dict) else leaf if isinstance(leaf, list) else []


def secret_leaves(held: Any) -> list[Leaf]:
    """Every key of a file's object whose values are secrets. What is not as it should be is passed over."""
    return list(_leaves(Settings, held, (), ""))


def _leaves(kind: type[Section], held: Any, path: Path, prefix: str) -> Iterator[Leaf]:
    for key, value in held.items() if isinstance(held, dict) else ():
        name, inner = _meant(kind, key)
        if inner is not None:
            yield from _leaves(inner, value, (*path, key), f"{prefix}{name}.")
        elif name in fields(kind) and is_secret(fields(kind)[name].type):
            yield Leaf((*path, key), prefix + name, value)


def _meant(kind: type[Section], key: str) -> tuple[str, type[Section] | None]:
    """The canonical name of a key, and the section below it if there is one."""
    name = spellings(kind).get(key)
    if name is not None:
        return name, subsection(fields(kind)[name].type)
    rows = row_field(kind)
    return key, rows[1] if rows and kind.ROW_NAMES.fullmatch(key) else None


def _spelled(kind: type[Section], name: str, held: Mapping[str, Any]) -> str:
    """A key as the file has it, else as we have it."""
    return next((key for key in held if _meant(kind, key)[0] == name), name)


def is_secret(kind: Any) -> bool:
    kind = plain(kind)
    return kind is Secret or (get_origin(kind) in (tuple, dict) and Secret in map(plain, get_args(kind)))


def merged(held: Any, wanted: Any) -> Any:
    """As RFC 7396 has it: objects are merged, null takes away, anything else replaces; a mask leaves what is there."""
    if not isinstance(wanted, dict):
        return wanted
    done = dict(held) if isinstance(held, dict) else {}
    for key, value in wanted.items():
        if value is None:
            done.pop(key, None)
        elif value != MASK or key not in done:
            done[key] = merged(done.get(key), value)
    return done


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)

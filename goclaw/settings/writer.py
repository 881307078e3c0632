"""Writes the configuration file: the whole of it or nothing, after the same check as at a start.

Two files are written, `.env.local` first: a file that names a variable never stands beside one that lacks it.
Contract: config-cli.md §3, §6.2; durability.md K20.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct

from goclaw.settings import edit, keep, merge
from goclaw.settings.document import LARGEST, Malformed, parse
from goclaw.settings.environment import ENV_FILE
from goclaw.settings.keys import entries
from goclaw.settings.load import Loaded, Trial
from goclaw.settings.problems import ConfigInvalid, Problem
from goclaw.settings.show import masked

BACKUPS = 5  # of the file, the newest without a number
EMPTY = "{}\n"


class Stale(Exception):
    """Somebody else has written the file."""


class Draft(Struct, frozen=True):
    """A configuration that passed every check, and what it was made from. None: there was no such file."""

    loaded: Loaded
    config: bytes
    secrets: bytes
    old_config: bytes | None
    old_secrets: bytes | None
    changed: tuple[str, ...]  # dotted keys whose value is another one now
    overridden: tuple[str, ...]  # that were to be changed, and have their value from a variable or a flag

    @property
    def idle(self) -> bool:
        """Nothing is to be written."""
        return (self.config, self.secrets) == (self.old_config or EMPTY.encode(), self.old_secrets or b"")


class ConfigFile:
    """The file of one configuration, and `.env.local` beside it. Every method reads or writes; none is quick."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    @property
    def path(self) -> Path:
        return self._loaded.path

    @property
    def hash(self) -> str:
        """Of the file as it is now: SHA-256 in hex. Raises OSError."""
        return _hash(_read(self.path))

    def now(self) -> Loaded:
        """As the two files have it now. Raises ConfigInvalid."""
        return self._loaded.again()

    def patched(self, wanted: Mapping[str, Any], base: str | None = None) -> Draft:
        """The configuration with these changes. Raises ConfigInvalid, Stale, OSError."""
        config, secrets = self._files(base)
        before = self._loaded.again(Trial(config or EMPTY.encode(), secrets or b""))
        text = (config or EMPTY.encode()).decode()
        change = merge.Merge(parse(text).value, masked(before.settings))
        change.patch(self._checked(as_text(wanted)))
        self._refuse(change.problems)
        made = edit.edited(text, change.edits)
        unset = keep.left_over(change, before.origins, _members(made))
        return self._draft(made, config, secrets, before, change.touched, unset)

    def replaced(self, text: str, base: str | None = None) -> Draft:
        """The configuration with another text. Raises ConfigInvalid, Stale, OSError."""
        config, secrets = self._files(base)
        wanted = self._checked(text)
        try:
            held = parse((config or EMPTY.encode()).decode()).value
        except (Malformed, UnicodeDecodeError):
            held = {}  # what cannot be read is what is replaced
        before = None
        with suppress(ConfigInvalid):
            before = self._loaded.again(Trial(config or EMPTY.encode(), secrets or b""))
        if isinstance(wanted, dict):
            edits, problems = merge.unmasked(wanted, held)
            self._refuse(problems)
            text = edit.edited(text, edits)
        return self._draft(text, config, secrets, before, set(), set())

    def write(self, draft: Draft) -> None:
        """Both files, each at once. Raises Stale if either is not any more what the draft was made from; OSError."""
        with self._alone():
            if (_read(self.path), _read(self._secrets)) != (draft.old_config, draft.old_secrets):
                raise Stale
            config, secrets = self.path.resolve(), self._secrets.resolve()
            told = draft.secrets != (draft.old_secrets or b"")
            try:
                _prepare(config, draft.config)
                if told:
                    _prepare(secrets, draft.secrets)
                if draft.old_config is not None:
                    _back_up(config)
                if told:
                    _swap(secrets)
                try:
                    _swap(config)
                except OSError:
                    self._put_back(secrets, draft.old_secrets, draft.secrets)
                    raise
            finally:
                for path in (config, secrets):
                    with suppress(OSError):
                        _new(path).unlink(missing_ok=True)

    def undo(self, draft: Draft) -> None:
        """As it was before `write`, unless somebody has written since. Raises OSError."""
        with self._alone():
            self._put_back(self.path.resolve(), draft.old_config, draft.config)
            self._put_back(self._secrets.resolve(), draft.old_secrets, draft.secrets)

    # --- parts --------------------------------------------------------------------------------

    @property
    def _secrets(self) -> Path:
        return self.path.parent / ENV_FILE

    def _files(self, base: str | None) -> tuple[bytes | None, bytes | None]:
        config = _read(self.path)
        if base is not None and base != _hash(config):
            raise Stale
        return config, _read(self._secrets)

    def _draft(
        self,
        text: str,
        config: bytes | None,
        secrets: bytes | None,
        before: Loaded | None,
        keys: set[str],
        unset: Collection[str],
    ) -> Draft:
        """Without secrets in the file, and checked as a whole."""
        kept = keep.kept(_members(text))
        self._refuse(kept.problems)
        text = edit.edited(text, kept.edits) if kept.edits else text
        self._checked(text)
        old_lines = (secrets or b"").decode(errors="replace")
        lines = keep.with_variables(old_lines, kept.values, unset) if kept.values or unset else old_lines
        loaded = self._loaded.again(Trial(text.encode(), lines.encode()))
        values = dict(entries(loaded.settings))
        self._refuse(
            [
                Problem(key, f"{key}: {loaded.origins[key]} is set and wins; change it there")
                for key, wanted in kept.intended.items()
                if not keep.holds(values.get(key), wanted)
            ]
        )
        old = dict(entries(before.settings)) if before is not None else {}
        rows = {key for key in old.keys() ^ values.keys() if _origin(key, loaded, before) == "default"}
        changed = tuple(sorted(key for key in (old.keys() | values.keys()) - rows if old.get(key) != values.get(key)))
        won = {key for key, origin in loaded.origins.items() if origin.startswith(("env:", ENV_FILE, "flag"))}
        return Draft(
            loaded,
            text.encode(),
            lines.encode(),
            config,
            secrets,
            changed,
            tuple(sorted((won & keys) - set(changed) - kept.intended.keys())),
        )

    def _checked(self, text: str) -> Any:
        """What a text says, if it is one that a file may have. Raises ConfigInvalid."""
        try:
            if len(text.encode()) > LARGEST:
                raise ConfigInvalid(self.path, [Problem("", "the file is larger than 1 MiB")])
            return parse(text).value
        except UnicodeEncodeError:
            raise ConfigInvalid(self.path, [Problem("", "not UTF-8 text")]) from None
        except Malformed as error:
            problem = Problem("", f"not JSON5 at line {error.line}: {error}", error.line)
            raise ConfigInvalid(self.path, [problem]) from None

    def _refuse(self, problems: list[Problem]) -> None:
        if problems:
            raise ConfigInvalid(self.path, problems)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time, of all processes. Raises Stale: another one is at it."""
        place = self.path.resolve().parent
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Stale from None
        finally:
            os.close(folder)

    def _put_back(self, path: Path, old: bytes | None, ours: bytes) -> None:
        if old == ours or _read(path) != ours:
            return
        if old is None:
            path.unlink()
            return
        _prepare(path, old)
        _swap(path)


def _hash(raw: bytes | None) -> str:
    return hashlib.sha256(raw or b"").hexdigest()


def _read(path: Path) -> bytes | None:
    """None: there is no such file. Raises OSError, also for one that is too large."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    if len(raw) > LARGEST:
        raise OSError(27, "larger than 1 MiB", str(path))
    return raw


def _prepare(path: Path, raw: bytes) -> None:
    """The text beside the file it shall become, on the disk. Only its owner may read it (config-cli.md §1)."""
    new = _new(path)
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(descriptor)


def _swap(path: Path) -> None:
    _new(path).replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _back_up(path: Path) -> None:
    """The file as `.bak`, those before it one further: they keep the very bytes."""
    names = [path.with_name(f"{path.name}.bak{f'.{age}' if age else ''}") for age in range(BACKUPS)]
    for younger, older in reversed(list(pairwise(names))):
        with suppress(FileNotFoundError):
            younger.replace(older)
    try:
        os.link(path, names[0])
    except PermissionError:  # a file system without second names
        raw = path.read_bytes()
        _prepare(names[0], raw)
        _new(names[0]).replace(names[0])


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _members(text: str) -> dict[str, Any]:
    """The members of the root; none of a text that is none, which the check refuses."""
    value = parse(text).value
    return value if isinstance(value, dict) else {}


def _origin(key: str, *either: Loaded | None) -> str:
    return next((one.origins[key] for one in either if one is not None and key in one.origins), "default")


def as_text(wanted: Mapping[str, Any]) -> str:
    """A configuration that came as an object."""
    return json.dumps(wanted, indent=2, ensure_ascii=False) + "\n"

"""Secrets leave the file: values go to `.env.local`, names take their place. Contract: config-cli.md S3.4."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from goclaw.settings.edit import Path
from goclaw.settings.environment import ENV_FILE, LINE, VARIABLES, unquoted
from goclaw.settings.load import REFERENCE
from goclaw.settings.merge import Merge, secret_leaves
from goclaw.settings.problems import Problem
from goclaw.settings.section import Secret

NAMES = {key: name for name, key in VARIABLES.items()}  # of variables that set a key by themselves; the last wins
UNFIT = re.compile(r"[^A-Za-z0-9_]", re.ASCII)
LONGEST = 100  # characters of a name of ours


class Kept(NamedTuple):
    edits: dict[Path, Any]  # of the file
    values: dict[str, str]  # variables, for `.env.local`
    intended: dict[str, dict[str, str]]  # what they shall come to, by key and place in it
    problems: list[Problem]


def kept(held: Mapping[str, Any]) -> Kept:
    """What it takes to have no secret in a file that says `held`."""
    done = Kept({}, {}, {}, [])
    leaves = secret_leaves(held)
    taken = {name for leaf in leaves for name in _named(leaf.value)}
    for leaf in leaves:
        references: dict[str, str] = {}
        for name, text in _texts(leaf.value).items():
            if not text.strip() or REFERENCE.fullmatch(text):
                continue
            if _kept_as(text) is None:
                done.problems.append(Problem(leaf.key, f"{leaf.key}: a secret is one line of text"))
                continue
            variable = variable_of(leaf.key, name, taken | done.values.keys())
            done.values[variable] = text.strip()
            done.intended.setdefault(leaf.key, {})[name] = text.strip()
            references[name] = f"env:{variable}"
        if references:
            done.edits[leaf.path] = _with(leaf.value, references)
    return done


def variable_of(key: str, name: str, taken: Collection[str]) -> str:
    """The variable for a secret: the one that sets its key anyway, if there is one, else one made of the key."""
    row = re.fullmatch(r"providers\.([a-z0-9_]+)\.api_key", key)
    found = f"GOCLAW_{row[1].upper()}_API_KEY" if row else NAMES.get(key, "")
    if not found or name:
        place = str(int(name) + 1) if name.isdigit() else name
        found = UNFIT.sub("_", f"{key}.{place}" if name else key).upper()[:LONGEST]
    while found in taken or not LINE.fullmatch(f"{found}=x"):
        found = f"{found}_" if found in taken else f"_{found}"
    return found


def left_over(change: Merge, origins: Mapping[str, str], held: Mapping[str, Any]) -> set[str]:
    """Variables of `.env.local` that only said what `change` takes away; `held` is what the file says then.

    Of a section that goes as a whole the variables stay: they are not of the file.
    """
    here = f"{ENV_FILE}:"

    def goes(key: str) -> bool:
        row = ".".join(key.split(".")[:2])
        return key in change.gone or (row.startswith("providers.") and row in change.gone)

    set_by_name = {
        origin.removeprefix(here) for key, origin in origins.items() if origin.startswith(here) and goes(key)
    }
    named = {name for leaf in secret_leaves(change.held) if goes(leaf.key) for name in _named(leaf.value)}
    return (set_by_name | named) - {name for leaf in secret_leaves(held) for name in _named(leaf.value)}


def with_variables(text: str, values: Mapping[str, str], gone: Collection[str] = ()) -> str:
    """The text of `.env.local` with these variables, and without others; all else stays."""
    lines = []
    for line in text.splitlines():
        entry = LINE.fullmatch(line.strip())
        if entry is None or entry[1] not in {*values, *gone}:
            lines.append(line)
    return "".join(f"{line}\n" for line in (*lines, *(f"{name}={_kept_as(one)}" for name, one in values.items())))


def _kept_as(text: str) -> str | None:
    """How a line of `.env.local` has it; None if none can."""
    text = text.strip()
    if "\0" in text or len(text.splitlines()) != 1 or not text.isprintable():
        return None
    written = f'"{text}"' if unquoted(text) != text else text
    return written if unquoted(written) == text else None


def _named(value: Any) -> list[str]:
    """The variables a secret refers to."""
    found = (REFERENCE.fullmatch(one) for one in _texts(value).values())
    return [one[1] or one[2] for one in found if one]


def _texts(value: Any) -> dict[str, str]:
    """The texts of a secret, of a list or of an object of secrets, by their place in it."""
    if isinstance(value, str):
        return {"": value}
    several = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
    return {str(name): one for name, one in several.items() if isinstance(one, str)}


def holds(value: Any, intended: Mapping[str, str]) -> bool:
    """Whether a value in force has these secrets in their places."""
    several = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, tuple) else {"": value}
    found = {str(name): one.reveal() for name, one in several.items() if isinstance(one, Secret)}
    return all(found.get(name) == text for name, text in intended.items())


def _with(value: Any, references: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return references[""]
    if isinstance(value, dict):
        return {name: references.get(name, one) for name, one in value.items()}
    return [references.get(str(at), one) for at, one in enumerate(value)]

"""Resource keys: what a run has for itself while it works, who may go first, and how keys are declared.

Contract: sessions-lanes-cron.md §11, nodes-autonomy.md §3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from goclaw.domain.run import RunKind
from goclaw.runtime.message import Message

MOST = 20  # keys of a run; nodes-autonomy.md §3.1
LONGEST = 200  # characters of one
READ = "!r"  # the end of a key that several may share
ALL = "scope:exclusive"  # in the way of every key
NONE = "scope:general"  # in nobody's way
LOCKING: frozenset[RunKind] = frozenset({"task", "team_task", "subagent", "cron", "autonomy", "pipeline"})  # §3.3

BRACKET = re.compile(r"\s*\[(?:resource[_ -])?keys?[ \t]*[:：=]([^\]]*)\]\s*", re.IGNORECASE)
LINE = re.compile(r"^[ \t]*resource[_-]keys?[ \t]*[:：=]([^\n]*)(?:\n|\Z)", re.IGNORECASE | re.MULTILINE)
SEPARATORS = re.compile(r"[,;\n，；、]")
QUOTES = " \t\r'\"`“”‘’"

READ_CHARS = 32_000  # of a text that is guessed from
ENDINGS = (
    ".go", ".md", ".json", ".yaml", ".yml", ".py", ".ts", ".tsx", ".js", ".toml", ".sql", ".sh", ".html", ".css",
)  # fmt: skip
REPOSITORIES = ("github.com/", "gitea.")
TOPICS = {
    word: topic
    for topic, words in {
        "webui": "webui dashboard frontend",
        "docs": "docs documentation readme",
        "release": "release releases changelog",
        "git": "git commit commits rebase",
        "config": "config configuration settings",
        "test": "test tests pytest",
        "task": "task tasks",
        "memory": "memory memories",
        "cron": "cron crontab",
        "log": "log logs",
    }.items()
    for word in words.split()
}


class KeysFreed(Message[None]):
    """To the table of locks: a run that held keys is over. Saying it twice is harmless."""


# --- one key --------------------------------------------------------------------------------------


class Key(Struct, frozen=True):
    name: str
    shared: bool = False
    guessed: bool = False  # nobody declared it

    def __str__(self) -> str:
        return f"{self.name}{READ}" if self.shared else self.name


def keys_of(texts: Iterable[str], *, guessed: bool = False) -> tuple[Key, ...]:
    """Keys as they are stored with a run."""
    return tuple(Key(text.removesuffix(READ), text.endswith(READ), guessed) for text in texts)


def conflict(one: Key, other: Key) -> bool:
    """Whether only one run may have them. A guessed topic is in the way of equal guesses and of nothing declared."""
    if NONE in (one.name, other.name):
        return False
    if ALL in (one.name, other.name):
        return True
    if one.shared and other.shared:
        return False
    if one.guessed != other.guessed and one.name.startswith("topic:"):
        return False
    return _covers(one.name, other.name) or _covers(other.name, one.name)


def _covers(folder: str, name: str) -> bool:
    return folder == name or (folder.startswith("file:") and folder.endswith("/") and f"{name}/".startswith(folder))


# --- in a text ------------------------------------------------------------------------------------


def declared(text: str, most: int = MOST) -> tuple[tuple[str, ...], str]:
    """The keys a text asks for, and the text without its directive; the first one counts.

    `[keys: a, b]` is one at the start of the text, `resource_keys: a, b` alone on a line anywhere.
    Raises ValueError as `normalized` does.
    """
    found = BRACKET.match(text) or LINE.search(text)
    if found is None:
        return (), text
    items = SEPARATORS.split(found[1])
    if len(items) == 1:
        items = items[0].split()
    rest = text[found.end() :] if found.re is BRACKET else (text[: found.start()] + text[found.end() :]).strip("\n")
    return normalized(items, most), rest


def normalized(items: Iterable[str], most: int = MOST) -> tuple[str, ...]:
    """Keys in the form they are stored and compared in, sorted. Whoever asks to read and to write, writes.

    Raises ValueError for more than `most`, for one of more than 200 characters, and for one that cannot be printed.
    """
    keys = set()
    for item in items:
        name = item.strip(QUOTES).casefold()
        if not name.removesuffix(READ):
            continue
        if ":" not in name:
            name = f"file:{name.removeprefix('./')}"
        if len(name) > LONGEST:
            raise ValueError(f"a key has at most {LONGEST} characters")
        if not name.isprintable():
            raise ValueError("a key is printable text")
        keys.add(name)
    keys -= {name + READ for name in keys}
    if len(keys) > most:
        raise ValueError(f"at most {most} keys")
    return tuple(sorted(keys))


def guessed(text: str) -> tuple[str, ...]:
    """Keys that a text which declares none seems to need (nodes-autonomy.md §3.2). None is `scope:general`."""
    keys: dict[str, None] = {}
    for word in text[:READ_CHARS].split():
        key = _guess(word.strip(".,;:!?()[]{}<>*'\"`“”‘’，。；：！？").casefold())
        if key is not None and len(key) <= LONGEST and key.isprintable():
            keys[key] = None
        if len(keys) == MOST:
            break
    return tuple(sorted(keys))


def _guess(word: str) -> str | None:
    if any(place in word for place in REPOSITORIES):
        return f"repo:{word}"
    if word == "main" or (word.startswith("branch:") and word != "branch:"):
        return f"branch:{word.removeprefix('branch:')}"
    if word in TOPICS:
        return f"topic:{TOPICS[word]}"
    if "://" not in word and word.strip("/.") and ("/" in word or word.endswith(ENDINGS)):
        return f"file:{word.removeprefix('./')}"
    return None


# --- who may go -----------------------------------------------------------------------------------


class Holding(Struct, frozen=True):
    """A key that a run has."""

    run_id: str
    key: Key


class Wish(Struct, frozen=True, kw_only=True):
    """A run that wants its keys, all or none. It may use what its `ancestors` hold, who wait for it."""

    run_id: str
    keys: tuple[Key, ...]
    score: int = 0
    reserved: bool = False  # it has waited so long that nobody may take its keys before it
    ancestors: tuple[str, ...] = ()


def score(priority: int, waited: float, tries: int) -> int:
    """How urgent a wish is: of base priority 0–10, after so many seconds and tries (nodes-autonomy.md §3.4)."""
    weight = 3 if priority >= 7 else 2 if priority >= 4 else 1
    return weight * 100 + int(waited // 10) + tries * 5


def arbitrate(wishes: Sequence[Wish], held: Iterable[Holding]) -> dict[str, tuple[str, ...]]:
    """Who is in the way of each wish, by run; nobody: it may take its keys now, and those after it cannot.

    Reservations come first, then the best score, then the oldest. What is reserved and not to be had yet is kept free,
    except from a run whose ancestor holds keys: the holder of a reservation may wait for just that ancestor.
    """
    taken = list(held)
    kept: list[Holding] = []
    answers: dict[str, tuple[str, ...]] = {}
    for wish in sorted(wishes, key=lambda wish: (not wish.reserved, -wish.score, wish.run_id)):
        family = {wish.run_id, *wish.ancestors}
        inherits = any(one.run_id in wish.ancestors for one in taken)
        before = [one for one in taken if one.run_id not in family] + ([] if inherits else kept)
        rivals = {one.run_id for one in before if any(conflict(key, one.key) for key in wish.keys)}
        answers[wish.run_id] = tuple(sorted(rivals))
        wanted = [Holding(wish.run_id, key) for key in wish.keys]
        if not rivals:
            taken += wanted
        elif wish.reserved:
            kept += wanted
    return answers

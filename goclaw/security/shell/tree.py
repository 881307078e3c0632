"""What a shell text consists of, once it is read: words of parts, commands of words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Literal:
    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """`${name op arg}`. `mark` is "!" or "#" in front of the name; `index` what stands in brackets."""

    name: str
    quoted: bool = False
    mark: str = ""
    index: str = ""
    op: str = ""
    arg: Word | None = None
    by: Word | None = None  # the replacement of `/`, the length of `:`
    subscript: Word | None = None  # what the index is computed from


@dataclass(frozen=True, slots=True)
class Substitution:
    script: Script
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Arithmetic:
    inside: Word
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Process:
    """`<(…)` or `>(…)`."""

    script: Script
    writes: bool
    quoted: bool = True


Part = Literal | Parameter | Substitution | Arithmetic | Process


@dataclass(frozen=True, slots=True)
class Word:
    parts: tuple[Part, ...]

    @property
    def bare(self) -> str | None:
        """The text, if every character of it stands there unquoted."""
        texts = [part.text for part in self.parts if isinstance(part, Literal) and not part.quoted]
        return "".join(texts) if len(texts) == len(self.parts) else None


@dataclass(frozen=True, slots=True)
class Assignment:
    name: str
    value: Word
    append: bool = False
    items: tuple[Word, ...] | None = None  # of an array
    indexed: bool = False


@dataclass(slots=True)
class Redirect:
    """`op` without the descriptor. `body`: the text of a here-document, known once its lines are read."""

    op: str
    fd: str
    target: Word
    body: Word | None = None


@dataclass(frozen=True, slots=True)
class Simple:
    assignments: tuple[Assignment, ...]
    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...] = ()
    other: Simple | None = None  # what a shell without `&>` would run beside it


@dataclass(frozen=True, slots=True)
class Group:
    body: Script
    subshell: bool
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class If:
    arms: tuple[tuple[Script, Script], ...]
    otherwise: Script | None
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class Loop:
    """`while`, `until`, and `for ((…))` whose head is arithmetic."""

    condition: Script
    body: Script
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class For:
    name: str
    words: tuple[Word, ...] | None
    body: Script
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    subject: Word
    arms: tuple[tuple[tuple[Word, ...], Script], ...]
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    body: Command
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class Test:
    """`[[ … ]]` or `((…))`. `plain`: what a shell without them would run in its place."""

    words: tuple[Word, ...]
    plain: Script
    redirects: tuple[Redirect, ...] = ()


Command = Simple | Group | If | Loop | For | Case | Function | Test


@dataclass(frozen=True, slots=True)
class Pipeline:
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Pipelines between `&&` and `||`; `links` holds one operator fewer."""

    pipelines: tuple[Pipeline, ...]
    links: tuple[str, ...]
    background: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    chains: tuple[Chain, ...]

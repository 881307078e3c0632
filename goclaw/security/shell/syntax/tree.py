"""What a shell text consists of, once it is read: words of parts, commands of words."""

from __future__ import annotations

from msgspec import Struct


class Literal(Struct, frozen=True):
    text: str
    quoted: bool = False


class Parameter(Struct, frozen=True):
    """`${name op arg}`. `mark` is "!" or "#" in front of the name; `index` what stands in brackets."""

    name: str
    quoted: bool = False
    mark: str = ""
    index: str = ""
    op: str = ""
    arg: Word | None = None
    by: Word | None = None  # the replacement of `/`, the length of `:`
    subscript: Word | None = None  # what the index is computed from


class Substitution(Struct, frozen=True):
    script: Script
    quoted: bool = False


class Arithmetic(Struct, frozen=True):
    inside: Word
    quoted: bool = False


class Process(Struct, frozen=True):
    """`<(…)` or `>(…)`."""

    script: Script
    writes: bool
    quoted: bool = True


Part = Literal | Parameter | Substitution | Arithmetic | Process


class Word(Struct, frozen=True):
    parts: tuple[Part, ...]

    @property
    def bare(self) -> str | None:
        """The text, if every character of it stands there unquoted."""
        texts = [part.text for part in self.parts if isinstance(part, Literal) and not part.quoted]
        return "".join(texts) if len(texts) == len(self.parts) else None


class Assignment(Struct, frozen=True):
    name: str
    value: Word
    append: bool = False
    items: tuple[Word, ...] | None = None  # of an array
    indexed: bool = False


class Redirect(Struct):
    """`op` without the descriptor. `body`: the text of a here-document, known once its lines are read."""

    op: str
    fd: str
    target: Word
    body: Word | None = None


class Simple(Struct, frozen=True):
    assignments: tuple[Assignment, ...]
    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...] = ()
    other: Simple | None = None  # what a shell without `&>` would run beside it


class Group(Struct, frozen=True):
    body: Script
    subshell: bool
    redirects: tuple[Redirect, ...] = ()


class If(Struct, frozen=True):
    arms: tuple[tuple[Script, Script], ...]
    otherwise: Script | None
    redirects: tuple[Redirect, ...] = ()


class Loop(Struct, frozen=True):
    """`while`, `until`, and `for ((…))` whose head is arithmetic."""

    condition: Script
    body: Script
    redirects: tuple[Redirect, ...] = ()


class For(Struct, frozen=True):
    name: str
    words: tuple[Word, ...] | None
    body: Script
    redirects: tuple[Redirect, ...] = ()


class Case(Struct, frozen=True):
    subject: Word
    arms: tuple[tuple[tuple[Word, ...], Script], ...]
    redirects: tuple[Redirect, ...] = ()


class Function(Struct, frozen=True):
    name: str
    body: Command
    redirects: tuple[Redirect, ...] = ()


class Test(Struct, frozen=True):
    """`[[ … ]]` or `((…))`. `plain`: what a shell without them would run in its place."""

    words: tuple[Word, ...]
    plain: Script
    redirects: tuple[Redirect, ...] = ()


Command = Simple | Group | If | Loop | For | Case | Function | Test


class Pipeline(Struct, frozen=True):
    commands: tuple[Command, ...]


class Chain(Struct, frozen=True):
    """Pipelines between `&&` and `||`; `links` holds one operator fewer."""

    pipelines: tuple[Pipeline, ...]
    links: tuple[str, ...]
    background: bool = False


class Script(Struct, frozen=True):
    chains: tuple[Chain, ...]

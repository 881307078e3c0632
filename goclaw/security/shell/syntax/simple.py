"""Simple commands and the redirections of every command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from goclaw.security.shell.limits import Unreadable
from goclaw.security.shell.syntax.lexer import KEYWORD
from goclaw.security.shell.syntax.tree import Assignment, Command, Function, Literal, Redirect, Simple, Word

if TYPE_CHECKING:
    from goclaw.security.shell.syntax.grammar import Parser

REDIRECT = re.compile(r"(\d+|\{\w+\})?(<<<|<<-|<<|<&|<>|<(?!\()|>>|>&|>\||>(?!\()|&>>|&>)")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\[[^\]=]*\])?(\+?)=", re.ASCII)
DEFINITION = re.compile(r"\([ \t]*\)")
EMPTY = Word((Literal("", quoted=True),))


def simple(read: Parser) -> Command:
    """Assignments, words, redirections; or the function that its first word turns out to define."""
    lexer = read.lexer
    assignments: list[Assignment] = []
    words: list[Word] = []
    found: list[Redirect] = []
    split: tuple[int, int] | None = None  # where a shell without `&>` begins another command
    while True:
        lexer.blank()
        if redirect := _redirect(read):
            if redirect.op.startswith("&"):
                split = split or (len(words), len(found))
            found.append(redirect)
            continue
        start = lexer.at
        word = lexer.word()
        if word is None:
            break
        assignment = ASSIGNMENT.match(lexer.text, start)
        if assignment and lexer.at == assignment.end() and lexer.here() == "(":
            lexer.at += 1
            items = _items(read)
            if not words:
                assignments.append(Assignment(assignment[1], EMPTY, bool(assignment[3]), items))
            else:
                words += [word, *items]
        elif assignment and not words:
            value = _behind(word, assignment.end() - start)
            assignments.append(Assignment(assignment[1], value, bool(assignment[3]), indexed=bool(assignment[2])))
        else:
            if not words and word.bare is not None and KEYWORD.fullmatch(word.bare):
                raise Unreadable("syntax")  # a keyword spelled over two lines
            words.append(word)
            if len(words) == 1 and not assignments and not found and lexer.here() in ("(", " ", "\t"):
                before = lexer.at
                lexer.blank()
                if match := DEFINITION.match(lexer.text, lexer.at):
                    lexer.at = match.end()
                    return function(read, word)
                lexer.at = before
    if not (assignments or words or found):
        raise Unreadable("syntax")
    other = None
    if split and len(words) > split[0]:
        other = Simple((), tuple(words[split[0] :]), tuple(found[split[1] :]))
    return Simple(tuple(assignments), tuple(words), tuple(found), other)


def _items(read: Parser) -> tuple[Word, ...]:
    lexer = read.lexer
    items: list[Word] = []
    while True:
        read.lines()
        if lexer.here() == ")":
            lexer.at += 1
            return tuple(items)
        word = lexer.word()
        if word is None:
            raise Unreadable("syntax")
        items.append(word)


def redirects(read: Parser) -> tuple[Redirect, ...]:
    """Those that follow a compound command."""
    found: list[Redirect] = []
    while True:
        read.lexer.blank()
        redirect = _redirect(read)
        if redirect is None:
            return tuple(found)
        found.append(redirect)


def _redirect(read: Parser) -> Redirect | None:
    lexer = read.lexer
    match = REDIRECT.match(lexer.text, lexer.at)
    if match is None:
        return None
    lexer.at = match.end()
    fd, op = match[1] or "", match[2]
    lexer.blank()
    start = lexer.at
    target = lexer.word()
    if target is None:
        raise Unreadable("syntax")
    redirect = Redirect(op, fd, target)
    if op in ("<<", "<<-"):
        if not all(isinstance(part, Literal) for part in target.parts) or "\\\n" in lexer.text[start : lexer.at]:
            raise Unreadable("here-document")
        end = "".join(part.text for part in target.parts if isinstance(part, Literal))
        redirect.body = Word((Literal("", quoted=True),))
        read.documents.expect(redirect, end, literal=target.bare is None)
    return redirect


def function(read: Parser, name: Word | None) -> Function:
    """What follows `name ()`."""
    if name is None or name.bare is None:
        raise Unreadable("syntax")
    read.lines()
    return Function(name.bare, read.command())


def _behind(word: Word, length: int) -> Word:
    """A word without its first `length` characters, if they stand in its first part; else the whole of it."""
    first = word.parts[0]
    if isinstance(first, Literal) and len(first.text) >= length and not first.quoted:
        rest = (Literal(first.text[length:]),) if len(first.text) > length else ()
        return Word((*rest, *word.parts[1:]))
    return word

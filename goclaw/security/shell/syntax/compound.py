"""Compound commands: groups, conditions, loops, cases, functions, tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from goclaw.security.shell.limits import Unreadable
from goclaw.security.shell.syntax.simple import DEFINITION, function, redirects, simple
from goclaw.security.shell.syntax.tree import (
    Case,
    Chain,
    Command,
    For,
    Group,
    If,
    Loop,
    Pipeline,
    Script,
    Test,
    Word,
)

if TYPE_CHECKING:
    from goclaw.security.shell.syntax.grammar import Parser

NOTHING = Script(())


def compound(read: Parser) -> Command:
    """The command that begins here, simple or not."""
    lexer = read.lexer
    lexer.blank()
    if lexer.here() == "(":
        return _parentheses(read)
    match lexer.keyword():
        case "{":
            lexer.at += 1
            body = read.script("}")
            read.expect("}")
            return Group(body, False, redirects(read))
        case "if":
            return _if(read)
        case "while" | "until" as word:
            lexer.at += len(word)
            condition = read.script("do")
            return Loop(condition, _do(read), redirects(read))
        case "for" | "select" as word:
            lexer.at += len(word)
            return _for(read)
        case "case":
            return _case(read)
        case "function":
            lexer.at += 8
            lexer.blank()
            name = lexer.word()
            lexer.blank()
            if match := DEFINITION.match(lexer.text, lexer.at):
                lexer.at = match.end()
            return function(read, name)
        case "coproc":
            lexer.at += 6
            return read.command()
        case "[[":
            return _test(read)
        case "":
            return simple(read)
    raise Unreadable("syntax")


def _parentheses(read: Parser) -> Command:
    lexer = read.lexer
    start = lexer.at
    if lexer.second() == "(":
        lexer.at += 2
        inside = lexer.arithmetic()
        if inside is not None:
            plain = read.prefix(lexer.text[start + 2 : lexer.at - 2])
            return Test((inside,), plain, redirects(read))
        lexer.at = start
    lexer.at += 1
    body = read.enclosed()
    return Group(body, True, redirects(read))


def _if(read: Parser) -> If:
    lexer = read.lexer
    lexer.at += 2
    arms: list[tuple[Script, Script]] = []
    otherwise = None
    while True:
        condition = read.script("then")
        read.expect("then")
        arms.append((condition, read.script("elif", "else", "fi")))
        read.lines()
        if lexer.keyword() != "elif":
            break
        lexer.at += 4
    if lexer.keyword() == "else":
        lexer.at += 4
        otherwise = read.script("fi")
    read.expect("fi")
    return If(tuple(arms), otherwise, redirects(read))


def _do(read: Parser) -> Script:
    read.expect("do")
    body = read.script("done")
    read.expect("done")
    return body


def _for(read: Parser) -> Command:
    lexer = read.lexer
    lexer.blank()
    if lexer.ahead("(("):
        lexer.at += 2
        head = lexer.arithmetic()
        if head is None:
            raise Unreadable("syntax")
        lexer.blank()
        if lexer.here() == ";":
            lexer.at += 1
        condition = Script((Chain((Pipeline((Test((head,), NOTHING),)),), ()),))
        return Loop(condition, _for_body(read), redirects(read))
    name = lexer.word()
    if name is None or name.bare is None:
        raise Unreadable("syntax")
    read.lines()
    words: list[Word] | None = None
    if re.compile(r"in(?=[\s;&|()<>]|$)").match(lexer.text, lexer.at):
        lexer.at += 2
        words = []
        lexer.blank()
        while (word := lexer.word()) is not None:
            words.append(word)
            lexer.blank()
    if lexer.here() == ";":
        lexer.at += 1
    return For(name.bare, None if words is None else tuple(words), _for_body(read), redirects(read))


def _for_body(read: Parser) -> Script:
    read.lines()
    if read.lexer.keyword() == "{":
        read.lexer.at += 1
        body = read.script("}")
        read.expect("}")
        return body
    return _do(read)


def _case(read: Parser) -> Case:
    lexer = read.lexer
    lexer.at += 4
    lexer.blank()
    subject = lexer.word()
    read.lines()
    if subject is None or not re.compile(r"in(?=[\s(]|$)").match(lexer.text, lexer.at):
        raise Unreadable("syntax")
    lexer.at += 2
    arms: list[tuple[tuple[Word, ...], Script]] = []
    while True:
        read.lines()
        if lexer.keyword() == "esac":
            lexer.at += 4
            return Case(subject, tuple(arms), redirects(read))
        if lexer.here() == "(":
            lexer.at += 1
            lexer.blank()
        patterns: list[Word] = []
        while True:
            lexer.blank()
            pattern = lexer.word()
            lexer.blank()
            if pattern is None or lexer.here() not in ("|", ")"):
                raise Unreadable("syntax")
            patterns.append(pattern)
            lexer.at += 1
            if lexer.text[lexer.at - 1] == ")":
                break
        arms.append((tuple(patterns), read.script("esac")))
        read.lines()
        for end in (";;&", ";;", ";&"):
            if lexer.ahead(end):
                lexer.at += len(end)
                break
        else:
            if lexer.keyword() != "esac":
                raise Unreadable("syntax")


def _test(read: Parser) -> Test:
    lexer = read.lexer
    lexer.at += 2
    start = lexer.at
    words: list[Word] = []
    while True:
        read.lines()
        if not lexer.here():
            raise Unreadable("syntax")
        if lexer.ahead("]]") and (len(lexer.text) == lexer.at + 2 or lexer.text[lexer.at + 2] in " \t\n;&|)<>"):
            plain = read.prefix("[ " + lexer.text[start : lexer.at])
            lexer.at += 2
            return Test(tuple(words), plain, redirects(read))
        word = lexer.word()
        if word is None:
            lexer.at += 1
        else:
            words.append(word)

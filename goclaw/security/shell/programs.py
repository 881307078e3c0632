"""What a program given to an interpreter does. Contract: security.md §3.2, §3.3 groups 3, 4 and 15.

No language is parsed here: names that reach the network, run decoded text or print the environment are looked for
outside of string literals where that matters, and the strings handed to functions that start programs are judged
as commands.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from goclaw.security.shell import deeds
from goclaw.security.shell.hosts import program
from goclaw.security.shell.languages import LANGUAGES
from goclaw.security.shell.limits import Unreadable
from goclaw.security.shell.resolve import SECRET
from goclaw.security.shell.syntax.escapes import unescape
from goclaw.security.shell.syntax.grammar import parse
from goclaw.security.shell.text import HOLE, NET, UNKNOWN, known

if TYPE_CHECKING:
    from goclaw.security.shell.analysis import Analysis

DECODE = re.compile(
    r"(?:b64decode|b32decode|b16decode|a85decode|decodebytes|base64_decode|decode_base64|unhexlify|fromhex|fromCharCode|from_?bytes|bytes(?=\s*\(\s*[\[(])|bytearray|pack|unpack\w*|hex2bin|gzinflate|gzuncompress|str_rot13|rot_?13|decompress|atob|(?:marshal|pickle|dill)\s*\.\s*loads|chr|fromCodePoint|Buffer\s*\.\s*from|decode64|codecs)\b"
)
EXECUTES = re.compile(
    r"(?:\b(?:exec|eval|execfile|(?<!re\.)compile|assert|create_function|loadstring|load|instance_eval|class_eval|Function|runInThisContext|runInNewContext|runInContext)\b)"
)
STRING = re.compile(
    r"""'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`|\b(?:qx|%x)\s*[({\[/!|](.*?)[)}\]/!|]""",
    re.DOTALL,
)
ESCAPE = re.compile(r"\\(?:(x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{4}|[0-7]{1,3}|[ntrfv])|(.))", re.DOTALL)
PROGRAM = re.compile(r"[\w./~-]+")
CALLS = re.compile(  # start a program, in any language
    r"(?<![.\w])(?:os\s*\.\s*)?(?:system|popen|exec[lv]?p?e?|execSync|passthru|shell_exec|getoutput|check_output)\b"
)
BARE = re.compile(r"\b(?:exec|spawn|system)\s+([A-Za-z./][^\n;\]]*)")  # Tcl quotes nothing
WHOLE = re.compile(  # a shell text as the whole of what is started
    r"""\b(?:system|popen|execSync|passthru|shell_exec|getoutput|getstatusoutput)\s*\(?\s*[bru]*(['"])((?:(?!\1)[^\\\n]|\\.)*)\1\s*(?:[),;}]|$)"""
)
BANG = re.compile(r"^\s*!([^=\n].*)$", re.MULTILINE)  # of IPython
LOADS = re.compile(r"(?:pickle|marshal|dill|cPickle)\s*\.\s*loads\s*\(\s*[bru]*['\"]")
ARGUMENTS = re.compile(r"\bargv\b|\bARGV\b|\bshift\b|\bstdin\b|\bSTDIN\b|\bopen\(\s*0\b|\binput\s*\(")
OPEN = re.compile(rf"\b(?:system|popen|exec|execSync|passthru|shell_exec)\s*\(?\s*[bf]?['\"`]\s*{HOLE}")


def judge(walk: Analysis, kind: str, text: str) -> None:
    """Code in a language, as far as it is known."""
    spec = LANGUAGES[kind]
    text = deeds.joined(text)
    walk.budget.step(1 + len(text) // 100)
    if NET in text:
        walk.find("data_exfiltration", "network to interpreter")
    if not known(text) and not UNKNOWN.sub("", text).strip():
        walk.find("code_injection", "unknown program")
    if spec.network.search(text):
        walk.find("reverse_shell", "network in code")
    if LOADS.search(text) or ((EXECUTES.search(text) or CALLS.search(text)) and DECODE.search(text)):
        walk.find("code_injection", "decoded code")
    if OPEN.search(text):
        walk.find("code_injection", "unknown command")
    if spec.environment.search(_outside(kind, text)):
        walk.find("env_dump", "environment in code")
    if SECRET.search(text) or re.search(r"/proc/\w+/environ", text):
        walk.find("env_dump", "secret")
    if re.search(r"/dev/(?:tcp|udp)/", text):
        walk.find("data_exfiltration", "socket path")
    for group, why in deeds.done(text):
        walk.find(group, why)
    for path, written in deeds.files(text):
        tried(walk, shlex.join(["tee" if written else "cat", path]), home=path.startswith("~"))
    if spec.spawn.search(text):
        _spawned(walk, text)
    if kind == "python":
        for match in BANG.finditer(text):
            tried(walk, match[1])
    if kind == "other":
        for match in BARE.finditer(text):
            tried(walk, match[1])


def starts(kind: str, text: str) -> bool:
    """Does the code start programs?"""
    return LANGUAGES[kind].spawn.search(text) is not None


def handed(walk: Analysis, kind: str, text: str, arguments: list[str]) -> None:
    """The arguments of code that may run them."""
    if EXECUTES.search(text) and ARGUMENTS.search(text):
        for each in arguments:
            judge(walk, kind, each)
    if starts(kind, text):
        for command in [*arguments, shlex.join(arguments)]:
            if PROGRAM.match(command):
                tried(walk, command)


def _outside(kind: str, text: str) -> str:
    """The code without its string literals, where the names would otherwise be found in them."""
    if kind in ("perl", "php", "awk"):
        return text
    return (
        STRING.sub(lambda m: '""' if m[1] is not None or m[2] is not None else m[0], text) if kind != "python" else text
    )


def _spawned(walk: Analysis, text: str) -> None:
    """Every string literal, and every run of them as one argument list, judged as a command."""
    strings = [next(each for each in match.groups() if each is not None) for match in STRING.finditer(text)]
    if len(strings) > 64:
        strings = strings[:64]
    lists = [shlex.join(strings[at:]) for at in range(min(len(strings), 8))] if len(strings) > 1 else []
    for match in WHOLE.finditer(text):
        walk.run_text(_unquoted(match[2]), stdin=None, here=False)
    for command in [*map(_unquoted, strings), "".join(map(_unquoted, strings)), *lists]:
        if command.strip() and PROGRAM.match(command.strip()):
            tried(walk, command)


def _unquoted(text: str) -> str:
    """The value of a literal, as most languages read it."""
    return ESCAPE.sub(lambda m: unescape(m[0]) if m[1] else m[2], text)


def started(walk: Analysis, name: str, value: str) -> None:
    """Judge what another program would start, or open, because the variable `name` is set."""
    if name in ("DOCKER_HOST", "CONTAINER_HOST") and value.startswith("unix://"):
        tried(walk, shlex.join(["cat", value.removeprefix("unix://")]))
    if inner := program(name, value):
        tried(walk, shlex.join(inner.words) if inner.text is None else inner.text)


def tried(walk: Analysis, text: str, *, home: bool = False) -> None:
    """Judge a text that may be a command; whatever is none, or names no program, is nobody's."""
    if home:
        text = text.replace("'~", "~'", 1)  # code that names the home directory expands it
    try:
        script = parse(text, walk.budget)
    except Unreadable:
        return  # a string that is no command
    before = walk.state
    walk.state = before.child()
    walk.lenient += 1
    try:
        walk.script(script)
    finally:
        walk.lenient -= 1
        walk.state = before

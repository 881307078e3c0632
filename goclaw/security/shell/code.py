"""Programs given to an interpreter on the command line. Contract: security.md §3.2, §3.3 groups 3, 4 and 15.

No language is parsed here: names that reach the network, run decoded text or print the environment are looked for
outside of string literals where that matters, and the strings handed to functions that start programs are judged
as commands.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from goclaw.security.shell.call import Call
from goclaw.security.shell.resolve import SECRET, process_of
from goclaw.security.shell.text import FILE, HOLE, NET, PROCESS, known, plain

if TYPE_CHECKING:
    from goclaw.security.shell.analysis import Analysis


@dataclass(frozen=True)
class Language:
    inline: str  # short flags whose value is code
    long: tuple[str, ...] = ()
    valued: str = ""  # short flags with another value
    network: re.Pattern[str] = re.compile(r"(?!)")
    environment: re.Pattern[str] = re.compile(r"(?!)")
    spawn: re.Pattern[str] = re.compile(r"(?!)")


def _any(*patterns: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile("|".join(patterns), flags)


PYTHON_NET = (
    r"socket|socketserver|ssl|http|urllib\d?|requests|httpx|aiohttp|ftplib|smtplib|telnetlib|poplib|imaplib|nntplib|"
    r"xmlrpc|paramiko|asyncore|asynchat|pty|websockets?|twisted|scapy|pycurl|fabric|pexpect"
)
SYSTEM = (
    r"\b(?:system|popen|exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?|getoutput|getstatusoutput|run|call|"
    r"check_call|check_output|Popen|startfile)\s*\("
)
LANGUAGES: dict[str, Language] = {
    "python": Language(
        inline="c",
        valued="WXm",
        network=_any(
            rf"\b(?:import|from)\s+(?:[\w.]+\s*,\s*)*(?:{PYTHON_NET})\b",
            rf"""(?:__import__|import_module|run_module|find_spec|__getattr__)\s*\(\s*(?:[bru]*['"])\s*(?:{PYTHON_NET})\b""",
            r"\bopen_connection\s*\(|\bcreate_connection\s*\(|\bsocketpair\s*\(|\bstart_server\s*\(",
        ),
        environment=_any(
            r"\benvironb?\b(?!\s*(?:\[|\.\s*(?:get|setdefault|pop|update)\b|\.\s*__(?:getitem|contains)))",
            r"""['"]environb?['"]""",
            r"\bin\s+(?:os\s*\.\s*)?environ\b(?!\s*\[)",
        ),
        spawn=_any(SYSTEM, r"\b(?:subprocess|os|posix|commands|importlib|builtins)\b"),
    ),
    "perl": Language(
        inline="eE",
        valued="I",
        network=_any(
            r"\b(?:use|require)\s+(?:IO::Socket|Socket|Net::|LWP|HTTP::|IO::Select)",
            r"\bsocket\s*\(",
            r"\bIO::Socket\b",
        ),
        environment=_any(r"%\s*\{?\s*(?:main::|::)?ENV\b", r"\b(?:keys|values|each)\s*\(?\s*%\s*ENV"),
        spawn=_any(r"\b(?:system|exec|open|popen)\b", r"\bqx\b", r"`"),
    ),
    "ruby": Language(
        inline="e",
        valued="rICKEW",
        network=_any(
            r"\b(?:TCPSocket|TCPServer|UDPSocket|UNIXSocket|BasicSocket|Socket|OpenURI|Net::\w+)\b",
            r"require\s*\(?\s*['\"](?:socket|net/|open-uri|openssl)",
        ),
        environment=_any(r"\bENV\b(?!\s*\[|\s*\.\s*(?:fetch|key\?|has_key\?|include\?))"),
        spawn=_any(r"\b(?:system|exec|spawn|popen\w*|capture\w*)\b", r"%x", r"`"),
    ),
    "node": Language(
        inline="ep",
        long=("--eval", "--print"),
        valued="rC",
        network=_any(
            r"""(?:require|import|getBuiltinModule)\s*\(\s*['"`](?:node:)?(?:net|http|https|http2|dgram|tls|dns|ws|axios|node-fetch|undici|socket\.io[\w-]*|request|got)(?:/[\w-]+)?['"`]""",
            r"""\bfrom\s+['"](?:node:)?(?:net|http|https|http2|dgram|tls|dns|ws|axios|undici)['"]""",
            r"\bfetch\s*\(|\bWebSocket\s*\(|\bXMLHttpRequest\b|\bEventSource\s*\(|\bDeno\s*\.\s*(?:connect|listen)|\bBun\s*\.\s*(?:connect|listen|serve)|\bfetch\s*\.\s*(?:call|apply|bind)",
        ),
        environment=_any(
            r"\bprocess\s*(?:\.\s*|\[\s*['\"])env\b['\"]?\s*\]?(?!\s*(?:\.\s*\w|\[))",
            r"\bDeno\s*\.\s*env\s*\.\s*toObject",
            r"\bBun\s*\.\s*env\b(?!\s*(?:\.\s*\w|\[))",
        ),
        spawn=_any(r"\b(?:exec|execSync|execFile|execFileSync|spawn|spawnSync|fork|Command)\b"),
    ),
    "php": Language(
        inline="rBRE",
        valued="dcz",
        network=_any(
            r"\b(?:p?fsockopen|stream_socket_\w+|socket_\w+|curl_\w+|ftp_\w+)\s*\(",
            r"\b(?:fopen|file_get_contents|copy)\s*\(\s*['\"](?:https?|ftp)://",
        ),
        environment=_any(r"\$_(?:ENV|SERVER)\b(?!\s*\[)", r"\bgetenv\s*\(\s*\)", r"\bphpinfo\s*\("),
        spawn=_any(r"\b(?:system|exec|shell_exec|passthru|popen|proc_open|pcntl_exec)\b", r"`"),
    ),
    "lua": Language(
        inline="e",
        valued="l",
        network=_any(r"require\s*\(?\s*['\"](?:socket|ssl|http|lsocket|luv)"),
        spawn=_any(r"\b(?:execute|popen)\b"),
    ),
    "awk": Language(
        inline="",
        valued="vfFie",
        network=_any(r"/inet[46]?/"),
        environment=_any(r"\bENVIRON\b(?!\s*\[)"),
        spawn=_any(r"\bsystem\b", r"\|\s*\"?", r"\bgetline\b"),
    ),
}
NAMES = {
    "python": re.compile(r"python(?:\d(?:\.\d+)*)?|pypy\d?|ipython\d?"),
    "perl": re.compile(r"perl[\d.]*"),
    "ruby": re.compile(r"ruby[\d.]*|jruby|irb"),
    "node": re.compile(r"node(?:js)?|deno|bun|ts-node|tsx"),
    "php": re.compile(r"php[\d.]*"),
    "lua": re.compile(r"lua(?:jit)?[\d.]*"),
    "awk": re.compile(r"[gmno]?awk"),
}
DECODE = re.compile(
    r"(?:b64decode|b32decode|b16decode|a85decode|decodebytes|base64_decode|decode_base64|unhexlify|fromhex|fromCharCode|from_?bytes|unpack\w*|hex2bin|gzinflate|gzuncompress|str_rot13|rot_?13|decompress|atob|(?:marshal|pickle|dill)\s*\.\s*loads|chr|fromCodePoint|Buffer\s*\.\s*from|decode64|codecs)\b"
)
EXECUTES = re.compile(
    r"(?:\b(?:exec|eval|execfile|(?<!re\.)compile|assert|create_function|loadstring|load|instance_eval|class_eval|Function|runInThisContext|runInNewContext|runInContext)\b)"
)
STRING = re.compile(
    r"""'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`|\b(?:qx|%x)\s*[({\[/!|](.*?)[)}\]/!|]""",
    re.DOTALL,
)
REMOTE_MODULES = {
    "http.server": "data_exfiltration",
    "smtpd": "data_exfiltration",
    "aiosmtpd": "data_exfiltration",
    "pty": "reverse_shell",
    "simplehttpserver": "data_exfiltration",
}
PROGRAM = re.compile(r"[\w./~-]+")


def language(name: str) -> str:
    """Which language the program `name` interprets; empty if none."""
    return next((each for each, pattern in NAMES.items() if pattern.fullmatch(name)), "")


def run(walk: Analysis, call: Call) -> None:
    """Judge what an interpreter is given: code in an argument, a module, standard input, a file of this line."""
    kind = language(call.name)
    if not kind:
        return
    if call.name in ("deno", "bun") and call.args[:1] == ["eval"] and len(call.args) > 1:
        judge(walk, "node", call.args[1])
        return
    found, operands = _inline(call, LANGUAGES[kind], kind)
    if kind == "awk" and operands and not (call.short("f") or call.long("--file")):
        found, operands = [*found, operands[0]], operands[1:]
    for text in found:
        judge(walk, kind, text)
    if kind == "python" and (module := _module(call)):
        group = REMOTE_MODULES.get(module.casefold())
        if group:
            walk.find(group, "module")
    if kind == "ruby" and re.search(r"(?:^| )-r ?(?:socket|net/|open-uri|openssl)", " ".join(call.args)):
        walk.find("reverse_shell", "network library")
    if kind == "perl" and re.search(r"(?:^| )-[mM](?:IO::Socket|Socket|Net::|LWP|HTTP)", " ".join(call.args)):
        walk.find("reverse_shell", "network library")
    if kind == "node" and any(re.fullmatch(r"(?:node:)?(?:net|http|https|dgram|tls)", each) for each in operands[:0]):
        walk.find("reverse_shell", "network library")
    if found or (kind == "python" and _module(call)) or kind == "awk":
        return
    _program(walk, call, kind, operands)


def _program(walk: Analysis, call: Call, kind: str, operands: list[str]) -> None:
    if operands and operands[0] not in ("-", "/dev/stdin", "/dev/fd/0"):
        number = process_of(operands[0])
        if number is not None:
            _text(walk, kind, walk.processes[number])
        return
    if call.stdin is not None and call.flags[:1] != ["--version"]:
        _text(walk, kind, call.stdin)


def _text(walk: Analysis, kind: str, text: str) -> None:
    if NET in text:
        walk.find("data_exfiltration", "network to interpreter")
    elif FILE in text and text.strip(FILE + "\n") == "":
        return
    elif not known(text) and HOLE in text and not text.replace(HOLE, "").strip():
        walk.find("code_injection", "unknown program")
    else:
        judge(walk, kind, text)


def _inline(call: Call, spec: Language, kind: str) -> tuple[list[str], list[str]]:
    """The texts given as code, and the operands."""
    found: list[str] = []
    words = [each if each.startswith(PROCESS) else plain(each) for each in call.words[1:]]
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if name in spec.long:
                found.append(value if equals else (words[at] if at < len(words) else ""))
                at += 0 if equals else 1
            continue
        if not word.startswith("-") or word == "-":
            at -= 1
            break
        for place, letter in enumerate(word[1:], 1):
            if letter in spec.inline or letter in spec.valued:
                rest = word[place + 1 :]
                if (kind == "perl" and letter in "I") or letter not in spec.inline:
                    at += not rest
                else:
                    if not rest and at < len(words):
                        rest = words[at]
                        at += 1
                    found.append(rest)
                    if kind == "python":
                        return found, words[at:]
                break
        if kind == "python" and "m" in word and not word.startswith("--") and not found:
            break
    return found, words[at:]


def _module(call: Call) -> str | None:
    for at, word in enumerate(call.args):
        if word == "-m":
            return call.args[at + 1] if at + 1 < len(call.args) else None
        if re.fullmatch(r"-[a-zA-Z]*m[\w.]*", word):
            rest = word.partition("m")[2]
            return rest or (call.args[at + 1] if at + 1 < len(call.args) else None)
        if not word.startswith("-"):
            return None
        if word == "-c":
            return None
    return None


def judge(walk: Analysis, kind: str, text: str) -> None:
    """Code in a language, as far as it is known."""
    spec = LANGUAGES[kind]
    walk.budget.step(1 + len(text) // 100)
    if spec.network.search(text):
        walk.find("reverse_shell", "network in code")
    if EXECUTES.search(text) and DECODE.search(text):
        walk.find("code_injection", "decoded code")
    if spec.environment.search(_outside(kind, text)):
        walk.find("env_dump", "environment in code")
    if SECRET.search(text) or re.search(r"/proc/\w+/environ", text):
        walk.find("env_dump", "secret")
    if re.search(r"/dev/(?:tcp|udp)/", text):
        walk.find("data_exfiltration", "socket path")
    if spec.spawn.search(text):
        _spawned(walk, text)


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
    walk.lenient += 1
    lists = [shlex.join(strings[at:]) for at in range(min(len(strings), 8))] if len(strings) > 1 else []
    for command in [*map(_unquoted, strings), "".join(map(_unquoted, strings)), *lists]:
        if command.strip() and PROGRAM.match(command.strip()):
            _command(walk, command)
    walk.lenient -= 1


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), text, flags=re.DOTALL)


def _command(walk: Analysis, text: str) -> None:
    from goclaw.security.shell.limits import Unreadable
    from goclaw.security.shell.syntax.grammar import parse

    try:
        script = parse(text, walk.budget)
    except Unreadable:
        return  # a string that is no command
    before = walk.state
    walk.state = before.child()
    try:
        walk.script(script)
    finally:
        walk.state = before

"""Languages whose programs may stand on a command line: who interprets them, and what their code looks like.

No language is parsed: names that reach the network, print the environment or start programs are looked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from goclaw.security.shell.call import Call


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
            r"\bprocess\s*\.\s*binding\b|\bfetch\s*\(|\bWebSocket\s*\(|\bXMLHttpRequest\b|\bEventSource\s*\(|\bDeno\s*\.\s*(?:connect|listen)|\bBun\s*\.\s*(?:connect|listen|serve)|\bfetch\s*\.\s*(?:call|apply|bind)",
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
    "other": Language(
        inline="",
        network=_any(
            r"\bsocket\b|\bgen_tcp\b|\bSockets\b|\bTCPSocket\b|\bsocketConnection\b|\bopen-network-stream\b|"
            r"\bmake-network-process\b|\burl-retrieve\b|\bTCPClient\b|\bHTTPoison\b|\bReq\.|\bInvoke-WebRequest\b|\biwr\b",
        ),
        environment=_any(
            r"\bSys\.getenv\(\s*\)|\bENV\b(?!\s*[\[(]|\s*\.)|\bget_env\(\s*\)|\bparray\s+env\b|\benviron\(\s*\)|"
            r"\b(?:gci|dir|ls|Get-ChildItem)\s+env:|\$env\b(?!\s*[.:])|\bprocess-environment\b|\bgetenv\(\s*\)",
        ),
        spawn=_any(r"\b(?:system|exec|cmd|run|execute|spawn|sh|shell\w*|popen\w*|script|command|call-process)\b", r"`"),
    ),
}
# languages whose flags are words; all of them as "other"
OTHERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("rscript", "r", "julia", "elixir", "groovy", "scala", "clojure", "clj", "ghc", "racket"), ("-e",)),
    **dict.fromkeys(("raku", "swift", "osascript", "gnuplot", "octave", "bb", "crystal", "nim"), ("-e", "--eval")),
    **dict.fromkeys(("emacs", "emacsclient", "sbcl", "mongosh", "mongo"), ("--eval", "-eval", "-e")),
    "erl": ("-eval", "-run"),
    "guile": ("-c",),
    "expect": ("-c",),
    "tclsh": (),
    "wish": (),
    "nu": ("-c", "--commands"),
    **dict.fromkeys(("pwsh", "powershell"), ("-c", "-command", "--command")),
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


@lru_cache(maxsize=1024)
def language(name: str) -> str:
    """Which language the program `name` interprets; empty if none."""
    if name in OTHERS:
        return "other"
    return next((each for each, pattern in NAMES.items() if pattern.fullmatch(name)), "")


def module(call: Call) -> str | None:
    """What `python -m` names."""
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

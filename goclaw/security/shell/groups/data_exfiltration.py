"""Uploads, lookups that carry data, and addresses that are nobody's business.

Text from the network that reaches an interpreter is followed in the analysis itself.
"""

from __future__ import annotations

import re

from goclaw.security.shell import paths
from goclaw.security.shell.call import Call
from goclaw.security.shell.text import known
from goclaw.security.ssrf import Guard
from goclaw.security.ssrf import Refused as Forbidden

LOOKUPS = frozenset({"nslookup", "dig", "host", "drill", "kdig", "delv"})
FTP = frozenset({"ftp", "lftp", "ncftp", "ncftpput", "tftp", "curlftpfs", "smbclient"})
MAIL = frozenset({"mail", "mailx", "s-nail", "mutt", "neomutt", "sendmail", "msmtp", "swaks"})
SENDS = re.compile(r"POST|PUT|PATCH|DELETE", re.IGNORECASE)
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/*", re.ASCII)
SOCKET = re.compile(r"/dev/(?:tcp|udp)/")
CURL_VALUED = "AbcCDEeFHhKmoPQrtTuUwxXyYz"  # short flags whose value may follow
CURL_URLLESS = frozenset(
    [
        "-A",
        "-b",
        "-c",
        "-C",
        "-e",
        "-E",
        "-H",
        "-m",
        "-o",
        "-P",
        "-Q",
        "-r",
        "-t",
        "-u",
        "-U",
        "-w",
        "-x",
        "-X",
        "-y",
        "-Y",
        "-z",
        "-D",
        "--user-agent",
        "--cookie",
        "--cookie-jar",
        "--referer",
        "--header",
        "--max-time",
        "--output",
        "--range",
        "--user",
        "--write-out",
        "--request",
        "--retry",
        "--connect-timeout",
        "--dump-header",
        "--cacert",
        "--cert",
        "--key",
        "--limit-rate",
        "--max-redirs",
        "--retry-delay",
        "--retry-max-time",
        "--output-dir",
        "--ciphers",
        "--proto",
    ]
)
GUARD = Guard()


def refuse(call: Call) -> str | None:
    name = call.name
    if any(SOCKET.match(each) for each in paths.named(call)):
        return "socket path"
    if name in LOOKUPS and call.args and not (call.short("Vv") and not call.operands):
        return "lookup"
    if name == "curl":
        return _curl(call)
    if name in ("wget", "wget2"):
        return _wget(call)
    if name in ("http", "https", "xh", "xhs") and _httpie(call):
        return "upload"
    if name in FTP and call.operands:
        return "upload"
    if name in MAIL and (call.operands or call.stdin is not None):
        return "mail"
    if name == "resolvectl" and call.operands[:1] == ["query"]:
        return "lookup"
    if name == "rclone" and any(re.match(r"[\w.-]*:", each) for each in call.operands[1:]):
        return "remote copy"
    if name == "git" and {"daemon", "send-email", "instaweb", "http-backend"} & set(call.operands[:1]):
        return "server"
    if name == "httpd" or (name == "ruby" and "httpd" in call.args) or (name == "php" and _open_to_all(call)):
        return "server"
    if name == "rsync":
        remote = any(re.match(r"[^/:]+::?", each) or each.startswith("rsync://") for each in call.operands)
        return "remote copy" if remote else None
    return None


def _httpie(call: Call) -> bool:
    words = call.operands
    if words and re.fullmatch(r"[A-Za-z]+", words[0]) and words[0].casefold() != "localhost":
        return SENDS.fullmatch(words[0]) is not None
    return any(re.match(r"@|[^\s:=/?]+(?:=|:=|@)", each) and "==" not in each for each in words[1:])


def _open_to_all(call: Call) -> bool:
    """PHP's own server for more than this machine."""
    address = call.option("-S")
    return address is not None and not address.startswith(("localhost:", "127.", "[::1]"))


def _curl(call: Call) -> str | None:
    for word in call.flags:
        if word.startswith("--"):
            name = word[2:].partition("=")[0]
            if re.match(r"(?:data|form|upload|json|config|url-query$)", name) and name != "url-query":
                return "upload"
            if len(name) > 2 and any(each.startswith(name) for each in ("upload-file", "json", "config")):
                return "upload"
        else:
            for place, letter in enumerate(word[1:]):
                if letter in "dFTK":
                    return "upload"
                if letter == "H" and word[place + 2 :].startswith("@"):
                    return "upload"
                if letter == "X" and SENDS.match(word[place + 2 :]):
                    return "method"
                if letter in CURL_VALUED:
                    break
    method = call.option("-X", "--request", "--reques", "--reque") or next(
        (b for a, b in zip(call.args, call.args[1:], strict=False) if re.fullmatch(r"-[a-zA-Z]*X", a)), ""
    )
    if SENDS.fullmatch(method):
        return "method"
    header = call.option("-H", "--header")
    if header is not None and header.startswith("@"):
        return "upload"
    if _around(call):
        return "address"
    return _urls(call, CURL_URLLESS, ("http", "https", "ftp", "ftps"))


def _around(call: Call) -> bool:
    """Is another address given than the one that the URL names?"""
    for name in ("--resolve", "--connect-to", "-x", "--proxy", "--socks5", "--socks5-hostname", "--preproxy"):
        value = call.option(name) or ""
        if name in ("--resolve", "--connect-to"):
            value = re.sub(r"^\[?[^:]*\]?:[^:]*:", "", value.lstrip("+")) or value
        if value and _refused(SCHEME.sub("", value, count=1) if "://" in value else value):
            return True
    return False


def _wget(call: Call) -> str | None:
    for word in call.flags:
        if re.match(r"--(?:post|body)-|--method\b|--use-askpass|--config\b|--input-file=http", word):
            return "upload"
    valued = frozenset(("-O", "-o", "-P", "-U", "-t", "-T", "-w", "-Q", "--header", "--output-document", "-a", "-e"))
    return _urls(call, valued, ("http", "https", "ftp", "ftps"))


def _urls(call: Call, valued: frozenset[str], schemes: tuple[str, ...]) -> str | None:
    args = call.args
    for at, word in enumerate(args):
        before = args[at - 1] if at else ""
        if word.startswith("-"):
            name, equals, word = word.partition("=")
            if name not in ("--url", "--proxy", "--doh-url", "--socks5", "--preproxy") or not equals:
                continue
        elif before in valued or (re.fullmatch(r"-[a-zA-Z]*[oHuAbXmwe]", before) and not before.startswith("--")):
            continue
        for url in _globbed(word):
            match = SCHEME.match(url)
            if match and "." not in match[1] and match[1].casefold() != "localhost" and not _port(url, match):
                if match[1].casefold() not in schemes:
                    return "scheme"
                url = url[match.end() :]
            if _refused(url):
                return "address"
    return None


def _port(url: str, match: re.Match[str]) -> bool:
    """`name:8080` has a port, not a scheme."""
    return not url.startswith("//", match.end(1) + 1) and url[match.end(1) + 1 : match.end(1) + 2].isdigit()


def _globbed(url: str) -> list[str]:
    """What curl's own `{a,b}` stands for; the first sixteen."""
    match = re.search(r"\{([^{}]*)\}", url)
    if match is None:
        return [url]
    return [url[: match.start()] + each + url[match.end() :] for each in match[1].split(",")[:16]]


def _refused(rest: str) -> bool:
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2]
    if not known(authority) or not authority:
        return False
    authority = authority.partition(":")[0] if not authority.startswith("[") else authority.partition("]")[0] + "]"
    try:
        GUARD.check(f"http://{authority}/")
    except Forbidden as forbidden:
        return forbidden.rule in ("addr", "host")
    return False

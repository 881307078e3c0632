"""What secrets look like: the one list of expressions, for results of tools and for all that is written down.

Contract: security.md §6.2. The names of keys stay, their values go. All but private keys stay within a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

Mark = Callable[[str], str]  # what stands in the place of a secret, by the name of its shape
REDACTED = "[REDACTED]"
DONE = r"\[(?i:redacted)"  # what an earlier shape has left; it is not replaced again


class Shape(NamedTuple):
    anchors: tuple[str, ...]  # one of them is in the lower-cased text, or the expression is not tried
    pattern: re.Pattern[str]
    keeps: bool = False  # the first group, which is the key's name
    after: str = ""  # what else stays
    exact: tuple[str, ...] = ()  # the same in the text as it is written

    def near(self, text: str, lower: str) -> bool:
        """Whether the expression is worth trying."""
        if self.exact:
            return any(anchor in text for anchor in self.exact)
        return not self.anchors or any(anchor in lower for anchor in self.anchors)


def _secret(anchors: str, expression: str, flags: int = 0) -> Shape:
    """Nothing of it stays, nor of the word that it is the beginning of: a rest may be a secret too."""
    return Shape(tuple(anchors.split()), re.compile(rf"(?:{expression})\w*", flags))


def _value(anchors: str, expression: str, flags: int = 0, after: str = "", exact: str = "") -> Shape:
    expression = expression.replace("~", r"[ \t]{0,8}")
    found = re.compile(expression, flags)
    return Shape(tuple(anchors.split()), found, keeps=True, after=after, exact=tuple(exact.split()))


PEM_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9 ]{1,40} )?PRIVATE KEY(?: BLOCK)?-----")
PEM_END = re.compile(r"-----END (?:[A-Z0-9 ]{1,40} )?PRIVATE KEY(?: BLOCK)?-----")
PLAIN = (  # a value that is none of a program's words
    rf"(?!{DONE}|\$|<|\{{|(?:true|false|null|none|undefined|required|optional|string|str|bytes)\b)"
    r"[^\s\"',;&)}\]<(]{8,}(?![\w(])"
)
SHAPES = {
    "dsn": _secret(
        "://",
        r"\b(?=[ackmnpr])(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|mssql|clickhouse|nats|kafka)://"
        r"[^\s\"'<>`]+",
        re.I,
    ),
    "userinfo": _value("://", r"\b([a-z][a-z0-9+.-]{0,30}+://)[^\s/@:\"']{1,256}:[^\s/@\"']{1,1024}@", re.I, after="@"),
    "anthropic": _secret("sk-ant-", r"\bsk-ant-[A-Za-z0-9_-]{20,}"),
    "openai": _secret("sk-", r"\bsk-(?:proj-|svcacct-|or-v1-|or-)?[A-Za-z0-9_-]{20,}"),
    "github": _secret("gh github_pat_", r"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{22,}"),
    "gitlab": _secret("glpat-", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "aws": _secret("akia asia", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "google": _secret("aiza ya29.", r"\bAIza[0-9A-Za-z_-]{35}|\bya29\.[0-9A-Za-z_-]{20,}"),
    "slack": _secret("xox xapp-", r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}|\bxapp-[0-9A-Za-z-]{10,}"),
    "stripe": _secret("_live_ _test_", r"\b[srp]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    "telegram": _secret(":", r"\b\d{8,10}:[A-Za-z0-9_-]{35}\b"),
    "goclaw": _secret("goclaw_ brw_ gcn_", r"\b(?:goclaw|brw|gcn)_[0-9a-f]{32,}\b"),
    "misc": _secret(
        "hf_ gsk_ xai- npm_ pypi- tskey- age-secret-key-",
        r"\b(?:hf_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{36}"
        r"|pypi-[A-Za-z0-9_-]{40,}|tskey-[a-z]{1,20}-[A-Za-z0-9-]{10,}|AGE-SECRET-KEY-1[0-9A-Z]{50,})",
    ),
    "jwt": _secret("eyj", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    "authz": _value(
        "authorization",
        r"\b((?:proxy-)?authorization~[:=]~[\"']?(?:bearer|basic|token|apikey)[ \t]{1,8})[^\s\"',;]{6,}",
        re.I,
    ),
    "bearer": _value("bearer", r"\b(bearer[ \t]{1,8})[A-Za-z0-9_\-./+=]{16,}", re.I),
    "env": _value(
        "key secret token passw credential private dsn",
        r"\b([A-Z][A-Z0-9_]{0,60}?(?:KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|PRIVATE|DSN)[A-Z0-9_]{0,60}~=~[\"']?)"
        rf"(?!{DONE})[^\s\"']{{8,}}",
    ),
    "envurl": _value(
        "database_url redis_url mongo dsn",
        rf"\b((?:DATABASE_URL|REDIS_URL|MONGO_URI|MONGODB_URI|DSN)~=~[\"']?)(?!{DONE})[^\s\"']{{4,}}",
    ),
    "virtual": _value("virtual_", rf"\b(VIRTUAL_[A-Z0-9_]{{1,60}}~=~[\"']?)(?!{DONE})[^\s\"']{{4,}}"),
    "kv": _value(
        "key secret token passw passphrase authorization credential",
        r"(?<![\w-])([\"']?(?=[a-z0-9])(?:[a-z0-9]{1,40}+[_-]){0,6}(?=[acprst])(?:api[_-]?key|apikey|access[_-]?key|secret[_-]?key"
        r"|private[_-]?key|client[_-]?secret|auth[_-]?token|access[_-]?token|refresh[_-]?token|token|secrets?"
        r"|passwords?|passwd|passphrase|authorization|credentials?)[\"']?~[:=]~[\"']?)"
        rf"(?!{DONE}|\$|<|\{{|(?:true|false|null|none|undefined|required|optional|string|str|bytes)\b)"
        r"[^\s\"',;&)}\]]{8,}",
        re.I,
    ),
    "hex64": _secret("", r"(?<![0-9A-Za-z:/])(?<!sha256-)[0-9a-fA-F]{64,}(?![0-9A-Za-z])(?!  \S| \*\S)"),
    "more": _value(  # ours: options of programs, XML, and what Ruby and PHP write
        "-password= -passwd= -token= -secret= -key= apikey= _authtoken= <pass <secret> <token> <api =>",
        r"(--(?:[a-z0-9]{1,20}-){0,3}(?:password|passwd|token|secret|api-?key|access-key)=[\"']?"
        r"|\b_authToken=|<(?:password|passwd|secret|token|api-?key)>"
        r"|(?<![\w-])[\"']?(?:password|passwd|secret|token|api_key)[\"']?~=>~[\"']?)" + PLAIN,
    ),
    "camel": _value(  # and names in camel case
        "",
        r"((?:Password|Passwd|Secret|ApiKey|AccessKey|AccountKey|Token)[\"']?~[:=]~[\"']?)" + PLAIN,
        exact="Password Passwd Secret ApiKey AccessKey AccountKey Token",
    ),
}
TOKENS = frozenset(SHAPES) & {  # §12.1
    *("anthropic", "openai", "github", "gitlab", "aws", "google"),
    *("slack", "stripe", "telegram", "goclaw", "jwt"),
}


def redacted(kind: str) -> str:
    return REDACTED


def without_shapes(text: str, mark: Mark = redacted, only: Collection[str] = SHAPES) -> str:
    """`text` with every shape in `only` replaced, one after the other; private keys are not among them."""
    lower = text.lower()
    for name, shape in SHAPES.items():
        if name in only and shape.near(text, lower):
            text = shape.pattern.sub(_replacement(shape, mark(name)), text)
    return text


def without_pem(text: str, mark: Mark = redacted, inside: bool = False) -> tuple[list[str], bool]:
    """What is left between private keys, with a mark for each, and whether the text ends inside of one.

    `inside`: it begins inside of one, whose mark has been written.
    """
    parts: list[str] = []
    at = 0
    while True:
        end = (PEM_END if inside else PEM_BEGIN).search(text, at)
        if end is None:
            return parts if inside else [*parts, text[at:]], inside
        if not inside:
            parts += [text[at : end.start()], mark("pem")]
        at, inside = end.end(), not inside


def _replacement(shape: Shape, mark: str) -> Callable[[re.Match[str]], str]:
    if shape.keeps:
        return lambda match: match[1] + mark + shape.after
    return lambda match: mark

"""What a source file declares, as far as a line by itself tells. Contract: tools.md §10 (`repo_map`)."""

from __future__ import annotations

import re

MOST = 40  # of a file; §10
LINE = 300  # characters looked at
SCRIPT = re.compile(
    r"(?:export\s+)?(?:default\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?"
    r"(?:(?:function\*?|class|interface|enum|namespace|type)\s+([\w$]{1,100})|(?:const|let|var)\s+([\w$]{1,100})\s*[=:])"
)
LANGUAGES = {
    "go": re.compile(r"func\s+(?:\([^)]{0,200}\)\s*)?(\w{1,100})|(?:type|var|const)\s+(\w{1,100})"),
    "py": re.compile(r"[ \t]{0,40}(?:async\s+)?(?:def|class)\s+(\w{1,100})|([A-Z][A-Z0-9_]{0,100})\s*[:=]"),
    "js": SCRIPT,
    "ts": SCRIPT,
    "sh": re.compile(r"(?:function\s+([\w:.-]{1,100}))|([\w:.-]{1,100})\s*\(\)"),
    "md": re.compile(r"#{1,6}\s+(.{1,100})"),
    "json": re.compile(r'(?:[{]\s*|[ ]{1,4}|\t)"([^"\\]{1,100})"\s*:'),
    "yaml": re.compile(r"([\w.\-/]{1,100})\s*:(?:\s|$)"),
}  # each matched at the beginning of a line
ENDINGS = {
    ".go": "go",
    ".py": "py",
    ".pyi": "py",
    ".js": "js",
    ".mjs": "js",
    ".cjs": "js",
    ".jsx": "js",
    ".ts": "ts",
    ".tsx": "ts",
    ".mts": "ts",
    ".sh": "sh",
    ".bash": "sh",
    ".md": "md",
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
}


def language_of(path: str) -> str:
    """Empty for a file of no language we know."""
    name = path.rpartition("/")[2]
    return ENDINGS.get(name[name.rfind(".") :].lower(), "") if "." in name else ""


def symbols_of(language: str, text: str) -> list[str]:
    """In order, each once, 40 at most."""
    declares, found = LANGUAGES[language], dict[str, None]()
    for line in text.splitlines():
        match = declares.match(line[:LINE])
        if match is None:
            continue
        name = next(group for group in match.groups() if group is not None)
        found[" ".join(name.split())] = None
        if len(found) == MOST:
            break
    return list(found)

"""Which files a command writes to. Contract: security.md §3.3 groups 1, 6 and 13."""

from __future__ import annotations

import itertools
import re

from goclaw.security.shell.call import Call, once
from goclaw.security.shell.languages import language, module

WRITES_ALL = frozenset({"tee", "touch", "truncate", "mkdir", "rmdir", "rm", "unlink", "shred", "sponge"})
WRITES_LAST = frozenset({"cp", "mv", "ln", "install", "rsync", "link", "scp"})
OUTPUT = {  # options whose value is written
    "curl": ("-o", "--output"),
    "wget": ("-O", "--output-document", "-P", "--directory-prefix"),
    "sort": ("-o", "--output"),
    "gcc": ("-o",),
    "g++": ("-o",),
    "cc": ("-o",),
    "clang": ("-o",),
    "go": ("-o",),
    "tar": ("-C", "--directory"),
    "unzip": ("-d",),
    "patch": ("-o", "--output"),
    "openssl": ("-out",),
}
SECOND = frozenset({"uniq", "split", "csplit", "shuf", "objcopy"})  # what they write is their second operand
EDITS = frozenset({"ed", "red", "ex", "script", "fallocate", "mkfifo", "mknod", "setfattr"})
TARS = frozenset({"tar", "gtar", "bsdtar", "star"})
ANY = (
    "-o",
    "--output",
    "-out",
    "--out",
    "--outfile",
    "--output-file",
    "--output-dir",
    "--outdir",
    "--dest",
    "--target-dir",
)
OTHERWISE = frozenset(  # `-o` is something else
    [
        "ps",
        "ls",
        "find",
        "grep",
        "egrep",
        "fgrep",
        "zgrep",
        "rg",
        "ag",
        "ack",
        "mount",
        "ssh",
        "scp",
        "sftp",
        "set",
        "bash",
        "sh",
        "zsh",
        "dash",
        "chown",
        "useradd",
        "lsof",
        "lldb",
        "su",
        "kubectl",
        "stat",
        "tmux",
        "strace",
        "docker",
        "podman",
        "df",
        "getopt",
        "less",
        "test",
        "[",
        "pgrep",
        "head",
        "7z",
        "7za",
        "7zr",
        "7zz",
        "unzip",
        "tar",
        "echo",
        "printf",
    ]
)
SED = re.compile(r"(?:^|[\s;{}0-9/$,!gpIiMm|#@])([rRwW])\s*((?:[/~]|\.{1,2}[/\w])[^\n;}]*)")


@once
def written(call: Call) -> list[str]:
    """The paths it writes to, resolved."""
    found = [target for op, target in call.redirects if op != "<"]
    operands = call.operands
    name = call.name
    if name in WRITES_ALL:
        found += operands
    elif name in WRITES_LAST and operands:
        target = call.option("-t", "--target-directory") if name not in ("rsync", "scp") else None
        last = target if target is not None else operands[-1]
        found.append(last)
        if name == "mv":
            found += operands
        sources = operands if target is not None else operands[:-1]
        if ":" not in last:
            found += [f"{last.rstrip('/')}/{each.rstrip('/').rpartition('/')[2]}" for each in sources]
    elif (
        name in EDITS
        or ((language(name) in ("perl", "ruby") or name in ("sed", "gsed")) and _in_place(call))
        or (name in ("awk", "gawk") and call.option("-i", "--include") == "inplace")
    ):
        found += operands
    elif name == "dd":
        found += [each[3:] for each in operands if each.startswith("of=")]
    elif name in ("docker", "podman", "nerdctl", "kubectl") and operands[:1] == ["cp"] and ":" not in operands[-1]:
        found.append(operands[-1])
    elif name in ("ffmpeg", "convert", "magick"):
        found += operands[-1:]
    elif name in SECOND:
        found += operands[1:2]
    if (name in OUTPUT and (value := call.option(*OUTPUT[name]))) or (
        name not in OTHERWISE and (value := call.option(*ANY)) and value.startswith(("/", "~", ".."))
    ):
        found.append(value)
    if name in ("find", "gfind"):
        found += [
            after
            for word, after in itertools.pairwise(call.args)
            if word in ("-fprintf", "-fprint", "-fls", "-fprint0")
        ]
    if name == "sed" or name == "gsed":
        found += [match[2].strip() for each in call.args for match in SED.finditer(each) if match[1] in "wW"]
    found += _unpacked(call)
    return [call.where(each) for each in found if each]


def read_by_script(call: Call) -> list[str]:
    """The files a sed script reads."""
    if call.name not in ("sed", "gsed"):
        return []
    return [call.where(match[2].strip()) for each in call.args for match in SED.finditer(each) if match[1] in "rR"]


def _in_place(call: Call) -> bool:
    return any(re.match(r"-[a-zA-Z]*i|--in-place", each) for each in call.flags)


def _unpacked(call: Call) -> list[str]:
    """The directories it fills with files whose names stand elsewhere: in an archive, a repository, a patch."""
    operands, name = call.operands, call.name
    if name in TARS:
        extracts = (
            call.short("x")
            or call.long("--extract", "--get")
            or (call.args[:1] and re.match(r"[a-zA-Z]*x", call.args[0]))
        )
        if not extracts:
            return []
        anywhere = call.short("P") or call.long("--absolute-names") or re.match(r"[a-zA-Z]*P", call.args[0])
        return ["/"] if anywhere else [call.option("-C", "--directory", "--cd") or "."]
    if name == "unzip" or (name in ("7z", "7za", "7zr", "7zz") and {"x", "e"} & set(operands[:1])):
        return [call.option("-d" if name == "unzip" else "-o") or "."]
    if name == "unrar" and operands[2:]:
        return operands[-1:]
    if name == "cpio" and (call.short("i") or call.long("--extract")):
        return [call.option("-D", "--directory") or "."]
    if name == "patch":
        return [call.option("-d", "--directory") or ".", *operands[:1]]
    if name == "git" and {"clone", "init", "worktree"} & set(operands[:2]):
        return [each for each in operands if each.startswith(("/", "~"))]
    if language(name) == "python" and module(call) in ("zipfile", "tarfile") and {"-e", "--extract"} & set(call.args):
        return operands[-1:]
    return []

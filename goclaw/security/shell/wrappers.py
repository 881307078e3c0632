"""Commands that run another command: what is inside of them. Contract: security.md §3.2."""

from __future__ import annotations

import itertools
import re
import shlex

from goclaw.security.shell.call import Call, base, once
from goclaw.security.shell.hosts import Inner, hosted, options, program
from goclaw.security.shell.languages import language
from goclaw.security.shell.text import HOLE, known

# name: (short options with a value, long options with a value, operands before the command)
PLAIN: dict[str, tuple[str, str, int]] = {
    "command": ("", "", 0),
    "builtin": ("", "", 0),
    "exec": ("a", "", 0),
    "nohup": ("", "", 0),
    "setsid": ("", "", 0),
    "time": ("of", "output format", 0),
    "timeout": ("ks", "kill-after signal", 1),
    "gtimeout": ("ks", "kill-after signal", 1),
    "nice": ("n", "adjustment", 0),
    "ionice": ("cn", "class classdata", 0),
    "chrt": ("TPD", "", 1),
    "taskset": ("", "", 1),
    "stdbuf": ("ioe", "input output error", 0),
    "strace": ("oepsuEabIOPSX", "output trace user env", 0),
    "ltrace": ("oepsuanlx", "output user", 0),
    "unbuffer": ("", "", 0),
    "caffeinate": ("tw", "", 0),
    "busybox": ("", "", 0),
    "toybox": ("", "", 0),
    "coproc": ("", "", 0),
    "entr": ("", "", 0),
    "chronic": ("", "", 0),
    "eatmydata": ("", "", 0),
    "fakeroot": ("lsib", "", 0),
    "numactl": ("NmCip", "", 0),
    "prlimit": ("", "", 0),
    "rlwrap": ("", "", 0),
    "setarch": ("", "", 1),
    "linux32": ("", "", 0),
    "linux64": ("", "", 0),
    "xvfb-run": ("nes", "", 0),
    "systemd-run": ("pEu", "unit property setenv", 0),
    "torsocks": ("", "", 0),
    "proxychains": ("f", "", 0),
    "proxychains4": ("f", "", 0),
    "cpulimit": ("lp", "", 0),
    **dict.fromkeys(
        ("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "ld-linux.so.2", "ld-musl-x86_64.so.1", "ld.so"),
        ("", "preload library-path argv0 inhibit-rpath audit", 0),
    ),
    **dict.fromkeys(("valgrind", "catchsegv", "heaptrack", "dbus-run-session", "tsocks", "torify"), ("", "", 0)),
    **dict.fromkeys(("uname26", "i386", "x86_64"), ("", "", 0)),
    "ssh-agent": ("at", "", 0),
    "systemd-inhibit": ("", "what who why mode", 0),
    "faketime": ("f", "", 1),
    "firejail": ("", "", 0),
    "doas.sh": ("", "", 0),
    "runcon": ("utrl", "user type role range", 0),
}
RAISING: dict[str, tuple[str, str, int]] = {  # peeled when group 5 is off
    "sudo": ("ugpCThrtDRU", "user group prompt chdir host role type chroot", 0),
    "doas": ("uC", "", 0),
    "pkexec": ("", "user", 0),
    "runuser": ("u", "user", 0),
    "run0": ("u", "user", 0),
    "gosu": ("", "", 1),
    "su-exec": ("", "", 1),
    "chroot": ("", "", 1),
    "unshare": ("RSGw", "", 0),
    "nsenter": ("tSGrw", "target", 0),
    "setpriv": ("", "reuid regid groups inh-caps ambient-caps bounding-set", 0),
}
RUNNERS = {  # `uv run x`
    "uv": ("run",),
    "poetry": ("run",),
    "pipenv": ("run",),
    "hatch": ("run",),
    "rye": ("run",),
    "pdm": ("run",),
    "bundle": ("exec",),
    "npm": ("exec", "x"),
    "pnpm": ("exec",),
    "yarn": ("exec",),
    "mise": ("exec", "x"),
    **dict.fromkeys(("conda", "mamba", "micromamba"), ("run",)),
}
ASSIGNED = re.compile(r"([A-Za-z_]\w*)\+?=", re.ASCII)


@once
def peel(call: Call) -> list[Inner]:
    """What `call` runs inside of itself; empty if it is no wrapper. Of a find or xargs: with holes for names."""
    args = list(call.words[1:])
    name = call.name
    if name in PLAIN:
        if name == "command" and args and re.fullmatch(r"-[pvV]*[vV][pvV]*", args[0]):
            return []
        return _one(_behind(args, *PLAIN[name]))
    match name:
        case "env":
            return _env(args)
        case "xargs" | "parallel":
            return _xargs(call, args)
        case "find" | "fd" | "fdfind":
            return _find(name, args)
        case "watch":
            rest = _behind(args, "n", "interval", 0)
            return [Inner(text=" ".join(rest))] if rest else []
        case "flock" | "script":
            text = call.option("-c", "--command") or next(
                (after for word, after in itertools.pairwise(args) if re.fullmatch(r"-[a-z]*c", word)), None
            )
            if text is not None:
                return [Inner(text=text)]
            return _one(_behind(args, "wE", "timeout", 1)) if name == "flock" else []
        case "git":
            return _git(args)
        case "su" | "runuser" if (text := call.option("-c", "--command")) is not None:
            return [Inner(text=text)]
        case "nix-shell":
            text = call.option("--run", "--command")
            return [Inner(text=text)] if text is not None else []
    if name in ("npx", "bunx", "pnpx"):
        rest = _behind(args, "pc", "package call", 0)
        return _one(rest) if rest and language(base(rest[0])) else []
    if inner := hosted(call):
        return inner
    if name == "cmake" and "-E" in args[:2]:
        return _cmake(args[args.index("-E") + 1 :])
    if name in RAISING:
        rest = _behind(args, *RAISING[name])
        while rest and ASSIGNED.match(rest[0]):
            rest = rest[1:]
        return _one(rest)
    if name in RUNNERS and args and args[0] in RUNNERS[name]:
        return _one(
            _behind(
                args[1:],
                "np" if "conda" in name or "mamba" in name else "",
                "with python project directory extra group name prefix",
                0,
            )
        )
    return []


def _one(words: list[str]) -> list[Inner]:
    return [Inner(tuple(words))] if words else []


def _cmake(args: list[str]) -> list[Inner]:
    """The portable commands of `cmake -E`, as what they do."""
    match args:
        case ["rm", *rest] | ["time", "rm", *rest]:
            return [Inner(("rm", *rest))]
        case ["remove_directory" | "rm_rf", *rest]:
            return [Inner(("rm", "-r", *rest))]
        case ["env", *rest]:
            return _env([each for each in rest if not each.startswith("--")])
        case ["environment"]:
            return [Inner(("printenv",))]
        case ["copy" | "copy_if_different" | "copy_directory" | "rename" | "create_symlink" as verb, *rest]:
            return [Inner(("mv" if verb == "rename" else "cp", *rest))]
        case ["time" | "chdir", *rest]:
            return _one(rest[1:] if args[0] == "chdir" else rest)
    return []


def _behind(args: list[str], short: str, long: str, operands: int) -> list[str]:
    """What follows the options and the first `operands` words."""
    at = 0
    names = tuple("--" + each for each in long.split())
    while at < len(args) and args[at].startswith("-") and args[at] != "-":
        word = args[at]
        at += 1
        if word == "--":
            break
        if word.startswith("--"):
            at += word in names
        elif short and word[-1] in short and not any(letter in short for letter in word[1:-1]):
            at += 1
    return args[at + operands :]


def _env(args: list[str]) -> list[Inner]:
    sets: list[str] = []
    started: list[Inner] = []
    at = 0
    while at < len(args):
        word = args[at]
        if word in ("-u", "--unset", "-C", "--chdir", "-P"):
            at += 2
        elif re.match(r"-[i0v]*S|--split-string", word):
            text = re.sub(r"^(?:-[i0v]*S|--split-string=?)", "", word)
            rest = args[at + 1 :]
            if not text and rest:
                text, rest = rest[0], rest[1:]
            if not known(text):
                return [Inner((HOLE,))]
            try:
                return _env([*shlex.split(text), *rest])
            except ValueError:
                return [Inner((HOLE,))]
        elif word == "--" or (word.startswith("-") and word != "--"):
            at += 1
        elif match := ASSIGNED.match(word):
            sets.append(match[1])
            if inner := program(match[1], word[match.end() :]):
                started.append(inner)
            at += 1
        elif word == "":
            at += 1
        else:
            break
    rest = args[at:]
    return [*started, Inner(tuple(rest), sets=tuple(sets))] if rest or sets else []


def _xargs(call: Call, args: list[str]) -> list[Inner]:
    replace = ""
    options = args[: len(args) - len(_behind(args, "adEeIiLlnPs", "arg-file delimiter max-args max-procs replace", 0))]
    for at, word in enumerate(options):
        if word in ("-I", "--replace") and at + 1 < len(options):
            replace = options[at + 1]
        elif word.startswith("-I"):
            replace = word[2:]
        elif word.startswith(("-i", "--replace")):
            replace = word.partition("=")[2] or word[2:] if not word.startswith("--") else word.partition("=")[2]
            replace = replace or "{}"
    words = args[len(options) :]
    if call.name == "parallel":
        replace = "{}"
        if ":::" in words:
            at = words.index(":::")
            given, words = words[at + 1 :], words[:at]
            return _filled(words, given, replace, joined=True)
    stdin = call.stdin
    fed = call.option("-a", "--arg-file") is None and stdin is not None and known(stdin)
    given = (stdin or "").replace("\0", "\n").split(None if not replace else "\n") if fed else [HOLE]
    return _filled(words, [each.strip() for each in given if each.strip()], replace, joined=call.name == "parallel")


def _filled(words: list[str], given: list[str], replace: str, *, joined: bool) -> list[Inner]:
    if joined and (not words or any(" " in word for word in words)):
        text = " ".join(words) or HOLE
        return [Inner(text=text.replace("{}", each) if "{}" in text else f"{text} {each}") for each in given[:64]]
    if not words:
        return []
    if replace:
        return [Inner(tuple(word.replace(replace, each) for word in words), reads=False) for each in given[:64]]
    return [Inner((*words, *given), reads=False)]


def _find(name: str, args: list[str]) -> list[Inner]:
    flags = ("-exec", "-execdir", "-ok", "-okdir") if name == "find" else ("-x", "--exec", "-X", "--exec-batch")
    found: list[Inner] = []
    at = 0
    while at < len(args):
        if args[at] in flags:
            end = next((i for i in range(at + 1, len(args)) if args[i] in (";", "+")), len(args))
            words = args[at + 1 : end]
            if words:
                found += [Inner(tuple(each), reads=False) for each in _named(words, args)]
            at = end
        at += 1
    return found


def _named(words: list[str], args: list[str]) -> list[list[str]]:
    """The command of a find once for every place it looks in, and for every name it looks for there."""
    starts = list(itertools.takewhile(lambda each: not each.startswith(("-", "(", "!")), args)) or ["."]
    names = [after for word, after in itertools.pairwise(args) if word in ("-name", "-iname")]
    plain = not {"!", "-not", "-o", "-or"} & set(args)
    files: list[str] = []
    for start in starts[:8]:
        place = start.rstrip("/")
        files += (
            [f"{place}/{name}" for name in names[:8]] if plain and start[:1] in "/~" and names else [f"{place}/{HOLE}"]
        )
    return [[word.replace("{}", file) for word in words] for file in (files if "{}" in words else files[:1])]


def _git(args: list[str]) -> list[Inner]:
    """`git rebase --exec`, `git bisect run`, `git submodule foreach`."""
    found: list[Inner] = []
    words = [each for each in args if not each.startswith("-")]
    if "rebase" in words:
        for at, word in enumerate(args):
            if word in ("--exec", "-x") and at + 1 < len(args):
                found.append(Inner(text=args[at + 1]))
            elif word.startswith("--exec="):
                found.append(Inner(text=word[7:]))
            elif word.startswith("-x") and len(word) > 2:
                found.append(Inner(text=word[2:]))
    if words[:2] == ["bisect", "run"]:
        found.append(Inner(tuple(args[args.index("run") + 1 :])))
    if words[:2] == ["submodule", "foreach"]:
        rest = [each for each in args[args.index("foreach") + 1 :] if each not in ("--recursive", "-q", "--quiet")]
        found.append(Inner(text=" ".join(rest)))
    if "filter-branch" in words[:1]:
        found += [Inner(text=value, loose=True) for name, value in options(args) if name.endswith("-filter")]
    return [each for each in found if each.words or each.text]

"""Options that make an ordinary tool run another program, unseen by the other groups."""

from __future__ import annotations

import itertools
import re

from goclaw.security.shell import consoles
from goclaw.security.shell.call import Call
from goclaw.security.shell.paths import texts_only

EDITORS = frozenset({"vim", "vi", "nvim", "view", "ex", "vimdiff", "gvim", "rvim", "emacs"})
COMPRESSORS = frozenset(
    [
        "zstd",
        "zstdmt",
        "pigz",
        "lz4",
        "xz",
        "gzip",
        "bzip2",
        "pbzip2",
        "lbzip2",
        "pixz",
        "lzip",
        "plzip",
        "brotli",
        "lzop",
    ]
)
# git keys whose value is a program
KEYS = re.compile(
    r"(?:core\.(?:sshcommand|pager|editor|fsmonitor|hookspath|askpass|gitproxy)|pager\..*|alias\..*|diff\.external|"
    r"diff\..*\.(?:command|textconv)|difftool\..*|mergetool\..*|merge\..*\.driver|filter\..*|gpg\.(?:.*\.)?program|"
    r"sequence\.editor|credential\.(?:.*\.)?helper|http\.proxy|ssh\.variant|sendemail\..*|uploadpack\.packobjectshook|"
    r"remote\..*\.(?:uploadpack|receivepack|vcs)|submodule\..*\.update|browser\..*|man\..*|interactive\.difffilter|"
    r"web\.browser|protocol\.ext\.allow|protocol\.allow|include(?:if\..*)?\.path|trailer\..*|init\.templatedir|tar\..*\.command)",
    re.IGNORECASE,
)


def refuse(call: Call) -> str | None:
    if consoles.leaves(call):
        return "console"
    rule = RULES.get(call.name)
    return rule(call) if rule is not None else None


def runs_programs(key: str, value: str) -> bool:
    """Does setting this git key make git run `value`?"""
    lower = key.casefold()
    if lower.startswith("credential."):
        return "!" in value or "/" in value
    if lower.startswith("alias."):
        return value.startswith("!")
    if lower in ("core.pager", "core.editor") or lower.startswith("pager."):
        return value not in (
            "",
            "cat",
            "less",
            "more",
            "vim",
            "vi",
            "nano",
            "true",
            "false",
            "less -FRX",
            "code --wait",
        )
    if lower == "http.proxy":
        return False
    return KEYS.fullmatch(lower) is not None


def _sed(call: Call) -> str | None:
    scripts = [value for value in (call.option("-e", "--expression"),) if value is not None]
    scripts += [
        b for a, b in zip(call.args, call.args[1:], strict=False) if re.fullmatch(r"-[nErsuz]*e|--expression", a)
    ]
    if not scripts and not (call.short("f") or call.long("--file")):
        scripts = call.operands[:1]
    return "sed e" if any(map(sed_executes, scripts)) else None


def sed_executes(script: str) -> bool:
    """Does a sed script use the `e` command or the `e` flag of `s`?"""
    at = 0
    while at < len(script):
        char = script[at]
        at += 1
        if char in "/\\":  # an address
            delimiter = char
            if char == "\\":
                delimiter = script[at : at + 1]
                at += 1
            at = _skip(script, at, delimiter)
        elif char in "sy":
            delimiter = script[at : at + 1]
            if not delimiter or delimiter == "\n":
                return False
            at = _skip(script, _skip(script, at + 1, delimiter), delimiter)
            while at < len(script) and script[at] not in ";}\n":
                if script[at] == "e" and char == "s":
                    return True
                if script[at] == "w":
                    at = _line(script, at)
                    break
                at += 1
        elif char == "e":
            return True
        elif char in "aic":
            if script[at : at + 1] == "" or script[at : at + 1] in "\\ \t/" or script[at].isalnum():
                at = _text(script, at)
        elif char in "btTrRwW:#":
            at = _line(script, at) if char in "rRwW:#" else _label(script, at)
    return False


def _skip(script: str, at: int, delimiter: str) -> int:
    """Behind the next `delimiter` that is neither escaped nor in brackets."""
    inside = False
    while at < len(script):
        char = script[at]
        at += 1
        if char == "\\":
            at += 1
        elif char == "[" and not inside:
            inside = "]" in script[at + 1 :]
            if script[at : at + 1] == "^":
                at += 1
            if script[at : at + 1] == "]":
                at += 1
        elif char == "]":
            inside = False
        elif char == delimiter and not inside:
            return at
    return at


def _line(script: str, at: int) -> int:
    end = script.find("\n", at)
    return len(script) if end < 0 else end


def _text(script: str, at: int) -> int:
    while (end := script.find("\n", at)) > 0 and script[end - 1] == "\\":
        at = end + 1
    return len(script) if end < 0 else end


def _label(script: str, at: int) -> int:
    while at < len(script) and script[at] not in ";}\n":
        at += 1
    return at


def _sort(call: Call) -> str | None:
    return "program" if any(each.startswith("--compress-p") or each == "--compress" for each in call.flags) else None


def _git(call: Call) -> str | None:
    args, said = call.args, texts_only(call)
    for word, after in itertools.pairwise([*args, ""]):
        name = word.partition("=")[0]
        if name == "--template" and {"clone", "init"} & set(args) and word != "--template=":
            return "program"
        if name in ("--upload-pack", "--receive-pack", "--open-files-in-pager") or word.startswith("--exec-path="):
            return "program"
        if name == "--exec" and "rebase" not in args and ("=" in word or {"archive", "push", "send-pack"} & set(args)):
            return "program"
        if "ext::" in word and word not in said:
            return "transport"
        if word in ("-c", "--config") or re.match(r"--config=|--config-env=|-c[a-z]+\.", word):
            setting = after if word in ("-c", "--config") else re.sub(r"^(?:--config(?:-env)?=|-c)", "", word)
            key, _, value = setting.partition("=")
            if runs_programs(key, value) or word.startswith("--config-env="):
                return "configured program"
    if "clone" in args and (re.search(r"(?:^| )-u", " ".join(args)) or call.long("--upload-pack")):
        return "program"
    if "grep" in args[:4] and any(re.fullmatch(r"-[a-zA-Z]*O.*", each) for each in args):
        return "program"
    if "difftool" in args and (call.long("--extcmd") or call.short("x")):
        return "program"
    return None


def _rg(call: Call) -> str | None:
    return "program" if call.long("--pre", "--hostname-bin") else None


def _man(call: Call) -> str | None:
    return "program" if call.short("HP") or any(each.startswith(("--html", "--pager")) for each in call.flags) else None


def _history(call: Call) -> str | None:
    return "history" if call.short("sawrn") else None


def _tar(call: Call) -> str | None:
    names = ("--to-command", "--use-compress-program", "--rsh-command", "--info-script", "--new-volume-script")
    for word, after in itertools.pairwise([*call.args, ""]):
        name, equals, value = word.partition("=")
        value = value if equals else after
        compresses = "--use-compress-program".startswith(name) and _compressor(value)
        if len(name) > 5 and any(each.startswith(name) for each in names) and not compresses:
            return "program"
        if name.startswith("--checkpoint-a") and "exec" in value:
            return "program"
        if re.fullmatch(r"-[a-zA-Z]*[IF]", word) and not _compressor(after):
            return "program"
        if re.match(r"-I.", word) and not _compressor(word[2:]):
            return "program"
    return None


def _compressor(command: str) -> bool:
    name, *options = command.split() or [""]
    return name in COMPRESSORS and all(each.startswith("-") for each in options)


def _opener(call: Call) -> str | None:
    """Tools that show their result in a pager or a program they are given."""
    value = call.option("--pager", "--opener")
    return "program" if value and value.split()[0] not in ("less", "cat", "more", "never", "always") else None


def _keygen(call: Call) -> str | None:
    return "library" if call.short("D") or (call.option("-s", "-w") and call.name == "ssh-add") else None


def _openssl(call: Call) -> str | None:
    engine = call.option("-engine", "-provider-path") or ("" if call.operands[:1] != ["engine"] else call.operands[-1])
    return "library" if "/" in engine or engine.endswith(".so") else None


def _npm(call: Call) -> str | None:
    return "program" if call.long("--script-shell", "--shell") else None


def _split(call: Call) -> str | None:
    return "program" if any(each.startswith("--fi") for each in call.flags) else None


def _editor(call: Call) -> str | None:
    for word, after in itertools.pairwise([*call.args, ""]):
        command = ""
        if word in ("--cmd", "--eval", "--command", "-eval") or re.fullmatch(r"-[a-zA-Z]*c", word):
            command = after
        elif word.startswith(("+", "--cmd=", "-c", "--eval=")):
            command = word
        if "!" in command or re.search(
            r"\b(?:system|shell|py3?x?(?:do)?|python3?|perl|lua|ruby|terminal|source|jobstart)\b", command
        ):
            return "editor command"
    if call.args and call.args[0] == "-S":
        return "editor command"
    return None


def _less(call: Call) -> str | None:
    return (
        "pager command" if any(each.startswith("+") and re.search(r"[!|]|\bv\b", each) for each in call.args) else None
    )


def _zip(call: Call) -> str | None:
    return "program" if any(each.startswith(("-TT", "--unzip-c")) for each in call.args) else None


def _strace(call: Call) -> str | None:
    value = call.option("-o", "--output")
    return "program" if value is not None and value.lstrip().startswith(("|", "!")) else None


RULES = {
    "sed": _sed,
    "gsed": _sed,
    "sort": _sort,
    "git": _git,
    "rg": _rg,
    "man": _man,
    "history": _history,
    "tar": _tar,
    "gtar": _tar,
    "bsdtar": _tar,
    "split": _split,
    **dict.fromkeys(("ag", "ack", "bat", "batcat", "delta"), _opener),
    **dict.fromkeys(("ssh-keygen", "ssh-add"), _keygen),
    "openssl": _openssl,
    **dict.fromkeys(("npm", "pnpm", "yarn", "bun"), _npm),
    **dict.fromkeys(EDITORS, _editor),
    "less": _less,
    "more": _less,
    "zip": _zip,
    "strace": _strace,
    "ltrace": _strace,
}

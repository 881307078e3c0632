"""Variables that make another program load or run something. The same names are refused in stored environments."""

from __future__ import annotations

import re

from goclaw.security.shell import paths
from goclaw.security.shell.call import Call

NAMES = re.compile(
    r"LD_PRELOAD|LD_LIBRARY_PATH|LD_AUDIT|DYLD_.*|BASH_ENV|ENV|PROMPT_COMMAND|PS4|SHELLOPTS|BASHOPTS|BASH_FUNC_.*|"
    r"GIT_EXTERNAL_DIFF|GIT_DIFF_OPTS|GIT_SSH|GIT_SSH_COMMAND|GIT_PROXY_COMMAND|GIT_ASKPASS|PYTHONSTARTUP|PERL5OPT|"
    r"PERL5DB|RUBYOPT|NODE_OPTIONS",
    re.DOTALL,
)
STORED = re.compile(
    r"PATH|HOME|IFS|SHELL|TMPDIR|CDPATH|PYTHONPATH|PYTHONHOME|NODE_PATH|PERL5LIB|RUBYLIB|CLASSPATH|JAVA_TOOL_OPTIONS|"
    r"GIT_CONFIG.*|GIT_EXEC_PATH|GIT_TEMPLATE_DIR|SSH_ASKPASS|EDITOR|VISUAL|PAGER|MANPAGER|LESSOPEN|GOCLAW_.*",
    re.DOTALL,
)
ASSIGNED = re.compile(r"(?:--setenv=|-E)?([A-Za-z_]\w*)=", re.ASCII)
PRELOAD = re.compile(r"/etc/ld\.so\.preload$")


def dangerous(name: str) -> bool:
    """May no command set it?"""
    return NAMES.fullmatch(name) is not None


def unfit_to_store(name: str) -> bool:
    """May no stored environment (custom tool, CLI credential, MCP server, hook) hold it?"""
    return dangerous(name) or STORED.fullmatch(name) is not None


def refuse(call: Call) -> str | None:
    if any(map(dangerous, call.sets)):
        return "variable"
    exporting = call.name == "export" or (call.name in ("declare", "typeset", "local", "readonly") and call.short("x"))
    names = [each.partition("=")[0].rstrip("+") for each in call.operands]
    if exporting and not call.short("np") and any(map(dangerous, names)):
        return "variable"
    if call.name in ("export", "declare", "typeset", "readonly", "set") and any(
        re.match(r"(?:PS4|PROMPT_COMMAND)\+?=", each) for each in call.operands
    ):
        return "variable"
    if call.name.startswith("ld") and call.long("--preload", "--audit"):
        return "preload"
    if call.name == "gdb" and any(map(dangerous, re.findall(r"\bset\s+env\w*\s+(\w+)", " ".join(call.args)))):
        return "variable"
    if (
        call.name == "tmux"
        and {"set-environment", "setenv"} & set(call.operands[:1])
        and any(map(dangerous, call.operands))
    ):
        return "variable"
    if call.name == "setenv" and any(map(dangerous, call.operands[:1])):
        return "variable"
    if call.name == "set" and any(map(dangerous, call.operands[:1])):  # of fish
        return "variable"
    if call.name in ("systemctl", "systemd-run", "make", "tmux", "launchctl") and any(
        dangerous(found[1]) for each in call.args if (found := ASSIGNED.match(each))
    ):
        return "variable"
    if call.name == "printf" and call.args[:1] == ["-v"] and any(map(dangerous, call.args[1:2])):
        return "variable"
    samples = ("/etc/ld.so.preload",)
    return "preload" if any(paths.matches(each, PRELOAD, samples) for each in paths.named(call)) else None

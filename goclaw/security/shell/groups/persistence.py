"""What would still be there tomorrow: schedules, services, files a login reads."""

from __future__ import annotations

import re

from goclaw.security.shell import paths
from goclaw.security.shell.call import Call
from goclaw.security.shell.groups.filter_bypass import runs_programs
from goclaw.security.shell.writes import written

NAMES = frozenset(
    {
        "crontab",
        "at",
        "batch",
        "launchctl",
        "schtasks",
        "chkconfig",
        "update-rc.d",
        "rc-update",
        "incrontab",
        "fcrontab",
    }
)
UNITS = frozenset({"enable", "link", "edit", "preset", "daemon-reload", "reenable", "add-wants", "add-requires"})
STAYS = frozenset(
    {
        ("loginctl", "enable-linger"),
        ("git", "maintenance", "start"),
        ("git", "maintenance", "register"),
        ("pm2", "startup"),
        ("brew", "services", "start"),
        ("brew", "services", "restart"),
    }
)
START = (
    r"(?:\.bashrc|\.bash_profile|\.bash_login|\.bash_logout|\.bash_aliases|\.profile|\.zsh[^/]*|\.zlogin|"
    r"\.zlogout|\.zprofile|\.kshrc|\.mkshrc|\.xprofile|\.xinitrc|\.xsession|\.cshrc|\.tcshrc|\.login|"
    r"\.inputrc|\.pam_environment)"
)
WRITTEN = re.compile(
    rf"(?:~/|/\.?)?{START}$|(?:~/|.*/)?\.config/fish(?:/|$)|(?:~/|.*/)?\.ssh/(?:authorized_keys[^/]*|rc|environment)$|"
    r"(?:~/|.*/)?\.config/(?:systemd|autostart|environment\.d)(?:/|$)|(?:~/|.*/)?\.local/share/systemd(?:/|$)|"
    r"(?:~/|.*/)?library/launch(?:agents|daemons)(?:/|$)|"
    r"/etc/(?:profile|cron|init\.d|init/|systemd|rc\.local|rc\d|environment|zsh|bash\.bashrc|bashrc|xdg/autostart)|"
    r"(?:/usr)?/lib/systemd/|/var/spool/(?:cron|at|anacron)(?:/|$)"
)
SAMPLES = (
    "~/.bashrc",
    "~/.profile",
    "~/.bash_profile",
    "~/.zshrc",
    "~/.ssh/authorized_keys",
    "/etc/profile",
    "/etc/crontab",
    ".bashrc",
    ".profile",
)


def refuse(call: Call) -> str | None:
    if call.name in NAMES:
        return "schedule"
    if call.name == "systemctl" and call.operands and call.operands[0] in UNITS:
        return "service"
    if call.name == "systemd-run" and any(each.startswith("--on-") for each in call.flags):
        return "schedule"
    if (call.name, *call.operands[:2]) in STAYS or (call.name, *call.operands[:1]) in STAYS:
        return "service"
    if call.name == "git" and (why := _config(call)):
        return why
    for path in written(call):
        if call.workspace and path.startswith(call.workspace.rstrip("/") + "/"):
            path = path[len(call.workspace.rstrip("/")) + 1 :]
        if paths.matches(path, WRITTEN, SAMPLES):
            return "start file"
    return None


def _config(call: Call) -> str | None:
    """`git config` of a key whose value is a program."""
    words = call.operands
    if "config" not in words[:2] or call.long("--get", "--get-all", "--list", "--unset", "--get-regexp", "--unset-all"):
        return None
    rest = [each for each in words[words.index("config") + 1 :] if each not in ("set", "get", "list", "unset")]
    reading = "get" in words or "unset" in words or "list" in words
    if len(rest) > 1 and not reading and runs_programs(rest[0], rest[1]):
        return "configured program"
    return None

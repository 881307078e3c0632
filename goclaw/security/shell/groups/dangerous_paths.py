"""Files that are the system's or somebody's secret, and rights on what lies outside of the workspace."""

from __future__ import annotations

import itertools
import re

from goclaw.security.shell import paths
from goclaw.security.shell.call import Call
from goclaw.security.shell.resolve import wildcard
from goclaw.security.shell.text import plain
from goclaw.security.shell.writes import written

RIGHTS = frozenset({"chmod", "chown", "chgrp", "setfacl", "chattr"})
SYSTEM = re.compile(
    r"(?:/private)?/(?:etc|boot|sys|proc(?!/(?:self|\d+)/fd/)|usr|bin|sbin|lib\w*|var/lib|var/spool|opt)(?:/|$)|(?:/root|/var/root)(?:/|$)"
)
SYSTEM_SAMPLES = (
    "/etc/passwd",
    "/etc/hosts",
    "/boot/x",
    "/usr/bin/ls",
    "/bin/ls",
    "/sbin/init",
    "/lib/x",
    "/opt/x",
    "/var/lib/x",
)
SECRET = re.compile(
    r"/etc/(?:shadow|gshadow|sudoers|master\.passwd)[^/]*|"
    r"(?:~|.*/)?/?\.ssh(?:/(?!(?:[^/]*\.pub|known_hosts[^/]*|config)$)|$)|(?:~|.*/)?/?\.aws/credentials|(?:~|.*/)?/?\.gnupg(?:/|$)|"
    r"(?:~|.*/)?/?\.(?:netrc|pgpass|git-credentials)$|(?:~|.*/)?/?\.docker/config\.json|(?:~|.*/)?/?\.kube/config|"
    r"(?:~|.*/)?/?\.config/(?:gcloud|gh)(?:/|$)|~/\.(?:aws|kube|docker)$|/proc/[^/]+/(?:task/[^/]+/)?mem$"
)
SAMPLES = (
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/sudoers",
    "~/.ssh/id_rsa",
    "~/.ssh/id_ed25519",
    "~/.ssh/id_ecdsa",
    "~/.aws/credentials",
    "~/.gnupg/secring.gpg",
    "~/.netrc",
    "~/.pgpass",
    "~/.docker/config.json",
    "~/.kube/config",
    "~/.git-credentials",
    "~/.config/gcloud/credentials.db",
    "~/.config/gh/hosts.yml",
    "/proc/self/mem",
)
SOUGHT = re.compile(r"id_(?:rsa|dsa|ecdsa|ed25519)|g?shadow-?|sudoers|\.(?:netrc|pgpass|git-credentials)")
DIRECTORY = re.compile(r"(?:^|/)\.(?:ssh|aws|kube|docker)$")


def refuse(call: Call) -> str | None:
    if call.name in RIGHTS and any(_outside(call, each) for each in _targets(call)):
        return "rights"
    if any(_system(each) for each in written(call)):
        return "system path"
    if _tells(call) or _sought(call):
        return "secret file"
    for path in paths.named(call):
        name = plain(path).casefold()
        if paths.matches(path, SECRET, SAMPLES) and not (DIRECTORY.search(name) and call.name in paths.LISTS):
            return "secret file"
    return None


def _tells(call: Call) -> bool:
    """Does it print what one of those files holds without naming it?"""
    if call.name in ("gpg", "gpg2"):
        return any(each.startswith("--export-secret") for each in call.flags)
    return call.name == "kubectl" and call.operands[:2] == ["config", "view"] and call.long("--raw")


def _sought(call: Call) -> bool:
    """Does a find hand such files to a command, wherever they lie?"""
    if call.name not in ("find", "gfind") or not {"-exec", "-execdir", "-ok", "-okdir"} & set(call.args):
        return False
    return any(
        (word in ("-name", "-iname") and SOUGHT.fullmatch(plain(after)))
        or (word in ("-path", "-ipath", "-wholename") and re.search(r"\.(?:ssh|aws|gnupg|kube)/", after))
        for word, after in itertools.pairwise(call.args)
    )


def _system(path: str) -> bool:
    lower = plain(path).casefold()
    if path == "/":
        return True
    if wildcard(path):
        return paths.matches(path, SYSTEM, SYSTEM_SAMPLES)
    return SYSTEM.match(lower) is not None


def _targets(call: Call) -> list[str]:
    operands = call.operands
    if call.name == "setfacl":
        return [each for each in operands if "/" in each or each in ("~", "..")]
    if call.name in ("chattr", "chmod") and not call.long("--reference"):
        symbolic = [each for each in call.flags if re.fullmatch(r"-[rwxXstugoa,+=-]+", each) and call.name == "chmod"]
        recursive = symbolic and all(set(each) <= set("-Rvcf") for each in symbolic)
        return operands if (symbolic and not recursive) or call.name == "chattr" else operands[1:]
    return operands[1:] if not call.long("--reference") else operands


def _outside(call: Call, target: str) -> bool:
    path = call.where(target)
    if path in ("~", "/") or path == ".." or path.startswith("../"):
        return True
    workspace = call.workspace.rstrip("/")
    if workspace and (path == workspace or path.startswith(workspace + "/")):
        return False
    return path.startswith(("/", "~"))

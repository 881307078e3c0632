"""Ways out of a container, and into the kernel."""

from __future__ import annotations

import re

from goclaw.security.shell import paths
from goclaw.security.shell.call import Call

SOCKETS = r"(?:.*/)?(?:docker|containerd|crio|podman|buildkitd)\.sock$"
KERNEL = (
    r"/proc/sys/(?:kernel|fs|net|vm)(?:/|$)|/sys/(?:kernel|fs|class|devices|firmware|module)(?:/|$)|"
    r"/proc/1/(?:root|ns|cwd)(?:/|$)|.*/release_agent$|/proc/sysrq-trigger$|/dev/(?:mem|kmem|kmsg|port)$"
)
PATHS = re.compile(f"{SOCKETS}|{KERNEL}")
SAMPLES = (
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/proc/sys/kernel/core_pattern",
    "/sys/kernel/debug",
    "/sys/fs/cgroup",
    "/proc/1/root",
    "/proc/sysrq-trigger",
    "/dev/mem",
    "/dev/kmem",
)
ENGINES = frozenset({"docker", "podman", "nerdctl", "ctr", "finch"})
STARTS = frozenset({"run", "create", "exec"})
FLAGS = ("--privileged", "--cap-add", "--device", "--security-opt", "--volumes-from", "--device-cgroup-rule")
SPACES = ("--pid", "--ipc", "--uts", "--userns", "--cgroupns", "--network", "--net")
SYSTEM = re.compile(r"/(?:(?:etc|boot|sys|proc|usr|bin|sbin|lib\w*|var|root|dev|run|home|opt)(?:/.*)?)?$")


def refuse(call: Call) -> str | None:
    if any(paths.matches(each, PATHS, SAMPLES) for each in _before(call)):
        return "kernel or engine"
    if call.name == "sysctl" and (call.short("wp") or any("=" in each for each in call.operands)):
        return "kernel or engine"
    if any(paths.matches(each, PATHS, SAMPLES) for each in _endpoints(call)):
        return "kernel or engine"
    if call.name in ENGINES and STARTS & set(call.operands[:4]):
        return _engine(call)
    return None


def _before(call: Call) -> list[str]:
    """Its paths, also as they are before `..` and links of /proc are followed."""
    raw = [each for each in (*call.args, *(target for _, target in call.redirects)) if re.match(r"/+proc/+1/", each)]
    skipped = paths.texts_only(call) if raw else []
    seen = [] if call.name in paths.TEXTS else [re.sub(r"/+", "/", each) for each in raw if each not in skipped]
    return paths.named(call) + seen


def _endpoints(call: Call) -> list[str]:
    """The paths of `unix://…`."""
    return [each.partition("unix://")[2] for each in call.args if "unix://" in each and call.name not in paths.TEXTS]


def _engine(call: Call) -> str | None:
    if call.long(*FLAGS) and (call.option("--privileged") or "") != "false":
        return "privileges"
    for name in SPACES:
        value = call.option(name)
        if value == "host" and name not in ("--network", "--net"):
            return "host namespace"
    for at, word in enumerate(call.args):
        value = call.args[at + 1] if at + 1 < len(call.args) else ""
        if word in ("--volume", "--mount") or re.fullmatch(r"-[a-zA-Z]*v", word):
            mount = value
        elif word.startswith(("--volume=", "--mount=")):
            mount = word.partition("=")[2]
        elif re.match(r"-v.", word) and not word.startswith("--"):
            mount = word[2:].removeprefix("=")
        else:
            continue
        if re.search(r"(?:^|,)(?:type|source|src)=", mount):
            found = re.search(r"(?:^|,)(?:source|src)=([^,]*)", mount)
            source = found[1] if found else ""
        else:
            source = mount.partition(":")[0] if ":" in mount else ""
        path = call.where(source) if source else ""
        inside = call.workspace and (path + "/").startswith(call.workspace.rstrip("/") + "/")
        if path and not inside and SYSTEM.match(path):
            return "bind mount"
    return None

"""What destroys files, disks or the machine's uptime."""

from __future__ import annotations

import re

from goclaw.security.shell import paths
from goclaw.security.shell.call import Call, base
from goclaw.security.shell.wrappers import peel
from goclaw.security.shell.writes import written

NAMES = re.compile(r"mkfs.*|mke2fs|mkswap|wipefs|shred|blkdiscard|diskpart|shutdown|reboot|poweroff|halt")
UNITS = frozenset({"poweroff", "reboot", "halt", "kexec", "suspend", "hibernate", "hybrid-sleep", "soft-reboot"})
PARTITIONS = frozenset(
    [
        "fdisk",
        "cfdisk",
        "sfdisk",
        "gdisk",
        "sgdisk",
        "parted",
        "hdparm",
        "badblocks",
        "cryptsetup",
        "debugfs",
        "e2fsck",
        "resize2fs",
        "tune2fs",
        "nvme",
    ]
)
REMOVES = ("--recursive", "--force", "--no-preserve-root")
DISK = re.compile(
    r"/dev/(?:[shv]d[a-z]\d*|xvd[a-z]\d*|nvme\d+.*|mmcblk\d+.*|disk.*|md\d+|dm-\d+|mapper/.*|loop\d+|r?disk\d.*|block/.*)$"
)
SAMPLES = ("/dev/sda", "/dev/sda1", "/dev/vda", "/dev/nvme0n1", "/dev/hda")


def refuse(call: Call) -> str | None:
    name = call.name
    if NAMES.fullmatch(name) and not (name == "shutdown" and call.args == ["--help"]):
        return "machine"
    if name == "rm" and (call.short("rRf") or any(_abbreviated(each) for each in call.flags)):
        return "recursive or forced"
    if name in ("find", "fd") and "-delete" in call.args:
        return "find -delete"
    if name in ("find", "fd", "xargs", "parallel") and any(
        each.words and base(each.words[0]) == "truncate" for each in peel(call)
    ):
        return "truncate of many"
    if name in ("init", "telinit") and call.operands[:1] in (["0"], ["6"]):
        return "machine"
    if name == "systemctl" and UNITS & set(call.operands[:1]):
        return "machine"
    if name == "loginctl" and UNITS & set(call.operands[:1]):
        return "machine"
    if name == "kexec" and call.args:
        return "machine"
    reads = call.short("lI") or call.long("--list", "--list-types") or "print" in call.operands
    if name in PARTITIONS and not reads and any(_disk(call.where(each)) for each in call.operands):
        return "block device"
    if name == "dd" and _dd(call):
        return "dd"
    if any(map(_disk, written(call))):
        return "block device"
    return _windows(call)


def _disk(path: str) -> bool:
    return paths.matches(path, DISK, SAMPLES)


def _abbreviated(word: str) -> bool:
    return word.startswith("--") and len(word) > 3 and any(name.startswith(word) for name in REMOVES)


def _dd(call: Call) -> bool:
    for word in call.args:
        if word.startswith("if="):
            return True
        if word.startswith("of=") and call.where(word[3:]).startswith("/dev/") and call.where(word[3:]) != "/dev/null":
            return True
    return False


def _windows(call: Call) -> str | None:
    flags = {each.casefold() for each in call.args}
    if call.name == "format" and any(re.fullmatch(r"[a-z]:", each) for each in flags):
        return "format"
    if call.name in ("del", "erase") and flags & {"/f", "/q", "/s"}:
        return "del"
    if call.name in ("rmdir", "rd") and "/s" in flags:
        return "rmdir"
    return None

"""Where the policy comes from, and what a new one holds. Contract: security.md §9.1, §9.2."""

from __future__ import annotations

import stat
from collections.abc import Collection
from pathlib import Path

from goclaw.security.plain_yaml import LARGEST, Mistake
from goclaw.security.policy import Policy
from goclaw.security.policy_text import PolicyInvalid, read

STARTER = """\
# What agents may do at all. Whatever is not listed here is denied; what is listed must still be allowed elsewhere.
# Changes count within two seconds. Check them first with: goclaw policy check
allow_capabilities: [tools.*, wasm.*, skill.inject, acp.*, agent.*]
allow_domains: ["*"]     # a host allows its sub-domains too; "*" is every public one
allow_paths: []          # directories besides the workspace: /srv/docs, or {path: /srv/docs, mode: ro}
allow_loopback: false
mcp:
  default: allow         # or deny, with rules such as {agent: coder, server: fs, tools: [read]}
"""
STRICT = """\
# What agents may do at all: nothing yet. List what they need; goclaw policy check says whether it is right.
allow_capabilities: []
allow_domains: []
allow_paths: []
allow_loopback: false
mcp:
  default: deny
  rules: []
"""
Shape = tuple[int, int, int, int]  # inode, size, time of change, mode
UNSEEN = (0, 0, 0, 0)  # it may be there


def shape(path: Path) -> Shape | None:
    """What tells one state of the file from another; None: it is not there."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return UNSEEN
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode


def load(path: Path, tools: Collection[str]) -> Policy:
    """The policy in a file. Raises PolicyInvalid, also for one that cannot be read or that others may write."""
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            raw = file.read(LARGEST + 1)
        text = raw.decode()
    except OSError as error:
        raise PolicyInvalid([Mistake(1, f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise PolicyInvalid([Mistake(1, "is not UTF-8 text")]) from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PolicyInvalid([Mistake(1, f"can be written by others: chmod go-w {path}")])
    return read(text, tools)

"""Which command lines are known: on an allow-list, or made of programs that only read and build.

Contract: tools.md §12.2. A line is what its simple commands are, all of them: `ls; curl …` is no `ls`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from goclaw.domain.approval import Known, Simple


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SAFE = words(
    """cat echo ls pwd head tail wc sort uniq grep find which whoami date uname hostname df du free uptime file stat
    dirname basename realpath jq yq sed awk tr cut diff patch tee xargs git node npm npx yarn pnpm bun deno python
    python3 pip pip3 go cargo rustc make cmake gcc g++ clang java javac mvn gradle test [ true false printf cd mkdir
    touch cp mv ln"""
)
BROAD = words(
    """sh bash dash zsh ksh ash mksh fish rbash csh tcsh busybox toybox eval source . exec command builtin python perl
    ruby node nodejs php lua deno bun bunx awk gawk mawk nawk sed env xargs find nohup setsid time timeout nice ionice
    chrt taskset stdbuf strace ltrace unbuffer caffeinate watch flock script parallel entr sudo su doas ssh scp sftp
    rsync curl wget nc ncat netcat socat telnet ftp git docker podman nerdctl kubectl terraform ansible helm psql mysql
    pip pipx uv uvx easy_install conda mamba micromamba poetry npm npx yarn pnpm apt apt-get aptitude dpkg yum dnf
    microdnf zypper rpm apk pacman brew port snap flatpak gem bundle cargo go composer luarocks cpanm make gradle
    mvn vim vi ex less man tar zip"""
)  # a yes to one use of these is no yes to all: they run what they are told, or reach other machines


def known(commands: Sequence[Simple], allowed: Collection[str], names: Collection[str] = ()) -> Known:
    """How much of a line is known. `allowed` are globs, on base names or whole texts; `names` are base names."""
    if not commands:
        return "unknown"
    missed = [one for one in commands if not (one.program in names or any(listed(one, glob) for glob in allowed))]
    if not missed:
        return "listed"
    return "safe" if all(one.program in SAFE for one in missed) else "unknown"


def listed(command: Simple, glob: str) -> bool:
    return (command.plain and matches(glob, command.name)) or matches(glob, command.text)


def matches(glob: str, text: str) -> bool:
    """Whether all of `text` fits; `*` is any text without a newline. Takes time in proportion to the lengths."""
    first, *rest = glob.split("*")
    if not rest:
        return text == glob
    if "\n" in text or not text.startswith(first):
        return False
    *middle, last = rest
    at = len(first)
    for part in middle:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(text) - len(last) >= at and text.endswith(last)


def broad(name: str) -> bool:
    """Whether a base name says little of what is done under it; `python3.12` is a `python`."""
    return name in BROAD or name.rstrip("0123456789.-") in BROAD

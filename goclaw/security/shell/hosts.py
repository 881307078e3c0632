"""Programs that run a command which stands somewhere among their arguments, or in a variable.

Where it stands is not known as it is with wrappers: every place is tried, and what is no command is nobody's.
Contract: security.md §3.2.
"""

from __future__ import annotations

import itertools
import re
import shlex
from dataclasses import dataclass

from goclaw.security.shell.call import Call


@dataclass(frozen=True, slots=True)
class Inner:
    """A command (`words`) or a shell text (`text`) that a wrapper runs."""

    words: tuple[str, ...] = ()
    text: str | None = None
    sets: tuple[str, ...] = ()
    reads: bool = True  # it gets the wrapper's standard input
    loose: bool = False  # it may be no command


TMUX = (
    "new", "new-session", "neww", "new-window", "splitw", "split-window", "send", "send-keys", "run", "run-shell",
    "if", "if-shell", "popup", "display-popup", "pipep", "pipe-pane", "respawnp", "respawn-pane", "respawnw",
    "respawn-window",
)  # fmt: skip
LOOSE: dict[str, tuple[str, ...]] = {  # a command stands somewhere behind one of these words, or anywhere
    "perf": ("stat", "record", "trace", "mem"),
    "tmux": TMUX,
    "rr": ("record",),
    "ip": ("exec",),
    "lxc": ("exec",),
    "lxc-attach": (),
    "ansible": (),
    **dict.fromkeys(
        ("bwrap", "proot", "screen", "hyperfine", "watchexec", "nodemon", "concurrently", "cargo-watch"), ()
    ),
    **dict.fromkeys(("start-stop-daemon", "run-one", "retry", "mpirun", "mpiexec", "srun", "onchange", "chokidar"), ()),
    **dict.fromkeys(("op", "dotenv", "doppler", "infisical", "chamber"), ("run",)),
    **dict.fromkeys(("aws-vault", "pyenv", "rbenv", "nodenv", "asdf", "direnv", "chamber"), ("exec",)),
}
TEXTS = {  # options whose value is a shell text
    "fzf": ("--preview", "--bind", "--execute"),
    "sg": ("-c",),
    "rsync": ("-e", "--rsh"),
    "inotifywait": (),
}
# variables whose value other programs start
PROGRAMS = re.compile(
    r"(?:GIT_|MAN|SYSTEMD_|AWS_|BAT_|DELTA_|PSQL_)?(?:PAGER|EDITOR)|GIT_SEQUENCE_EDITOR|VISUAL|BROWSER|LESSOPEN|LESSCLOSE|"
    r"FCEDIT|SUDO_EDITOR|RSYNC_RSH|CVS_RSH|FZF_DEFAULT_COMMAND|PSQL_EDITOR|SSH_ASKPASS|SUDO_ASKPASS|RUSTC_WRAPPER|"
    r"CC|CXX|MAKE|npm_config_script_shell"
)


def hosted(call: Call) -> list[Inner]:
    """What `call` may run; empty if it is none of them."""
    args = list(call.words[1:])
    if call.name in LOOSE and (not LOOSE[call.name] or set(LOOSE[call.name]) & set(args[:3])):
        return _anywhere(args)
    told = TEXTS.get(call.name, ())
    return [Inner(text=_run_by(word, after), loose=True) for word, after in options(args) if word in told]


def program(name: str, value: str) -> Inner | None:
    """What another program would start because the variable `name` is set; None if nothing is known to."""
    if name == "TAR_OPTIONS":
        return Inner(text=f"tar {value}", loose=True)
    if match := re.match(r"GIT_CONFIG_(?:KEY_\d+|PARAMETERS)$", name):
        return Inner(("git", "-c", f"{value}=!" if "KEY" in match[0] else value.strip("'")))
    if not PROGRAMS.fullmatch(name):
        return None
    return Inner(text=re.sub(r"^\s*\|?-?\s*", "", value), loose=True)


def _anywhere(args: list[str]) -> list[Inner]:
    found = [Inner(text=word, loose=True) for word in args if " " in word]
    words = [Inner(text=shlex.join(args[at:]), loose=True) for at in range(min(len(args) - 1, 16))]
    return found + [each for each, word in zip(words, args, strict=False) if not word.startswith("-")]


def options(args: list[str]) -> list[tuple[str, str]]:
    """Every option with the value it has, or would have."""
    pairs = list(itertools.pairwise([*args, ""]))
    return pairs + [(word.partition("=")[0], word.partition("=")[2]) for word in args if "=" in word]


def _run_by(option: str, value: str) -> str:
    """The command in a value; of `--bind key:execute(command)` what stands in the parentheses."""
    if option != "--bind":
        return value.replace("{}", "x")
    return "\n".join(re.findall(r"(?:execute|execute-silent|reload|preview|become|transform)\(([^)]*)\)", value))

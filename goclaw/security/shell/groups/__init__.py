"""The fifteen safety groups: one file each, with the rule that refuses a command. Contract: security.md §3.3."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from goclaw.security.shell.call import Call
from goclaw.security.shell.groups import (
    code_injection,
    container_escape,
    crypto_mining,
    dangerous_paths,
    data_exfiltration,
    destructive_ops,
    env_dump,
    env_injection,
    filter_bypass,
    network_recon,
    package_install,
    persistence,
    privilege_escalation,
    process_control,
    reverse_shell,
)

Rule = Callable[[Call], str | None]  # why the command is refused; None if this group has nothing against it

# In the order in which they are asked: the more particular group names a command that several refuse.
RULES: dict[str, Rule] = {
    "privilege_escalation": privilege_escalation.refuse,
    "env_injection": env_injection.refuse,
    "persistence": persistence.refuse,
    "container_escape": container_escape.refuse,
    "crypto_mining": crypto_mining.refuse,
    "destructive_ops": destructive_ops.refuse,
    "network_recon": network_recon.refuse,
    "reverse_shell": reverse_shell.refuse,
    "data_exfiltration": data_exfiltration.refuse,
    "process_control": process_control.refuse,
    "package_install": package_install.refuse,
    "env_dump": env_dump.refuse,
    "filter_bypass": filter_bypass.refuse,
    "dangerous_paths": dangerous_paths.refuse,
    "code_injection": code_injection.refuse,
}


def judge(call: Call) -> Iterator[tuple[str, str]]:
    """Every group that refuses the command by itself, and why."""
    for group, rule in RULES.items():
        if (why := rule(call)) is not None:
            yield group, why

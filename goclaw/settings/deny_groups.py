"""Safety groups of the shell guard. Contract: security.md §3.3, §3.4; config-cli.md §4.6."""

from __future__ import annotations

import msgspec

from goclaw.settings.section import Section


class ShellDenyGroups(Section, frozen=True):
    """What commands of agents may not do. false lets them; an agent's own wins, group by group."""

    destructive_ops: bool = True
    data_exfiltration: bool = True
    reverse_shell: bool = True
    code_injection: bool = True
    privilege_escalation: bool = True
    dangerous_paths: bool = True
    env_injection: bool = True
    container_escape: bool = True
    crypto_mining: bool = True
    filter_bypass: bool = True
    network_recon: bool = True
    package_install: bool = True
    persistence: bool = True
    process_control: bool = True
    env_dump: bool = True

    @property
    def named(self) -> dict[str, bool]:
        return msgspec.structs.asdict(self)

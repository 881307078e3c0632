"""Scanners, remote shells and tunnels."""

from __future__ import annotations

import re

from goclaw.security.shell.call import Call

NAMES = frozenset(
    [
        "nmap",
        "masscan",
        "zmap",
        "rustscan",
        "naabu",
        "arp-scan",
        "hping3",
        "ngrok",
        "cloudflared",
        "chisel",
        "frp",
        "frpc",
        "frps",
        "bore",
        "localtunnel",
        "lt",
        "zrok",
        "autossh",
        "sshuttle",
        "mosh",
        "sshpass",
        "pssh",
        "unicornscan",
        "netdiscover",
        "nikto",
        "gobuster",
        "ffuf",
        "feroxbuster",
        "dirb",
        "sqlmap",
        "hydra",
        "medusa",
        "nbtscan",
        "nuclei",
        "amass",
        "subfinder",
        "wpscan",
        "dbclient",
        "plink",
        "rsh",
        "rlogin",
        "rexec",
        "sshfs",
        "ssh-copy-id",
        "pdsh",
        "parallel-ssh",
        "clush",
        "inlets",
        "rathole",
        "gost",
        "pagekite",
        "ligolo-agent",
    ]
)
REMOTE = re.compile(r"(?!/|\./|[A-Za-z]:\\)[^/]*:")


def refuse(call: Call) -> str | None:
    if call.name in NAMES:
        return "scanner or tunnel"
    if call.name == "fping" and call.short("g"):
        return "scanner or tunnel"
    if call.name == "tailscale" and call.operands[:1] in (["funnel"], ["serve"], ["up"], ["ssh"]):
        return "scanner or tunnel"
    if call.name in ("ssh", "slogin") and call.operands:
        return "remote shell"
    if call.name in ("scp", "sftp") and any(
        REMOTE.match(each) or "@" in each or "://" in each for each in call.operands
    ):
        return "remote copy"
    if call.name == "sftp" and call.operands:
        return "remote copy"
    return None

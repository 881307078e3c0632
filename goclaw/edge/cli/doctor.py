"""`goclaw doctor`: is this installation fit to run? Contract: config-cli.md §12."""

from __future__ import annotations

import errno
import http.client
import json
import os
import platform
import resource
import shutil
import socket
import stat
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from goclaw import __version__
from goclaw.domain.errors import StartupFatal
from goclaw.edge.cli.address import local_address
from goclaw.settings.load import Loaded, load, undecided
from goclaw.settings.problems import ConfigInvalid

if TYPE_CHECKING:
    from goclaw.stores.providers import ProviderRow

ROOM = 500 * 1024 * 1024  # bytes free on every disk we write to
SPARE_FILES = 512  # open files beside the sockets
HEALTH = 3.0  # seconds


class Result(msgspec.Struct, frozen=True):
    name: str
    status: Literal["PASS", "WARN", "FAIL", "SKIP"]
    message: str
    detail: str = ""


def examine(
    config: Path | None, environ: Mapping[str, str], flags: Mapping[str, str], *, security: bool = False
) -> list[Result]:
    """Run every check, those of `security` if asked. Without a valid configuration there is nothing to look at."""
    results = [_version()]
    try:
        loaded = load(config, environ, flags)
    except ConfigInvalid as invalid:
        problems = "\n".join(str(problem) for problem in invalid.problems)
        return [*results, Result("config", "FAIL", f"{invalid.path} has {len(invalid.problems)} problem(s)", problems)]
    checks = (_config, _store, _limits, _provider, _directories, _port, _gateway)
    results += [check(loaded) for check in checks]
    if security:
        from goclaw.edge.cli import doctor_security

        results += doctor_security.examine(loaded)
    return results


def report(results: list[Result]) -> dict[str, Any]:
    system = {
        "os": platform.system(),
        "arch": platform.machine(),
        "python": platform.python_version(),
        "version": __version__,
    }
    return {"timestamp": datetime.now(UTC), "system": system, "results": results}


def _version() -> Result:
    message = f"goclaw v{__version__}, Python {platform.python_version()}"
    return Result("version", "PASS" if sys.version_info >= (3, 11) else "FAIL", message)


def _config(loaded: Loaded) -> Result:
    warnings = list(loaded.warnings)
    if loaded.path.exists() and stat.S_IMODE(loaded.path.stat().st_mode) & 0o077:
        warnings.append(f"{loaded.path} can be read by others: chmod 600 {loaded.path}")
    found = f"{loaded.path} is valid" if loaded.path.exists() else f"no {loaded.path}, using defaults"
    return Result("config", "WARN" if warnings else "PASS", "; ".join([found, *warnings]), loaded.fingerprint)


def _store(loaded: Loaded) -> Result:
    """An external database must answer. The embedded one runs with the gateway, so only its chances are checked."""
    database = loaded.settings.database
    if database.mode == "embedded":
        if os.geteuid() == 0 and not _user_namespaces():
            return Result("store", "FAIL", "embedded PostgreSQL cannot run as root here: run as an ordinary user")
        return Result("store", "PASS", f"embedded PostgreSQL in {database.embedded.dir}")
    from goclaw.edge.cli.migrate import schema_version

    try:
        schema = schema_version(loaded)
    except StartupFatal as fatal:
        return Result("store", "FAIL", fatal.detail, fatal.hint)
    if schema.pending:
        return Result(
            "store", "WARN", f"external PostgreSQL, {len(schema.pending)} migration(s) pending: goclaw migrate up"
        )
    return Result("store", "PASS", f"external PostgreSQL, schema {schema.current:04}")


def _user_namespaces() -> bool:
    try:
        return Path("/proc/sys/user/max_user_namespaces").read_text().strip() != "0"
    except OSError:
        return False


def _limits(loaded: Loaded) -> Result:
    needed = loaded.settings.gateway.max_ws_connections + SPARE_FILES
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < needed:
        return Result(
            "limits", "WARN", f"{limit} open files allowed, {needed} needed: ulimit -n {needed}", f"hard {most}"
        )
    return Result("limits", "PASS", "open files allowed: " + ("any" if limit == resource.RLIM_INFINITY else str(limit)))


def _provider(loaded: Loaded) -> Result:
    from goclaw.providers.choose import default_provider
    from goclaw.providers.rows import lineup

    rows = _added(loaded)
    everybody = lineup(loaded.settings.providers, rows)
    chosen = default_provider(everybody, undecided(loaded).settings.agents.defaults)
    keyed = [name for name, vendor in everybody.named.items() if vendor.keys and vendor.enabled]
    if chosen == "offline":
        return Result("provider", "WARN", "offline only: no language model; set OPENAI_API_KEY or another key")
    keys = "keys set: " + (", ".join(keyed) or "none")
    return Result("provider", "PASS", f"default {chosen}; {keys}", f"{len(rows)} added to the store" if rows else "")


def _added(loaded: Loaded) -> list[ProviderRow]:
    """Vendors that operators added. None if the store does not say: an embedded one only does beside its gateway."""
    import psycopg

    from goclaw.domain.access import MASTER_TENANT
    from goclaw.edge.cli.migrate import with_database
    from goclaw.stores import providers

    if loaded.settings.database.mode == "embedded" and _health(loaded) is None:
        return []
    try:
        return with_database(loaded, lambda db: providers.page(db, tenant=MASTER_TENANT))
    except (StartupFatal, psycopg.Error):  # the check of the store says why
        return []


def _directories(loaded: Loaded) -> Result:
    settings = loaded.settings
    small = []
    for wanted in (loaded.home, settings.data_dir, settings.agents.defaults.workspace):
        there = next(place for place in (wanted, *wanted.parents) if place.exists())
        if not there.is_dir():
            return Result("directories", "FAIL", f"{there} is a file, {wanted} cannot be made")
        if not os.access(there, os.W_OK | os.X_OK):
            return Result("directories", "FAIL", f"{there} cannot be written")
        if (free := shutil.disk_usage(there).free) < ROOM:
            small.append(f"{wanted}: {free // 2**20} MiB free")
    return Result("directories", "WARN" if small else "PASS", "; ".join(small) or "writable, with room")


def _port(loaded: Loaded) -> Result:
    gateway = loaded.settings.gateway
    if _health(loaded) is not None:
        return Result("port", "PASS", f"{gateway.port} is held by this gateway")
    family = socket.AF_INET6 if ":" in gateway.bind_host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((gateway.bind_host, gateway.port))
        except OSError as error:
            why = "in use by another program" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            return Result("port", "FAIL", f"{gateway.bind_host}:{gateway.port} {why}")
    return Result("port", "PASS", f"{gateway.bind_host}:{gateway.port} is free")


def _gateway(loaded: Loaded) -> Result:
    health = _health(loaded)
    if health is None:
        return Result("gateway", "SKIP", "not running")
    status = str(health.get("status", "unknown"))
    return Result("gateway", "PASS" if status == "ok" else "WARN", f"running at {local_address(loaded)}, {status}")


def _health(loaded: Loaded) -> dict[str, Any] | None:
    """What /healthz of the gateway here says; None if nothing like a gateway answers."""
    connection = http.client.HTTPConnection(local_address(loaded), timeout=HEALTH)
    try:
        connection.request("GET", "/healthz")
        answer = json.loads(connection.getresponse().read(64 * 1024))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None

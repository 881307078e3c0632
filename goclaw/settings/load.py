"""From flags, variables, `.env.local`, the file and defaults to one checked snapshot. Contract: config-cli.md §1."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from goclaw.settings import file
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.build import Builder
from goclaw.settings.compaction import Compaction, with_aliases
from goclaw.settings.convert import Given, Unfit, expand
from goclaw.settings.environment import ENV_FILE, read_env_file, settings_in
from goclaw.settings.keys import entries, fields
from goclaw.settings.problems import ConfigInvalid, Problem
from goclaw.settings.providers import OFFLINE, first_usable
from goclaw.settings.section import Secret
from goclaw.settings.security import door_of
from goclaw.settings.settings import Settings

REFERENCE = re.compile(r"env:([A-Za-z_]\w*)|\$([A-Za-z_]\w*)", re.ASCII)
SECRET = re.compile(r"(^|[._])(api_keys?|token)$")  # keys of the file; config-cli.md S3.1
SEVERAL = re.compile(r"\.(api_keys|headers)$")  # … that hold more than one
TOKEN_FILE = "auth.token"  # noqa: S105 - a name in GOCLAW_HOME
KEY_FILE = "encryption.key"  # in the data directory


class Trial(Struct, frozen=True):
    """What the two files would say; None: what they do say."""

    config: bytes | None = None
    secrets: bytes | None = None  # .env.local


class Loaded(Struct, frozen=True):
    """A configuration that passed every check. The file at `path` need not exist."""

    settings: Settings
    path: Path
    home: Path
    origins: dict[str, str]  # dotted key → where its value came from
    warnings: tuple[str, ...] = ()
    production: bool = False  # GOCLAW_ENV says so
    crash_at: str = ""  # GOCLAW_CRASH_AT, for proofs
    auth_base: str = ""  # GOCLAW_OPENAI_AUTH_BASE, for proofs
    reread: Callable[[Trial], Loaded] | None = None  # `load` once more; a closure, for what it holds must not print

    @property
    def fingerprint(self) -> str:
        """First 12 hex of the SHA-256 over all values; a changed secret is a changed configuration."""
        values = msgspec.json.encode(list(entries(self.settings)), enc_hook=_plain)
        return hashlib.sha256(values).hexdigest()[:12]

    def again(self, trial: Trial = Trial()) -> Loaded:  # noqa: B008 - frozen
        """As it is by now, or would be. Raises ConfigInvalid."""
        return self.reread(trial) if self.reread is not None else self


def load(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, str]) -> Loaded:
    """Read the configuration; `flags` are texts by dotted key and win over everything.

    Without `path`: GOCLAW_CONFIG, then config.json here, then config.json in GOCLAW_HOME.
    Raises ConfigInvalid with all problems at once.
    """
    try:
        home = expand(environ.get("GOCLAW_HOME") or "~/.goclaw", environ)
        named = expand(str(path or environ["GOCLAW_CONFIG"]), environ) if path or environ.get("GOCLAW_CONFIG") else None
    except Unfit as unfit:
        raise ConfigInvalid(path or Path("config.json"), [Problem("", str(unfit))]) from None
    here = Path("config.json").absolute()
    config = named or (here if here.exists() else home / "config.json")
    loaded = _read(config, home, dict(environ), dict(flags), Trial())
    if named and not named.exists():
        return replace(loaded, warnings=(f"{named} does not exist, using defaults", *loaded.warnings))
    return loaded


def _read(config: Path, home: Path, environ: dict[str, str], flags: dict[str, str], trial: Trial) -> Loaded:
    """What the two files, variables and flags come to. Raises ConfigInvalid."""
    warnings: list[str] = []
    secrets, problems, more = read_env_file(config.parent / ENV_FILE, trial.secrets)
    warnings += more
    variables = {**secrets, **environ}
    from_file, found = file.read(config, trial.config)
    problems += found
    from_file, more = _resolved(from_file, variables)
    warnings += more
    rows = {key.split(".")[1] for key in from_file if key.startswith("providers.")} - {"offline", "allow_private"}
    from_variables, found, more = settings_in(variables, secrets.keys() - environ.keys(), rows)
    problems += found
    warnings += more
    from_flags = {key: Given(text, "--" + key.split(".")[-1], "flag", text=True) for key, text in flags.items()}
    given = made_token(home) | from_file | from_variables | from_flags

    builder = Builder(given, {**variables, "GOCLAW_HOME": str(home)})
    data_dir = builder.value("data_dir", fields(Settings)["data_dir"])  # first: other paths lie below it
    builder.variables["GOCLAW_DATA_DIR"] = str(data_dir)
    settings = builder.section(Settings)
    env = variables.get("GOCLAW_ENV", "").strip().lower()
    problems += builder.problems or _contradictions(settings, given, env)
    production = env == "production"
    crash_at = environ.get("GOCLAW_CRASH_AT", "")
    if crash_at and production:
        problems.append(Problem("GOCLAW_CRASH_AT", "GOCLAW_CRASH_AT is for tests, never with GOCLAW_ENV=production"))
    if problems:
        raise ConfigInvalid(config, list(dict.fromkeys(problems)))
    origins = {key: given[key].origin if key in given else "default" for key, _ in entries(settings)}
    settings = _with_made_key(_computed(settings, origins), origins)
    auth_base = variables.get("GOCLAW_OPENAI_AUTH_BASE", "")
    return Loaded(
        settings,
        config,
        home,
        origins,
        tuple(warnings),
        production,
        crash_at,
        auth_base,
        lambda trial: _read(config, home, environ, flags, trial),
    )


def made_token(home: Path) -> dict[str, Given]:
    """The token of an earlier start (`onboard`), which counts until somebody sets one."""
    try:
        text = (home / TOKEN_FILE).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return {}
    return {"gateway.token": Given(text, TOKEN_FILE, TOKEN_FILE)} if text else {}


def _with_made_key(settings: Settings, origins: dict[str, str]) -> Settings:
    """The encryption key of an earlier start (`keep_key`) counts until somebody sets one, and opens what it sealed."""
    try:
        made = (settings.data_dir / KEY_FILE).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return settings
    encryption = settings.encryption
    if not encryption.key:
        origins["encryption.key"] = KEY_FILE
        encryption = replace(encryption, key=Secret(made))
    elif made and made != encryption.key.reveal().strip():
        encryption = replace(encryption, old_keys=Secret(",".join([*encryption.former, made])))
    return replace(settings, encryption=encryption)


def _resolved(given: dict[str, Given], variables: Mapping[str, str]) -> tuple[dict[str, Given], list[str]]:
    """Replace `env:NAME` and `$NAME` by the variable; an unset one leaves the default, with a warning.

    Literal secrets get a warning too (config-cli.md S3.3).
    """
    resolved = dict(given)
    warnings: list[str] = []
    for key, one in given.items():
        if SEVERAL.search(key) and isinstance(one.value, list | dict):
            resolved[key] = one = replace(one, value=_each(one, variables, warnings), hidden=True)
        reference = REFERENCE.fullmatch(one.value) if isinstance(one.value, str) else None
        if reference is None:
            if SECRET.search(key) and one.value:
                warnings.append(
                    f'{one.where} is a secret written in the file: move it to .env.local and use "env:NAME"'
                )
            continue
        name = reference[1] or reference[2]
        if variables.get(name):
            where = f"{one.where} ({name})"
            resolved[key] = Given(variables[name], where, f"{one.origin} {name}", one.line, text=True, hidden=True)
        else:
            del resolved[key]
            warnings.append(f"{one.where}: variable {name} is not set, so the key is empty")
    return resolved, warnings


def _each(given: Given, variables: Mapping[str, str], warnings: list[str]) -> Any:
    """The values of a list or an object, with variables in place of their names."""

    def meant(value: Any) -> Any:
        reference = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        name = reference and (reference[1] or reference[2])
        if name and not variables.get(name):
            warnings.append(f"{given.where}: variable {name} is not set, so the value is empty")
        return variables.get(name, "") if name else value

    if isinstance(given.value, dict):
        return {key: meant(value) for key, value in given.value.items()}
    return [meant(value) for value in given.value]


def _computed(settings: Settings, origins: dict[str, str]) -> Settings:
    """Fill in what follows from the rest: storage, provider and model (config-cli.md §9.3)."""
    database, defaults = settings.database, settings.agents.defaults
    if database.mode == "auto":
        database = replace(database, mode="external" if database.dsn else "embedded")
        origins["database.mode"] = "computed"
    if not defaults.provider:
        defaults = replace(defaults, provider=first_usable(settings.providers))
        origins["agents.defaults.provider"] = "computed"
    vendor = settings.providers.named.get(defaults.provider)
    if not defaults.model and vendor and vendor.models:
        defaults = replace(defaults, model=vendor.models[0])
        origins["agents.defaults.model"] = "computed"
    compaction = _compaction(defaults, origins)
    defaults = replace(defaults, compaction=compaction)
    return replace(settings, database=database, agents=replace(settings.agents, defaults=defaults))


def _compaction(defaults: AgentDefaults, origins: dict[str, str]) -> Compaction:
    """With what its other names say, where it says nothing itself (agent-loop.md §13.1)."""
    changes = with_aliases(defaults.compaction, defaults.context_compaction)
    for name in list(changes):
        if origins[f"agents.defaults.compaction.{name}"] != "default":
            del changes[name]
        else:
            origins[f"agents.defaults.compaction.{name}"] = "computed"
    return replace(defaults.compaction, **changes)


def undecided(loaded: Loaded) -> Loaded:
    """A gateway that has no vendor yet: not decided for offline, since an operator may add one while it runs."""
    defaults = loaded.settings.agents.defaults
    if loaded.origins["agents.defaults.provider"] != "computed" or defaults.provider != OFFLINE:
        return loaded
    agents = replace(loaded.settings.agents, defaults=replace(defaults, provider=""))
    return replace(loaded, settings=replace(loaded.settings, agents=agents))


def _contradictions(settings: Settings, given: Mapping[str, Given], env: str) -> list[Problem]:
    """What is wrong although each value is right."""
    problems = []

    def wrong(key: str, message: str) -> None:
        one = given.get(key)
        problems.append(Problem(key, f"{one.where if one else key}: {message}", one.line if one else None))

    database, gateway = settings.database, settings.gateway
    if database.mode == "external" and not database.dsn:
        wrong("database.mode", "asks for a database of yours, but GOCLAW_POSTGRES_DSN is not set")
    if database.mode == "embedded" and database.dsn:
        wrong("database.mode", "asks for the embedded database, but GOCLAW_POSTGRES_DSN is set: unset one of them")
    if gateway.require_token and gateway.dev_mode and "gateway.token" in given:
        wrong("gateway.require_token", "is true, but the token is empty: set GOCLAW_GATEWAY_TOKEN")
    ssrf = settings.security.ssrf
    for key, read in (("allow_hosts", door_of), ("allow_cidrs", ip_network)):
        for entry in getattr(ssrf, key):
            try:
                read(entry)
            except ValueError as error:
                wrong(f"security.ssrf.{key}", str(error))
    if ssrf.test_hosts and env != "test":
        wrong("security.ssrf.test_hosts", "is for tests: needs GOCLAW_ENV=test")
    defaults = settings.agents.defaults
    answers = settings.providers.named.get(defaults.provider or first_usable(settings.providers))
    able = answers is None or (answers.protocol == "responses" and answers.supports_responses_compact)
    if defaults.compaction.mode == "responses_compact" and not able:
        needs = "asks for what the default provider cannot: protocol responses and supports_responses_compact"
        wrong("agents.defaults.compaction.mode", needs)
    return problems


def _plain(value: Any) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value)

"""Variables of the process and of `.env.local`, as settings. Contract: config-cli.md §1, §3, §5."""

from __future__ import annotations

import re
import stat
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from goclaw.settings.convert import Given
from goclaw.settings.document import LARGEST
from goclaw.settings.problems import Problem, nearest, quoted
from goclaw.settings.providers import KEYED

VARIABLES = {
    "GOCLAW_DATA_DIR": "data_dir",
    "GOCLAW_GATEWAY_TOKEN": "gateway.token",
    "GOCLAW_HOST": "gateway.host",
    "GOCLAW_PORT": "gateway.port",
    "GOCLAW_OWNER_IDS": "gateway.owner_ids",
    "GOCLAW_ALLOWED_ORIGINS": "gateway.allowed_origins",
    "GOCLAW_DRAIN_SEC": "gateway.drain_sec",
    "GOCLAW_POSTGRES_DSN": "database.dsn",
    "GOCLAW_ENCRYPTION_KEY": "encryption.key",
    "GOCLAW_ENCRYPTION_KEY_OLD": "encryption.old_keys",
    "GOCLAW_STORAGE_BACKEND": "database.mode",
    "GOCLAW_MODE": "database.mode",
    "GOCLAW_DB_POOL": "database.pool_max",
    "GOCLAW_NODE_NAME": "cluster.node_name",
    "GOCLAW_WORKSPACE": "agents.defaults.workspace",
    "GOCLAW_PROVIDER": "agents.defaults.provider",
    "GOCLAW_MODEL": "agents.defaults.model",
    "GOCLAW_LANE_DELEGATE": "queue.lanes.team",  # the old name; the new one below wins
    "GOCLAW_WORKER_COUNT": "queue.lanes.main",
    "GOCLAW_LANE_MAIN": "queue.lanes.main",
    "GOCLAW_LANE_SUBAGENT": "queue.lanes.subagent",
    "GOCLAW_LANE_TEAM": "queue.lanes.team",
    "GOCLAW_LANE_CRON": "queue.lanes.cron",
    "GOCLAW_LOG_LEVEL": "logging.level",
    "GOCLAW_OLLAMA_HOST": "providers.ollama.api_base",
    "GOCLAW_CLAUDE_CLI_PATH": "providers.claude_cli.cli_path",
    "GOCLAW_CLAUDE_CLI_MODEL": "providers.claude_cli.model",
    "GOCLAW_CLAUDE_CLI_WORK_DIR": "providers.claude_cli.base_work_dir",
    # plain names of other tools; the prefixed one wins (providers.md §2)
    "ANTHROPIC_API_KEY": "providers.anthropic.api_key",
    "GEMINI_API_KEY": "providers.gemini.api_key",
    "OPENAI_API_KEY": "providers.openai.api_key",
    "OPENROUTER_API_KEY": "providers.openrouter.api_key",
    # who searches the web (tools.md §11)
    "BRAVE_API_KEY": "tools.web.brave.api_key",
    "EXA_API_KEY": "tools.web.exa.api_key",
    "PERPLEXITY_API_KEY": "tools.web.perplexity.api_key",
    "TAVILY_API_KEY": "tools.web.tavily.api_key",
}
OLD = {"GOCLAW_LANE_DELEGATE": "GOCLAW_LANE_TEAM"}  # names that still work, and what they are called now
WORDS = {  # variables with words of their own
    "GOCLAW_STORAGE_BACKEND": {"auto": "auto", "embedded": "embedded", "postgres": "external"},
    "GOCLAW_MODE": {"standalone": "embedded", "managed": "external"},
}
ELSEWHERE = {
    "GOCLAW_ACTOR_DEBUG",
    "GOCLAW_CONFIG",
    "GOCLAW_CRASH_AT",
    "GOCLAW_ENV",
    "GOCLAW_GATEWAY_URL",
    "GOCLAW_HOME",
    "GOCLAW_OPENAI_AUTH_BASE",
    "GOCLAW_TOKEN",
}  # read by load, by clients and by the actor kernel
PROVIDER = {"API_KEY": "api_key", "API_BASE": "api_base", "BASE_URL": "api_base"}  # GOCLAW_<NAME>_…

OLLAMA_PORT = "11434"
ENV_FILE = ".env.local"  # beside the configuration
CONTAINER = Path("/.dockerenv")  # there in a container
LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)", re.ASCII)


def settings_in(
    variables: Mapping[str, str], from_env_file: Container[str], rows: Iterable[str]
) -> tuple[dict[str, Given], list[Problem], list[str]]:
    """What variables set, what is wrong with them, and a warning for every GOCLAW_ name nobody knows.

    An empty variable is an unset one, except GOCLAW_GATEWAY_TOKEN, where empty asks for dev mode.
    `rows` are providers of the file: they have variables like the known ones do. `from_env_file` names the
    variables that came from there.
    """
    given: dict[str, Given] = {}
    problems: list[Problem] = []
    known = VARIABLES | {
        f"GOCLAW_{name.upper()}_{suffix}": f"providers.{name}.{field}"
        for name in (*KEYED, *rows)
        for suffix, field in PROVIDER.items()
    }
    for variable, key in known.items():
        value = variables.get(variable, "")
        if variable in WORDS and value:
            word = WORDS[variable].get(value.strip().lower())
            if word is None:
                words = ", ".join(WORDS[variable])
                problems.append(Problem(variable, f"{variable}: expected one of {words}, found {quoted(value)}"))
                continue
            value = "" if word == "auto" else word
        if value or (variable == "GOCLAW_GATEWAY_TOKEN" and variable in variables):
            if not _is_unicode(value):
                problems.append(Problem(variable, f"{variable}: expected UTF-8 text"))
                continue
            if variable == "GOCLAW_OLLAMA_HOST":
                value = _ollama(value)
            origin = (".env.local:" if variable in from_env_file else "env:") + variable
            given[key] = Given(value, variable, origin, text=True)
    unknown = sorted(name for name in variables if name.startswith("GOCLAW_") and name not in known.keys() | ELSEWHERE)
    warnings = [f"variable {old} is the old name of {new}" for old, new in OLD.items() if variables.get(old)]
    for name in unknown:
        suggestion = nearest(name, known.keys() | ELSEWHERE)
        hint = f' (did you mean "{suggestion}"?)' if suggestion else ""
        warnings.append(f"variable {name} is not known{hint}")
    return given, problems, warnings


def read_env_file(path: Path, raw: bytes | None = None) -> tuple[dict[str, str], list[Problem], list[str]]:
    """The NAME=VALUE lines of `.env.local`; a missing file has none. Warns unless only its owner may read it.

    With `raw` that is what it is taken to say.
    """
    mode = 0o600
    try:
        if raw is None:
            with path.open("rb") as file:
                mode = stat.S_IMODE(path.stat().st_mode)
                raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            return {}, [Problem(path.name, f"{path.name} is larger than 1 MiB")], []
        text = raw.decode()
    except (FileNotFoundError, NotADirectoryError):
        return {}, [], []
    except OSError as error:
        return {}, [Problem(path.name, f"{path.name} cannot be read: {error.strerror}")], []
    except UnicodeDecodeError:
        return {}, [Problem(path.name, f"{path.name} is not UTF-8 text")], []
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        if match := LINE.fullmatch(entry):
            values[match[1]] = unquoted(match[2])
        else:  # the line may hold a secret, so it is not shown
            problems.append(Problem(path.name, f"{path.name} at line {number}: expected NAME=VALUE", number))
    private = mode & 0o077 == 0
    return values, problems, [] if private else [f"{path} can be read by others: chmod 600 {path}"]


def _ollama(host: str) -> str:
    """The address of an Ollama from its `host`, read as Ollama reads it: a bare name means its own port.

    In a container this machine is outside.
    """
    base = urlsplit(host.strip() if "//" in host else f"http://{host.strip()}")
    port = base.netloc.rpartition(":")[2] if base.netloc.rpartition(":")[2].isdigit() else ""
    port = port or ("" if "//" in host else OLLAMA_PORT)
    inside = base.hostname in ("localhost", "127.0.0.1", "::1", "0.0.0.0") and CONTAINER.exists()  # noqa: S104
    name = "host.docker.internal" if inside else base.netloc.removesuffix(f":{port}")
    place = f"{name}:{port}" if port else name
    return f"{base.scheme}://{place}{base.path.rstrip('/').removesuffix('/v1')}/v1"


def unquoted(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'" else value


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)

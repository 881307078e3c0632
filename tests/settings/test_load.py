"""The configuration as an operator meets it: what is read from where, and what the mistakes say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goclaw.settings.keys import entries
from goclaw.settings.load import Loaded, load
from goclaw.settings.problems import ConfigInvalid
from goclaw.settings.providers import ModelInfo
from goclaw.settings.settings import Settings
from goclaw.settings.telemetry import ModelPrice

Load = Callable[..., Loaded]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def read(home: Path, tmp_path: Path) -> Load:
    """Load a configuration text with nothing else around it."""

    def loading(text: str = "{}", flags: dict[str, str] | None = None, **variables: str) -> Loaded:
        path = tmp_path / "config.json"
        path.write_text(text, encoding="utf-8")
        return load(path, {"GOCLAW_HOME": str(home), **variables}, flags or {})

    return loading


def value(loaded: Loaded, key: str) -> object:
    return dict(entries(loaded.settings))[key]


def problems(read: Load, text: str = "{}", **variables: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        read(text, **variables)
    return [str(problem) for problem in caught.value.problems]


def refusal(read: Load, text: str) -> list[str] | None:
    """What a refused text is told, None for one that is loaded. Anything but ConfigInvalid fails the test."""
    try:
        read(text)
    except ConfigInvalid as invalid:
        return [str(problem) for problem in invalid.problems]
    return None


def test_a_channel_may_say_how_its_turns_wait(read: Load) -> None:
    queue = read('{queue: {cap: 4, channels: {slack: {debounceMs: "300ms", mode: "followup"}}}}').settings.queue

    slack = queue.of_channel("slack")
    assert (slack.debounce_ms, slack.mode, slack.cap, queue.of_channel("telegram").cap) == (300, "followup", None, None)
    assert problems(read, '{queue: {channels: {slack: {cap: 0, mode: "inject"}}}}') == [
        'queue.channels.slack.mode at line 1: expected one of queue, followup, interrupt, found "inject"',
        "queue.channels.slack.cap at line 1: expected a whole number from 1 to 1000, found 0",
    ]


def test_without_a_file_everything_has_its_default(home: Path) -> None:
    loaded = load(None, {"GOCLAW_HOME": str(home)}, {})

    assert loaded.path == home / "config.json"
    assert loaded.settings.data_dir == home / "data"
    assert loaded.settings.database.embedded.dir == home / "data/pg"
    assert loaded.settings.agents.defaults.workspace == home / "workspace"
    assert (loaded.settings.gateway.port, loaded.settings.agents.defaults.provider) == (18790, "offline")
    assert (loaded.settings.database.mode, loaded.origins["database.mode"]) == ("embedded", "computed")
    assert loaded.warnings == ()


def test_the_file_is_looked_for_in_four_places(home: Path, tmp_path: Path) -> None:
    def port(path: Path | None, **variables: str) -> int:
        return load(path, {"GOCLAW_HOME": str(home), **variables}, {}).settings.gateway.port

    def write(path: Path, number: int) -> Path:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{{gateway: {{port: {number}}}}}")
        return path

    write(home / "config.json", 1)
    assert port(None) == 1
    write(tmp_path / "config.json", 2)
    assert port(None) == 2
    named = write(tmp_path / "named.json", 3)
    assert port(None, GOCLAW_CONFIG=str(named)) == 3
    assert port(write(tmp_path / "flag.json", 4), GOCLAW_CONFIG=str(named)) == 4


def test_a_named_file_that_is_missing_is_a_warning(home: Path, tmp_path: Path) -> None:
    loaded = load(tmp_path / "typo.json", {"GOCLAW_HOME": str(home)}, {})

    assert loaded.warnings == (f"{tmp_path / 'typo.json'} does not exist, using defaults",)


def test_flag_beats_environment_beats_env_local_beats_file(read: Load, tmp_path: Path) -> None:
    text, secrets = "{gateway: {port: 1}}", tmp_path / ".env.local"

    assert value(read(text), "gateway.port") == 1
    secrets.write_text("# ports\nexport GOCLAW_PORT='2'\n")
    secrets.chmod(0o600)
    assert value(read(text), "gateway.port") == 2
    assert value(read(text, GOCLAW_PORT="3"), "gateway.port") == 3
    loaded = read(text, {"gateway.port": "4"}, GOCLAW_PORT="3")
    assert (value(loaded, "gateway.port"), loaded.origins["gateway.port"]) == (4, "flag")


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("{gateway: {maxMessageChars: 500}}", "gateway.max_message_chars", 500),
        ("{gateway: {max_message_chars: 0x200}}", "gateway.max_message_chars", 512),
        ("{gateway: {ownerIds: [123, 'lan']}}", "gateway.owner_ids", ("123", "lan")),
        ("{gateway: {drain_sec: '2m'}}", "gateway.drain_sec", 120),
        ("{gateway: {drain_sec: '1500ms'}}", "gateway.drain_sec", 1.5),
        ("{queue: {pollMs: '2s'}}", "queue.poll_ms", 2000),
        ("{queue: {cap: 1e2}}", "queue.cap", 100),
        ("{providers: {openai: {enable: false}}}", "providers.openai.enabled", False),
        ("{providers: {my_own: {apiBase: 'http://x/v1'}}}", "agents.defaults.provider", "my_own"),
        ("{providers: {acp: {binary: 'gemini', idleTtl: '5m'}}}", "providers.acp.idle_ttl", 300.0),
        ("{providers: {acp: {binary: 'gemini'}}}", "agents.defaults.provider", "offline"),
        ("{providers: {claude_cli: {cli_path: 'claude'}}}", "agents.defaults.provider", "claude_cli"),
        ("{providers: {openai: {apiBase: 'http://x/v1'}}}", "agents.defaults.provider", "openai"),
        ("{providers: {my_own: {apiBase: 'http://x'}, groq: {apiKey: 'k'}}}", "agents.defaults.provider", "groq"),
        ("{providers: {my_own: {apiKey: 'k'}, groq: {}}}", "agents.defaults.provider", "offline"),
        ("{providers: {ollama: {}}}", "agents.defaults.provider", "ollama"),
        ("{providers: {ollama: {enabled: false}}}", "agents.defaults.provider", "offline"),
        ("{providers: {named: {enabled: false}}}", "providers.named.enabled", False),
        ("{providers: {ollama: {}}}", "providers.ollama.timeout_sec", 300),
        ("{providers: {openai: {api_key: '$KEY', models: ['a', 'b']}}}", "agents.defaults.model", "a"),
        ("{data_dir: '~/here'}", "data_dir", Path("/users/lan/here")),
        ("{data_dir: '~/d'}", "database.embedded.dir", Path("/users/lan/d/pg")),
        ("{data_dir: '${DIR}/data'}", "data_dir", Path("/var/data")),
        ("{gateway: {port: 'env:PORT'}}", "gateway.port", 99),
        ("{$schema: 'x', gateway: {port: null}}", "gateway.port", 18790),
        ("{agents: {defaults: {temperature: 1}}}", "agents.defaults.temperature", 1.0),
        (
            "{telemetry: {model_pricing: {'openai/gpt-4.1': {input_per_million: 2, output_per_million: 0.5}}}}",
            "telemetry.model_pricing",
            {"openai/gpt-4.1": ModelPrice(input_per_million=2, output_per_million=0.5)},
        ),
        (
            "{providers: {mine: {model_info: {'m-*': {window: 9000, efforts: ['low']}}}}}",
            "providers.mine.model_info",
            {"m-*": ModelInfo(window=9000, efforts=("low",))},
        ),
        ("{providers: {mine: {}}}", "providers.mine.model_info", {}),
    ],
)
def test_a_value_is_read_as_the_contract_says(read: Load, text: str, key: str, expected: object) -> None:
    assert value(read(text, HOME="/users/lan", DIR="/var", PORT="99", KEY="sk-1"), key) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{\n\n\ngateway: {prot: 1}}", 'unknown key "gateway.prot" at line 4 (did you mean "port"?)'),
        ("{gatewya: {}}", 'unknown key "gatewya" at line 1 (did you mean "gateway"?)'),
        ("{gateway: {whatever: 1}}", 'unknown key "gateway.whatever" at line 1'),
        ("{gateway: {$schema: 1}}", 'unknown key "gateway.$schema" at line 1'),
        ("{providers: {'My Vendor': {}}}", 'unknown key "providers.My Vendor" at line 1'),
        ("{queue: {},\nqueue: {}}", 'key "queue" is there twice, at lines 1 and 2'),
        (
            "{queue: {pollMs: 1,\npoll_ms: 1}}",
            'queue.poll_ms at line 2 is the same key as "pollMs", keep one',
        ),
        ("{gateway:\n5}", "gateway at line 1: expected an object, found a number"),
        ("[]", "the file: expected an object, found a list"),
        ("{gateway: {port: 'abc'}}", 'gateway.port at line 1: expected a whole number from 0 to 65535, found "abc"'),
        ("{gateway: {port: 1.5}}", "gateway.port at line 1: expected a whole number from 0 to 65535, found 1.5"),
        ("{gateway: {port: true}}", "gateway.port at line 1: expected a whole number from 0 to 65535, found true"),
        (
            "{gateway: {drain_sec: -Infinity}}",
            "gateway.drain_sec at line 1: expected a number from 0 to 3600, found -inf",
        ),
        ("{gateway: {owner_ids: 'x'}}", 'gateway.owner_ids at line 1: expected a list of text, found "x"'),
        ("{queue: {cap: '10s'}}", 'queue.cap at line 1: expected a whole number from 1 to 1000, found "10s"'),
        ("{queue: {drop: 'odl'}}", 'queue.drop at line 1: expected one of old, new, found "odl" (did you mean "old"?)'),
        ("{data_dir: '${NOPE}/x'}", "data_dir at line 1: variable NOPE is not set"),
        ("{data_dir: ''}", 'data_dir at line 1: expected a path, found ""'),
        (
            "{database: {dsn: 'postgres://u:p@h/d'}}",
            "database.dsn at line 1: a DSN is a secret and never read from the file, set GOCLAW_POSTGRES_DSN",
        ),
        (
            "{database: {postgresDsn: 'postgres://u:p@h/d'}}",
            "database.postgresDsn at line 1: a DSN is a secret and never read from the file, set GOCLAW_POSTGRES_DSN",
        ),
        ("{gateway: {token: 12}}", "gateway.token at line 1: expected text, found a number"),
        ("{gateway: {port: 'env:SECRET'}}", "expected a whole number from 0 to 65535, found text"),
        (
            "{telemetry: {model_pricing: {a: {input_per_million: 1}}}}",
            'telemetry.model_pricing at line 1: entry "a": Object missing required field `output_per_million`',
        ),
        ("{telemetry: {model_pricing: {a: {inputs: 1}}}}", 'telemetry.model_pricing at line 1: entry "a": '),
        ("{telemetry: {model_pricing: [1]}}", "expected an object of at most 1000 entries, found a list"),
        (
            "{providers: {mine: {model_info: {m: {window: 1}}}}}",
            'model_info at line 1: entry "m": Expected `int` >= 2048',
        ),
        ("{gateway: {require_token: true, token: ''}}", "is true, but the token is empty"),
        ("{database: {mode: 'external'}}", "but GOCLAW_POSTGRES_DSN is not set"),
        ("{a: \n}", "not JSON5 at line 2: "),
        ("{" + " " * 2**20 + "}", "the file is larger than 1 MiB"),
    ],
)
def test_a_mistake_says_where_and_what_would_be_right(read: Load, text: str, problem: str) -> None:
    (found,) = problems(read, text, SECRET="hunter2")

    assert problem in found
    assert "hunter2" not in found


def test_all_mistakes_are_told_together(read: Load) -> None:
    found = problems(read, "{gateway: {prot: 1, host: 5},\nqueue: {cap: 0}}", GOCLAW_LANE_MAIN="many")

    assert [text.split(":")[0] for text in found] == [
        'unknown key "gateway.prot" at line 1 (did you mean "port"?)',
        "gateway.host at line 1",
        "queue.cap at line 2",
        "GOCLAW_LANE_MAIN",
    ]


def test_a_reference_to_nothing_is_empty_with_a_warning(read: Load) -> None:
    loaded = read("{providers: {openai: {\napi_key: 'env:NOPE'}}}")

    assert not loaded.settings.providers.named["openai"].api_key
    assert loaded.warnings == ("providers.openai.api_key at line 2: variable NOPE is not set, so the key is empty",)


def test_a_secret_in_the_file_works_with_a_warning_that_does_not_show_it(read: Load) -> None:
    loaded = read("{gateway: {token: 'hunter2'}}")

    assert loaded.settings.gateway.token.reveal() == "hunter2"
    assert "gateway.token at line 1 is a secret" in loaded.warnings[0]
    assert "hunter2" not in repr(loaded)


def test_the_fingerprint_follows_the_values_not_the_text(read: Load) -> None:
    one = read("{gateway: {port: 5}}").fingerprint

    assert read("{ 'gateway': {port: 5,}, }").fingerprint == one
    assert read("{gateway: {port: 6}}").fingerprint != one
    assert read("{gateway: {port: 5}}", OPENAI_API_KEY="x").fingerprint != one
    assert len(one) == 12


@pytest.mark.parametrize(
    ("variables", "host"),
    [
        ({"GOCLAW_GATEWAY_TOKEN": "t"}, "0.0.0.0"),
        ({"GOCLAW_GATEWAY_TOKEN": ""}, "127.0.0.1"),
        ({"GOCLAW_GATEWAY_TOKEN": "  "}, "127.0.0.1"),
        ({"GOCLAW_GATEWAY_TOKEN": "", "GOCLAW_HOST": "::1"}, "::1"),
        ({"GOCLAW_GATEWAY_TOKEN": "", "GOCLAW_HOST": "example.org"}, "127.0.0.1"),
    ],
)
def test_without_a_token_only_loopback_is_bound(read: Load, variables: dict[str, str], host: str) -> None:
    assert read(**variables).settings.gateway.bind_host == host


def test_allow_insecure_binds_as_asked(read: Load) -> None:
    assert read("{gateway: {token: '', allow_insecure: true}}").settings.gateway.bind_host == "0.0.0.0"


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "127.0.0.1:8"), ("::", "[::1]:8"), ("::1", "[::1]:8"), ("192.0.2.7", "192.0.2.7:8")],
)
def test_a_gateway_bound_everywhere_is_found_on_this_machine(read: Load, host: str, address: str) -> None:
    assert read(f"{{gateway: {{token: 'secret', host: '{host}'}}}}").settings.gateway.local_address(8) == address


def test_the_example_file_is_valid(home: Path) -> None:
    example = Path(__file__).parents[2] / "config/goclaw.example.json5"

    loaded = load(example, {"GOCLAW_HOME": str(home), "HOME": str(home), "OPENAI_API_KEY": "sk"}, {})

    assert loaded.warnings == ()


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KNOWN = sorted(key for key, _ in entries(Settings()))


@given(junk=JUNK, key=st.sampled_from(KNOWN))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_the_file_is_loaded_or_refused(read: Load, junk: object, key: str) -> None:
    nested: object = junk
    for step in reversed(key.split(".")):
        nested = {step: nested}

    for document in (junk, nested):
        told = refusal(read, json.dumps(document))
        assert told is None or (told and all("\n" not in line for line in told))


@given(st.binary(max_size=40) | st.text(alphabet="{}[]:,'\"/*\\\n a1$", max_size=40).map(str.encode))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_the_reader(home: Path, tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "bytes.json"
    path.write_bytes(raw)

    assert refusal(lambda _: load(path, {"GOCLAW_HOME": str(home)}, {}), "") != []


def test_the_other_names_of_compaction_bring_their_own_defaults(read: Load) -> None:
    section = "context_compaction: {maxSummaryChars: 4000}, compaction: {keepLastMessages: 9}"
    loaded = read(f"{{agents: {{defaults: {{{section}}}}}}}")
    compaction = loaded.settings.agents.defaults.compaction

    assert (compaction.min_messages, compaction.keep_last_messages, compaction.keep_share) == (60, 9, 0.0)
    assert compaction.max_summary_chars == 4000
    assert loaded.origins["agents.defaults.compaction.min_messages"] == "computed"


def shortened(mode: str, provider: str) -> str:
    mine = f'mine: {{api_base: "http://127.0.0.1:1/v1", {provider}}}'
    return f'{{agents: {{defaults: {{compaction: {{mode: "{mode}"}}}}}}, providers: {{{mine}}}}}'


def test_a_way_of_compaction_that_no_provider_has_is_refused(read: Load) -> None:
    able = 'protocol: "responses", supports_responses_compact: true'
    told = problems(read, shortened("responses_compact", 'protocol: "responses"'))

    assert told == [
        "agents.defaults.compaction.mode at line 1: asks for what the default provider cannot: "
        "protocol responses and supports_responses_compact"
    ]
    for mode, provider in (("responses_compact", able), ("hybrid", "")):
        assert read(shortened(mode, provider)).settings.agents.defaults.compaction.mode == mode
    assert problems(read, shortened("shorter", ""))[0].startswith(
        "agents.defaults.compaction.mode at line 1: expected one of summary, responses_compact, hybrid"
    )

"""The configuration file as somebody changes it. Contract: config-cli.md §2, §3, §6.2; durability.md K20."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goclaw.settings.document import parse
from goclaw.settings.load import load
from goclaw.settings.problems import ConfigInvalid
from goclaw.settings.show import masked, nested
from goclaw.settings.writer import BACKUPS, ConfigFile, Draft, Stale

COMMENTED = """\
// ours
{
  gateway: {
    port: 1, // as the proxy knows it
    "host": 'localhost'  /* only here */
  },
  queue: {lanes: {main: 3}},
}
"""


class Home:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.path = place / "config.json"
        self.secrets = place / ".env.local"

    def file(self, text: str | None = None, **variables: str) -> ConfigFile:
        if text is not None:
            self.path.write_text(text)
        return ConfigFile(load(self.path, {"GOCLAW_HOME": str(self.place), **variables}, {}))

    def patch(self, wanted: dict[str, Any], text: str | None = None, **variables: str) -> Draft:
        file = self.file(text, **variables)
        draft = file.patched(wanted)
        if not draft.idle:
            file.write(draft)
        return draft

    @property
    def value(self) -> Any:
        return parse(self.path.read_text()).value


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def wrong(change: Callable[[], object]) -> list[str]:
    with pytest.raises(ConfigInvalid) as refused:
        change()
    return [str(problem) for problem in refused.value.problems]


def test_comments_and_order_stay(home: Home) -> None:
    home.patch({"gateway": {"port": 2, "host": None}, "queue": {"lanes": {"cron": 5}}, "budgets": None}, COMMENTED)

    start, end = "// ours\n{\n  gateway: {\n    port: 2 // as the proxy knows it\n", "  },\n  queue: {lanes: {main: 3, "
    assert home.path.read_text() == f"{start}{end}cron: 5}}}},\n}}\n"


def test_a_key_keeps_its_spelling_and_a_new_one_gets_ours(home: Home) -> None:
    """CF-13: `enable` is `enabled`."""
    home.patch({"gateway": {"allowed_hosts": ["b"]}}, "{gateway: {allowedHosts: ['a']}}")
    assert home.value == {"gateway": {"allowedHosts": ["b"]}}

    home.patch({"tools": {"web": {"brave": {"enable": False}}}})
    assert home.value["tools"] == {"web": {"brave": {"enabled": False}}}


def test_what_holds_already_is_no_change(home: Home) -> None:
    """wire-compat.md C20: a page sends whole sections back, also what variables say."""
    text = "{providers: {groq: {api_key: 'env:G'}}, gateway: {port: 1}}"
    file = home.file(text, G="gsk-1", GOCLAW_HOST="127.0.0.1")
    draft = file.patched(nested(masked(file.now().settings)))

    assert (draft.idle, draft.changed) == (True, ())


def test_a_secret_goes_to_the_other_file_and_a_mask_leaves_it(home: Home) -> None:
    """CF-08; S3.4, S3.6. The other secret of the file goes with it, and a header is one."""
    text = "{gateway: {token: 'very-long-token'}, providers: {groq: {api_key: 'gsk-1', headers: {A: 'one'}}}}"
    home.patch({"providers": {"groq": {"api_key": "***", "headers": {"A": "***", "B": "two"}}}}, text)

    assert home.value == {
        "gateway": {"token": "env:GOCLAW_GATEWAY_TOKEN"},
        "providers": {
            "groq": {
                "api_key": "env:GOCLAW_GROQ_API_KEY",
                "headers": {"A": "env:PROVIDERS_GROQ_HEADERS_A", "B": "env:PROVIDERS_GROQ_HEADERS_B"},
            }
        },
    }
    groq = home.file().now().settings.providers.named["groq"]
    assert (groq.api_key.reveal(), groq.headers["A"].reveal(), groq.headers["B"].reveal()) == ("gsk-1", "one", "two")
    assert home.path.stat().st_mode & 0o777 == home.secrets.stat().st_mode & 0o777 == 0o600


def test_one_of_several_keys_is_replaced(home: Home) -> None:
    home.patch({"providers": {"groq": {"api_keys": ["k1-1", "k2-2"]}}}, "{}")
    home.patch({"providers": {"groq": {"api_keys": ["***", "k3-3"]}}})

    keys = home.file().now().settings.providers.named["groq"].api_keys
    assert [key.reveal() for key in keys] == ["k1-1", "k3-3"]
    assert "'***'" not in home.path.read_text()


def test_a_whole_text_with_masks_keeps_the_secrets(home: Home) -> None:
    """CF-08. A mask where there is nothing stands for nothing."""
    file = home.file("{providers: {groq: {api_key: 'gsk-1'}}}")
    file.write(file.replaced("{/* mine */ providers: {groq: {apiKey: '***'}}, gateway: {token: '***'}}"))

    assert home.file().now().settings.providers.named["groq"].api_key.reveal() == "gsk-1"
    assert "token" not in home.value["gateway"]
    assert "/* mine */" in home.path.read_text()


def test_a_secret_that_is_taken_away_is_gone_from_both_files(home: Home) -> None:
    home.patch({"providers": {"my-own": {"api_key": "k1-1", "api_base": "https://x.test"}}}, "{}")
    home.patch({"providers": {"groq": {"api_key": "gsk-1"}}})
    home.patch({"providers": {"my-own": {"api_key": None}, "groq": None}})

    assert home.secrets.read_text() == ""
    assert home.file().now().settings.providers.named.keys() == {"my-own"}


def test_an_empty_secret_is_no_way_to_lose_one(home: Home) -> None:
    """security.md §8.3: a cleared field of a form does not open the door."""
    text = "{gateway: {token: 'env:T'}}"
    assert "null takes it away" in wrong(lambda: home.patch({"gateway": {"token": ""}}, text, T="a-token"))[0]
    file = home.file(text, T="a-token")
    assert "null takes it away" in wrong(lambda: file.replaced("{gateway: {token: ''}}"))[0]


def test_a_variable_that_wins_is_told(home: Home) -> None:
    draft = home.patch({"gateway": {"port": 5}}, "{}", GOCLAW_PORT="7")
    assert (draft.changed, draft.overridden, home.value) == ((), ("gateway.port",), {"gateway": {"port": 5}})

    told = wrong(lambda: home.patch({"gateway": {"token": "mine-mine"}}, GOCLAW_GATEWAY_TOKEN="theirs"))
    assert told == ["gateway.token: env:GOCLAW_GATEWAY_TOKEN is set and wins; change it there"]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"gateway": {"port": "abc"}}, "expected a whole number from 0 to 65535"),
        ({"gateway": {"prot": 1}}, 'did you mean "port"?'),
        ({"gateway": 5}, "expected an object"),
        ({"database": {"dsn": "postgresql://u:p@h/d"}}, "a DSN is a secret"),
        ({"encryption": {"key": "0" * 64}}, "never read from the file"),
        ({"gateway": {"token": "two\nlines"}}, "one line of text"),
        ({"gateway": {"allowed_hosts": ["a"], "allowedHosts": ["b"]}}, "keep one"),
        ({"providers": {"groq": {"api_keys": ["***"]}}}, "could stand for"),
        ({"nothing": None}, "unknown key"),
        ({"gateway": {"host": "a\0b"}}, "gateway.host at line 5: expected no NUL"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(home: Home, wanted: dict[str, Any], told: str) -> None:
    """CF-06, CF-14."""
    assert told in "\n".join(wrong(lambda: home.patch(wanted, COMMENTED)))
    assert home.path.read_text() == COMMENTED
    assert os.listdir(home.place) == ["config.json"]


def test_an_old_hash_and_a_change_in_between_are_refused(home: Home) -> None:
    """CF-16. Of two that read the same file one wins."""
    file = home.file("{}")
    with pytest.raises(Stale):
        file.patched({"gateway": {"port": 1}}, "0" * 64)
    one, other = (file.patched({"gateway": {"port": port}}, file.hash) for port in (1, 2))
    file.write(one)
    with pytest.raises(Stale):
        file.write(other)
    assert home.value == {"gateway": {"port": 1}}


def test_one_writer_at_a_time(home: Home) -> None:
    file = home.file("{}")
    draft = file.patched({"gateway": {"port": 1}})
    folder = os.open(home.place, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(Stale):
            file.write(draft)
    finally:
        os.close(folder)
    assert home.path.read_text() == "{}"


def test_the_last_five_are_kept_and_the_newest_is_put_back(home: Home) -> None:
    """CF-15: what a gateway does not take is taken back, unless somebody has written since."""
    home.path.write_text("{}")
    for port in range(1, 9):
        draft = home.patch({"gateway": {"port": port}})
    kept = {path.name: parse(path.read_text()).value for path in home.place.glob("config.json.bak*")}
    assert len(kept) == BACKUPS
    assert kept["config.json.bak"] == {"gateway": {"port": 7}}
    assert kept["config.json.bak.4"] == {"gateway": {"port": 3}}

    home.file().undo(draft)
    assert home.value == {"gateway": {"port": 7}}
    home.file().undo(draft)
    assert home.value == {"gateway": {"port": 7}}


def test_undo_of_a_first_file_leaves_none(home: Home) -> None:
    draft = home.patch({"gateway": {"token": "a-first-token"}})
    home.file().undo(draft)
    assert not home.path.exists()
    assert not home.secrets.exists()


def test_a_link_stays_a_link(home: Home) -> None:
    real = home.place / "elsewhere" / "real.json"
    real.parent.mkdir()
    real.write_text("{}")
    home.path.symlink_to(real)
    home.patch({"gateway": {"port": 1}})

    assert home.path.is_symlink()
    assert parse(real.read_text()).value == {"gateway": {"port": 1}}


WRITES = """
import sys
from pathlib import Path
from goclaw.settings.load import load
from goclaw.settings.writer import ConfigFile
home = Path(sys.argv[1])
file = ConfigFile(load(home / "config.json", {"GOCLAW_HOME": str(home)}, {}))
print("on", flush=True)
for turn in range(100_000):
    file.write(file.patched({"gateway": {"token": f"token-{turn}"}, "queue": {"lanes": {"main": 1 + turn % 9}}}))
"""


def test_a_writer_that_is_killed_leaves_one_whole_file(home: Home) -> None:
    """K20."""
    home.path.write_text("{}")
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITES, str(home.place)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            before = home.path.stat().st_ino
            while home.path.stat().st_ino == before:
                pass
            writer.send_signal(signal.SIGKILL)
        now = home.file().now()
        assert now.settings.gateway.token.reveal().startswith("token-")
        assert now.warnings == ()


def test_a_value_of_json_is_not_taken_for_another(home: Home) -> None:
    """1 is not true, and what is equal is what JSON calls so."""
    assert wrong(lambda: home.patch({"gateway": {"admin_tree": 1}}, "{}"))
    assert home.patch({"gateway": {"port": 18790.0}}, "{}").idle


def test_a_broken_file_can_be_replaced_and_not_patched(home: Home) -> None:
    file = home.file("{}")
    home.path.write_text("{broken")
    assert "not JSON5" in wrong(lambda: file.patched({"gateway": {"port": 1}}))[0]
    file.write(file.replaced(json.dumps({"gateway": {"port": 1}})))
    assert home.value == {"gateway": {"port": 1}}


def test_a_key_of_pages_in_use_is_taken_and_not_written(home: Home) -> None:
    """wire-compat.md C20: `agents.defaults.intent_classify` may have no effect, and must not be refused."""
    draft = home.patch({"agents": {"defaults": {"intent_classify": True, "max_tokens": 5}}}, "{}")
    assert (draft.changed, home.value) == (("agents.defaults.max_tokens",), {"agents": {"defaults": {"max_tokens": 5}}})
    assert home.file("{agents: {defaults: {intentClassify: true}}}").now().warnings == ()

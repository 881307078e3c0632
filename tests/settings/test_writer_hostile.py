"""What nobody in their right mind sends to the writer of the configuration, and somebody will.

Whatever comes: it is refused by name or written whole, no secret of ours is repeated, none stays in the file, nothing
is left beside it, and what is shown afterwards can be sent back and changes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goclaw.settings.load import load
from goclaw.settings.problems import ConfigInvalid
from goclaw.settings.show import masked, nested
from goclaw.settings.writer import ConfigFile, Draft, as_text

OURS = "SECRET-VALUE-123456"
SENT = ("kk1-kk1", "kk2-kk2", "kk3-kk3")
BEFORE = (
    '{\n // c\n gateway: {port: 1, token: "env:TOK"},\n'
    f' providers: {{groq: {{api_key: "{OURS}", headers: {{A: "{OURS}-2"}}}}}}, queue: {{lanes: {{main: 3}}}}}}\n'
)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def gateway(**keys: Any) -> Any:
    return {"gateway": keys}


def groq(**keys: Any) -> Any:
    return {"providers": {"groq": keys}}


PATCHES: list[Any] = [
    deep(40),
    gateway(a=deep(60)),
    groq(extra=deep(20)),
    groq(extra=deep(200)),
    {"__proto__": {"x": 1}},
    {"constructor": 1},
    gateway(__class__=1),
    {"providers": {"__proto__": {"api_key": "kk1-kk1"}}},
    {"providers": {"constructor": {"api_key": "kk1-kk1"}}},
    {"__dict__": None},
    {"": 1},
    {"gateway": {"": 1}},
    {".": 1},
    {"gateway.port": 1},
    {" gateway": {}},
    {"GATEWAY": {"port": 1}},
    {"gateWay": {"port": 1}},
    {"\u202egateway": 1},
    {"gate\0way": 1},
    {"gateway": None},
    {"providers": None},
    {"gateway": []},
    {"gateway": ""},
    {"gateway": True},
    *(
        gateway(port=one)
        for one in (1e308, -1, 65536, 10**30, 1.5, "1", True, [1], {}, float("nan"), float("inf"), -0.0)
    ),
    *(gateway(token=one) for one in ({"a": 1}, ["x"], 5, True, "env:PATH", "env:NOPE", "$HOME", "  ", "", "a\0b")),
    *(gateway(token=one) for one in ("\u2028x", "x\ry", "'kk1-kk1'", '"', "a=b#c $X `id`", "é" * 40, "x" * 100_000)),
    *(gateway(token=one) for one in ("export A=1", "\ud800abc", "env:", "$", "***", ["***"], {"***": "***"})),
    *({"providers": {name: {"api_key": "kk1-kk1"}}} for name in ("../../etc/passwd", "a b", "x" * 65, "ключ", "GROQ")),
    {"providers": {"a-b": {"api_key": "kk1-kk1"}, "a_b": {"api_key": "kk2-kk2"}}},
    {"providers": {"x1": {"headers": {"A-B": "kk1-kk1", "A_B": "kk2-kk2", "a-b": "kk3-kk3"}}}},
    {"providers": {"x1": {"headers": {"": "kk1-kk1", "=": "kk2-kk2", "\n": "kk3-kk3"}}}},
    {"providers": {"x1": {"headers": {"A": "***"}}}},
    *(groq(headers=one) for one in ({"A": None}, ["a"], {"A": 5}, {"A": {"b": "c"}}, "***", {"A": "***", "Z": "***"})),
    *(groq(api_keys=one) for one in ("***", ["***"], [None], [["x"]], ["kk1-kk1,kk2-kk2"], ["k"] * 33, {"0": "x"})),
    groq(api_key="***", api_base="***"),
    groq(extra={"api_key": "kk1-kk1", "nested": {"token": "kk2-kk2"}}),
    groq(extra={"a": "***"}),
    groq(models=["\ud800"]),
    *({"data_dir": one} for one in ("/etc", "${NOPE}/x", "\0", "", "~nobody/x", 5, None)),
    {"agents": {"defaults": {"workspace": "../../../../../etc"}}},
    {"tools": {"deny_paths": ["${HOME}", "~"]}},
    {"database": {"dsn": f"postgresql://u:{OURS}@h/d"}},
    {"database": {"DSN": "x"}},
    {"encryption": {"key": OURS}},
    {"encryption": {"old_keys": OURS}},
    {"database": {"mode": "external"}},
    gateway(allowed_hosts=["a"] * 2000),
    gateway(allowed_hosts=["x" * 200_000]),
    {f"k{number}": number for number in range(500)},
    {"providers": {f"p{number}": {} for number in range(300)}},
    gateway(maxMessageChars=1000, max_message_chars=2000),
    {"tools": {"web": {"exa": {"enable": True, "enabled": False}}}},
    {"$schema": "x"},
    gateway(**{"$schema": "x"}),
    {"agents": {"defaults": {"model": "\U0001f600" * 10}}},
    {"agents": {"defaults": {"run_timeout_sec": "5m"}}},
    {"agents": {"defaults": {"run_timeout_sec": "999999999999h"}}},
]
TEXTS = [
    *("", " ", "null", "[]", "1", '"x"', "{}{}", "{", "}", "{a:", "/*", "//", "{//\n}", "\ufeff{}", "\0", "{}\0"),
    "{a:1,a:2}",
    "{gateway:{port:1},'gateway':{port:2}}",
    "{gateway:{port:1},\\u0067ateway:{port:2}}",
    *(f"{{gateway:{{port:{one}}}}}" for one in ("Infinity", "NaN", "0x10", "+5", ".5", "null", "1e9999", "--1")),
    "{a:" * 41 + "1" + "}" * 41,
    "[" * 10_000,
    "x" * 2_000_000,
    "{gateway:{token:'***'}}",
    '{gateway:{token:"a\\nb"}}',
    "{gateway:{token:'a\\\nb'}}",
    "{providers:{groq:{api_key:'***',apiKey:'x'}}}",
    "{providers:'***'}",
    "{providers:{groq:'***'}}",
    "{providers:{groq:{headers:'***'}}}",
    "{providers:{groq:{headers:{A:'***',Z:'***'}}}}",
    "{gateway:{host:'\\ud800'}}",
    "{'\\ud800':1}",
    "{gateway:{host:'\\0'}}",
    "{gateway:null}",
    "{providers:{groq:{extra:{x:1e999}}}}",
    "{\u2028gateway:{}\u2029}",
    "{gateway:{token:'env:'}}",
]


def file_at(home: Path) -> ConfigFile:
    return ConfigFile(load(home / "config.json", {"GOCLAW_HOME": str(home), "TOK": "tok-tok", "HOME": "/root"}, {}))


def survives(home: Path, change: Callable[[ConfigFile], Draft]) -> None:
    path = home / "config.json"
    path.write_text(BEFORE)
    file = file_at(home)
    told = ""
    try:
        draft = change(file)
    except ConfigInvalid as refused:
        told = "\n".join(map(str, refused.problems))
    if told:
        assert path.read_text() == BEFORE
        assert os.listdir(home) == ["config.json"]
        assert f"{OURS}-2" not in told
        return
    file.write(draft)
    now = file.now()
    shown = json.dumps(nested(masked(now.settings)))
    assert now.fingerprint == draft.loaded.fingerprint
    assert not any(secret in path.read_text() + shown for secret in (OURS, *SENT))
    assert {name for name in os.listdir(home) if not name.startswith("config.json.bak")} <= {
        "config.json",
        ".env.local",
    }
    assert file.patched(json.loads(shown)).idle


@pytest.mark.parametrize("wanted", PATCHES, ids=map(str, range(len(PATCHES))))
def test_a_hostile_patch_is_refused_or_whole(tmp_path: Path, wanted: Any) -> None:
    survives(tmp_path, lambda file: file.patched(wanted))


@pytest.mark.parametrize("text", TEXTS, ids=map(str, range(len(TEXTS))))
def test_a_hostile_text_is_refused_or_whole(tmp_path: Path, text: str) -> None:
    survives(tmp_path, lambda file: file.replaced(text))


def test_there_are_a_hundred_and_more(tmp_path: Path) -> None:
    assert len(PATCHES) + len(TEXTS) > 130


def test_a_configuration_that_comes_as_an_object_is_a_text(tmp_path: Path) -> None:
    survives(tmp_path, lambda file: file.replaced(as_text({"gateway": {"port": 5}})))


FULL = """
import sys
from pathlib import Path
from goclaw.settings.load import load
from goclaw.settings.writer import ConfigFile
import resource
home = Path(sys.argv[1])
file = ConfigFile(load(home / "config.json", {"GOCLAW_HOME": str(home)}, {}))
draft = file.patched({"gateway": {"token": "x" * 4000}, "queue": {"lanes": {"main": 5}}})
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    file.write(draft)
except OSError as error:
    print(error.strerror)
"""


def test_a_disk_without_room_changes_nothing(tmp_path: Path) -> None:
    """The second of the two files does not fit: neither is written."""
    (tmp_path / "config.json").write_text("{}")
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "File too large"
    assert os.listdir(tmp_path) == ["config.json"]
    assert (tmp_path / "config.json").read_text() == "{}"


def test_something_in_the_way_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "config.json.new").mkdir()
    file = file_at(tmp_path)
    draft = file.patched({"queue": {"lanes": {"main": 5}}, "gateway": {"token": "kk1-kk1"}})
    with pytest.raises(OSError, match=r"directory|permitted"):
        file.write(draft)
    assert (tmp_path / "config.json").read_text() == "{}"
    assert not (tmp_path / ".env.local").exists()


def test_a_loop_of_links_is_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    file = file_at(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").symlink_to("config.json")
    with pytest.raises(OSError, match="symbolic links"):
        file.patched({"gateway": {"port": 1}})

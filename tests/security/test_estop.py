"""The emergency stop as a value and a file. Contract: security.md §13."""

from __future__ import annotations

from pathlib import Path

import pytest

from goclaw.domain.estop import Change
from goclaw.edge.cli.estop import levels_of
from goclaw.edge.cli.options import Failure
from goclaw.security.estop import SAYS, Brake, Levels, Stopped, read

BY = {"by": "lan", "at": "2026-11-21T12:00:00+00:00", "reason": "odd"}


def engaged(state: Stopped, levels: Levels) -> Stopped:
    return state.after(Change(engage=True, levels=levels, **BY))


def released(state: Stopped, levels: Levels) -> Stopped:
    return state.after(Change(engage=False, levels=levels, **BY))


SOME = Levels(tools=("exec", "web_*"), domains=("Example.com.",))


def test_levels_add_up_and_are_released_by_name() -> None:
    state = engaged(engaged(Stopped(), Levels(network=True)), SOME)
    assert (state.all, state.network, state.tools, state.domains) == (False, True, ("exec", "web_*"), ("example.com",))

    state = released(state, Levels(tools=("exec",), domains=("example.com",)))
    assert (state.network, state.tools, state.domains) == (True, ("web_*",), ())

    state = released(state, Levels(tools=("*",)))
    assert (state.network, state.tools) == (True, ())


def test_what_is_stopped(tmp_path: Path) -> None:
    brake = Brake(tmp_path / "estop.json")
    assert brake.tool("exec") == brake.network() == brake.host("example.com") == ""

    brake.become(engaged(Stopped(), SOME))
    assert [brake.tool(name) for name in ("exec", "web_fetch", "read_file")] == [SAYS, SAYS, ""]
    hosts = ("example.com", "A.EXAMPLE.COM.", "badexample.com", "example.com.evil.net", "com")
    assert [bool(brake.host(host)) for host in hosts] == [True, True, False, False, False]
    assert brake.network() == ""

    brake.become(Stopped(all=True))
    assert brake.tool("read_file") == brake.network() == brake.host("example.org") == SAYS


def test_it_outlives_the_process(tmp_path: Path) -> None:
    file = tmp_path / "estop.json"
    Brake(file).become(engaged(Stopped(), SOME))
    heard: list[Stopped] = []

    again = Brake(file, heard.append)

    assert again.state == heard[0] == engaged(Stopped(), SOME)
    assert oct(file.stat().st_mode)[-3:] == "600"


@pytest.mark.parametrize("text", ["{", "", "[]", '{"all": "no"}', "\xff", '{"all": 1}'])
def test_a_bad_file_stops_everything_and_is_kept(tmp_path: Path, text: str) -> None:
    """SEC-45."""
    file = tmp_path / "estop.json"
    file.write_bytes(text.encode("latin-1"))

    assert Brake(file).tool("exec") == SAYS
    assert file.with_name("estop.json.bad").read_bytes() == text.encode("latin-1")
    assert read(file).all  # and the next start too


def test_a_file_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "estop.json").mkdir()

    assert Brake(tmp_path / "estop.json").state.all


def test_words_of_the_command_line() -> None:
    assert levels_of(["network", "tools=web_*", "domains=a.b"]) == Levels(
        network=True, tools=("web_*",), domains=("a.b",)
    )
    for word in ("tools", "tools=", "everything", "all=1"):
        with pytest.raises(Failure):
            levels_of([word])

"""Operations are found by being there, and no two claim one name. Contract: edge-http.md §1."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from goclaw.domain.access import Role
from goclaw.operations.operation import Cli, Http, Rpc, collect

OPERATIONS = collect("goclaw.operations")
HEAD = """
from msgspec import Struct
from goclaw.domain.access import Role
from goclaw.operations.operation import Cli, Http, Rpc, operation
class Ask(Struct):
    id: str
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty package `things` that can be imported."""
    (tmp_path / "things").mkdir()
    (tmp_path / "things/__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "things"
    for name in [name for name in sys.modules if name.partition(".")[0] == "things"]:
        del sys.modules[name]


def operation(name: str, surfaces: str) -> str:
    return f'@operation({surfaces})\nasync def {name}(ctx, ask: Ask) -> dict[str, str]:\n    """Do {name}."""\n'


def test_an_operation_is_what_its_file_declares(package: Path) -> None:
    surfaces = 'Rpc("ore.dig", Role.ADMIN), Http("POST /v1/ores/{id}", Role.VIEWER, status=201), Cli("ore dig")'
    (package / "ores.py").write_text(HEAD + operation("dig", surfaces))
    (package / "other.py").write_text("from things.ores import dig\n")  # an import is no declaration

    (dig,) = collect("things")

    assert (dig.name, dig.summary, dig.input.__name__) == ("ores.dig", "Do dig.", "Ask")
    assert dig.rpc == (Rpc("ore.dig", Role.ADMIN),)
    assert [(http.verb, http.path, http.role, http.status) for http in dig.http] == [
        ("POST", "/v1/ores/{id}", Role.VIEWER, 201)
    ]
    assert dig.cli == (Cli("ore dig"),)


@pytest.mark.parametrize(
    ("one", "other", "claim"),
    [
        ('Rpc("ore.dig", Role.ADMIN)', 'Rpc("ore.dig", Role.VIEWER)', "method ore.dig"),
        ('Http("GET /v1/ores", Role.ADMIN)', 'Http("GET /v1/ores", Role.VIEWER)', "GET /v1/ores"),
        ('Http("GET /v1/ores/{id}", Role.ADMIN)', 'Http("GET /v1/ores/{key}", Role.ADMIN)', "GET /v1/ores/{}"),
        ('Cli("ore dig")', 'Cli("ore dig")', "goclaw ore dig"),
    ],
)
def test_two_operations_with_one_claim_stop_the_start(one: str, other: str, claim: str, package: Path) -> None:
    (package / "ores.py").write_text(HEAD + operation("dig", one))
    (package / "more.py").write_text(HEAD + operation("delve", other))
    with pytest.raises(ValueError, match="declared twice") as twice:
        collect("things")
    assert str(twice.value) == f"declared twice: {claim}"


def test_a_file_that_does_not_import_stops_the_start(package: Path) -> None:
    (package / "broken.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(ModuleNotFoundError):
        collect("things")


def test_every_operation_of_the_house_says_what_it_does() -> None:
    assert len(OPERATIONS) > 10
    for operation in OPERATIONS:
        assert operation.summary.endswith("."), operation.name
        assert operation.rpc or operation.http or operation.cli, operation.name


def test_what_a_path_captures_is_a_field_of_the_input() -> None:
    for operation in OPERATIONS:
        fields = {field.encode_name for field in msgspec.structs.fields(operation.input)}
        for http in operation.http:
            captured = {part.strip("{}.") for part in http.path.split("/") if part.startswith("{")}
            assert captured <= fields, http.route


def test_every_command_can_be_asked_on_the_socket() -> None:
    assert all(operation.rpc for operation in OPERATIONS if operation.cli)


def test_a_route_knows_its_verb_and_path() -> None:
    http = Http("DELETE /v1/ores/{path...}", Role.ADMIN)
    assert (http.verb, http.path) == ("DELETE", "/v1/ores/{path...}")

"""Gateways that are meant to die, each with a database and a vendor of its own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.durability.lives import Lives
from tests.durability.weather import small_disk
from tests.e2e.gateway import Gateway, Json, VendorPlace, with_vendor
from tests.fakes.scripted import ScriptedVendor


@pytest.fixture
def place() -> Iterator[VendorPlace]:
    place = VendorPlace(ScriptedVendor)
    yield place
    place.close()


@pytest.fixture
async def vendor(place: VendorPlace) -> AsyncIterator[ScriptedVendor]:
    async with place.open() as vendor:
        assert isinstance(vendor, ScriptedVendor)
        yield vendor


@pytest.fixture(scope="session")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a gateway that was started once and stopped: its database is made and migrated."""
    gateway = Gateway(tmp_path_factory.mktemp("former") / "home", {})
    gateway.start()
    gateway.stop()
    return gateway.home


@pytest.fixture
def lives(tmp_path: Path, place: VendorPlace, former: Path) -> Iterator[Callable[..., Lives]]:
    """Make a gateway that is not started yet; whatever lives at the end of the test is killed."""
    made: list[Lives] = []

    def make(*, fresh: bool = False, dsn: str = "", queue: Json | None = None, **more: object) -> Lives:
        home = tmp_path / f"home{len(made)}"
        if not (fresh or dsn):
            shutil.copytree(former / "data", home / "data")
        queue = {"suspect_hold_sec": 0, **(queue or {})}  # nobody here waits for what crashed before
        config = with_vendor(place, gateway={"drain_sec": 3}, queue=queue, **more)
        environ = {"GOCLAW_POSTGRES_DSN": dsn} if dsn else {}
        made.append(Lives(home, config, f"http://127.0.0.1:{place.port}/effects", **environ))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with ExitStack() as mounted:
        try:
            yield mounted.enter_context(small_disk(tmp_path / "disk", megabytes=128))
        except PermissionError as reason:
            pytest.skip(f"no file system of a small size can be made here: {reason}")

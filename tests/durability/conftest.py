"""Gateways that are meant to die, each with a database and a vendor of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.durability.lives import Lives
from tests.e2e.gateway import VendorPlace, with_vendor
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


@pytest.fixture
def lives(tmp_path: Path, place: VendorPlace) -> Iterator[Callable[..., Lives]]:
    """Make a gateway that is not started yet; whatever lives at the end of the test is killed."""
    made: list[Lives] = []

    def make(**more: object) -> Lives:
        config = with_vendor(place, gateway={"drain_sec": 3}, **more)
        made.append(Lives(tmp_path / f"home{len(made)}", config, f"http://127.0.0.1:{place.port}/effects"))
        return made[-1]

    yield make
    for each in made:
        each.end()

"""A gateway of its own for each test, because here they die."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.gateway import Gateway, ObedientVendor, VendorPlace, running, with_vendor


@pytest.fixture(scope="session", autouse=True)
def _made(made_cluster: Path) -> Iterator[None]:
    Gateway.made = made_cluster
    yield
    Gateway.made = None


@pytest.fixture
def place() -> Iterator[VendorPlace]:
    place = VendorPlace()
    yield place
    place.close()


@pytest.fixture
async def vendor(place: VendorPlace) -> AsyncIterator[ObedientVendor]:
    async with place.open() as vendor:
        yield vendor


@pytest.fixture
def gateway(tmp_path: Path, place: VendorPlace) -> Iterator[Gateway]:
    """Running, with 3 s for an orderly stop. Whatever happened to it, it wrote no error the test has not forgiven."""
    with running(Gateway(tmp_path / "home", with_vendor(place, gateway={"drain_sec": 3}))) as gateway:
        yield gateway
    assert gateway.complaints() == []

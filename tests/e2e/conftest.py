"""One gateway for all tests that leave it as they found it, and a vendor for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.browser import browser, desk, page  # noqa: F401 - fixtures
from tests.e2e.gateway import Client, Gateway, ObedientVendor, VendorPlace, running, with_vendor
from tests.e2e.stand_in_process import own_url  # noqa: F401 - a fixture

_keys = count(1)


@pytest.fixture(scope="session", autouse=True)
def _made(made_cluster: Path) -> Iterator[None]:
    Gateway.made = made_cluster
    yield
    Gateway.made = None


@pytest.fixture(scope="session")
def vendor_place() -> Iterator[VendorPlace]:
    place = VendorPlace()
    yield place
    place.close()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, vendor_place: VendorPlace) -> Iterator[Gateway]:
    """Shared. At its end it must have written nothing that a healthy gateway does not write."""
    config = with_vendor(
        vendor_place,
        gateway={"owner_ids": ["lan"]},
        agents={"defaults": {"llm_timeout_sec": 5}},
        queue={"retry_base_ms": 20, "interactive_retry_sec": 4},
    )
    with running(Gateway(tmp_path_factory.mktemp("gateway"), config)) as gateway:
        yield gateway
    assert gateway.complaints() == []


@pytest.fixture
async def vendor(vendor_place: VendorPlace) -> AsyncIterator[ObedientVendor]:
    async with vendor_place.open() as vendor:
        yield vendor


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    """The socket of user `lan`."""
    async with gateway.client() as client:
        yield client


@pytest.fixture
def key() -> str:
    """A session nobody has spoken in."""
    return f"agent:default:ws:direct:{next(_keys)}"

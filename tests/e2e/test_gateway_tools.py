"""Tools over HTTP, in a process of their own: what clients see, and what nobody sees. Contract: tools.md §3, §23."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from jsonschema import Draft202012Validator

from tests.e2e.gateway import Gateway, running

SECRET = "s3cret-value-of-the-custom-tool"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(Gateway(tmp_path_factory.mktemp("tools"), {})) as gateway:
        yield gateway


def ask(gateway: Gateway, method: str, path: str, **body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {gateway.token}", "X-GoClaw-User-Id": "lan"}
    return httpx.request(method, f"{gateway.url}{path}", headers=headers, json=body or None, timeout=30)

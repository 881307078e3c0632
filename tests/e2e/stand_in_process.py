"""The stand-in gateway as a process of its own, and what tests ask of it besides the contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def running(token: str = "", actors: int = 60, port: int = 0, **more: Any) -> Iterator[str]:
    """Killed at the end. Gives its address. `more` names other arguments of stand_in.py."""
    command = [sys.executable, str(Path(__file__).with_name("stand_in.py")), "--token", token]
    command += ["--actors", str(actors), "--port", str(port)]
    for name, value in more.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.kill()


def control(url: str, what: str, **more: str) -> Any:
    """Make the gateway do `what`; gives the actions asked of it so far."""
    with urllib.request.urlopen(f"{url}/test/{what}?{urllib.parse.urlencode(more)}", data=b"") as answer:
        return json.load(answer)


@pytest.fixture
def own_url() -> Iterator[str]:
    """A stand-in for one test alone."""
    with running(actors=200) as url:
        yield url

"""The rows. Contract: providers.md §2, §3."""

from __future__ import annotations

import subprocess
import sys

from goclaw.providers.catalogue import BY_NAME, CATALOGUE


def test_every_row_can_be_reached_or_must_be_configured():
    assert len(BY_NAME) == len(CATALOGUE)
    for vendor in CATALOGUE:
        assert vendor.wire == "offline" or vendor.base_url.startswith(("https://", "http://localhost"))
        assert vendor.default_model or vendor.name in ("yescale", "ollama_cloud")


def test_a_house_without_vendors_does_not_load_the_http_client():
    code = (
        "import sys\n"
        "from goclaw.providers.catalogue import BY_NAME\n"
        "from goclaw.providers.provider import open_provider\n"
        "open_provider(BY_NAME['offline']); sys.exit('httpx' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

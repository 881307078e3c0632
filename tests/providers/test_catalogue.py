"""The rows. Contract: providers.md §2, §3."""

from __future__ import annotations

import subprocess
import sys

from goclaw.providers.catalogue import BY_NAME, CATALOGUE
from goclaw.settings.providers import KEYED, KEYLESS, OFFLINE

PROGRAMS = ("acp", "claude_cli")


def test_every_row_can_be_reached_or_must_be_configured():
    assert len(BY_NAME) == len(CATALOGUE)
    for vendor in CATALOGUE:
        here = vendor.wire in ("offline", *PROGRAMS)
        assert here or vendor.base_url.startswith(("https://", "http://localhost"))
        assert vendor.default_model or vendor.name in ("yescale", "ollama_cloud")


def test_settings_know_who_has_an_address_and_who_asks_for_no_key():
    with_address = {vendor.name for vendor in CATALOGUE if vendor.base_url}
    assert with_address == {*KEYED, *KEYLESS}
    assert {vendor.name for vendor in CATALOGUE if vendor.keyless} == {*KEYLESS, *PROGRAMS, OFFLINE}


def test_a_house_without_vendors_does_not_load_the_http_client():
    code = (
        "import sys\n"
        "from goclaw.providers.catalogue import BY_NAME\n"
        "from goclaw.providers.provider import open_provider\n"
        "open_provider(BY_NAME['offline']); sys.exit('httpx' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

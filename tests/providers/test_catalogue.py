"""The rows. Contract: providers.md §2, §3."""

from __future__ import annotations

import subprocess
import sys

from goclaw.providers.catalogue import BY_NAME, CATALOGUE, Vendor


def test_every_row_can_be_reached_or_must_be_configured():
    assert len(BY_NAME) == len(CATALOGUE)
    for vendor in CATALOGUE:
        assert vendor.wire == "offline" or vendor.base_url.startswith(("https://", "http://localhost"))
        assert vendor.default_model or vendor.name in ("yescale", "ollama_cloud")


def test_the_prefixed_key_wins_over_the_plain_one():
    openai = BY_NAME["openai"]

    assert openai.key_in({"OPENAI_API_KEY": "plain", "GOCLAW_OPENAI_API_KEY": "ours"}) == "ours"
    assert openai.key_in({"OPENAI_API_KEY": " plain "}) == "plain"
    assert BY_NAME["groq"].key_in({"GROQ_API_KEY": "x"}) == ""
    assert Vendor("mine").key_in({"GOCLAW_MINE_API_KEY": "x"}) == "x"


def test_a_house_without_vendors_does_not_load_the_http_client():
    code = (
        "import sys\n"
        "from goclaw.providers.catalogue import BY_NAME\n"
        "from goclaw.providers.provider import open_provider\n"
        "open_provider(BY_NAME['offline']); sys.exit('httpx' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

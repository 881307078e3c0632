"""Every disguise of every kind of secret, however it is cut, on its way to people and to the books.

Contract: security.md §6.2, §12.1; SEC-23, SEC-43.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from goclaw.security.audit import Act, entry
from goclaw.security.known import Known
from goclaw.security.leaks import LeakFilter
from goclaw.security.redact import Redactor
from goclaw.security.scrub import scrubbed

CANARIES = {  # one for each row of the inventory, security.md §8.2
    "gateway-token": "canary gw/0123456789abcdef+x",
    "encryption-key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "dsn-password": "p@ss:word/with%signs&more",
    "provider-key": "vk-canary-9f8e7d6c5b4a3210",
    "channel-token": "123456:canary-AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
    "mcp-key": "mcp canary \"quoted\" 'twice' 0123",
    "voice-key": "voice\\canary\\back\\slashes\\01",
    "tool-environment": "línea-canary-ñandú-0123456789",
    "cli-environment": "canary\ttab\tseparated\tvalue01",
    "node-token": "gcn-canary-zzzzzzzzzzzzzzzzzzzz",
    "oauth-refresh": "1//0canary-refresh_token.value~x",
    "oauth-access": "ya-canary.access-0123456789abcdef",
}
DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda text: base64.b64encode(b"xy" + text.encode() + b"z").decode(),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "percent": lambda text: quote(text, safe=""),
    "json": lambda text: json.dumps(text)[1:-1],
}
KNOWN = Known(CANARIES.values()).forms
PAIRS = [(name, disguise) for name in CANARIES for disguise in DISGUISES]


def told(name: str, disguise: str) -> tuple[str, str]:
    """A text with the secret in disguise, and the middle of that, which must be nowhere."""
    hidden = DISGUISES[disguise](CANARIES[name])
    inner = hidden[4:-4]
    return f"It is <{hidden}>, keep it.", inner


@pytest.mark.parametrize(("name", "disguise"), PAIRS)
def test_no_disguise_leaves_in_an_answer(name: str, disguise: str) -> None:
    """SEC-43. Split over the deltas of a stream in four ways."""
    text, inner = told(name, disguise)
    for size in (1, 3, 7, 100):
        filter = LeakFilter("registered", KNOWN)
        said = "".join([*(filter.feed(text[at : at + size]) for at in range(0, len(text), size)), filter.finish()])
        assert inner not in said
        assert said.startswith("It is <")
        assert said.endswith(">, keep it.")


@pytest.mark.parametrize(("name", "disguise"), PAIRS)
async def test_no_disguise_is_kept(name: str, disguise: str) -> None:
    """SEC-23. In results of tools, in logs, traces and records, and in the audit."""
    text, inner = told(name, disguise)
    stream = Redactor(KNOWN)
    result = await stream.feed(text[:20]) + await stream.feed(text[20:]) + await stream.finish()
    line = scrubbed({"note": text, "deep": [{"note": text}]}, KNOWN)
    act = entry(Act(action="x", subject=text, reason=text, details={"note": [text]}), datetime.now(UTC), KNOWN)

    for sink in (result, json.dumps(line, ensure_ascii=False), json.dumps(act, ensure_ascii=False)):
        assert inner not in sink
        assert json.dumps(inner)[1:-1] not in sink

"""Where ChatGPT accounts log in, as far as a client sees it: codes for tokens, new tokens for old ones, each once."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trio

from tests.fakes.http1 import Hangup, next_request, whole

CLAIM = "https://api.openai.com/auth"


class Authority:
    """`browser` is a person who says yes. `status` other than 200 refuses every question for tokens."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[dict[str, str]] = []
        self.expires_in = 3600
        self.status = 200
        self.gate = trio.Event()
        self.gate.set()
        self._codes: dict[str, str] = {}  # code → challenge
        self._refresh = ""
        self._count = 0

    def browser(self, url: str) -> str:
        """Where the browser ends."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = f"code-{len(self._codes)}"
        self._codes[code] = query["code_challenge"]
        return f"{query['redirect_uri']}?code={code}&state={query['state']}"

    async def serve(self, stream: trio.SocketStream) -> None:
        buffer = bytearray()
        async with stream:
            try:
                while request := await next_request(stream, buffer):
                    assert request.target == "/oauth/token"
                    form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
                    self.asked.append(form)
                    await self.gate.wait()
                    status, said = self._answer(form)
                    await stream.send_all(whole(status, json.dumps(said).encode()))
            except (trio.BrokenResourceError, Hangup):
                pass

    def _answer(self, form: dict[str, str]) -> tuple[int, Any]:
        if self.status != 200:
            return self.status, {"error": "invalid_grant", "error_description": f"not {form.get('refresh_token')}"}
        if form["grant_type"] == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            if self._codes.pop(form["code"], "") != base64.urlsafe_b64encode(digest).rstrip(b"=").decode():
                return 400, {"error": "invalid_grant"}
        elif form["refresh_token"] != self._refresh:
            return 400, {"error": "refresh_token_reused"}
        self._count += 1
        self._refresh = f"refresh-{self._count}"
        return 200, {
            "access_token": f"access-{self._count}",
            "refresh_token": self._refresh,
            "id_token": jwt({"email": "lan@example.com", CLAIM: {"chatgpt_account_id": "acc-1"}}),
            "expires_in": self.expires_in,
        }


def jwt(claims: dict[str, Any]) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"head.{body}.seal"


@asynccontextmanager
async def open_authority() -> AsyncIterator[Authority]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    authority = Authority(listener.socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, authority.serve, [listener])
        yield authority
        nursery.cancel_scope.cancel()

"""Where ChatGPT accounts log in: PKCE, codes for tokens, new tokens for old ones. Contract: providers.md §7.3.

The client is the public one of the vendor's own command line, whose callback address is fixed.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from msgspec import Struct

from goclaw.domain.access import Caller
from goclaw.domain.errors import ProviderError

AUTHORITY = "https://auth.openai.com"
CLIENT = "app_EMoamEEZ73f0CkXaXp7hrann"
CALLBACK_PORT, CALLBACK_PATH = 1455, "/auth/callback"
CALLBACK = f"http://localhost:{CALLBACK_PORT}{CALLBACK_PATH}"
SCOPES = ("openid", "profile", "email", "offline_access")
CLAIM = "https://api.openai.com/auth"  # of the id token: whose account it is
WITHIN = 20.0  # seconds
LIMIT = 65_536  # bytes of an answer
LIFE = 3600  # seconds of a token that does not say


class Login(Struct, frozen=True):
    """One that was begun by `caller`. `verifier` proves that who ends it is who began it."""

    state: str
    verifier: str
    caller: Caller
    until: datetime

    def url(self, authority: str) -> str:
        """Where the browser is sent."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": CLIENT,
            "redirect_uri": CALLBACK,
            "scope": " ".join(SCOPES),
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "state": self.state,
            "id_token_add_organizations": "true",
            "codex_cli_simplified_flow": "true",
        }
        return f"{authority}/oauth/authorize?{urlencode(query)}"


class Tokens(Struct, frozen=True):
    """What the authority gave. `expires_in` is in seconds."""

    access_token: str
    refresh_token: str = ""
    id_token: str = ""
    expires_in: int = LIFE


def begin(caller: Caller, until: datetime) -> Login:
    return Login(secrets.token_urlsafe(32), secrets.token_urlsafe(64), caller, until)


def returned(url: str) -> dict[str, str]:
    """The members of the address a browser was sent back to: `code` and `state`, or `error`."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url.strip()).query).items()}


async def redeem(authority: str, code: str, login: Login) -> Tokens:
    """Raises ProviderError."""
    return await _ask(
        authority,
        grant_type="authorization_code",
        code=code,
        redirect_uri=CALLBACK,
        client_id=CLIENT,
        code_verifier=login.verifier,
    )


async def renew(authority: str, refresh_token: str) -> Tokens:
    """Raises ProviderError: `auth_permanent` if the account must log in again."""
    return await _ask(authority, grant_type="refresh_token", refresh_token=refresh_token, client_id=CLIENT)


def account_of(id_token: str) -> dict[str, Any]:
    """Who logged in, as the id token says. It came straight from the authority, so its seal is not looked at."""
    try:
        body = id_token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        about = claims.get(CLAIM) or {}
        found = {
            "account_id": about.get("chatgpt_account_id"),
            "plan": about.get("chatgpt_plan_type"),
            "email": claims.get("email"),
        }
    except (IndexError, ValueError, AttributeError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


async def _ask(authority: str, **form: str) -> Tokens:
    import httpx

    from goclaw.providers.web import read, weather

    try:
        async with httpx.AsyncClient(timeout=WITHIN) as http:
            request = http.build_request("POST", f"{authority}/oauth/token", data=form)
            response = await http.send(request, stream=True)
            body = await read(response, LIMIT)
    except httpx.HTTPError as error:
        raise weather(error) from None
    if 400 <= response.status_code < 500 and response.status_code != 429:
        raise ProviderError("auth_permanent", f"the login is not valid any more: {_error(body)}")
    if response.status_code != 200:
        raise ProviderError("server_error", f"the login answers {response.status_code}")
    try:
        return msgspec.json.decode(body, type=Tokens)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ProviderError("server_error", f"the login's answer is none: {error}") from None


def _error(body: bytes) -> str:
    """The authority's word for what is wrong, never more of what it said."""
    try:
        said = msgspec.json.decode(body)
        word = said.get("error") if isinstance(said, dict) else None
        word = word.get("code") if isinstance(word, dict) else word
    except (msgspec.DecodeError, UnicodeError):
        word = None
    return word[:80] if isinstance(word, str) else "refused"

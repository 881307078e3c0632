"""Hooks that are commands of this machine, or servers. Contract: tools.md §22; security.md §4.1, §14."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import httpx
import msgspec
import trio
from msgspec import Meta, Struct

from goclaw.domain.hook import LONGEST_MS, Happening, Hook
from goclaw.providers.web import close, tls, weather
from goclaw.security.box import Box, Place, SecretUnreadable
from goclaw.security.confine import environment
from goclaw.security.egress import guarded
from goclaw.security.ssrf import Guard, Refused
from goclaw.tools.hooks.verdict import REASON, HookFailed, Verdict, told, verdict_of
from goclaw.tools.runtime.host import run
from goclaw.tools.tool import ToolFailed

SECRETS = "hooks.secrets"  # the column they are sealed for
BODY = 2**20  # bytes of an answer
CHARSETS = (
    "utf-8",
    "utf8",
    "us-ascii",
    "ascii",
    "iso-8859-1",
    "latin-1",
    "windows-1252",
)  # our words are the same there
AGAIN = 1.0  # seconds before a server that failed is asked once more

Name = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}(?!\n)$")]
Header = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}(?!\n)$")]
HeaderValue = Annotated[str, Meta(pattern=r"^[\x20-\x7e]{0,4096}(?!\n)$")]


Secret = Annotated[str, Meta(max_length=8192)]
Variables = Annotated[dict[Name, Secret], Meta(max_length=50)]
HeaderSecrets = Annotated[dict[Header, HeaderValue], Meta(max_length=30)]
C = TypeVar("C", bound=Struct)


class Command(Struct, forbid_unknown_fields=True):
    """`command` is a line of the shell, or a program and its arguments; `env` names variables of the gateway."""

    command: (
        Annotated[str, Meta(min_length=1, max_length=16_384)]
        | Annotated[list[Annotated[str, Meta(max_length=16_384)]], Meta(min_length=1, max_length=100)]
    )
    env: Annotated[list[Name], Meta(max_length=50)] = []

    @property
    def line(self) -> str:
        return self.command if isinstance(self.command, str) else shlex.join(self.command)


class Server(Struct, forbid_unknown_fields=True):
    url: Annotated[str, Meta(min_length=8, max_length=2048)]
    headers: Annotated[dict[Header, HeaderValue], Meta(max_length=30)] = {}
    allow_private_network: bool = False


class Handlers:
    """`place` is where commands work, made on first use; `variables` are the gateway's own."""

    def __init__(self, box: Box, place: Path, variables: Mapping[str, str], guard: Guard | None = None) -> None:
        self._box = box
        self._place = place
        self._variables = variables
        self._guard = guard

    async def command(self, hook: Hook, about: Happening) -> Verdict:
        """Exit 0 allows, 2 blocks, anything else is an error."""
        config = _config(hook, Command)
        env = environment(self._variables, self._place)
        env |= {name: self._variables[name] for name in config.env if name in self._variables} | self._secrets(hook)
        try:
            self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
            place = os.open(self._place, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise HookFailed(f"{self._place}: {error.strerror}") from None
        try:
            ran = await run(config.line, place, env, LONGEST_MS / 1000, told(about))
        except ToolFailed as failure:
            raise HookFailed(str(failure)) from None
        finally:
            os.close(place)
        out, err = ran.out, ran.err
        match ran.code:
            case 0:
                return verdict_of(out, stdout=out, stderr=err)
            case 2:
                reason = (ran.err.strip() or ran.out.strip())[:REASON]
                return Verdict(blocks=True, reason=reason, stdout=out, stderr=err)
        raise HookFailed(f"exit code {ran.code}: {ran.err.strip()[:REASON]}")

    async def http(self, hook: Hook, about: Happening) -> Verdict:
        """A server that says no by its status blocks; one that fails is asked once more."""
        config = _config(hook, Server)
        guard = self._guard or Guard(allow_private=config.allow_private_network)
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            **config.headers,
            **self._secrets(hook),
        }
        timeout = httpx.Timeout(LONGEST_MS / 1000)
        async with httpx.AsyncClient(transport=guarded(guard, tls()), timeout=timeout) as http:
            for last in (False, True):
                try:
                    request = httpx.Request("POST", config.url, headers=headers, content=told(about))
                    response = await http.send(request, stream=True)
                    status, body = response.status_code, await _body(response)
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    raise HookFailed(weather(error).message) from None
                except Refused as refused:
                    raise HookFailed(str(refused)) from None
                if status < 500 or last:
                    break
                await trio.sleep(AGAIN)
        if 400 <= status < 500:
            return Verdict(blocks=True, reason=f"the server of the hook answered {status}", status=status)
        if not 200 <= status < 300:
            raise HookFailed(f"status {status}")
        kind = response.headers.get("content-type", "").lower()
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise HookFailed("its answer is packed, which it was not asked for")
        if (response.charset_encoding or "utf-8").lower() not in CHARSETS or b"\0" in body:
            raise HookFailed("its answer is in another charset than UTF-8")
        if "json" in kind and body.strip() and not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            raise HookFailed("its answer says that it is JSON, and is no object")
        return verdict_of(body, status=status)

    def _secrets(self, hook: Hook) -> dict[str, str]:
        """Raises HookFailed for what no key opens."""
        if hook.secrets is None:
            return {}
        try:
            opened = self._box.unseal_object(bytes.fromhex(hook.secrets), Place(SECRETS, hook.id))
        except SecretUnreadable:
            raise HookFailed("secret_unreadable") from None
        return msgspec.convert(opened, dict[str, str])


def _config(hook: Hook, kind: type[C]) -> C:
    try:
        return msgspec.json.decode(hook.config, type=kind)
    except msgspec.ValidationError as error:
        raise HookFailed(f"config: {error}") from None


async def _body(response: httpx.Response) -> bytes:
    body, raw = bytearray(), response.aiter_raw()
    try:
        async for piece in raw:
            body += piece
            if len(body) > BODY:
                raise HookFailed(f"an answer of more than {BODY} bytes")
    finally:
        await close(response, raw, linger=0)
    return bytes(body)

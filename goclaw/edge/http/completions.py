"""POST /v1/chat/completions, as OpenAI's clients speak it. Contract: edge-http.md §2."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote

import msgspec
from msgspec import Meta, Struct
from quart import Response

from goclaw.domain.access import SYSTEM_USER, Caller, Role, valid_user_id
from goclaw.domain.address import session
from goclaw.domain.agent import AgentProfile
from goclaw.domain.chat import ChatOptions
from goclaw.domain.errors import Err, ProviderError, Rejected, invalid
from goclaw.domain.events import RunEvent
from goclaw.domain.ids import new_id
from goclaw.domain.media import shown
from goclaw.domain.run import FinishReason, RunRequest, RunResult
from goclaw.domain.session import Abort, Accepted, Earlier, SessionKey, key_of
from goclaw.domain.texts import text_of
from goclaw.domain.usage import in_openai_shape
from goclaw.edge.http.answers import json_response, openai_error
from goclaw.edge.http.request import Call, Raw
from goclaw.edge.http.sse import KEEP_ALIVE_FRAME, Stream, frame, or_keep_alive
from goclaw.operations.context import Context
from goclaw.operations.feed import RunFeed, listening
from goclaw.operations.models import ANY_AGENT, model_not_found
from goclaw.operations.params import decode
from goclaw.operations.sessions import session_seen
from goclaw.operations.turns import checked_key, fresh_key, heard, resolve_agent, send
from goclaw.providers.structured import checker
from goclaw.stores import runs

DONE = b"data: [DONE]\n\n"
FINISH: dict[FinishReason, str] = {"stop": "stop", "length": "length", "max_iterations": "length", "cancelled": "stop"}
PREFIXES = ("goclaw:", "agent:")
UNSUPPORTED = ("logprobs", "top_logprobs", "modalities", "audio", "prediction")

Unit = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Count = Annotated[int, Meta(ge=1)]


class Said(Struct, kw_only=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None


class StreamOptions(Struct, kw_only=True):
    include_usage: bool = False


class Completion(Struct, kw_only=True):
    messages: Annotated[list[Said], Meta(min_length=1)]
    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Unit | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: int | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    response_format: dict[str, Any] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    tool_choice: Any = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    n: int = 1
    max_cost_usd: Annotated[float, Meta(ge=0, le=1_000_000)] | None = None  # ours; providers.md §18


async def complete(call: Call, caller: Caller) -> Response:
    """Run the agent the model name stands for, and answer as a chat completion, whole or streamed."""
    given = await call.body()
    ask = decode(Completion, given)
    _check(ask, given)
    ctx = call.context(_named(call, caller, ask))
    agent = await _agent(ctx, call, ask.model)
    key, stored = await _session(ctx, call, ask, agent)
    text, truncated = await heard(ctx, _text(ask.messages[-1]))
    request = RunRequest(
        message=text,
        truncated=truncated,
        instructions="\n\n".join(_text(said) for said in ask.messages if said.role in ("system", "developer")),
        options=_options(ask),
        response_format=_form(ask.response_format),
        use_tools=ask.tool_choice != "none",
        max_cost_usd=None if ask.max_cost_usd is None else Decimal(str(ask.max_cost_usd)),
    )
    earlier = () if stored else _earlier(ask.messages)
    run_id = new_id()
    answer = Answering(call, ctx, key, run_id, ask)
    try:
        accepted = await send(
            ctx, run_id=run_id, agent=agent, key=key, kind="http", request=request, earlier=earlier, fresh=not stored
        )
        if ctx.replayed:
            call.replayed = True
            await answer.attach(accepted)
    except BaseException:
        answer.close()
        raise
    headers = {
        "X-GoClaw-Run-Id": accepted.run_id,
        "X-GoClaw-Session-Key": accepted.session_key,
        "X-GoClaw-Agent-Id": agent.key,
    }
    if ask.stream:
        return Stream(answer.frames(), answer.close).response(headers)
    try:
        return answer.whole(await answer.feed.result(), headers)
    finally:
        answer.close()


class Answering:
    """One answer under way. Closing it before the run has ended means that the client left, and its run with it
    unless an idempotency key lets it come back for the result."""

    def __init__(self, call: Call, ctx: Context, key: SessionKey, run_id: str, ask: Completion) -> None:
        self.call = call
        self.ctx = ctx
        self.key = key
        self.run_id = run_id
        self.ask = ask
        self.model = ask.model or ANY_AGENT
        self.ended = False
        self.late = False  # its beginning was not heard, so its text is sent when all of it is there
        self._stack = ExitStack()
        self.feed: RunFeed
        self._listen()

    def _listen(self) -> None:
        self._stack.close()
        only_result = not self.ask.stream
        self.feed = self._stack.enter_context(listening(self.ctx.system, self.run_id, only_result=only_result))

    async def attach(self, first: Accepted) -> None:
        """Answer with a run that was asked for before: from its first word on if that is still known."""
        self.run_id = first.run_id
        self._listen()
        heard = self.ctx.house.replays.since(first.run_id, 0)
        self.late = heard is None or heard.gap
        if heard is not None and not self.late:
            self.feed.catch_up(heard.events)
        ended = await self.ctx.db(runs.result, tenant=self.ctx.caller.tenant_id, run_id=first.run_id)
        if ended is not None:
            self.feed.finish(ended)

    @property
    def id(self) -> str:
        return f"chatcmpl-{self.run_id.replace('-', '')[-16:]}"

    @property
    def created(self) -> int:
        """Epoch seconds, as the id of the run has them, so that a repeated answer is the same."""
        return int(self.run_id.replace("-", "")[:12], 16) // 1000

    def close(self) -> None:
        self._stack.close()
        if not self.ended and not self.ctx.idempotency_key:
            self.ended = True
            stop = Abort(user_id=self.ctx.user_id, as_admin=True, run_id=self.run_id, reason="client_gone")
            self.ctx.system.tell(session(self.ctx.caller.tenant_id, str(self.key)), stop)

    # --- whole --------------------------------------------------------------------------------

    def whole(self, result: RunResult, headers: dict[str, str]) -> Response:
        self.ended = True
        if result.error is not None:
            raise Rejected(result.error)
        message: dict[str, Any] = {"role": "assistant", "content": result.content, "refusal": None}
        if result.media:
            files = shown(result.media, self.ctx.house.links, self.call.now)
            message["content"] += _links(result.content, files)
            message["goclaw"] = {"media": files}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": FINISH[result.finish_reason],
        }
        body = {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
            "usage": in_openai_shape(result.usage),
            "system_fingerprint": f"goclaw-{self.ctx.house.version}",
        }
        return json_response(body, 200, headers)

    # --- streamed -----------------------------------------------------------------------------

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """A frame per event. Frames of events that happened together share a piece: a write costs more than a frame."""
        piece = self._chunk({"role": "assistant", "content": ""})
        calls = 0
        show_tools = self.call.request.headers.get("X-GoClaw-Tool-Deltas", "").lower() != "off"
        while events := await or_keep_alive(self.feed.next):
            if events is KEEP_ALIVE_FRAME:
                yield KEEP_ALIVE_FRAME
                continue
            for event in events:
                if self.late:
                    continue
                if event.type == "chunk":
                    piece += self._chunk({"content": event.text})
                elif event.type == "tool.call" and show_tools:
                    piece += self._chunk({"tool_calls": [_tool_delta(event, calls)]})
                    calls += 1
            if piece:
                yield piece
                piece = b""
        result = await self.feed.result()
        self.ended = True
        if self.late and result.content:
            piece += self._chunk({"content": result.content})
        if result.media:
            files = shown(result.media, self.ctx.house.links, self.call.now)
            piece += self._chunk({"content": _links(result.content, files), "goclaw": {"media": files}})
        yield piece + self._end(result)

    def _end(self, result: RunResult) -> bytes:
        if result.error is not None:
            return frame(openai_error(result.error, text_of(result.error, self.call.locale))) + DONE
        usage = in_openai_shape(result.usage)
        finish = FINISH[result.finish_reason]
        if self.ask.stream_options is not None and self.ask.stream_options.include_usage:
            return self._chunk({}, finish) + frame({**self._base(), "choices": [], "usage": usage}) + DONE
        choice = {"index": 0, "delta": {}, "finish_reason": finish}
        return frame({**self._base(), "choices": [choice], "usage": usage}) + DONE

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        chunk = {**self._base(), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        if self.ask.stream_options is not None and self.ask.stream_options.include_usage:
            chunk["usage"] = None
        return frame(chunk)

    def _base(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
        }


def _tool_delta(event: RunEvent, index: int) -> dict[str, Any]:
    wanted = msgspec.json.decode(event.body)
    arguments = msgspec.json.encode(wanted["arguments"]).decode()
    function = {"name": wanted["name"], "arguments": arguments}
    return {"index": index, "id": wanted["id"], "type": "function", "function": function}


def _links(text: str, files: Sequence[dict[str, Any]]) -> str:
    """Files as Markdown, behind the text."""
    links = [f"[{unquote(file['path'].rpartition('/')[2])}]({file['path']})" for file in files]
    return ("\n\n" if text else "") + "\n".join(links)


# --- reading the request --------------------------------------------------------------------------


def _check(ask: Completion, given: dict[str, Any]) -> None:
    """What the type cannot say (edge-http.md §2.1)."""
    if ask.n != 1:
        raise Rejected(invalid("n", "unsupported_value"))
    for name in UNSUPPORTED:
        if given.get(name):
            raise Rejected(invalid(name, "unsupported_parameter"))
    _check_form(ask.response_format)
    if ask.stream_options is not None and not ask.stream:
        raise Rejected(invalid("stream_options", "only with stream"))
    if ask.messages[-1].role not in ("user", "tool"):
        raise Rejected(invalid("messages", "the last one must be of the user"))
    if not any(said.role == "user" for said in ask.messages):
        raise Rejected(invalid("messages", "at least one must be of the user"))
    for said in ask.messages:
        if said.content is None and said.role != "assistant":
            raise Rejected(invalid("messages", "content is required"))


def _check_form(form: dict[str, Any] | None) -> None:
    """That a schema can be kept to, before a model is asked (edge-http.md §2.6)."""
    try:
        checker(form)
    except ProviderError as error:
        raise Rejected(invalid("response_format", error.message)) from None


def _form(form: dict[str, Any] | None) -> str:
    return "" if form is None or form.get("type") == "text" else msgspec.json.encode(form).decode()


def _text(said: Said) -> str:
    """The text of a message. Parts other than text are refused: this gateway has no eyes yet."""
    if isinstance(said.content, str) or said.content is None:
        return said.content or ""
    texts = []
    for part in said.content:
        if part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise Rejected(invalid("messages", f"content part {part.get('type')!r} is not supported"))
        texts.append(part["text"])
    return "\n".join(texts)


def _earlier(messages: list[Said]) -> tuple[Earlier, ...]:
    """What was said before, without tools: their calls have no partner here (edge-http.md §2.3)."""
    return tuple(
        Earlier(role=said.role, content=_text(said))
        for said in messages[:-1]
        if said.role in ("user", "assistant") and _text(said)
    )


def _options(ask: Completion) -> ChatOptions | None:
    stop = (ask.stop,) if isinstance(ask.stop, str) else tuple(ask.stop or ())
    options = ChatOptions(
        temperature=ask.temperature,
        top_p=ask.top_p,
        max_tokens=ask.max_completion_tokens or ask.max_tokens,
        stop=stop,
        seed=ask.seed,
        presence_penalty=ask.presence_penalty,
        frequency_penalty=ask.frequency_penalty,
        reasoning_effort=ask.reasoning_effort,
    )
    return None if options == ChatOptions() else options


def _named(call: Call, caller: Caller, ask: Completion) -> Caller:
    """Who the run is for: the header, else `user` of the body, else the installation's own user."""
    if caller.user_id:
        return caller
    user = (ask.user or "").strip() or SYSTEM_USER
    if not valid_user_id(user):
        raise Rejected(invalid("user", "user_id_invalid"))
    owner = caller.is_owner or call.house.settings.gateway.is_owner(user)
    return msgspec.structs.replace(caller, user_id=user, is_owner=owner)


async def _agent(ctx: Context, call: Call, model: str | None) -> AgentProfile:
    """The agent a model name, else a header, stands for; any other name means the default agent (§2.2)."""
    for prefix in PREFIXES:
        if model is not None and model.startswith(prefix):
            try:
                return await resolve_agent(ctx, model.removeprefix(prefix))
            except Rejected:
                raise Rejected(model_not_found(model)) from None
    headers = call.request.headers
    return await resolve_agent(ctx, headers.get("X-GoClaw-Agent-Id") or headers.get("X-GoClaw-Agent"))


async def _session(ctx: Context, call: Call, ask: Completion, agent: AgentProfile) -> tuple[SessionKey, bool]:
    """A fresh session for this request, or the stored one it names; and whether it is stored."""
    named = call.request.headers.get("X-GoClaw-Session-Key") or (ask.metadata or {}).get("session_key")
    if named is None:
        user = quote(ctx.user_id, safe="@~")[:200]
        return fresh_key(ctx, lambda: key_of(agent.key, "http", "direct", f"{user}-{new_id()[-8:]}")), False
    if not isinstance(named, str):
        raise Rejected(Err("INVALID_REQUEST", "wrong_type", {"field": "metadata.session_key", "expected": "str"}))
    key = checked_key(named)
    if key.agent_key != agent.key:
        raise Rejected(invalid("session_key", f"it belongs to agent {key.agent_key}"))
    await session_seen(ctx, named)
    return key, True


ROUTE = Raw("POST /v1/chat/completions", Role.OPERATOR, complete)

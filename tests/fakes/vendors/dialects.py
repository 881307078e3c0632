"""Vendors that speak OpenAI chat completions with an accent, one class each."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, ClassVar

from tests.fakes.vendors.brain import Ask, encode
from tests.fakes.vendors.openai_chat import FINISHES, Chat
from tests.fakes.vendors.script import Answer, Refuse
from tests.fakes.vendors.vendor import Heard, sse


class Mistral(Chat):
    """Call ids of nine letters and digits, roles in order, calls in one piece, no parameter it does not know."""

    always_usage = True
    ID = re.compile(r"[a-zA-Z0-9]{9}")
    FIELDS = frozenset(
        """
        model messages temperature top_p max_tokens stream stop random_seed metadata response_format tools tool_choice
        presence_penalty frequency_penalty n prediction parallel_tool_calls prompt_mode reasoning_effort safe_prompt
        stream_options
        """.split()  # noqa: SIM905
    )
    AFTER: ClassVar[dict[str, tuple[str, ...]]] = {
        "system": ("user", "assistant", "system"),
        "user": ("assistant", "system", "user"),
        "assistant": ("assistant", "user", "tool"),
        "tool": ("assistant", "tool"),
    }

    def check(self, body: dict[str, Any]) -> None:
        if extra := [name for name in body if name not in self.FIELDS]:
            found = {"type": "extra_forbidden", "loc": ["body", extra[0]], "msg": "Extra inputs are not permitted"}
            detail = {"object": "error", "message": {"detail": [found]}, "type": "invalid_request_error", "code": None}
            raise Refuse(422, "Extra inputs are not permitted", body=encode(detail))
        roles = [message["role"] for message in body["messages"]]
        for before, role in pairwise(roles):
            if role not in self.AFTER.get(before, ()):
                self._disorder(f"Unexpected role '{role}' after role '{before}'")
        if roles[-1] not in ("user", "tool") and not body["messages"][-1].get("prefix"):
            self._disorder(
                f"Expected last role User or Tool (or Assistant with prefix True) for serving but got {roles[-1]}"
            )
        called, answered = 0, 0
        for message in body["messages"]:
            calls = message.get("tool_calls") or ()
            for id in [call.get("id") for call in calls] + [message.get("tool_call_id")] * (message["role"] == "tool"):
                if not self.ID.fullmatch(str(id)):
                    what = f"Tool call id was {id} but must be a-z, A-Z, 0-9, with a length of 9."
                    raise Refuse(400, what, kind="invalid_function_call", code="3280")
            called += len(calls)
            answered += message["role"] == "tool"
        if called != answered:
            self._disorder("Not the same number of function calls and responses")

    def _disorder(self, what: str) -> None:
        raise Refuse(400, what, kind="invalid_request_message_order", code="3230")

    def call_id(self) -> str:
        return f"{next(self._numbers):09d}"

    def called(self, said: Answer) -> list[dict[str, Any]]:
        calls = [{"index": place, **self.call(call)} for place, call in enumerate(said.calls)]
        return [{"tool_calls": calls}] if calls else []

    def ending(self, said: Answer, ask: Ask) -> list[bytes]:
        """Finish reason and usage come together."""
        return [self.chunk(ask, {"content": ""}, FINISHES[said.ends], usage=self.usage(said, ask))]

    def chunk(self, ask: Ask, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return sse({**self.frame(ask, "chat.completion.chunk", [choice]), **more})

    def refusal(self, no: Refuse) -> Any:
        if no.status == 401:
            return {"detail": "Unauthorized"}
        kind, code = no.kind or "invalid_request_error", no.code
        error = {"object": "error", "message": no.message, "type": kind, "param": None, "code": code}
        return {**error, "raw_status_code": no.status}


class Cohere(Chat):
    """Knows no `stream_options`, and no `stream` usage therefore; its errors are flat."""

    UNKNOWN = ("stream_options", "store", "metadata", "logit_bias", "top_logprobs", "n", "modalities", "prediction")

    def check(self, body: dict[str, Any]) -> None:
        for name in self.UNKNOWN:
            if name in body:
                raise Refuse(422, f"invalid request: parameter '{name}' is not supported by this endpoint")
        super().check(body)

    def refusal(self, no: Refuse) -> Any:
        return {"id": f"{next(self._numbers):08d}", "message": no.message}


class Groq(Chat):
    """Shows its thoughts as `reasoning`, and sometimes fails to write a call: a cooler request succeeds."""

    thought_field = "reasoning"

    def ask(self, heard: Heard, found: re.Match[str]) -> Ask:
        ask = super().ask(heard, found)
        if ask.text.startswith("!badly") and ask.tools and ask.body.get("temperature", 1) > 0:
            raise tool_use_failed(f'<function={ask.tools[0].name}>{{"word": "tea"}}</function>')
        ask.text = ask.text.replace("!badly", "!tool")
        return ask

    def thinks(self, body: dict[str, Any]) -> bool:
        return body.get("reasoning_effort") not in (None, "none")

    def ending(self, said: Answer, ask: Ask) -> list[bytes]:
        """The usage comes with the finish reason, in a place of its own; where asked for, in the usual one too."""
        usage = self.usage(said, ask)
        out = [self.chunk(ask, {}, FINISHES[said.ends], x_groq={"id": f"req_{ask.id}", "usage": usage})]
        if ask.wants_usage:
            out.append(sse(self.frame(ask, "chat.completion.chunk", [], usage=usage)))
        return out


def tool_use_failed(generation: str) -> Refuse:
    what = "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details."
    more = {"failed_generation": generation}
    return Refuse(400, what, kind="invalid_request_error", code="tool_use_failed", more=more)


class DeepSeek(Chat):
    """Thinks aloud in `reasoning_content` and wants it back for as long as a tool loop lasts."""

    thought_field = "reasoning_content"

    def thinks(self, body: dict[str, Any]) -> bool:
        kind = (body.get("thinking") or {}).get("type")
        return kind == "enabled" or (kind is None and body["model"] != "deepseek-chat")

    def check(self, body: dict[str, Any]) -> None:
        super().check(body)
        if not self.thinks(body):
            return
        for message in body["messages"]:
            if message.get("tool_calls") and "reasoning_content" not in message:
                what = "The `reasoning_content` in the thinking mode must be passed back to the API."
                raise Refuse(400, what, kind="invalid_request_error", code="invalid_request_error")

    def usage(self, said: Answer, ask: Ask) -> dict[str, Any]:
        usage = super().usage(said, ask)
        hit = usage["prompt_tokens_details"]["cached_tokens"]
        return {**usage, "prompt_cache_hit_tokens": hit, "prompt_cache_miss_tokens": usage["prompt_tokens"] - hit}

    def refusal(self, no: Refuse) -> Any:
        kinds = {401: "authentication_error", 402: "unknown_error", 429: "rate_limit_reached_error"}
        texts = {402: "Insufficient Balance"}
        kind = no.kind or kinds.get(
            no.status, "invalid_request_error" if no.status < 500 else "service_unavailable_error"
        )
        message = texts.get(no.status, no.message)
        return {"error": {"message": message, "type": kind, "param": None, "code": no.code or "invalid_request_error"}}


class Perplexity(Chat):
    """Searches instead of calling tools; roles alternate; usage and sources come with every chunk."""

    always_usage = True
    SOURCES = ("https://example.com/one", "https://example.com/two")

    def check(self, body: dict[str, Any]) -> None:
        if body.get("tools"):
            raise Refuse(400, "Tool calling is not supported for this model.", kind="invalid_parameter")
        roles = [message["role"] for message in body["messages"]]
        spoken = roles[next((n for n, role in enumerate(roles) if role != "system"), len(roles)) :]
        wanted = ["user", "assistant"] * len(spoken)
        if not spoken or spoken != wanted[: len(spoken)]:
            what = "user or tool message(s) should alternate with assistant message(s)."
            raise Refuse(400, f"After the (optional) system message(s), {what}", kind="invalid_message")
        if spoken[-1] != "user":
            raise Refuse(400, "Last message must have role `user`.", kind="invalid_message")

    def frame(self, ask: Ask, kind: str, choices: list[Any], **more: Any) -> dict[str, Any]:
        found = {"citations": list(self.SOURCES), "search_results": [{"title": "One", "url": self.SOURCES[0]}]}
        return {**super().frame(ask, kind, choices, **more), **found}

    def ending(self, said: Answer, ask: Ask) -> list[bytes]:
        usage = {
            **self.usage(said, ask),
            "search_context_size": "low",
            "cost": {"total_cost": said.usage.cost or 0.006},
        }
        return [self.chunk(ask, {"content": ""}, FINISHES[said.ends], usage=usage)]

    def chunk(self, ask: Ask, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return sse({**self.frame(ask, "chat.completion.chunk", [choice]), **more})

    def refusal(self, no: Refuse) -> Any:
        return {"error": {"message": no.message, "type": no.kind or "bad_request", "code": no.status}}


class OpenRouter(Chat):
    """Names the provider behind it, says what the answer cost, and keeps the line warm with comments."""

    thought_field = "reasoning"
    always_usage = True
    WARM = b": OPENROUTER PROCESSING\n\n"

    def thinks(self, body: dict[str, Any]) -> bool:
        reasoning = body.get("reasoning") or {}
        return bool(reasoning.get("enabled") or reasoning.get("effort") or reasoning.get("max_tokens"))

    def check(self, body: dict[str, Any]) -> None:
        if "/" not in body.get("model", "/"):
            raise Refuse(400, f"{body['model']} is not a valid model ID")
        super().check(body)

    def usage(self, said: Answer, ask: Ask) -> dict[str, Any]:
        usage = super().usage(said, ask)
        cost = said.usage.cost if said.usage.cost is not None else usage["total_tokens"] / 1_000_000
        return {**usage, "cost": cost, "is_byok": False, "cost_details": {"upstream_inference_cost": cost}}

    def frame(self, ask: Ask, kind: str, choices: list[Any], **more: Any) -> dict[str, Any]:
        order = (ask.body.get("provider") or {}).get("order") or ["Fake"]
        return {**super().frame(ask, kind, choices, **more), "provider": order[0]}

    def events(self, said: Answer, ask: Ask) -> list[bytes]:
        return [self.WARM, *super().events(said, ask)]

    def failed(self, ask: Ask, message: str, sent: int) -> bytes:
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        error = {"code": 502, "message": message}
        return sse(self.frame(ask, "chat.completion.chunk", [choice], error=error))

    def refusal(self, no: Refuse) -> Any:
        return {"error": {"message": no.message, "code": no.status, **no.more}, "user_id": "user_fake"}


class DashScope(Chat):
    """Streams no calls, and thinks only when it streams."""

    thought_field = "reasoning_content"

    def thinks(self, body: dict[str, Any]) -> bool:
        return bool(body.get("enable_thinking"))

    def check(self, body: dict[str, Any]) -> None:
        if body.get("stream") and body.get("tools"):
            raise self._invalid("The tools parameter is not supported when stream is true.")
        if body.get("enable_thinking") and not body.get("stream"):
            raise self._invalid("parameter.enable_thinking must be set to false for non-streaming calls")
        super().check(body)

    def _invalid(self, what: str) -> Refuse:
        return Refuse(400, what, kind="invalid_request_error", code="invalid_parameter_error")

    def refusal(self, no: Refuse) -> Any:
        id = f"{next(self._numbers):08d}"
        return {**super().refusal(no), "id": f"chatcmpl-{id}", "request_id": id}


class Fireworks(Chat):
    """Long answers only as streams."""

    def check(self, body: dict[str, Any]) -> None:
        super().check(body)
        if not body.get("stream") and (body.get("max_tokens") or 0) > 4096:
            raise Refuse(400, "Requests with max_tokens > 4096 must have stream=true", kind="invalid_request_error")


class Thoughtful(Chat):
    """Vendors that think aloud in `reasoning_content` and ask for nothing back."""

    thought_field = "reasoning_content"

    def thinks(self, body: dict[str, Any]) -> bool:
        kind = (body.get("thinking") or {}).get("type")
        return kind == "enabled" or bool(body.get("enable_thinking")) or body.get("reasoning_effort") is not None


class MiniMax(Chat):
    """`/text/chatcompletion_v2`: errors with status 200, and a stream that ends with the whole answer."""

    thought_field = "reasoning_content"
    CODES: ClassVar[dict[int, tuple[int, str]]] = {
        400: (2013, "invalid params"),
        401: (1004, "not authorized / token not match group / cookie is missing, log in again"),
        402: (1008, "insufficient balance"),
        408: (1001, "request timeout"),
        429: (1002, "rate limit"),
        500: (1000, "unknown error"),
    }
    FINE: ClassVar[dict[str, Any]] = {"status_code": 0, "status_msg": ""}

    def refusal(self, no: Refuse) -> Any:
        code, text = self.CODES.get(no.status, (1024, "internal error"))
        said = f"{text}, {no.message}" if no.status == 400 else text
        return {
            "id": "",
            "choices": None,
            "created": 0,
            "model": "",
            "base_resp": {"status_code": code, "status_msg": said},
        }

    def refused_as(self, no: Refuse) -> int:
        return 200

    def whole(self, said: Answer, ask: Ask) -> Any:
        return {**super().whole(said, ask), "input_sensitive": False, "output_sensitive": False, "base_resp": self.FINE}

    def events(self, said: Answer, ask: Ask) -> list[bytes]:
        """No [DONE]: the last event is the whole answer, with the only usage."""
        out = super().events(said, ask)[:-1]
        return [*out, sse(self.whole(said, ask))]

    def ending(self, said: Answer, ask: Ask) -> list[bytes]:
        return [self.chunk(ask, {"content": "", "role": "assistant"}, FINISHES[said.ends])]

    def failed(self, ask: Ask, message: str, sent: int) -> bytes:
        return sse(self.refusal(Refuse(500, message)))

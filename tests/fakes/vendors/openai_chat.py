"""OpenAI chat completions: `POST /chat/completions`. A vendor that speaks it with an accent subclasses `Chat`."""

from __future__ import annotations

import re
from itertools import count, zip_longest
from typing import Any, ClassVar

from tests.fakes.vendors import openai_rules as rules
from tests.fakes.vendors.brain import Ask, Tool, encode
from tests.fakes.vendors.script import Answer, Call, Refuse, cut, pieces, tokens
from tests.fakes.vendors.vendor import BAD_KEY, Heard, Table, Wire, sse

CREATED = 1_700_000_000
DONE = b"data: [DONE]\n\n"
ERRORS = {401: "invalid_request_error", 403: "insufficient_permissions", 429: "rate_limit_exceeded"}
CODES = {401: "invalid_api_key", 403: "insufficient_permissions", 404: "model_not_found", 429: "rate_limit_exceeded"}
FINISHES = {"stop": "stop", "calls": "tool_calls", "length": "length", "filter": "content_filter", "overflow": "length"}


class Chat(Wire):
    thought_field: ClassVar[str] = ""  # of a message and a delta; empty: thoughts are kept back and only counted
    always_usage: ClassVar[bool] = False  # in the last chunk of every stream, asked for or not
    free: ClassVar[bool] = False  # no key is asked for

    def __init__(self) -> None:
        self._numbers = count(1)

    def admit(self, heard: Heard) -> None:
        if self.free:
            return
        if not heard.key:
            raise Refuse(401, "You didn't provide an API key.", kind="invalid_request_error", code=None)
        if heard.key == BAD_KEY:
            raise Refuse(401, f"Incorrect API key provided: {heard.key}.")

    def ask(self, heard: Heard, found: re.Match[str]) -> Ask:
        body = heard.body
        self.check(body)
        messages = body["messages"]
        return Ask(
            model=body["model"],
            stream=bool(body.get("stream")),
            text=next((text_of(m.get("content")) for m in reversed(messages) if m["role"] == "user"), ""),
            results=results_of(messages),
            tools=tuple(
                Tool(tool["function"]["name"], tool["function"].get("parameters", {}))
                for tool in body.get("tools") or ()
                if tool.get("type") == "function"
            ),
            thinks=self.thinks(body),
            wants_usage=self.always_usage or bool((body.get("stream_options") or {}).get("include_usage")),
            size=tokens(heard.raw.decode()),
            body=body,
        )

    # What a dialect may say differently

    def check(self, body: dict[str, Any]) -> None:
        """Raise Refuse for what this vendor does not take."""
        rules.check_form(body)
        rules.check_tools(body)
        rules.check_conversation(body["messages"])

    def thinks(self, body: dict[str, Any]) -> bool:
        return False

    def call_id(self) -> str:
        return f"call_{next(self._numbers):024d}"

    def call(self, call: Call) -> dict[str, Any]:
        """A call as a message holds it."""
        said = call.arguments if isinstance(call.arguments, str) else encode(call.arguments).decode()
        function = {"name": call.name, "arguments": said}
        return {"id": call.id or self.call_id(), "type": "function", "function": function}

    def usage(self, said: Answer, ask: Ask) -> dict[str, Any]:
        given = said.usage
        thought = given.reasoning if given.reasoning is not None else tokens(said.thought)
        spoken = said.text + "".join(str(call.arguments) for call in said.calls)
        prompt = given.input if given.input is not None else max(1, ask.size)
        completion = given.output if given.output is not None else max(1, tokens(spoken)) + thought
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": given.cache_read or 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": thought,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def message(self, said: Answer, calls: list[dict[str, Any]]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": said.text or None, "refusal": None}
        if self.thought_field and said.thought:
            message[self.thought_field] = said.thought
        if calls:
            message["tool_calls"] = calls
        return message

    def refusal(self, no: Refuse) -> Any:
        kind = no.kind or ERRORS.get(no.status, "server_error" if no.status >= 500 else "invalid_request_error")
        code = no.code or (None if no.kind else CODES.get(no.status))
        return {"error": {"message": no.message, "type": kind, "param": no.param, "code": code, **no.more}}

    # The answer

    def frame(self, ask: Ask, kind: str, choices: list[Any], **more: Any) -> dict[str, Any]:
        made = {"id": f"chatcmpl-{ask.id}", "object": kind, "created": CREATED, "model": ask.model}
        return {**made, "choices": choices, "system_fingerprint": "fp_fake", **more}

    def whole(self, said: Answer, ask: Ask) -> Any:
        message = self.message(said, [self.call(call) for call in said.calls])
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": FINISHES[said.ends]}
        return self.frame(ask, "chat.completion", [choice], usage=self.usage(said, ask))

    def events(self, said: Answer, ask: Ask) -> list[bytes]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if said.calls else "", "refusal": None}]
        if self.thought_field and said.thought:
            deltas += [{self.thought_field: piece} for piece in pieces(said.thought)]
        if said.text:
            deltas += [{"content": piece} for piece in pieces(said.text)]
        deltas += self.called(said)
        out = [self.chunk(ask, delta) for delta in deltas]
        return [*out, *self.ending(said, ask), DONE]

    def called(self, said: Answer) -> list[dict[str, Any]]:
        """Deltas of the calls: name first, then the arguments in two pieces. Interleaved, the last call is first."""
        rows: list[list[dict[str, Any]]] = []
        for place, call in enumerate(said.calls):
            index = place if call.index is None else call.index
            made = self.call(call)
            arguments = made["function"]["arguments"]
            opening = {"index": index, **made, "function": {**made["function"], "arguments": ""}}
            rest = [{"index": index, "function": {"arguments": half}} for half in cut(arguments, 2)]
            rows.append([opening, *rest])
        if said.interleave:
            turns = zip_longest(*reversed(rows))
            return [{"tool_calls": [delta]} for turn in turns for delta in turn if delta is not None]
        return [{"tool_calls": [delta]} for row in rows for delta in row]

    def chunk(self, ask: Ask, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if ask.wants_usage else {}
        return sse(self.frame(ask, "chat.completion.chunk", [choice], **usage, **more))

    def ending(self, said: Answer, ask: Ask) -> list[bytes]:
        """The finish reason, then the usage in a chunk without choices if it was asked for."""
        out = [self.chunk(ask, {}, FINISHES[said.ends])]
        if ask.wants_usage:
            out.append(sse(self.frame(ask, "chat.completion.chunk", [], usage=self.usage(said, ask))))
        return out

    def failed(self, ask: Ask, message: str, sent: int) -> bytes:
        return sse({"error": {"message": message, "type": "server_error", "param": None, "code": None}})

    def headers(self) -> dict[str, str]:
        return {"x-request-id": f"req_{next(self._numbers):032d}"}


class OpenAIChat(Chat):
    """As OpenAI itself: strict about parameters, and reasoning models keep their thoughts."""

    def check(self, body: dict[str, Any]) -> None:
        rules.check_known(body)
        super().check(body)
        rules.check_limits(body)
        if rules.reasons(body["model"]):
            rules.check_reasoning(body)
        elif body.get("reasoning_effort") is not None:
            what = "Unrecognized request argument supplied: reasoning_effort"
            raise Refuse(400, what, kind="invalid_request_error")


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or () if isinstance(part, dict))


def results_of(messages: list[Any]) -> tuple[str, ...]:
    """Of the tools called last, when nobody spoke since."""
    out: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        out.insert(0, text_of(message.get("content")))
    return tuple(out)


def models(*names: str, owner: str = "fake") -> Table:
    rows = [{"id": name, "object": "model", "created": CREATED, "owned_by": owner} for name in names]
    return lambda heard, found: {"object": "list", "data": rows}

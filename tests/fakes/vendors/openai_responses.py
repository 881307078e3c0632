"""OpenAI Responses: `POST /responses`, and the stricter backend of ChatGPT accounts."""

from __future__ import annotations

import re
from itertools import chain, zip_longest
from typing import Any

from tests.fakes.vendors import responses_rules as rules
from tests.fakes.vendors.brain import Ask, Tool, encode
from tests.fakes.vendors.openai_chat import CREATED, Chat, text_of
from tests.fakes.vendors.script import Answer, Call, Part, Redacted, Refuse, Say, Think, cut, pieces, tokens
from tests.fakes.vendors.vendor import Heard, sse

Event = dict[str, Any]


class Responses(Chat):
    """Keys and errors are those of chat completions."""

    def ask(self, heard: Heard, found: re.Match[str]) -> Ask:
        body = heard.body
        self.check(body)
        items = rules.items_of(body)
        results: list[str] = []
        for item in items:
            if item["type"] == "function_call_output":
                results.append(text_of(item.get("output")))
            elif item["type"] == "message":
                results.clear()
        said = [item for item in items if item["type"] == "message" and item["role"] == "user"]
        return Ask(
            model=body["model"],
            stream=bool(body.get("stream")),
            text=text_of(said[-1]["content"]) if said else "",
            results=tuple(results),
            tools=tuple(
                Tool(tool["name"], tool.get("parameters") or {})
                for tool in body.get("tools") or ()
                if tool.get("type") == "function"
            ),
            thinks=bool((body.get("reasoning") or {}).get("summary")),
            size=tokens(heard.raw.decode()),
            body=body,
        )

    def check(self, body: dict[str, Any]) -> None:
        rules.check(body)

    def response(self, ask: Ask, status: str, output: list[Any], **more: Any) -> dict[str, Any]:
        body = ask.body
        return {
            "id": f"resp_{ask.id}",
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "model": f"{ask.model}-2025-08-07",  # the snapshot that a name stands for today
            "output": output,
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "previous_response_id": None,
            "reasoning": {"effort": (body.get("reasoning") or {}).get("effort"), "summary": None},
            "store": body.get("store", True),
            "temperature": body.get("temperature", 1.0),
            "text": body.get("text") or {"format": {"type": "text"}},
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools") or [],
            "top_p": body.get("top_p", 1.0),
            "truncation": "disabled",
            "usage": None,
            "metadata": body.get("metadata") or {},
            **more,
        }

    def ended(self, said: Answer, ask: Ask) -> dict[str, Any]:
        output = [self.item(part, ask) for part in said.parts]
        usage = self.usage(said, ask)
        if said.ends in ("length", "filter"):
            reason = "max_output_tokens" if said.ends == "length" else "content_filter"
            return self.response(ask, "incomplete", output, incomplete_details={"reason": reason}, usage=usage)
        if said.ends == "overflow":
            what = "Your input exceeds the context window of this model. Please adjust your input and try again."
            return self.response(ask, "failed", [], error={"code": "context_length_exceeded", "message": what})
        return self.response(ask, "completed", output, usage=usage)

    def usage(self, said: Answer, ask: Ask) -> dict[str, Any]:
        chat = super().usage(said, ask)
        cached = chat["prompt_tokens_details"]["cached_tokens"]
        return {
            "input_tokens": chat["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": said.usage.cache_write or 0},
            "output_tokens": chat["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": chat["completion_tokens_details"]["reasoning_tokens"]},
            "total_tokens": chat["total_tokens"],
        }

    def item(self, part: Part, ask: Ask) -> dict[str, Any]:
        number = f"{next(self._numbers):032x}"
        match part:
            case Say(text, phase):
                content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
                item = {"id": f"msg_{number}", "type": "message", "role": "assistant", "content": content}
                return {**item, "status": "completed", **({"phase": phase} if phase else {})}
            case Think(text) | Redacted(text):
                shown = isinstance(part, Think) and text and (ask.body.get("reasoning") or {}).get("summary")
                summary = [{"type": "summary_text", "text": text}] if shown else []
                item = {"id": f"rs_{number}", "type": "reasoning", "summary": summary}
                if "reasoning.encrypted_content" in (ask.body.get("include") or ()):
                    item["encrypted_content"] = rules.seal(text)
                return item
            case Call(name, _, id):
                arguments = self.call(part)["function"]["arguments"]
                item = {"id": f"fc_{number}", "type": "function_call", "name": name, "arguments": arguments}
                return {**item, "call_id": id or self.call_id(), "status": "completed"}

    def whole(self, said: Answer, ask: Ask) -> Any:
        return self.ended(said, ask)

    def events(self, said: Answer, ask: Ask) -> list[bytes]:
        final = self.ended(said, ask)
        begun = self.response(ask, "in_progress", [])
        out: list[Event] = [{"type": f"response.{kind}", "response": begun} for kind in ("created", "in_progress")]
        items = [self._streamed(place, item) for place, item in enumerate(final["output"])]
        if said.interleave:
            out += [event for turn in zip_longest(*items) for event in turn if event is not None]
        else:
            out += chain.from_iterable(items)
        out.append({"type": f"response.{final['status']}", "response": final})
        return [sse({**event, "sequence_number": n}, event["type"]) for n, event in enumerate(out)]

    def _streamed(self, place: int, item: dict[str, Any]) -> list[Event]:
        at = {"item_id": item["id"], "output_index": place}
        match item["type"]:
            case "message":
                opening, inner = self._text(item, at)
            case "function_call":
                opening = {**item, "arguments": "", "status": "in_progress"}
                name = "response.function_call_arguments"
                inner = [{"type": f"{name}.delta", **at, "delta": half} for half in cut(item["arguments"], 2)]
                inner.append({"type": f"{name}.done", **at, "arguments": item["arguments"], "name": item["name"]})
            case _:
                opening = {**item, "summary": []}
                inner = [event for n, part in enumerate(item["summary"]) for event in self._summary(n, part, at)]
        added = {"type": "response.output_item.added", "output_index": place, "item": opening}
        return [added, *inner, {"type": "response.output_item.done", "output_index": place, "item": item}]

    def _text(self, item: dict[str, Any], at: Event) -> tuple[dict[str, Any], list[Event]]:
        part = item["content"][0]
        here = {**at, "content_index": 0}
        inner: list[Event] = [{"type": "response.content_part.added", **here, "part": {**part, "text": ""}}]
        for piece in pieces(part["text"]):
            inner.append({"type": "response.output_text.delta", **here, "delta": piece, "logprobs": []})
        inner.append({"type": "response.output_text.done", **here, "text": part["text"], "logprobs": []})
        inner.append({"type": "response.content_part.done", **here, "part": part})
        return {**item, "content": [], "status": "in_progress"}, inner

    def _summary(self, index: int, part: dict[str, Any], at: Event) -> list[Event]:
        here = {**at, "summary_index": index}
        name = "response.reasoning_summary_text"
        return [
            {"type": "response.reasoning_summary_part.added", **here, "part": {**part, "text": ""}},
            *({"type": f"{name}.delta", **here, "delta": piece} for piece in pieces(part["text"])),
            {"type": f"{name}.done", **here, "text": part["text"]},
            {"type": "response.reasoning_summary_part.done", **here, "part": part},
        ]

    def failed(self, ask: Ask, message: str, sent: int) -> bytes:
        error = {"code": "server_error", "message": message}
        response = self.response(ask, "failed", [], error=error)
        return sse({"type": "response.failed", "response": response, "sequence_number": sent}, "response.failed")


class Compact(Responses):
    """`POST /responses/compact`: what users said stays as it is, the rest goes into an item that only it can open."""

    def check(self, body: dict[str, Any]) -> None:
        rules.check_shorter(body)

    def whole(self, said: Answer, ask: Ask) -> Any:
        items = rules.items_of(ask.body)
        kept = [item for item in items if item["type"] == "message" and item["role"] == "user"]
        sealed = {"id": f"cmp_{next(self._numbers):032x}", "type": "compaction"}
        output = [*kept, {**sealed, "encrypted_content": rules.seal(said.text)}]
        usage = self.usage(said, ask)
        return {"id": f"resp_{ask.id}", "object": "response.compaction", "created_at": CREATED, "output": output,
                "usage": usage}  # fmt: skip


class AccountResponses(Responses):
    """The backend behind a ChatGPT account: streams only, stores nothing, wants instructions and an account id."""

    def admit(self, heard: Heard) -> None:
        super().admit(heard)
        if not heard.headers.get("chatgpt-account-id"):
            raise Refuse(401, "Missing chatgpt-account-id header", body=encode({"detail": "Unauthorized"}))

    def check(self, body: dict[str, Any]) -> None:
        for wrong, what in (
            (not body.get("instructions"), "Instructions are required"),
            (body.get("store") is not False, "Store must be set to false"),
            (body.get("stream") is not True, "Stream must be set to true"),
            ("max_output_tokens" in body, "Unsupported parameter: max_output_tokens"),
            ("temperature" in body, "Unsupported parameter: temperature"),
        ):
            if wrong:
                raise Refuse(400, what, body=encode({"detail": what}))
        super().check(body)

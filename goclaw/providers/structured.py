"""Answers that must fit a JSON Schema: held back, checked, asked for again.

Contract: agent-loop.md §16, edge-http.md §2.6.
A vendor that knows schemas is given this one by its wire; what comes is checked all the same.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import trio
from msgspec.structs import replace

from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, StreamChunk, Usage
from goclaw.domain.errors import UNFIT, ProviderError
from goclaw.domain.model import Retrying
from goclaw.providers.provider import Model, Tell, silent
from goclaw.providers.text_schema import words
from goclaw.providers.trouble import one_line

LONGEST = 2**20  # characters of an answer
SCHEMA_LIMIT = 64 * 2**10  # bytes; edge-http.md §2.6
REFERENCES = 20_000  # followed in one answer: a small schema can ask for a million of them
SHOWN = 5  # violations that are told
FENCE = re.compile(r"```(?P<tag>\w*)[ \t]*\n(?P<text>.*?)```", re.DOTALL)
AGAIN = "Your last answer was not accepted:\n{wrong}\n\n{words}"


class Structured:
    """Somebody whose answers fit what was asked for. Tools are called first; only the text at the end must fit."""

    def __init__(self, model: Model) -> None:
        self.name = model.name
        self._model = model

    @asynccontextmanager
    async def stream(self, ask: ChatRequest, *, tell: Tell = silent) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        check = checker(ask.options.response_format)
        if check is None:
            async with self._model.stream(ask, tell=tell) as chunks:
                yield chunks
            return
        async with aclosing(self._fitting(ask, check, tell)) as fitting:
            yield fitting

    async def _fitting(self, ask: ChatRequest, check: Check, tell: Tell) -> AsyncGenerator[StreamChunk, None]:
        question, spent, thought, wrong = ask, Usage(), "", ""
        tries = ask.options.form_retries + 1
        for number in range(1, tries + 1):
            said = ChatResponse()
            async with self._model.stream(question, tell=tell) as chunks:
                async for chunk in chunks:
                    if chunk.thinking:
                        thought += chunk.thinking
                        yield StreamChunk(thinking=chunk.thinking)
                    said = chunk.done or said
            spent += said.usage
            text = said.content
            if not said.tool_calls:
                text = extracted(text)
                wrong = await trio.to_thread.run_sync(check, text)
            last = number == tries or said.finish_reason == "length"
            if said.tool_calls or not wrong or (last and ask.options.form_lenient):
                if text:
                    yield StreamChunk(content=text)
                fits = None if said.tool_calls else not wrong
                yield StreamChunk(done=replace(said, content=text, thinking=thought, usage=spent, fits=fits))
                return
            if said.finish_reason == "length":
                break
            if number < tries:
                tell(Retrying(number + 1, tries, one_line(f"the answer does not fit: {wrong}"), 0.0))
                question = _again(ask, said, wrong)
        raise ProviderError("format", one_line(f"{UNFIT} {wrong}"))


Check = Callable[[str], str]  # what is wrong with a text, empty if nothing


def checker(form: dict[str, Any] | None) -> Check | None:
    """How `form` judges. None if it takes any text. Raises ProviderError `format` for a schema that is none."""
    match form:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return lambda text: _wrong(text, {"type": "object"})
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            schema = {name: value for name, value in schema.items() if name != "$schema"}  # it is read as 2020-12
            _refuse_unfit(schema)
            return lambda text: _wrong(text, schema)
    raise ProviderError("format", "response_format is neither text, json_object nor a json_schema")


def extracted(text: str) -> str:
    """The JSON in a text: all of it, a fence tagged json, any fence, the first balanced value (agent-loop.md §16)."""
    return next((found for found in _candidates(text[:LONGEST]) if _is_json(found)), text)


def _candidates(text: str) -> Iterator[str]:
    yield text.strip()
    fences = sorted(FENCE.finditer(text), key=lambda fence: fence["tag"].lower() != "json")
    yield from (fence["text"].strip() for fence in fences)
    for start in re.finditer(r"[{\[]", text):
        if (end := _balanced(text, start.start())) is not None:
            yield text[start.start() : end]
            return


def _balanced(text: str, start: int) -> int | None:
    """Where the value that begins at `start` ends."""
    depth = 0
    for piece in re.compile(r'"(?:[^"\\]|\\.)*"|[{\[]|[}\]]', re.DOTALL).finditer(text, start):
        depth += (piece[0] in "{[") - (piece[0] in "}]")
        if not depth:
            return piece.end()
    return None


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _refuse_unfit(schema: dict[str, Any]) -> None:
    from jsonschema import Draft202012Validator, SchemaError  # 40 ms, for who asks for it

    try:
        if len(written := msgspec.json.encode(schema)) > SCHEMA_LIMIT:
            raise ProviderError("format", f"response_format: the schema is larger than {SCHEMA_LIMIT} bytes")
        for name in ("patternProperties", "$schema"):  # an expression of a stranger's; a dialect within another
            if f'"{name}":'.encode() in written:
                raise ProviderError("format", f"response_format: the schema uses {name}, which is not supported")
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError) as error:
        raise ProviderError("format", one_line(f"response_format: the schema is none: {error}")) from None


def _wrong(text: str, schema: dict[str, Any]) -> str:
    from jsonschema.exceptions import _WrappedReferencingError

    if len(text) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return f"it is not JSON: {error}"
    try:
        errors = list(_first(_validator(schema).iter_errors(value), SHOWN))
    except (RecursionError, _TooMany):
        return "it is nested deeper than can be checked"
    except _WrappedReferencingError as error:
        return f"the schema refers to something that is not in it: {error}"
    return "\n".join(f"{error.json_path}: {error.message[:300]}" for error in errors)


def _first(errors: Iterator[Any], most: int) -> Iterator[Any]:
    for _, error in zip(range(most), errors, strict=False):
        yield error


class _TooMany(Exception):
    """References followed."""


def _validator(schema: dict[str, Any]) -> Any:
    """Follows no reference out of the schema, not too many inside, and runs no expression."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend
    from referencing import Registry

    left = REFERENCES

    def follow(validator: Any, reference: Any, instance: Any, schema: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooMany
        return Draft202012Validator.VALIDATORS["$ref"](validator, reference, instance, schema)

    judge = extend(Draft202012Validator, {"$ref": follow, "$dynamicRef": _ignore, "pattern": _ignore})
    return judge(schema, registry=Registry())


def _ignore(*_: Any) -> None:
    """Fits."""


def _again(ask: ChatRequest, said: ChatResponse, wrong: str) -> ChatRequest:
    """The same question with what was wrong with its answer; without tools."""
    spoken = ChatMessage(role="assistant", content=said.content, raw=said.raw)
    told = ChatMessage(role="user", content=AGAIN.format(wrong=wrong, words=words(ask.options.response_format)))
    return replace(ask, messages=(*ask.messages, spoken, told), tools=())

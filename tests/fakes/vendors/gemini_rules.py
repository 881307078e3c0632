"""What Gemini refuses, in its own words. Everything raises Refuse with status 400 (404: no model)."""

from __future__ import annotations

import base64
import hmac
import re
from typing import Any

from tests.fakes.vendors.script import Refuse

FIELDS = frozenset(
    """
    contents tools toolConfig safetySettings systemInstruction generationConfig cachedContent model labels serviceTier
    store system_instruction generation_config tool_config safety_settings cached_content
    """.split()  # noqa: SIM905
)
SCHEMA = frozenset(
    """
    type format title description nullable enum maxItems minItems properties required minProperties maxProperties
    minLength maxLength pattern example anyOf propertyOrdering default items minimum maximum
    """.split()  # noqa: SIM905
)
SECRET = b"only the vendor knows"
SKIP = "skip_thought_signature_validator"  # what the vendor offers to histories it did not write


def check(model: str, body: dict[str, Any]) -> None:
    if model.startswith("no-such"):
        what = f"models/{model} is not found for API version v1beta, or is not supported for generateContent."
        raise Refuse(404, f"{what} Call ListModels to see the list of available models and their supported methods.")
    for name in body:
        if name not in FIELDS:
            raise Refuse(400, f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
    contents = body.get("contents")
    if not contents:
        raise Refuse(400, "* GenerateContentRequest.contents: contents is not specified\n")
    for number, tool in enumerate(body.get("tools") or ()):
        for place, function in enumerate(tool.get("functionDeclarations") or ()):
            where = f"tools[{number}].function_declarations[{place}]"
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}", function.get("name", "")):
                what = "Invalid function name. Must start with a letter or an underscore."
                raise Refuse(400, f"GenerateContentRequest.{where}.name: [{what}]")
            check_schema(function.get("parameters") or {}, f"{where}.parameters")
    for place, turn in enumerate(contents):
        if turn.get("role", "user") not in ("user", "model", "function"):
            raise Refuse(400, "Please use a valid role: user, model.")
        if not turn.get("parts"):
            what = "must include at least one parts field"
            raise Refuse(400, f"* GenerateContentRequest.contents[{place}].parts: contents.parts {what}\n")
    check_turns(model, contents)


def check_schema(schema: dict[str, Any], where: str) -> None:
    for name in schema:
        if name not in SCHEMA:
            raise Refuse(
                400, f"Invalid JSON payload received. Unknown name \"{name}\" at '{where}': Cannot find field."
            )
    if any(not isinstance(value, str) for value in schema.get("enum") or ()):
        raise Refuse(400, f"Invalid value at '{where}.enum[0]' (TYPE_STRING)")
    for name, inner in (schema.get("properties") or {}).items():
        check_schema(inner, f"{where}.properties[{name}]")
    if isinstance(schema.get("items"), dict):
        check_schema(schema["items"], f"{where}.items")


def check_turns(model: str, contents: list[Any]) -> None:
    """Calls follow a user or a result, are signed where the model signs, and each gets its result in the next turn."""
    for place, turn in enumerate(contents):
        calls = [part for part in turn["parts"] if "functionCall" in part]
        results = [part for part in turn["parts"] if "functionResponse" in part]
        if calls:
            if place == 0 or contents[place - 1].get("role") == "model":
                what = "comes immediately after a user turn or after a function response turn."
                raise Refuse(400, f"Please ensure that function call turn {what}")
            if signs(model):
                check_signature(calls[0].get("thoughtSignature"), calls[0]["functionCall"]["name"], place)
            after = contents[place + 1]["parts"] if place + 1 < len(contents) else []
            if sum("functionResponse" in part for part in after) != len(calls):
                what = "is equal to the number of function call parts of the function call turn."
                raise Refuse(400, f"Please ensure that the number of function response parts {what}")
        if results and not (place and any("functionCall" in part for part in contents[place - 1]["parts"])):
            what = "comes immediately after a function call turn."
            raise Refuse(400, f"Please ensure that function response turn {what}")


def check_signature(signature: str | None, name: str, place: int) -> None:
    if not signature:
        why = "This is required for tools to work correctly, and missing thought_signature may lead to degraded model"
        data = f"Additional data, function call `default_api:{name}` , position {place + 1}."
        link = "Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
        what = "Function call is missing a thought_signature in functionCall parts."
        raise Refuse(400, f"{what} {why} performance. {data} {link}")
    if signature != SKIP and not sealed(signature):
        raise Refuse(400, "Corrupted thought signature.")


def signs(model: str) -> bool:
    """Gemini 3 and later."""
    found = re.match(r"(?:models/)?gemini-(\d+)", model)
    return found is not None and int(found[1]) >= 3


def seal(text: str) -> str:
    return base64.b64encode(hmac.digest(SECRET, text.encode(), "sha256") + text.encode()).decode()


def sealed(signature: str) -> bool:
    try:
        return seal(base64.b64decode(signature, validate=True)[32:].decode()) == signature
    except ValueError:
        return False

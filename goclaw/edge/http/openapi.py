"""The OpenAPI document, read from the operations. Contract: edge-http.md §1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from goclaw.domain.access import Role
from goclaw.edge.http.answers import OPENAI_PATHS, STATUS
from goclaw.edge.http.request import Raw
from goclaw.edge.http.schema import in_openapi
from goclaw.operations.operation import Http, Operation, as_is

REF = "#/components/schemas/{name}"
PARAMETER = re.compile(r"\{(\w+)(?:\.\.\.)?\}")
REFUSALS = (400, 401, 403, 404, 429, 500, 503)  # what every route may answer

Json = dict[str, Any]


def document(operations: Sequence[Operation], raw: Sequence[Raw], version: str) -> Json:
    """OpenAPI 3.0.3 with every route of the operations and of those handled by hand."""
    routes = [(operation, http) for operation in operations for http in operation.http]
    types = [operation.input for operation, _ in routes] + [operation.result for operation, _ in routes]
    shapes, components = msgspec.json.schema_components(types, ref_template=REF)
    schemas = {name: in_openapi(schema) for name, schema in components.items()}
    asked, answered = shapes[: len(routes)], shapes[len(routes) :]
    paths: dict[str, Json] = {}
    for (operation, http), ask, result in zip(routes, asked, answered, strict=True):
        entry = _entry(operation, http, schemas[ask["$ref"].rpartition("/")[2]], in_openapi(result))
        _add(paths, http.route, entry)
    for route in raw:
        _add(paths, route.route, _raw_entry(route))
    return {
        "openapi": "3.0.3",
        "info": {"title": "GoClaw", "version": version, "description": "A self-hosted AI agent gateway."},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**schemas, "Error": _error(), "OpenAIError": _openai_error()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _add(paths: dict[str, Json], route: str, entry: Json) -> None:
    verb, _, path = route.partition(" ")
    ids = {known["operationId"] for verbs in paths.values() for known in verbs.values()}
    if entry["operationId"] in ids:  # the same function on a second route
        entry["operationId"] += re.sub(r"\W+", "_", f"_{verb.lower()}{path}")
    paths.setdefault(PARAMETER.sub(r"{\1}", path), {})[verb.lower()] = entry


def _entry(operation: Operation, http: Http, ask: Json, result: Json) -> Json:
    captured = set(PARAMETER.findall(http.path))
    fields, required = ask["properties"], set(ask["required"])
    queried = fields if http.verb == "GET" else fields.keys() & captured
    entry = _common(http.route, http.role, operation.name, operation.summary)
    entry["parameters"] = [
        {
            "name": name,
            "in": "path" if name in captured else "query",
            "required": name in captured or name in required,
            "schema": fields[name],
        }
        for name in fields
        if name in queried
    ]
    if http.verb != "GET":
        body = {
            "type": "object",
            "properties": {name: shape for name, shape in fields.items() if name not in captured},
            **({"required": sorted(required - captured)} if required - captured else {}),
        }
        entry["requestBody"] = {"required": "required" in body, "content": _json(body)}
    shape = result if http.reply is as_is else {"type": "object"}
    entry["responses"][str(http.status)] = {"description": "OK", "content": _json(shape)}
    return entry


def _raw_entry(route: Raw) -> Json:
    module, summary = route.handle.__module__.rpartition(".")[2], (route.handle.__doc__ or "").partition("\n")[0]
    entry = _common(route.route, route.role, f"{module}.{route.handle.__name__}", summary)
    entry["parameters"] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in PARAMETER.findall(route.route)
    ]
    if not route.route.startswith("GET "):
        entry["requestBody"] = {"required": True, "content": _json({"type": "object"})}
    entry["responses"]["200"] = {"description": "OK"}
    return entry


def _common(route: str, role: Role, name: str, summary: str) -> Json:
    error = "OpenAIError" if route.partition(" ")[2].startswith(OPENAI_PATHS) else "Error"
    refused = {"description": "refused", "content": _json({"$ref": REF.format(name=error)})}
    return {
        "operationId": name,
        "summary": summary,
        "tags": [name.partition(".")[0]],
        "responses": {str(status): refused for status in REFUSALS},
        "security": [] if role is Role.ANYONE else [{"bearer": []}, {"key": []}],
    }


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _error() -> Json:
    return {
        "type": "object",
        "required": ["error", "code", "request_id"],
        "properties": {
            "error": {"type": "string"},
            "code": {"type": "string", "enum": sorted(STATUS)},
            "details": {"type": "object"},
            "request_id": {"type": "string"},
        },
    }


def _openai_error() -> Json:
    text, maybe = {"type": "string"}, {"type": "string", "nullable": True}
    members = {"message": text, "type": text, "param": maybe, "code": maybe}
    inner = {"type": "object", "required": list(members), "properties": members}
    return {"type": "object", "required": ["error"], "properties": {"error": inner}}

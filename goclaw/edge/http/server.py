"""The HTTP side: one dispatcher over all operations and the few bodies that are not ours.

Contract: edge-http.md §0, §1. Quart carries the bytes; routing is ours, because paths are matched raw.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
import trio
from quart import Request, Response, request
from quart_trio import QuartTrio

from goclaw.domain.access import Caller, Role
from goclaw.domain.errors import Err, Rejected, forbidden, not_found
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.edge.http import actors, completions, docs, files, instances, metrics, openapi, runs, wake
from goclaw.edge.http.answers import encoded, json_bytes, json_response, refusal_response
from goclaw.edge.http.request import Call, Raw
from goclaw.edge.http.router import Router
from goclaw.edge.http.ui import UiFiles
from goclaw.edge.outcomes import refusal_of
from goclaw.operations.actor_orders import Ordered
from goclaw.operations.agent_shares import Granted
from goclaw.operations.context import House
from goclaw.operations.once import once
from goclaw.operations.operation import Http, Operation
from goclaw.security.origin import listed

# these refuse a caller that names no user (edge-auth.md §6)
USER_ROUTES = ("/v1/agents", "/v1/sessions", "/v1/runs", "/v1/tasks")
METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
VERBS = frozenset({*METHODS.split(", "), "HEAD"})
SENT = (
    "Authorization, Content-Type, X-API-Key, X-GoClaw-User-Id, X-GoClaw-Agent-Id, X-GoClaw-Tenant-Id, "
    "X-GoClaw-Sender-Id, X-GoClaw-Session-Key, Accept-Language, If-Match, If-None-Match, Idempotency-Key, "
    "Last-Event-ID, A2A-Version, Mcp-Session-Id, MCP-Protocol-Version"
)
EXPOSED = (
    "ETag, Location, Retry-After, X-Request-Id, X-Total-Count, X-Truncated, X-Max-Depth, Idempotent-Replay, "
    "X-GoClaw-Run-Id, X-GoClaw-Session-Key, X-GoClaw-Agent-Id, Content-Disposition"
)

log = structlog.get_logger()


class HttpServer:
    """Answers every request: by an operation, by hand, with a file, or with one named refusal."""

    def __init__(self, house: House, operations: Sequence[Operation], gatekeeper: Gatekeeper) -> None:
        self._house = house
        self._gatekeeper = gatekeeper
        self._ui = UiFiles(house.version)
        admin_tree = house.settings.gateway.admin_tree
        by_hand = [
            Raw("GET /", Role.ANYONE, self.root),
            Raw("GET /ui/", Role.ANYONE, self.ui),
            Raw("GET /ui/{path...}", Role.ANYONE, self.ui),
            Raw("GET /docs", Role.ANYONE, self.docs),
            Raw("GET /docs/", Role.ANYONE, self.docs),
            Raw("GET /docs/{name}", Role.ANYONE, self.docs),
            Raw("GET /v1/openapi.json", Role.ANYONE, self.openapi),
            completions.ROUTE,
            wake.ROUTE,
            files.ROUTE,
            instances.ROUTE,
            *runs.ROUTES,
            *metrics.routes(house.settings.gateway),
            *(actors.ROUTES if admin_tree else ()),
        ]
        self._openapi = openapi.document(operations, by_hand, house.version)
        asked = [(op, http) for op in operations for http in op.http]
        self._router: Router[Raw] = Router(
            [(raw.route, raw) for raw in by_hand]
            + [
                (http.route, Raw(http.route, http.role, partial(self.operation, operation, http)))
                for operation, http in asked
            ]
        )
        self.app = QuartTrio(__name__, static_folder=None)
        # the door bounds bodies, and runs bound themselves: quart's own limits would cut streams (trap 10)
        self.app.config.update(RESPONSE_TIMEOUT=None, BODY_TIMEOUT=None, MAX_CONTENT_LENGTH=None)
        self.app.before_request(self._dispatch)

    async def _dispatch(self) -> Response:
        carried: Request = request._get_current_object()  # type: ignore[attr-defined]  # the proxy's one door
        call = Call(carried, self._house, self._gatekeeper)
        began = trio.current_time()
        try:
            response = await self._answer(call)
        except Exception as error:  # the connection's boundary: every outcome is an answer
            refusal = refusal_of(error, f"{carried.method} {files.plain(call.path)}")
            response = refusal_response(refusal, path=call.path, locale=call.locale, request_id=call.id)
        if carried.method == "HEAD":
            response.set_data(b"")
        meter, method = self._house.system.meter, carried.method if carried.method in VERBS else "other"
        meter.count("http_requests_total", call.route, method, str(response.status_code))
        meter.observe("http_request_seconds", trio.current_time() - began, call.route)
        return self._dressed(call, response)

    async def _answer(self, call: Call) -> Response:
        headers = call.request.headers
        origin = headers.get("Origin")
        fetch_site = headers.get("Sec-Fetch-Site")
        if not self._gatekeeper.admit_page(origin, headers.get("Host"), fetch_site, socket=False):
            log.warning("security.cors_rejected", origin=origin, peer=call.peer)
            raise Rejected(forbidden("origin"))
        if call.request.method == "OPTIONS":
            return Response(b"", 204)
        verb = "GET" if call.request.method == "HEAD" else call.request.method
        raw, call.captured = self._router.find(verb, call.path)
        call.route = raw.route.partition(" ")[2]
        return await raw.handle(call, call.caller(raw.role))

    async def operation(self, operation: Operation, http: Http, call: Call, caller: Caller) -> Response:
        """Path and query or body become the input; the result becomes JSON."""
        if call.path.startswith(USER_ROUTES) and not caller.user_id:
            raise Rejected(Err("INVALID_REQUEST", "user_id_required", {"reason": "user_id_required"}))
        ask = await call.input(operation.input)
        ctx = call.context(caller)

        async def answered() -> tuple[int, bytes]:
            result = http.reply(await operation.fn(ctx, ask))
            return _status(http, result), encoded(result)

        creates = http.status == 201 and ctx.idempotency_key
        status, body = await (once(ctx, ask, answered) if creates else answered())
        call.replayed = ctx.replayed
        return json_bytes(body, status)

    async def root(self, call: Call, caller: Caller) -> Response:
        """Lead a browser to the dashboard."""
        return Response(b"", 307, {"Location": self._ui.base})

    async def ui(self, call: Call, caller: Caller) -> Response:
        """Serve the dashboard's files."""
        headers = {name.lower(): value for name, value in call.request.headers.items()}
        status, given, body = self._ui.answer(call.path, headers)
        return Response(body, status, dict(given))

    async def docs(self, call: Call, caller: Caller) -> Response:
        """Serve this documentation."""
        found = docs.answer(call.captured.get("name", ""))
        if found is None:
            raise Rejected(not_found("file", call.path))
        status, headers, body = found
        return Response(body, status, headers)

    async def openapi(self, call: Call, caller: Caller) -> Response:
        """Serve the OpenAPI document."""
        return json_response(self._openapi, 200, {"Cache-Control": "public, max-age=300"})

    def _dressed(self, call: Call, response: Response) -> Response:
        """Headers of every answer (edge-auth.md §8)."""
        headers = response.headers
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Request-Id"] = call.id
        headers.setdefault("Cache-Control", "no-store")
        if call.replayed:
            headers["Idempotent-Replay"] = "true"
        origin = call.request.headers.get("Origin")
        allowed = self._house.settings.gateway.allowed_origins
        if origin is not None and allowed and listed(origin, allowed):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = EXPOSED
            headers.add("Vary", "Origin")
            if call.request.method == "OPTIONS":
                headers["Access-Control-Allow-Methods"] = METHODS
                headers["Access-Control-Allow-Headers"] = SENT
                headers["Access-Control-Max-Age"] = "600"
        return response


def _status(http: Http, result: Any) -> int:
    """Health answers carry their verdict in the status too (edge-http.md §1). What is so already is not to come."""
    if http.path in ("/health", "/healthz") and isinstance(result, dict):
        return 503 if result["status"] in ("shutting_down", "unhealthy", "down") else 200
    if isinstance(result, Ordered) and result.state:
        return 200
    if isinstance(result, Granted) and not result.new:
        return 200
    return http.status

"""The gateway over HTTP, as OpenAI's own client and as curl see it. Contract: edge-http.md §0–§2, §4, §26."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
import pytest
import trio

from tests.e2e.gateway import Client, Gateway, Json, ObedientVendor, running

T = TypeVar("T")


@pytest.fixture
def sdk(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.address}/v1", api_key=gateway.token, max_retries=0) as client:
        yield client


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.http(x_goclaw_user_id="lan") as client:
        yield client


async def off(work: Callable[[], T]) -> T:
    """The SDK blocks; the vendor lives in this loop."""
    return await trio.to_thread.run_sync(work)


def asking(text: str, **more: Any) -> Json:
    return {"model": "goclaw-v1", "messages": [{"role": "user", "content": text}], **more}


# --- OpenAI's client ------------------------------------------------------------------------------


async def test_the_openai_sdk_gets_an_answer(sdk: openai.OpenAI, vendor: ObedientVendor) -> None:
    answer = await off(lambda: sdk.chat.completions.create(**asking("hello")))

    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "echo hello", "stop")
    assert answer.model == "goclaw-v1"
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (10, 2, 12)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 4


async def test_the_openai_sdk_streams_and_the_last_chunk_carries_the_usage(
    sdk: openai.OpenAI, vendor: ObedientVendor
) -> None:
    chunks = await off(lambda: list(sdk.chat.completions.create(**asking("one two"), stream=True)))

    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "echo ", "one ", "two", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 4 + ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 13


async def test_the_openai_sdk_gets_the_usage_in_a_chunk_of_its_own_when_it_asks(
    sdk: openai.OpenAI, vendor: ObedientVendor
) -> None:
    ask = asking("hello", stream=True, stream_options={"include_usage": True})
    chunks = await off(lambda: list(sdk.chat.completions.create(**ask)))

    *body, last = chunks
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 12
    assert {chunk.usage for chunk in body} == {None}


async def test_a_tool_call_is_shown_in_the_stream_once_and_whole(sdk: openai.OpenAI, vendor: ObedientVendor) -> None:
    chunks = await off(lambda: list(sdk.chat.completions.create(**asking("!tool"), stream=True)))

    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert [call.index for call in calls] == [0]
    assert calls[0].function is not None
    assert calls[0].function.name in {tool["function"]["name"] for tool in vendor.last_body["tools"]}
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_a_wrong_key_is_an_authentication_error(gateway: Gateway) -> None:
    sdk = openai.OpenAI(base_url=f"{gateway.address}/v1", api_key="wrong", max_retries=0)
    with sdk, pytest.raises(openai.AuthenticationError) as refused:
        await off(lambda: sdk.models.list())
    assert refused.value.type == "authentication_error"
    assert refused.value.response.headers["www-authenticate"].startswith('Bearer realm="goclaw"')


async def test_an_unknown_agent_is_a_not_found_error(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        await off(lambda: sdk.chat.completions.create(**{**asking("hello"), "model": "goclaw:nobody"}))
    assert refused.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        await off(lambda: sdk.models.retrieve("goclaw:nobody"))


async def test_the_agents_are_listed_as_models(sdk: openai.OpenAI) -> None:
    listed = await off(lambda: sdk.models.list())

    assert [model.id for model in listed.data][:3] == ["goclaw-v1", "goclaw:default", "agent:default"]
    assert {"goclaw:coder", "agent:coder"} <= {model.id for model in listed.data}
    assert {(model.object, model.owned_by) for model in listed.data} == {("model", "goclaw")}
    assert (await off(lambda: sdk.models.retrieve("goclaw:default"))).id == "goclaw:default"


async def test_a_vendor_in_trouble_is_a_server_error_and_after_the_first_token_a_frame(
    sdk: openai.OpenAI, vendor: ObedientVendor, http: httpx.AsyncClient
) -> None:
    with pytest.raises(openai.InternalServerError) as refused:
        await off(lambda: sdk.chat.completions.create(**asking("!fault-html")))
    assert (refused.value.status_code, refused.value.code) == (502, "provider_error")

    streamed = await http.post("/v1/chat/completions", json=asking("!fault-midclose", stream=True))

    *_, failed, done, empty = streamed.text.split("\n\n")
    assert failed.startswith('data: {"error":{')
    assert (done, empty) == ("data: [DONE]", "")
    assert 'finish_reason":"stop' not in streamed.text


WORD = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "word", "schema": WORD, "strict": True}}


async def test_an_answer_is_what_the_schema_asks_for_or_a_named_error(
    sdk: openai.OpenAI, vendor: ObedientVendor, http: httpx.AsyncClient
) -> None:
    """The vendor echoes, so what fits is what was said. Contract: edge-http.md §2.6."""
    fits = asking('{"word": "tea"}', response_format=FORM)
    said = await off(lambda: sdk.chat.completions.create(**fits))
    streamed = await http.post("/v1/chat/completions", json={**fits, "stream": True})
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        await off(lambda: sdk.chat.completions.create(**asking("tea", response_format=FORM)))

    assert said.choices[0].message.content == '{"word": "tea"}'
    frames = [frame.removeprefix("data: ") for frame in streamed.text.split("\n\n") if frame.startswith("data: {")]
    deltas = [choice["delta"] for frame in frames for choice in json.loads(frame)["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == '{"word": "tea"}'
    assert refused.value.code == "response_format_failed"
    assert vendor.last_body["response_format"] == FORM
    assert "was not accepted" in vendor.last_body["messages"][-1]["content"]


# --- sessions and identity ------------------------------------------------------------------------


async def test_earlier_messages_of_the_request_are_the_history(http: httpx.AsyncClient, vendor: ObedientVendor) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "I am Lan"},
        {"role": "assistant", "content": "hello Lan"},
        {"role": "user", "content": [{"type": "text", "text": "who am I"}]},
    ]
    answer = await http.post("/v1/chat/completions", json={"messages": messages})

    assert answer.json()["choices"][0]["message"]["content"] == "echo who am I"
    system, *rest = vendor.last_body["messages"]
    assert "be brief" in system["content"]
    assert [(m["role"], m["content"]) for m in rest] == [
        ("user", "I am Lan"),
        ("assistant", "hello Lan"),
        ("user", "who am I"),
    ]


async def test_a_named_session_is_continued(
    http: httpx.AsyncClient, client: Client, vendor: ObedientVendor, key: str
) -> None:
    await client.chat("I am Lan", key)

    answer = await http.post(
        "/v1/chat/completions",
        json=asking("who am I"),
        headers={"X-GoClaw-Session-Key": key},
    )

    assert answer.headers["x-goclaw-session-key"] == key
    assert answer.headers["x-goclaw-agent-id"] == "default"
    assert answer.headers["x-goclaw-run-id"]
    assert [m["content"] for m in await client.history(key)] == [
        "I am Lan",
        "echo I am Lan",
        "who am I",
        "echo who am I",
    ]


async def test_a_client_that_leaves_in_the_middle_cancels_its_run(
    sdk: openai.OpenAI, client: Client, vendor: ObedientVendor, key: str
) -> None:
    def leave() -> None:
        headers = {"X-GoClaw-Session-Key": key}
        with sdk.chat.completions.create(**asking("!hold-2"), stream=True, extra_headers=headers) as chunks:
            for chunk in chunks:
                if chunk.choices[0].delta.content == "word1 ":
                    return

    await off(leave)

    cancelled = await client.hears("run.cancelled", key=key)  # an admin hears every run
    assert cancelled["payload"]["reason"] == "client_gone"
    assert cancelled["runKind"] == "http"
    await vendor.is_left()
    assert (await client.history(key))[-1]["content"] == "word0 word1 "


async def test_a_client_that_leaves_before_a_whole_answer_cancels_its_run(
    gateway: Gateway, client: Client, vendor: ObedientVendor, key: str
) -> None:
    async with gateway.http() as leaving, trio.open_nursery() as nursery:
        headers = {"X-GoClaw-Session-Key": key}

        async def ask() -> None:
            await leaving.post("/v1/chat/completions", json=asking("!hold-1"), headers=headers)

        nursery.start_soon(ask)
        await vendor.holds(1)
        nursery.cancel_scope.cancel()

    assert (await client.hears("run.cancelled", key=key))["payload"]["reason"] == "client_gone"


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "messages"),
        (asking("x", temperature=3), "temperature"),
        (asking("x", n=2), "n"),
        (asking("x", logprobs=True), "logprobs"),
        (asking("x", stream="yes"), "stream"),
        (asking("x", stream_options={"include_usage": True}), "stream_options"),
        (asking("x", max_tokens=0), "max_tokens"),
        (asking("x", response_format={"type": "xml"}), "response_format"),
        (
            asking("x", response_format={"type": "json_schema", "json_schema": {"schema": {"type": 7}}}),
            "response_format",
        ),
    ],
)
async def test_a_bad_completion_names_the_parameter(http: httpx.AsyncClient, body: Json, param: str) -> None:
    refused = await http.post("/v1/chat/completions", json=body)

    assert refused.status_code == 400
    error = refused.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    ("verb", "path", "sent", "status", "code"),
    [
        ("GET", "/v1/nothing", {}, 404, "NOT_FOUND"),
        ("GET", "/v1/agents/", {}, 404, "NOT_FOUND"),
        ("GET", "/v1/agents/nobody", {}, 404, "NOT_FOUND"),
        ("DELETE", "/v1/agents", {}, 405, "INVALID_REQUEST"),
        ("GET", "/v1/sessions?limit=many", {}, 400, "INVALID_REQUEST"),
        ("GET", "/v1/actors?depth=17", {}, 400, "INVALID_REQUEST"),
        ("GET", "/v1/actors/no/such/actor", {}, 404, "NOT_FOUND"),
    ],
)
async def test_a_refusal_has_the_shape_of_the_contract(
    http: httpx.AsyncClient, verb: str, path: str, sent: Json, status: int, code: str
) -> None:
    refused = await http.request(verb, path, **sent)

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert set(refused.json()) - {"details"} == {"error", "code", "request_id"}
    assert refused.headers["x-request-id"] == refused.json()["request_id"]
    assert ("allow" in refused.headers) == (status == 405)


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"content-type": "text/plain"}, b"{}", 415),
        ({"content-type": "application/json"}, b"{not json", 400),
        ({"content-type": "application/json"}, b"[1]", 400),
        ({"content-type": "application/json; charset=utf-8"}, b'"\xff"', 400),
        ({"content-type": "application/json"}, b"[" * 100_000, 400),
        ({"content-type": "application/json"}, b'{"messages":"' + b"x" * 2**20 + b'"}', 413),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    http: httpx.AsyncClient, headers: dict[str, str], content: bytes, status: int
) -> None:
    """SEC-02, of a body."""
    refused = await http.post("/v1/chat/completions", content=content, headers=headers)

    assert refused.status_code == status
    assert (await http.get("/health")).status_code == 200


async def test_without_a_credential_only_the_public_routes_answer(gateway: Gateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.address) as stranger:
        for path in ("/v1/agents", "/v1/models", "/v1/actors", "/v1/sessions"):
            assert (await stranger.get(path)).status_code == 401
        for path in ("/health", "/healthz", "/v1/openapi.json", "/docs", "/ui/"):
            assert (await stranger.get(path)).status_code == 200
        assert (await stranger.get("/")).headers["location"] == "/ui/"
        assert set((await stranger.get("/healthz")).json()) == {"status", "healthy", "db", "uptime_seconds"}


# --- the rest -------------------------------------------------------------------------------------


async def test_health_has_two_members_and_readiness_the_facts(http: httpx.AsyncClient) -> None:
    assert (await http.get("/health")).json() == {"status": "ok", "protocol": 3}
    ready = (await http.get("/healthz")).json()
    assert ready.items() >= {"status": "ok", "healthy": True, "db": "ok"}.items()
    assert set(ready["actors"]) == {"running", "backoff", "quarantined"}


async def test_head_is_get_without_a_body_on_one_connection(http: httpx.AsyncClient) -> None:
    got = await http.get("/health")
    head = await http.head("/health")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    streams = [answer.extensions["network_stream"].get_extra_info("client_addr") for answer in (got, head)]
    assert streams[0] == streams[1]  # kept alive


async def test_the_openapi_document_knows_every_route_it_names(http: httpx.AsyncClient) -> None:
    document = (await http.get("/v1/openapi.json")).json()

    assert document["openapi"].startswith("3.0")
    assert {"/v1/chat/completions", "/v1/models", "/v1/agents", "/v1/sessions", "/v1/actors", "/health"} <= set(
        document["paths"]
    )
    for path, verbs in document["paths"].items():
        wrong = next(verb for verb in ("PATCH", "PUT") if verb.lower() not in verbs)
        answer = await http.request(wrong, path.replace("{", "").replace("}", ""))
        assert answer.status_code == 405, path
        assert {verb.upper() for verb in verbs} <= set(answer.headers["allow"].split(", "))


async def test_the_docs_load_everything_from_this_gateway(http: httpx.AsyncClient) -> None:
    page = await http.get("/docs")

    assert page.headers["content-type"].startswith("text/html")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "://" not in page.text
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert (await http.get(f"/docs/{name}")).status_code == 200
    assert (await http.get("/docs/..%2f..%2fapp.py")).status_code == 404


async def test_the_actor_tree_shows_what_lives(http: httpx.AsyncClient, client: Client, vendor: ObedientVendor) -> None:
    await client.chat("hello", "agent:default:ws:direct:tree")
    tree = (await http.get("/v1/actors", params={"depth": 4})).json()

    assert set(tree) == {"root", "generated_at", "node_id", "totals"}
    assert set(tree["totals"]) >= {"actors", "by_kind", "by_class", "by_state", "mailbox_depth", "dropped"}
    root = tree["root"]
    assert (root["path"], root["kind"], root["strategy"]) == ("/", "supervisor", "one_for_all")
    branches = [child["path"] for child in root["children"]]
    assert branches == ["/system", "/infra", "/agents", "/engine", "/sessions", "/orch", "/delivery", "/cron", "/edge"]
    members = {"path", "name", "kind", "class", "node_id", "state", "restart", "shutdown", "incarnation"}
    members |= {"restarts_total", "restarts_window", "last_error", "last_crash", "started_at", "uptime_ms", "mailbox"}
    members |= {"in_hand", "counters", "children_total"}
    nodes = [root]
    for node in nodes:
        nodes += node.get("children", [])
        if not node["path"].startswith(("/edge/conns/", "/edge/http/")):
            assert members <= set(node), node["path"]
            assert set(node["mailbox"]) == {"depth", "control", "capacity", "high_water", "dropped", "expired"}
            assert (node["state"], node["last_crash"]) == ("running", None)
    session = next(node for node in nodes if node["path"].startswith("/sessions/") and "tree" in node["path"])
    assert (session["class"], session["dormant"]) == ("Session", True)
    one = (await http.get(f"/v1/actors{session['path'].replace('%', '%25')}")).json()
    assert one["path"] == session["path"]


async def test_sessions_over_http_are_snake_case(
    http: httpx.AsyncClient, client: Client, vendor: ObedientVendor, key: str
) -> None:
    await client.chat("hello", key)

    page = (await http.get("/v1/sessions", params={"limit": 1})).json()
    one = (await http.get(f"/v1/sessions/{key}")).json()

    assert set(page) == {"sessions", "total", "limit", "offset"}
    assert page["sessions"][0].items() >= {"key": key, "message_count": 2, "user_id": "lan"}.items()
    assert [message["content"] for message in one["messages"]] == ["hello", "echo hello"]


async def test_without_allowed_origins_a_foreign_page_learns_nothing(gateway: Gateway, http: httpx.AsyncClient) -> None:
    answer = await http.get("/health", headers={"origin": "https://evil.example"})

    assert not [name for name in answer.headers if name.startswith("access-control")]
    with pytest.raises(Exception) as refused:  # the client library wraps it in groups
        async with gateway.socket({"origin": "https://evil.example"}):
            pass
    assert "403" in repr(refused.value)
    async with gateway.socket({"origin": gateway.address}) as same:
        assert (await same.ask("connect", token=gateway.token))["role"] == "admin"


async def test_without_a_token_everybody_here_is_admin_and_no_page_from_elsewhere_gets_in(tmp_path: Path) -> None:
    """SEC-50."""
    with running(Gateway(tmp_path / "home", GOCLAW_GATEWAY_TOKEN="")) as gateway:
        async with httpx.AsyncClient(base_url=gateway.address) as anybody:
            assert (await anybody.get("/v1/agents")).json()["agents"][0]["provider"] == "offline"
            for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
                refused = await anybody.get("/v1/agents", headers={**headers, "sec-fetch-site": "cross-site"})
                assert refused.status_code == 403
        async with gateway.socket() as client:
            welcome = await client.ask("connect")
            assert welcome.items() >= {"role": "admin", "is_owner": True, "user_id": "system"}.items()
            answer = await client.chat("hello", stream=True)
            assert answer["offline"] is True
            assert answer["content"]

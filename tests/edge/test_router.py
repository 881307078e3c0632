"""Paths are matched as they were sent, and each captured part is decoded once. Contract: edge-http.md §0.1."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.errors import Err, Rejected
from goclaw.edge.http.router import Router
from goclaw.operations.operation import collect

ROUTES = [
    "GET /",
    "GET /v1/agents",
    "POST /v1/agents",
    "GET /v1/agents/{id}",
    "DELETE /v1/agents/{id}",
    "POST /v1/agents/sync",
    "GET /v1/agents/{id}/files/{name}",
    "GET /v1/agents/default/files/{name}",
    "GET /v1/actors/{path...}",
    "GET /v1/actors/events",
    "POST /v1/actors/{path...}/stop",
    "GET /v1/actors",
    "GET /ui/",
    "GET /ui/{path...}",
]
router = Router([(route, route) for route in ROUTES])


def refusal(verb: str, path: str) -> Err:
    with pytest.raises(Rejected) as rejected:
        router.find(verb, path)
    return rejected.value.err


@pytest.mark.parametrize(
    ("request_line", "route", "captured"),
    [
        ("GET /", "GET /", {}),
        ("GET /v1/agents", "GET /v1/agents", {}),
        ("POST /v1/agents", "POST /v1/agents", {}),
        ("GET /v1/agents/a", "GET /v1/agents/{id}", {"id": "a"}),
        ("GET /v1/agents/a%2Fb", "GET /v1/agents/{id}", {"id": "a/b"}),
        ("GET /v1/agents/a%252Fb", "GET /v1/agents/{id}", {"id": "a%2Fb"}),
        ("GET /v1/agents/%2e%2e", "GET /v1/agents/{id}", {"id": ".."}),
        ("GET /v1/agents/a+b%20c", "GET /v1/agents/{id}", {"id": "a+b c"}),
        ("GET /v1/agents/t%C3%AAn", "GET /v1/agents/{id}", {"id": "tên"}),
        ("GET /v1/agents/%FF", "GET /v1/agents/{id}", {"id": "\ufffd"}),
        ("GET /v1/agents/%", "GET /v1/agents/{id}", {"id": "%"}),
        ("GET /v1/agents/agent:a:b", "GET /v1/agents/{id}", {"id": "agent:a:b"}),
        ("POST /v1/agents/sync", "POST /v1/agents/sync", {}),
        ("GET /v1/agents/sync", "GET /v1/agents/{id}", {"id": "sync"}),
        ("GET /v1/agents/a/files/n", "GET /v1/agents/{id}/files/{name}", {"id": "a", "name": "n"}),
        ("GET /v1/agents/default/files/n", "GET /v1/agents/default/files/{name}", {"name": "n"}),
        ("GET /v1/actors/a", "GET /v1/actors/{path...}", {"path": "a"}),
        ("GET /v1/actors/a/b//c/", "GET /v1/actors/{path...}", {"path": "a/b//c/"}),
        ("GET /v1/actors/s/x%2Fy", "GET /v1/actors/{path...}", {"path": "s/x%2Fy"}),
        ("GET /v1/actors/events", "GET /v1/actors/events", {}),
        ("POST /v1/actors/a/stop", "POST /v1/actors/{path...}/stop", {"path": "a"}),
        ("POST /v1/actors/a/b%2Fc/stop/stop", "POST /v1/actors/{path...}/stop", {"path": "a/b%2Fc/stop"}),
        ("GET /v1/actors/a/stop", "GET /v1/actors/{path...}", {"path": "a/stop"}),
        ("GET /v1/actors/events/x", "GET /v1/actors/{path...}", {"path": "events/x"}),
        ("GET /ui/", "GET /ui/", {}),
        ("GET /ui/app.js", "GET /ui/{path...}", {"path": "app.js"}),
    ],
)
def test_a_path_finds_its_route(request_line: str, route: str, captured: dict[str, str]) -> None:
    assert router.find(*request_line.split(" ", 1)) == (route, captured)


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_declaration_does_not_matter(order: int) -> None:
    shuffled = Router([(route, route) for route in ROUTES[::order]])
    assert shuffled.find("GET", "/v1/agents/default/files/n")[0] == "GET /v1/agents/default/files/{name}"
    assert shuffled.find("GET", "/v1/actors/events")[0] == "GET /v1/actors/events"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "//",
        "/v1",
        "/v1/",
        "/v1/agents/",
        "/v1//agents",
        "//v1/agents",
        "/v1/agents/a/",
        "/v1/agents/a/b",
        "/v1/agents/a/files/",
        "/v1/actors/",
        "/v1/actors//",
        "/V1/agents",
        "/v1%2Fagents",
        "/v1/%61gents",
        "/ui",
        "*",
        "http://elsewhere/v1/agents",
    ],
)
def test_a_path_that_is_not_exactly_a_route_is_not_found(path: str) -> None:
    assert (refusal("GET", path).code, refusal("GET", path).key) == ("NOT_FOUND", "unknown_route")


@pytest.mark.parametrize(
    ("verb", "path", "allow"),
    [
        ("PUT", "/v1/agents", "GET, HEAD, POST"),
        ("PATCH", "/v1/agents/a", "DELETE, GET, HEAD"),
        ("PUT", "/v1/agents/sync", "DELETE, GET, HEAD, POST"),
        ("get", "/v1/agents", "GET, HEAD, POST"),
        ("BREW", "/", "GET, HEAD"),
    ],
)
def test_a_wrong_verb_is_told_the_right_ones(verb: str, path: str, allow: str) -> None:
    err = refusal(verb, path)
    assert (err.code, err.key, err.details["allow"]) == ("INVALID_REQUEST", "wrong_verb", allow)


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_whatever_is_encoded_once_arrives_as_it_was(text: str) -> None:
    assert router.find("GET", f"/v1/agents/{quote(text, safe='')}")[1] == {"id": text}


def test_every_route_of_the_house_finds_itself() -> None:
    routes = [http.route for operation in collect("goclaw.operations") for http in operation.http]
    house = Router([(route, route) for route in routes])
    for route in routes:
        verb, _, path = route.partition(" ")
        assert house.find(verb, path.replace("...}", "}"))[0] == route

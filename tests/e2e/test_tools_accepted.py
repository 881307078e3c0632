"""What a model gets of the tools it calls, and what is behind the doors. Contract: tools.md §23."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
import trio

from tests.e2e.gateway import Client, Gateway, Json, ObedientVendor
from tests.operations.preview_vectors import ALL, VECTORS, wanted

GONE = "there is no process of a group that is over"


async def results(client: Client, key: str, *calls: Any) -> list[Json]:
    """The results of these calls by a model, in order."""
    before = len(await client.history(key))
    await client.chat(f"!calls {json.dumps(calls)}", key)
    await client.idle(key)
    return [row for row in (await client.history(key))[before:] if row["role"] == "tool"]


async def result(client: Client, key: str, name: str, **arguments: Any) -> Json:
    return (await results(client, key, [name, arguments]))[0]


async def test_t1_every_tool_is_listed_with_a_schema(gateway: Gateway) -> None:
    """T1."""
    async with gateway.http() as http:
        listed = (await http.get("/v1/tools/builtin")).json()["tools"]
    names = [one["name"] for one in listed]
    assert names == sorted(names)
    assert {"repo_map", "create_forum_topic", "list_group_members", "message", "exec"} <= set(names)
    assert {"name", "display_name", "description", "group", "enabled", "available", "requires"} <= listed[0].keys()


async def test_t2_a_rehearsal_of_a_write_leaves_no_file(client: Client, vendor: ObedientVendor, key: str) -> None:
    """T2."""
    ask = {"tool": "write_file", "args": {"path": "t2.txt", "content": "x"}, "dryRun": True}
    said = await client.ask("tools.invoke", **ask)
    found = await result(client, key, "glob", pattern="t2.txt")
    assert (said["allowed"], found["content"]) == (True, "nothing matches t2.txt")


@pytest.mark.parametrize("vector", sorted(VECTORS))
async def test_t3_the_policy_is_shown_over_the_socket(client: Client, vector: str) -> None:
    """T3, P1 to P18 and P20 by name. P19 is a tool that is switched off: `tests/operations/test_tools_asked.py`."""
    layers, said = VECTORS[vector]
    shown = (await client.ask("tools.policy.preview", **layers))["tools"]
    here = {one["name"] for one in (await client.ask("tools.list"))["tools"]}
    assert sorted(set(shown) & ALL) == sorted(set(wanted(said)) & here)


async def test_t4_a_model_that_calls_a_hidden_tool_by_name_is_denied(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    """T4. A channel of no topics hides its tool; the run goes on."""
    hidden, other = await results(client, key, ["create_forum_topic", {"name": "x"}], ["datetime", {}])
    assert (hidden["is_error"], hidden["content"]) == (True, "Error: tool not allowed by policy: create_forum_topic")
    assert not other.get("is_error")


async def test_t5_what_a_model_invents_is_dropped_and_named_and_a_wrong_type_has_a_pointer(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    """T5."""
    calls = [
        ["list_files", {"limit": "5", "wanted": True}],
        ["list_files", {"limit": "many"}],
        ["parallel", {"calls": [{"tool": "datetime", "arguments": "no"}]}],
    ]
    noted, wrong, deep = await results(client, key, *calls)
    assert (noted.get("is_error", False), "wanted" in noted["content"]) == (False, True)
    assert (wrong["is_error"], "/limit" in wrong["content"], "int" in wrong["content"]) == (True, True, True)
    assert "/calls/0/arguments" in deep["content"]


async def test_t7_a_flood_is_cut_and_can_be_read_to_its_end(client: Client, vendor: ObedientVendor, key: str) -> None:
    """T7."""
    flood = await result(client, key, "exec", command="seq 1 400000")
    spilled = flood["content"].partition("full text: ")[2].partition("]")[0]
    head, tail = await results(
        client,
        key,
        ["read_file", {"path": spilled, "offset": 1, "limit": 3}],
        ["search", {"path": spilled, "pattern": "truncated at 1MB", "regex": False}],
    )
    assert len(flood["content"]) <= 30_000 + 200  # with the line between
    assert flood["content"].startswith("1\n2\n3\n")
    assert "[output truncated at 1MB]" in flood["content"]
    assert head["content"].splitlines() == ["1\t1", "2\t2", "3\t3"]
    assert "1 matches in 1 files" in tail["content"]


async def test_t8_a_command_that_takes_too_long_leaves_nobody_behind(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    """T8."""
    with trio.fail_after(60):
        late = await result(client, key, "exec", command="sleep 108 & sleep 108", timeout_seconds=1)
    left = await result(client, key, "exec", command="pgrep -f '[s]leep 108' || echo nobody")
    assert (late["is_error"], "timed out after 1s" in late["content"]) == (True, True)
    assert "nobody" in left["content"], GONE


async def test_t9_no_command_shows_what_the_gateway_keeps(client: Client, vendor: ObedientVendor, key: str) -> None:
    """T9. With the group off: `tests/tools/runtime/test_exec.py`."""
    commands = ["env", 'sh -c "echo $GOCLAW_ENCRYPTION_KEY"', "printenv", "cat /proc/self/environ"]
    for said in await results(client, key, *(["exec", {"command": command}] for command in commands)):
        assert (said["is_error"], "env_dump" in said["content"] or "denied" in said["content"]) == (True, True)


async def test_t13_two_users_whose_names_look_alike_have_a_directory_each(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    """T13."""
    for user in ("a.b", "a_b"):
        async with gateway.client(user) as client:
            await result(client, f"agent:default:ws:direct:t13-{user}", "write_file", path="t13.txt", content=user)
    async with gateway.client("a.b") as client:
        mine = await result(client, "agent:default:ws:direct:t13-a.b", "read_file", path="t13.txt")
    assert mine["content"] == "a.b"
    found = {path.parent.name: path.read_text() for path in gateway.home.rglob("t13.txt")}
    assert (len(found), sorted(found.values())) == (2, ["a.b", "a_b"])
    assert all(name.startswith("user_a_b-") for name in found)


async def test_t21_a_call_killed_by_an_admin_is_an_internal_result_and_its_run_goes_on(
    gateway: Gateway, client: Client, vendor: ObedientVendor, key: str
) -> None:
    """T21: through the admin endpoint, in the middle of the call."""
    answers: list[Json] = []

    async def turn() -> None:
        answers.append(await client.chat('!calls [["wait", {"seconds": 100}], ["datetime", {}], "both done"]', key))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(turn)
        run = (await client.hears("tool.call", key=key))["runId"]
        path = await _address_of_call(gateway, run)
        async with gateway.http() as http:
            killed = await http.post(f"/v1/actors{quote(path)}/stop", json={"mode": "kill"})
    assert killed.status_code < 300, killed.text
    first, second = [row for row in await client.history(key) if row["role"] == "tool"]
    assert (first["is_error"], "ended from outside" in first["content"]) == (True, True)
    assert not second.get("is_error")
    assert answers[0]["content"] == "both done"


async def _address_of_call(gateway: Gateway, run: str) -> str:
    async with gateway.http() as http:
        with trio.fail_after(10):
            while True:
                found = (await http.get("/v1/actors", params={"prefix": "/engine/lanes/main", "depth": 6})).text
                for piece in found.split('"'):
                    if piece.endswith("/wait-1") and run in piece:
                        return piece
                await trio.sleep(0.02)


# --- files of answers -----------------------------------------------------------------------------


async def test_a_file_comes_with_the_answer_as_a_link_that_opens_it_alone(
    gateway: Gateway, client: Client, vendor: ObedientVendor, key: str
) -> None:
    """agent-loop.md §12.4, edge-http.md §19: in the answer, in its event, in the history; and no header is needed."""
    calls = [
        ["write_file", {"path": "out/réport 1.txt", "content": "figures"}],
        ["send_file", {"path": "out/réport 1.txt"}],
    ]
    said = await client.chat(f"!calls {json.dumps([*calls, 'here it is'])}", key)
    event = await client.hears("run.completed", key=key)
    (last,) = [row for row in await client.history(key) if row.get("media_refs")]

    (file,) = said["media"]
    assert event["payload"]["media"] == [file]
    assert (file["content_type"], file["size"]) == ("text/plain", 7)
    assert last["media_refs"][0]["path"].rpartition("/")[2] == file["path"].rpartition("/")[2] == "r%C3%A9port%201.txt"
    assert (last["media_refs"][0]["kind"], last["media_refs"][0]["mime_type"]) == ("document", "text/plain")
    async with httpx.AsyncClient(base_url=gateway.address) as bare:
        opened = await bare.get(file["path"])
        part = await bare.get(file["path"], headers={"Range": "bytes=1-3"})
        past = await bare.get(file["path"], headers={"Range": "bytes=99-"})
        again = await bare.get(file["path"], headers={"If-None-Match": opened.headers["ETag"]})
        wrong = [await bare.get(path) for path in _forged(file["path"])]
        nobody = await bare.get("/v1/files/" + file["path"].split("/", 4)[4])
    assert (opened.status_code, opened.text, opened.headers["Referrer-Policy"]) == (200, "figures", "no-referrer")
    assert opened.headers["Cache-Control"] == "private, max-age=300"
    assert (part.status_code, part.text, part.headers["Content-Range"]) == (206, "igu", "bytes 1-3/7")
    assert (past.status_code, again.status_code, nobody.status_code) == (416, 304, 401)
    assert [answer.status_code for answer in wrong] == [401] * len(wrong)
    assert "~" + file["path"].split("~")[1].split("/")[0] not in gateway.log_path.read_text()


def _forged(path: str) -> list[str]:
    """The link with another end, another signature, for another file, for another user."""
    head, _, rest = path.partition("~")
    token, _, name = rest.partition("/")
    end, _, mac = token.partition(".")
    agent, owner, file = name.split("/", 2)
    return [
        f"{head}~{int(end) + 1}.{mac}/{name}",
        f"{head}~{end}.{mac[:-1]}{'A' if mac[-1] != 'A' else 'B'}/{name}",
        f"{head}~{token}/{agent}/{owner}/other.txt",
        f"{head}~{token}/{agent}/-/{file}",
        f"{head}~1.{mac}/{name}",
        f"{head}~/{name}",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "default/-/../x",
        "default/-/%2e%2e/x",
        "default/-/a%2fb",
        "default/-/a%5cb",
        "default/-/a%00b",
        "default/-//x",
        "%2e%2e/-/x",
        "default/-/%252e%252e/x",
        "default/-/./x",
    ],
)
async def test_no_path_leads_out(gateway: Gateway, path: str) -> None:
    """security.md §7.3."""
    place = urlsplit(gateway.address)
    request = f"GET /v1/files/{path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {gateway.token}\r\n"
    async with await trio.open_tcp_stream(str(place.hostname), place.port or 80) as stream:
        await stream.send_all(f"{request}Connection: close\r\n\r\n".encode())
        with trio.fail_after(10):
            said = b"".join([piece async for piece in stream])
    assert said.startswith(b"HTTP/1.1 400"), said[:100]
    assert b"security.storage_traversal" in said


async def test_what_may_run_in_a_browser_is_sent_to_be_kept(
    gateway: Gateway, client: Client, vendor: ObedientVendor, key: str
) -> None:
    calls = [["write_file", {"path": "a.svg", "content": "<svg/>"}], ["send_file", {"path": "a.svg"}], "see"]
    link = (await client.chat(f"!calls {json.dumps(calls)}", key))["media"][0]["path"]
    async with httpx.AsyncClient(base_url=gateway.address) as bare:
        kept, shown = await bare.get(link), await bare.get(f"{link}?inline=1")
    assert kept.headers["Content-Disposition"].startswith("attachment;")
    assert shown.headers["Content-Disposition"].startswith("inline;")
    assert shown.headers["Content-Security-Policy"].startswith("sandbox;")


async def test_a_file_that_became_a_link_outside_is_not_opened_and_one_named_in_the_answer_is_sent(
    gateway: Gateway, client: Client, vendor: ObedientVendor, key: str
) -> None:
    """security.md §12.2: looked at when it is delivered."""
    calls = [
        ["write_file", {"path": "b.txt", "content": "mine"}],
        "Done.\nMEDIA: b.txt\nMEDIA: nothing.txt\nMEDIA: /etc/passwd",
    ]
    said = await client.chat(f"!calls {json.dumps(calls)}", key)
    await client.idle(key)
    (own,) = [path for path in gateway.home.rglob("b.txt") if path.parent.name.startswith("user_lan-")]
    own.unlink()
    own.symlink_to("/etc/hostname")
    async with httpx.AsyncClient(base_url=gateway.address) as bare:
        opened = await bare.get(said["media"][0]["path"])
    own.unlink()

    assert said["content"] == "Done.\n\n(not delivered: nothing.txt, /etc/passwd)"
    assert len(said["media"]) == 1
    assert opened.status_code == 404


async def test_openais_clients_get_the_files_as_links(gateway: Gateway, vendor: ObedientVendor) -> None:
    """edge-http.md §2.4."""
    calls = [["write_file", {"path": "c.txt", "content": "x"}], ["send_file", {"path": "c.txt"}], "see"]
    body: Json = {"messages": [{"role": "user", "content": f"!calls {json.dumps(calls)}"}]}
    async with gateway.http(x_goclaw_user_id="lan") as http:
        whole = (await http.post("/v1/chat/completions", json=body)).json()["choices"][0]["message"]
        streamed = (await http.post("/v1/chat/completions", json={**body, "stream": True})).text
    (file,) = whole["goclaw"]["media"]
    assert whole["content"] == f"see\n\n[c.txt]({file['path']})"
    assert "[c.txt](/v1/files/~" in streamed

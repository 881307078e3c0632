"""The farm where no official SDK reaches: wires of their own, scripts that go wrong, the command."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import httpx
import pytest
import trio

from tests.fakes.vendors.script import Call, Refuse, Say, Think, Trouble, Usage, answer

TOOLS = [
    {
        "functionDeclarations": [
            {
                "name": "look_up",
                "parameters": {"type": "OBJECT", "properties": {"word": {"type": "STRING"}}, "required": ["word"]},
            }
        ]
    }
]
HELLO = {"role": "user", "parts": [{"text": "hello there"}]}
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello there"}]}
KEY = {"authorization": "Bearer key"}


@pytest.fixture
async def http():
    async with httpx.AsyncClient(headers={**KEY, "x-goog-api-key": "key"}, timeout=5, verify=False) as http:
        yield http


def events_of(response):
    return [json.loads(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")]


# Gemini


async def generate(http, farm, *contents, model="gemini-3-flash-preview", method="generateContent", **more):
    body = {"contents": contents or [HELLO], **more}
    return await http.post(f"{farm['gemini'].url}/models/{model}:{method}", json=body)


async def test_gemini_echoes_and_counts(farm, http):
    said = (await generate(http, farm)).json()

    assert said["candidates"] == [
        {"content": {"parts": [{"text": "echo hello there"}], "role": "model"}, "index": 0, "finishReason": "STOP"}
    ]
    usage = said["usageMetadata"]
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]


async def test_gemini_streams_events_or_an_array(farm, http):
    events = events_of(await generate(http, farm, method="streamGenerateContent?alt=sse"))
    whole = await generate(http, farm, method="streamGenerateContent")

    assert [part["text"] for event in events for part in event["candidates"][0]["content"]["parts"]] == [
        "echo",
        " hello",
        " there",
    ]
    assert [event["candidates"][0].get("finishReason") for event in events] == [None, None, "STOP"]
    assert len(whole.json()) == len(events)
    assert whole.headers["content-type"] == "application/json"


async def test_gemini_signs_the_first_call_and_wants_the_signature_back(farm, http):
    farm["gemini"].will(answer(Think("hm"), Call("look_up", {"word": "tea"}), Call("look_up", {"word": "milk"})))
    turn = (await generate(http, farm, tools=TOOLS)).json()["candidates"][0]["content"]
    first, second = turn["parts"]
    result = {"functionResponse": {"name": "look_up", "response": {"result": "leaves"}}}
    results = {"role": "user", "parts": [result, result]}

    assert first["functionCall"] == {"name": "look_up", "args": {"word": "tea"}}
    assert first["thoughtSignature"]
    assert "thoughtSignature" not in second
    said = await generate(http, farm, HELLO, turn, results, tools=TOOLS)
    assert said.json()["candidates"][0]["content"]["parts"] == [{"text": "the tool said: leaves, leaves"}]

    one = await generate(http, farm, HELLO, turn, {**results, "parts": [result]}, tools=TOOLS)
    assert "number of function response parts is equal" in one.json()["error"]["message"]
    del first["thoughtSignature"]
    unsigned = await generate(http, farm, HELLO, turn, results, tools=TOOLS)
    assert "missing a thought_signature" in unsigned.json()["error"]["message"]
    assert (await generate(http, farm, HELLO, turn, results, tools=TOOLS, model="gemini-2.0-flash")).is_success


async def test_gemini_shows_thoughts_to_who_asks_and_counts_them_apart(farm, http):
    farm["gemini"].will(answer(Think("let me see"), "so", usage=Usage(reasoning=5, cache_read=3)))
    config = {"thinkingConfig": {"includeThoughts": True}}
    said = (await generate(http, farm, generationConfig=config)).json()

    assert said["candidates"][0]["content"]["parts"][0] == {"text": "let me see", "thought": True}
    assert said["usageMetadata"]["thoughtsTokenCount"] == 5
    assert said["usageMetadata"]["cachedContentTokenCount"] == 3


@pytest.mark.parametrize(("finish", "reason"), [("length", "MAX_TOKENS"), ("filter", "SAFETY"), ("calls", "STOP")])
async def test_gemini_may_stop_for_other_reasons(farm, http, finish, reason):
    farm["gemini"].will(answer("half", finish=finish))
    assert (await generate(http, farm)).json()["candidates"][0]["finishReason"] == reason


SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{**HELLO, "role": "assistant"}]}, "Please use a valid role: user, model."),
        (
            {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f"}}]}]},
            "immediately after a user turn",
        ),
        ({"contents": [HELLO], "wat": 1}, 'Unknown name "wat"'),
        (
            {"contents": [HELLO], "tools": [{"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}]},
            "Unknown name \"additionalProperties\" at 'tools[0].function_declarations[0].parameters'",
        ),
    ],
)
async def test_gemini_refuses_what_the_real_one_refuses(farm, http, body, what):
    no = await http.post(f"{farm['gemini'].url}/models/gemini-2.5-flash:generateContent", json=body)

    assert no.status_code == 400
    assert no.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert what in no.json()["error"]["message"]


async def test_gemini_has_errors_of_its_own_shape(farm, http):
    farm["gemini"].will(Refuse(429, "slow down"))
    slow = await generate(http, farm)
    bad = await http.post(f"{farm['gemini'].url}/models/m:generateContent", headers={"x-goog-api-key": "bad-key"})
    farm["gemini"].will(answer("one two three", trouble=Trouble("error", after=1, data=b"overloaded")))
    broken = events_of(await generate(http, farm, method="streamGenerateContent?alt=sse"))

    assert slow.json() == {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}
    assert bad.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert broken[-1]["error"]["status"] == "UNAVAILABLE"


async def test_gemini_lists_its_models_in_pages_and_embeds(farm, http):
    url = farm["gemini"].url
    first = (await http.get(f"{url}/models", params={"pageSize": 3})).json()
    rest = (await http.get(f"{url}/models", params={"pageToken": first["nextPageToken"]})).json()
    content = {"parts": [{"text": "tea"}]}
    body = {"requests": [{"model": "models/gemini-embedding-001", "content": content, "outputDimensionality": 8}]}
    rows = (await http.post(f"{url}/models/gemini-embedding-001:batchEmbedContents", json=body)).json()

    assert len(first["models"]) == 3
    assert "nextPageToken" not in rest
    assert len(rows["embeddings"][0]["values"]) == 8


# MiniMax and Ollama


async def minimax(http, farm, **more):
    return await http.post(
        f"{farm['minimax'].url}/text/chatcompletion_v2", json={**CHAT, "model": "MiniMax-M2.5", **more}
    )


async def test_minimax_says_no_with_status_200(farm, http):
    fine = (await minimax(http, farm)).json()
    farm["minimax"].will(Refuse(429), Refuse(402))
    slow, poor = (await minimax(http, farm), await minimax(http, farm))

    assert (fine["choices"][0]["message"]["content"], fine["base_resp"]["status_code"]) == ("echo hello there", 0)
    assert (slow.status_code, slow.json()["base_resp"]) == (200, {"status_code": 1002, "status_msg": "rate limit"})
    assert (poor.status_code, poor.json()["base_resp"]["status_code"]) == (200, 1008)


async def test_minimax_ends_a_stream_with_the_whole_answer(farm, http):
    response = await minimax(http, farm, stream=True)
    *others, last = events_of(response)

    assert "[DONE]" not in response.text
    assert {event["object"] for event in others} == {"chat.completion.chunk"}
    assert last["object"] == "chat.completion"
    assert last["choices"][0]["message"]["content"] == "echo hello there"
    assert last["usage"]["completion_tokens"] == 4


async def test_ollama_says_what_its_models_can(farm, http):
    origin = farm["ollama"].url.removesuffix("/v1")
    names = [row["name"] for row in (await http.get(f"{origin}/api/tags")).json()["models"]]
    able = (await http.post(f"{origin}/api/show", json={"model": "llama3.3"})).json()
    unable = (await http.post(f"{origin}/api/show", json={"model": "gemma3:27b"})).json()
    unknown = await http.post(f"{origin}/api/show", json={"model": "nothing"})
    rows = (await http.post(f"{origin}/api/embed", json={"model": "nomic-embed-text", "input": ["a", "b"]})).json()

    assert "gemma3:27b" in names
    assert "tools" in able["capabilities"]
    assert "tools" not in unable["capabilities"]
    assert (unknown.status_code, unknown.json()) == (404, {"error": "model 'nothing' not found"})
    assert [len(row) for row in rows["embeddings"]] == [768, 768]


# Scripts that go wrong


async def raw_answer(farm, body, name="openai"):
    """Every byte of an answer until the vendor closes."""
    data = json.dumps(body).encode()
    head = (
        f"POST /{name}/v1/chat/completions HTTP/1.1\r\nauthorization: Bearer key\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    stream = await trio.open_tcp_stream("127.0.0.1", int(farm.origin.rsplit(":", 1)[1]))
    async with stream:
        await stream.send_all(head.encode() + data)
        return b"".join([chunk async for chunk in stream])


@pytest.mark.parametrize(
    ("trouble", "ends"),
    [
        (Trouble("close"), b""),
        (Trouble("raw", data=b"SSH-2.0\r\n"), b"SSH-2.0\r\n"),
    ],
)
async def test_a_script_may_end_an_answer_before_it_begins(farm, trouble, ends):
    farm["openai"].will(answer("one two", trouble=trouble))
    assert await raw_answer(farm, {**CHAT, "stream": True}) == ends


async def test_a_script_may_cut_a_document_in_the_middle(farm):
    farm["openai"].will(answer("one two", trouble=Trouble("close", after=1)))
    got = await raw_answer(farm, CHAT)
    promised = int(re.search(rb"content-length: (\d+)", got)[1])

    assert 0 < len(got.split(b"\r\n\r\n", 1)[1]) < promised


async def test_garbage_stands_between_events_that_go_on(farm, http):
    farm["openai"].will(answer("one two", trouble=Trouble("garbage", after=2, data=b"data: {not json\n\n")))
    text = (await http.post(f"{farm['openai'].url}/chat/completions", json={**CHAT, "stream": True})).text

    assert text.index('"one"') < text.index("{not json") < text.index('" two"')
    assert text.endswith("data: [DONE]\n\n")


async def test_a_held_answer_whose_client_leaves_is_given_up(farm, http):
    vendor = farm["openai"]
    vendor.will(answer("one two", trouble=Trouble("hold", after=1)))
    async with http.stream("POST", f"{vendor.url}/chat/completions", json={**CHAT, "stream": True}):
        await vendor.until(lambda vendor: vendor.held == 1)
    await vendor.until(lambda vendor: vendor.abandoned == 1)

    assert vendor.held == 0


async def test_a_pace_is_kept(farm, http, autojump_clock):
    farm["openai"].will(answer(Say("one two three"), pace=10))
    began = trio.current_time()
    await http.post(f"{farm['openai'].url}/chat/completions", json={**CHAT, "stream": True})

    assert trio.current_time() - began == pytest.approx(0.6)  # role, three words, finish, end


CHAT_TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("one", "two")]


async def obeyed(http, farm, text, name="deepseek"):
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "tools": CHAT_TOOLS}
    return await http.post(f"{farm[name].url}/chat/completions", json=body)


@pytest.mark.parametrize(
    ("text", "called", "said"),
    [
        ("!tool", ["one"], None),
        ("!tool two", ["two"], None),
        ("!tools", ["one", "two"], None),
        ("!fixed-2", [], "word0 word1 "),
        ("!think about tea", [], "I thought about tea"),
        ("tool", [], "echo tool"),
    ],
)
async def test_without_a_script_the_users_text_is_obeyed(farm, http, text, called, said):
    message = (await obeyed(http, farm, text)).json()["choices"][0]["message"]

    assert [call["function"]["name"] for call in message.get("tool_calls", ())] == called
    assert message["content"] == said


async def test_faults_are_had_for_the_asking(farm, http):
    slow = await obeyed(http, farm, "!fault-429")
    page = await obeyed(http, farm, "!fault-html-502")

    assert (slow.status_code, slow.headers["retry-after"]) == (429, "1")
    assert (page.status_code, page.headers["content-type"]) == (502, "text/html")
    for fault in ("close", "midclose", "reset", "not-http"):
        with pytest.raises(httpx.TransportError):
            await obeyed(http, farm, f"!fault-{fault}")


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 503, 529])
async def test_every_vendor_refuses_in_its_own_form(farm, http, status):
    for vendor in farm:
        vendor.will(Refuse(status, "no", retry_after="Wed, 21 Oct 2026 07:28:00 GMT"))
        response = await any_question(http, vendor)

        assert response.status_code == (200 if vendor.name == "minimax" else status), vendor.name
        assert response.headers["retry-after"].startswith("Wed"), vendor.name
        assert response.json(), vendor.name


async def any_question(http, vendor):
    """A request that the vendor would answer."""
    headers = {"x-api-key": "key", "anthropic-version": "2023-06-01", "chatgpt-account-id": "a"}
    models = {"ollama": "llama3.3", "anthropic": "claude-haiku-4-5", "openrouter": "a/b"}
    body = {**CHAT, "model": models.get(vendor.name, "gpt-4o")}
    paths = {"anthropic": "/messages", "chatgpt": "/codex/responses", "minimax": "/text/chatcompletion_v2"}
    match vendor.name:
        case "anthropic":
            body["max_tokens"] = 10
        case "chatgpt":
            body = {"model": "gpt-5", "input": "x", "instructions": "x", "store": False, "stream": True}
        case "gemini":
            body, paths = {"contents": [HELLO]}, {"gemini": "/models/gemini-2.5-flash:generateContent"}
    return await http.post(vendor.url + paths.get(vendor.name, "/chat/completions"), json=body, headers=headers)


async def test_every_vendor_answers_a_plain_question(farm, http):
    for vendor in farm:
        response = await any_question(http, vendor)

        assert response.is_success, (vendor.name, response.text)
        assert "hello" in response.text or vendor.name == "chatgpt"


async def test_an_unknown_vendor_is_told_who_lives_here(farm, http):
    no = await http.get(f"{farm.origin}/nobody/v1/models")

    assert no.status_code == 404
    assert "/anthropic" in no.json()["error"]["message"]


def test_the_command_prints_where_every_vendor_lives():
    command = [sys.executable, "-m", "tests.fakes.vendors"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = next(line.split()[1] for line in process.stdout if "anthropic" in line)
        listed = httpx.get(
            f"{url}/models", headers={"x-api-key": "key", "anthropic-version": "2023-06-01"}, verify=False
        )
        process.kill()

    assert listed.json()["data"]

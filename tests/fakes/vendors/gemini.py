"""Gemini: its own `generateContent`, and the endpoint that speaks OpenAI chat completions."""

from __future__ import annotations

import re
from typing import Any

from tests.fakes.vendors import gemini_rules as rules
from tests.fakes.vendors.brain import Ask, Tool, encode
from tests.fakes.vendors.embeddings import SIZES, embed, vector
from tests.fakes.vendors.openai_chat import Chat, models
from tests.fakes.vendors.script import Answer, Call, Part, Redacted, Refuse, Say, Think, pieces, tokens
from tests.fakes.vendors.vendor import BAD_KEY, Heard, Vendor, Wire, sse

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
FINISHES = {"length": "MAX_TOKENS", "filter": "SAFETY"}
NAMES = ("gemini-3.1-pro-preview", "gemini-3-flash-preview", "gemini-2.5-flash", "gemini-2.0-flash")


class Generate(Wire):
    """`:generateContent`, `:streamGenerateContent`: with `alt=sse` as events, else as one array in pieces."""

    def content_type(self, ask: Ask) -> str:
        return "application/json" if in_array(ask) else "text/event-stream"

    def admit(self, heard: Heard) -> None:
        key = heard.headers.get("x-goog-api-key") or heard.query.get("key", "")
        if not key:
            what = "Method doesn't allow unregistered callers (callers without established identity)."
            raise Refuse(403, f"{what} Please use API Key or other form of API consumer identity to call this API.")
        if key == BAD_KEY:
            reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
            raise Refuse(400, "API key not valid. Please pass a valid API key.", more={"details": [reason]})

    def ask(self, heard: Heard, found: re.Match[str]) -> Ask:
        body, model = heard.body, found["model"]
        rules.check(model, body)
        contents = body["contents"]
        last = contents[-1].get("parts") or []
        said = [text_of(turn) for turn in contents if turn.get("role", "user") == "user" and text_of(turn)]
        functions = [f for tool in body.get("tools") or () for f in tool.get("functionDeclarations") or ()]
        thinking = (body.get("generationConfig") or {}).get("thinkingConfig") or {}
        return Ask(
            model=model,
            stream=found["method"] == "streamGenerateContent",
            text=said[-1] if said else "",
            results=tuple(
                answer_of(part["functionResponse"].get("response")) for part in last if "functionResponse" in part
            ),
            tools=tuple(
                Tool(f["name"], lowered(f.get("parametersJsonSchema") or f.get("parameters") or {})) for f in functions
            ),
            thinks=bool(thinking.get("includeThoughts")),
            size=tokens(heard.raw.decode()),
            body=body,
            query=heard.query,
        )

    def part(self, part: Part, ask: Ask) -> list[dict[str, Any]]:
        match part:
            case Say(text):
                return [{"text": text}]
            case Think(text):
                return [{"text": text, "thought": True}] if ask.thinks and text else []
            case Redacted():
                return []
            case Call(name, arguments, id):
                made = {"name": name, "args": arguments if isinstance(arguments, dict) else {}}
                return [{"functionCall": {**made, **({"id": id} if id else {})}}]

    def parts(self, said: Answer, ask: Ask) -> list[dict[str, Any]]:
        """Newer models sign the first call of a turn."""
        out = [made for part in said.parts for made in self.part(part, ask)]
        first = next((part for part in out if "functionCall" in part), None)
        if first is not None and rules.signs(ask.model):
            first["thoughtSignature"] = rules.seal(said.thought)
        return out

    def frame(self, ask: Ask, parts: list[Any], usage: dict[str, Any], finish: str = "") -> dict[str, Any]:
        candidate: dict[str, Any] = {"index": 0}
        if parts:
            candidate = {"content": {"parts": parts, "role": "model"}, **candidate}
        if finish:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": ask.model, "responseId": ask.id}

    def usage(self, said: Answer, ask: Ask) -> dict[str, Any]:
        """Thoughts are counted apart from the answer's tokens."""
        given = said.usage
        thought = given.reasoning if given.reasoning is not None else tokens(said.thought)
        prompt = given.input if given.input is not None else max(1, ask.size)
        spoken = said.text + "".join(str(call.arguments) for call in said.calls)
        answered = given.output - thought if given.output is not None else max(1, tokens(spoken))
        usage = {
            "promptTokenCount": prompt,
            "candidatesTokenCount": answered,
            "totalTokenCount": prompt + answered + thought,
        }
        if thought:
            usage["thoughtsTokenCount"] = thought
        if given.cache_read:
            usage["cachedContentTokenCount"] = given.cache_read
        return usage

    def whole(self, said: Answer, ask: Ask) -> Any:
        return self.frame(ask, self.parts(said, ask), self.usage(said, ask), FINISHES.get(said.ends, "STOP"))

    def events(self, said: Answer, ask: Ask) -> list[bytes]:
        usage = self.usage(said, ask)
        sofar = {name: usage[name] for name in ("promptTokenCount", "totalTokenCount")}
        split: list[dict[str, Any]] = []
        for part in self.parts(said, ask):
            split += [{**part, "text": piece} for piece in pieces(part["text"])] if "text" in part else [part]
        frames = [self.frame(ask, [part], sofar) for part in split[:-1]]
        frames.append(self.frame(ask, split[-1:], usage, FINISHES.get(said.ends, "STOP")))
        if not in_array(ask):
            return [sse(frame) for frame in frames]
        return [b"[" + encode(frames[0]), *(b"," + encode(frame) for frame in frames[1:]), b"]"]

    def failed(self, ask: Ask, message: str, sent: int) -> bytes:
        error = {"code": 503, "message": message, "status": "UNAVAILABLE"}
        return b"," + encode({"error": error}) + b"]" if in_array(ask) else sse({"error": error})

    def refusal(self, no: Refuse) -> Any:
        status = no.kind or STATUSES.get(no.status, "INTERNAL")
        return {"error": {"code": no.status, "message": no.message, "status": status, **no.more}}


class GeminiChat(Chat):
    """Errors come in an array; calls carry a signature that must come back with them."""

    def thinks(self, body: dict[str, Any]) -> bool:
        return False

    def check(self, body: dict[str, Any]) -> None:
        super().check(body)
        messages = body["messages"]
        if messages[-1]["role"] == "assistant":
            raise Refuse(
                400, "Please ensure that single turn requests end with a user role or the role field is empty."
            )
        for place, message in enumerate(messages):
            calls = message.get("tool_calls") or ()
            if calls and rules.signs(body["model"]):
                extra = (calls[0].get("extra_content") or {}).get("google") or {}
                rules.check_signature(extra.get("thought_signature"), calls[0]["function"]["name"], place)
            if message["role"] == "tool" and not (message.get("name") or message.get("tool_call_id")):
                raise Refuse(400, "Name cannot be empty.")

    def call(self, call: Call) -> dict[str, Any]:
        made = super().call(call)
        return {**made, "extra_content": {"google": {"thought_signature": rules.seal(call.name)}}}

    def called(self, said: Answer) -> list[dict[str, Any]]:
        """Whole calls, one a chunk."""
        return [{"tool_calls": [{"index": n, **self.call(call)}]} for n, call in enumerate(said.calls)]

    def refusal(self, no: Refuse) -> Any:
        status = STATUSES.get(no.status, "INTERNAL")
        return [{"error": {"code": no.status, "message": no.message, "status": status}}]


def in_array(ask: Ask) -> bool:
    return ask.query.get("alt") != "sse"


def text_of(turn: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in turn.get("parts") or ())


def answer_of(response: Any) -> str:
    """Of a function, as its text if it is wrapped in the usual way."""
    if isinstance(response, dict) and len(response) == 1:
        (only,) = response.values()
        if isinstance(only, str):
            return only
    return encode(response).decode()


def lowered(schema: Any) -> Any:
    """Gemini's own schemas write types in capitals."""
    if isinstance(schema, list):
        return [lowered(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: v.lower() if k == "type" and isinstance(v, str) else lowered(v) for k, v in schema.items()}


def listing(heard: Heard, found: re.Match[str]) -> Any:
    """A page of models: `pageSize`, `pageToken`."""
    start = int(heard.query.get("pageToken") or 0)
    stop = start + int(heard.query.get("pageSize") or 50)
    rows = [
        {
            "name": f"models/{name}",
            "displayName": name.replace("-", " ").title(),
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
            "thinking": "2.0" not in name,
        }
        for name in NAMES[start:stop]
    ]
    return {"models": rows, **({"nextPageToken": str(stop)} if stop < len(NAMES) else {})}


def embed_batch(heard: Heard, found: re.Match[str]) -> Any:
    """`:embedContent` of one, `:batchEmbedContents` of at most 100."""
    body = heard.body or {}
    requests = body.get("requests") if found["method"] == "batchEmbedContents" else [body]
    if not requests or len(requests) > 100:
        raise Refuse(400, "BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch")
    rows = []
    for request in requests:
        size = request.get("outputDimensionality") or SIZES.get(found["model"], 768)
        rows.append({"values": vector(found["model"], text_of(request.get("content") or {}), size)})
    return {"embeddings": rows} if found["method"] == "batchEmbedContents" else {"embedding": rows[0]}


def gemini() -> Vendor:
    routes = {
        r"POST /v1beta/models/(?P<model>[^/:]+):(?P<method>generateContent|streamGenerateContent)": Generate(),
        r"POST /v1beta/models/(?P<model>[^/:]+):(?P<method>embedContent|batchEmbedContents)": embed_batch,
        r"GET /v1beta/models": listing,
        r"POST /v1beta/openai/chat/completions": GeminiChat(),
    }
    vendor = Vendor("gemini", "/v1beta", routes)
    compatible = GeminiChat()
    vendor.tables(compatible, {"GET /v1beta/openai/models": models(*NAMES), "POST /v1beta/openai/embeddings": embed})
    return vendor

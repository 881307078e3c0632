"""Two executions of a run, side by side. Contract: durability.md §16.3."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Literal

import msgspec
from msgspec import Struct

from goclaw.agent.recorder import Row
from goclaw.domain.chat import ChatResponse
from goclaw.providers.prices import cost_of
from goclaw.settings.telemetry import ModelPrice

PREVIEW = 300  # characters of an answer shown
DIFF = 8000  # characters of the difference of two answers


class Moment(Struct, kw_only=True):
    """A model's answer or a call's result, in one of the two."""

    preview: str
    tool_calls: int = 0
    tokens: int = 0
    cost_usd: float | None = None  # None: nobody knows the price


class Pair(Struct, kw_only=True):
    n: int
    kind: str  # llm or tool
    same: bool
    recorded: Moment | None
    replayed: Moment | None


class Totals(Struct, kw_only=True):
    llm_calls: int
    tool_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None = None


class Final(Struct, kw_only=True):
    recorded: str
    replayed: str
    diff: str


class Comparison(Struct, kw_only=True):
    of: str
    mode: Literal["verify", "what_if"]
    identical: bool
    log: dict[str, str]  # the hash of either message log
    first_difference: dict[str, Any] | None
    steps: list[Pair]
    totals: dict[str, Totals]
    suppressed: list[dict[str, Any]]
    unmatched: list[dict[str, Any]]
    final: Final
    verdict: Literal["identical", "different", "stopped"]


def compare(
    of: str,
    mode: Literal["verify", "what_if"],
    recorded: Sequence[Row],
    played: Sequence[Row],
    *,
    suppressed: list[dict[str, Any]],
    unmatched: list[dict[str, Any]],
    stopped: bool = False,
    pricing: Mapping[str, ModelPrice] | None = None,
) -> Comparison:
    """`pricing` is `telemetry.model_pricing`: both are priced as of now."""
    first = difference(recorded, played)
    identical = first is None and len(recorded) == len(played)
    pairs = [
        Pair(
            n=n,
            kind=_kind(one or two),
            same=_same(one, two),
            recorded=_moment(one, pricing),
            replayed=_moment(two, pricing),
        )
        for n, (one, two) in enumerate(zip_longest(_moments(recorded), _moments(played)))
    ]
    before, after = _final(recorded), _final(played)
    return Comparison(
        of=of,
        mode=mode,
        identical=identical,
        log={"recorded": _log(recorded), "replayed": _log(played)},
        first_difference=first,
        steps=pairs,
        totals={"recorded": _totals(recorded, pricing), "replayed": _totals(played, pricing)},
        suppressed=suppressed,
        unmatched=unmatched,
        final=Final(recorded=before, replayed=after, diff=_text_difference(before, after)),
        verdict="stopped" if stopped else "identical" if identical else "different",
    )


def difference(recorded: Sequence[Row], played: Sequence[Row]) -> dict[str, Any] | None:
    """Where two executions part: the first row that differs, and the first member of it."""
    for seq, row in enumerate(recorded):
        other = played[seq] if seq < len(played) else None
        if other is None:
            return {"seq": seq, "kind": row.kind, "path": "", "recorded": _short(row.body), "replayed": None}
        if (row.kind, row.step, row.blob) != (other.kind, other.step, other.blob):
            mine, theirs = [row.kind, row.step, row.blob], [other.kind, other.step, other.blob]
            return {"seq": seq, "kind": row.kind, "path": "kind", "recorded": mine, "replayed": theirs}
        if found := _parting({**row.body, "log": ""}, {**other.body, "log": ""}, ""):
            path, one, two = found
        elif row.body["log"] != other.body["log"]:
            path, one, two = "log", row.body["log"], other.body["log"]  # it said something else on the way here
        else:
            continue
        return {"seq": seq, "kind": row.kind, "path": path, "recorded": _short(one), "replayed": _short(two)}
    return None


def _text_difference(one: str, two: str) -> str:
    lines = difflib.unified_diff(one.splitlines(), two.splitlines(), "recorded", "replayed", lineterm="")
    return "\n".join(lines)[:DIFF]


def _parting(one: Any, two: Any, path: str) -> tuple[str, Any, Any] | None:
    match one, two:
        case dict(), dict():
            for name in sorted(one.keys() | two.keys()):
                if found := _parting(one.get(name), two.get(name), f"{path}/{name}"):
                    return found
        case list() | tuple(), list() | tuple():
            for place in range(max(len(one), len(two))):
                mine, theirs = (part[place] if place < len(part) else None for part in (one, two))
                if found := _parting(mine, theirs, f"{path}/{place}"):
                    return found
        case _ if one != two:
            return path or "/", one, two
    return None


def _short(value: Any) -> Any:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:PREVIEW]


def _moments(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.kind in ("response", "tool")]


def _kind(row: Row | None) -> str:
    return "tool" if row is not None and row.kind == "tool" else "llm"


def _same(one: Row | None, two: Row | None) -> bool:
    if one is None or two is None or one.kind != two.kind:
        return False
    return _parting({**one.body, "log": ""}, {**two.body, "log": ""}, "") is None


def _moment(row: Row | None, pricing: Mapping[str, ModelPrice] | None) -> Moment | None:
    if row is None:
        return None
    if row.kind == "tool":
        return Moment(preview=row.body["text"][:PREVIEW])
    usage = _usage(row)
    return Moment(
        preview=str(row.body.get("content", row.body.get("message", "")))[:PREVIEW],
        tool_calls=len(row.body.get("tool_calls", ())),
        tokens=usage[0] + usage[1],
        cost_usd=None if (cost := _cost(row, pricing)) is None else float(cost),
    )


def _usage(row: Row) -> tuple[int, int]:
    usage = row.body.get("usage", {})
    return usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)


def _cost(row: Row, pricing: Mapping[str, ModelPrice] | None) -> Decimal | None:
    """USD of an answer; of a failure nothing."""
    if "error" in row.body:
        return Decimal(0)
    answer = msgspec.convert({name: row.body[name] for name in row.body if name != "log"}, ChatResponse)
    return cost_of(answer, pricing)


def _totals(rows: Sequence[Row], pricing: Mapping[str, ModelPrice] | None) -> Totals:
    costs = [_cost(row, pricing) for row in rows if row.kind == "response"]
    known = [cost for cost in costs if cost is not None]
    responses = [row for row in rows if row.kind == "response"]
    return Totals(
        llm_calls=len(responses),
        tool_calls=sum(row.kind == "tool" for row in rows),
        input_tokens=sum(_usage(row)[0] for row in responses),
        output_tokens=sum(_usage(row)[1] for row in responses),
        cost_usd=float(sum(known)) if costs and len(known) == len(costs) else None,
    )


def _final(rows: Sequence[Row]) -> str:
    return str(rows[-1].body["content"]) if rows and rows[-1].kind == "end" else ""


def _log(rows: Sequence[Row]) -> str:
    return str(rows[-1].body["log"]) if rows else ""

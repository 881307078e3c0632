"""A conversation as it was: the markers of its journal, folded up to a moment.

Contract: observability.md §21, data-model.md §8. What a patch named is found behind the moment too, because it says
what was before it; so a journal whose beginning retention has removed still answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

PATCHED = ("label", "model", "provider", "queue")  # what a marker `patched` may name


class Marker(Struct, frozen=True, kw_only=True):
    """A change that is no message. `payload` without the text of a summary."""

    seq: int
    payload: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.payload.get("marker", ""))


class Present(Struct, frozen=True, kw_only=True):
    """The session as it is."""

    agent_key: str
    generation: int
    label: str | None
    model: str | None
    provider: str | None
    queue: str | None


class Past(Present, frozen=True, kw_only=True):
    """The session as it was behind the row `seq`. Live are the messages behind `since` that are not `covered`."""

    seq: int
    since: int  # the last reset; 0 if there was none
    covered: tuple[tuple[int, int], ...]  # first and last of what was compacted or truncated since
    summarised_at: int | None  # the marker that holds the summary
    compactions: int
    cancelled: tuple[str, ...]  # runs whose text was cut off
    next_marker: int | None


def fold(markers: Sequence[Marker], seq: int, present: Present) -> Past:
    """The state behind the row `seq`; `markers` are all there are, in order."""
    before = [marker for marker in markers if marker.seq <= seq]
    after = [marker for marker in markers if marker.seq > seq]
    reset = next((marker for marker in reversed(before) if marker.kind == "reset"), None)
    since = reset.seq if reset else 0
    lived = [marker for marker in before if marker.seq > since]
    compacted = [marker.seq for marker in lived if marker.kind == "compacted"]
    label, model, provider, queue = (_patched(name, before, after, present) for name in PATCHED)
    return Past(
        seq=seq,
        agent_key=_agent(before, after, present),
        generation=_generation(reset, after, present),
        label=label,
        model=model,
        provider=provider,
        queue=queue,
        since=since,
        covered=tuple((m.payload["covered"][0], m.payload["covered"][1]) for m in lived if "covered" in m.payload),
        summarised_at=compacted[-1] if compacted else None,
        compactions=len(compacted),
        cancelled=tuple(str(m.payload["run_id"]) for m in lived if m.kind == "cancelled"),
        next_marker=after[0].seq if after else None,
    )


def _patched(name: str, before: Sequence[Marker], after: Sequence[Marker], present: Present) -> Any:
    """A value as the last patch set it, else as the next one found it, else as it is."""
    for marker in reversed(before):
        if marker.kind == "patched" and name in marker.payload:
            return marker.payload[name]
    for marker in after:
        if marker.kind == "patched" and name in marker.payload:
            return (marker.payload.get("was") or {}).get(name)
    return getattr(present, name)


def _agent(before: Sequence[Marker], after: Sequence[Marker], present: Present) -> str:
    for marker in reversed(before):
        if marker.kind == "handoff":
            return str(marker.payload["to"])
    for marker in after:
        if marker.kind == "handoff":
            return str(marker.payload["from"])
    return present.agent_key


def _generation(reset: Marker | None, after: Sequence[Marker], present: Present) -> int:
    if reset is not None:
        return int(reset.payload["generation"])
    coming = next((marker for marker in after if marker.kind == "reset"), None)
    return present.generation if coming is None else int(coming.payload["generation"]) - 1

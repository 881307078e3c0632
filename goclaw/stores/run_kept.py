"""What a run writes beside its state: its steps, and what reached it. Contract: durability.md §8, §16.1."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from goclaw.domain.budget import Payer
from goclaw.domain.chat import Usage
from goclaw.domain.run import RecordKind
from goclaw.stores.model_calls import ModelCall
from goclaw.stores.unit import Json


class Step(Struct, frozen=True, kw_only=True):
    """What a run has done, as it goes on from after a crash (durability.md §8)."""

    step_no: int
    kind: Literal["llm", "tool", "note", "summary"]
    message: msgspec.Raw
    usage: Usage | None = None


class Record(Struct, frozen=True, kw_only=True):
    """Something that reached a run from outside (durability.md §16.1)."""

    seq: int
    kind: RecordKind
    body: msgspec.Raw
    sealed: str | None = None  # the body, sealed, in base64; `body` has only what may be read then
    step_no: int | None = None
    blob: str | None = None  # SHA-256 of a text in `record_blobs`


class Blob(Struct, frozen=True, kw_only=True):
    hash: str
    body: str


class Kept(Struct, frozen=True, kw_only=True):
    """What a run writes beside its state: nothing is written twice, whatever a commit said."""

    steps: tuple[Step, ...] = ()
    records: tuple[Record, ...] = ()
    blobs: tuple[Blob, ...] = ()
    calls: tuple[ModelCall, ...] = ()
    payers: tuple[Payer, ...] = ()  # who has purses that pay for them
    ledger: bool = True  # the run may have steps already: whatever they left open is closed with it

    def params(self) -> dict[str, Any]:
        return {name: Json(getattr(self, name)) for name in ("steps", "records", "blobs", "calls", "payers")}


NOTHING = Kept()

STEPS = """
  INSERT INTO run_steps (run_id, step_no, tenant_id, kind, message, usage, fence)
  SELECT mine.run_id, s.step_no, mine.tenant_id, s.kind, s.message, s.usage, mine.fence
  FROM mine, jsonb_to_recordset(%(steps)s::jsonb) AS s(step_no int, kind text, message jsonb, usage jsonb)
  ORDER BY s.step_no ON CONFLICT DO NOTHING
"""  # `mine` is the run, held; a step that is there already was stored by us, whatever its commit said

RECORDS = """
  INSERT INTO run_records (run_id, seq, tenant_id, kind, step_no, body, body_enc, blob, fence)
  SELECT mine.run_id, r.seq, mine.tenant_id, r.kind, r.step_no, r.body, decode(r.sealed, 'base64'), r.blob, mine.fence
  FROM mine, jsonb_to_recordset(%(records)s::jsonb)
    AS r(seq int, kind text, step_no int, body jsonb, sealed text, blob text)
  ON CONFLICT DO NOTHING
"""

BLOBS = """
  INSERT INTO record_blobs (hash, body)
  SELECT b.hash, b.body FROM mine, jsonb_to_recordset(%(blobs)s::jsonb) AS b(hash text, body text)
  ON CONFLICT (hash) DO UPDATE SET at = now()
"""

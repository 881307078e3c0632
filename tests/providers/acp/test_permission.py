"""What an agent may do. Contract: providers.md §7.1, `perm_mode`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import DecodeError, Raw

from goclaw.providers.acp.permission import CANCELLED, decide, decide_old


def params(kinds: list[str], call: dict[str, Any] | None = None) -> Raw:
    options = [{"optionId": f"the {kind}", "name": kind, "kind": kind} for kind in kinds]
    return Raw(json.dumps({"sessionId": "s", "options": options, "toolCall": call or {"toolCallId": "c"}}).encode())


def chosen(outcome: dict[str, Any]) -> str:
    return str(outcome["outcome"].get("optionId", outcome["outcome"]["outcome"]))


def test_this_once_is_chosen_over_for_ever_and_for_ever_over_nothing() -> None:
    assert chosen(decide("approve-all", params(["allow_always", "allow_once"]), {})) == "the allow_once"
    assert chosen(decide("approve-all", params(["allow_always", "reject_once"]), {})) == "the allow_always"
    assert chosen(decide("deny-all", params(["allow_once", "reject_always"]), {})) == "the reject_always"


@pytest.mark.parametrize("mode", ["approve-all", "approve-reads", "deny-all"])
def test_without_a_fitting_choice_the_answer_is_cancelled(mode: Any) -> None:
    kinds = ["reject_once"] if mode == "approve-all" else ["allow_once", "allow_always"]
    assert decide(mode, params(kinds, {"toolCallId": "c", "kind": "edit"}), {}) == CANCELLED
    assert decide(mode, params([]), {}) == CANCELLED


def test_the_kind_of_a_call_may_have_been_told_before() -> None:
    both = ["allow_once", "reject_once"]
    assert chosen(decide("approve-reads", params(both), {"c": "search"})) == "the allow_once"
    assert chosen(decide("approve-reads", params(both), {"c": "execute"})) == "the reject_once"
    assert chosen(decide("approve-reads", params(both), {"other": "read"})) == "the reject_once"  # unknown is no read


def test_nonsense_is_no_permission() -> None:
    for nonsense in (b"[]", b'{"options": 3}', b'{"options": [{"kind": "allow_once"}]}', b"{}"):
        with pytest.raises(DecodeError):
            decide("approve-all", Raw(nonsense), {})


@pytest.mark.parametrize(("tool", "outcome"), [("Read", "approved"), ("file_search", "approved"), ("Bash", "denied")])
def test_the_older_request_goes_by_the_name_of_the_tool(tool: str, outcome: str) -> None:
    assert decide_old("approve-reads", Raw(json.dumps({"toolName": tool}).encode())) == {"outcome": outcome}

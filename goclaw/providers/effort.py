"""What becomes of a wish to think harder: what the model takes, or a reason why not. Contract: providers.md §10."""

from __future__ import annotations

from goclaw.domain.effort import EFFORTS, Reasoning, nearest
from goclaw.providers.registry import Model


def settle(wanted: str | None, model: Model, *, exact: bool = False) -> Reasoning | None:
    """None if nobody wishes for anything. An effort the model does not have becomes the nearest one it has."""
    if wanted in (None, "", "off", "auto"):
        return None
    requested = next((effort for effort in EFFORTS if effort == wanted), None)
    if requested is None:
        return Reasoning(requested=str(wanted), reason="unknown_effort")
    if requested == "none" and "none" not in model.efforts:
        return None  # as it would be anyway
    effective = nearest(requested, model.efforts)
    if exact and effective not in (None, requested):
        return Reasoning(requested=requested, reason="model_has_not_this_effort")
    if effective is None:
        return Reasoning(requested=requested, reason="model_has_no_efforts")
    return Reasoning(requested=requested, effective=effective)


def dropped(reasoning: Reasoning | None) -> Reasoning | None:
    """A wish that the vendor has no words for."""
    return reasoning and Reasoning(requested=reasoning.requested, reason=reasoning.reason or "vendor_has_no_efforts")

"""What a model call costs. Contract: providers.md §13, §18 G1.

Money is USD as Decimal with eight places. A price nobody knows is None and so is the cost, never 0.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, ROUND_UP, Decimal

from msgspec import Struct

from goclaw.domain.chat import Usage

MILLION = 1_000_000
PLACES = Decimal("0.00000001")


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """USD per million tokens. Absent: cache prices are the input price, reasoning is the output price.

    A call whose whole prompt has more than `above` tokens is paid at the price `long`, all of it.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    above: int | None = None
    long: Price | None = None


FREE = Price(input=Decimal(0), output=Decimal(0))


def cost(usage: Usage, price: Price | None) -> Decimal | None:
    """What one call cost. None if the price is not known. What was cached is part of the prompt (chat.py)."""
    if price is None:
        return None
    cached = usage.cache_read_tokens + usage.cache_write_tokens
    fresh = max(0, usage.prompt_tokens - cached)
    rate = _rate(price, fresh + cached)
    thought = min(usage.thinking_tokens, usage.completion_tokens)  # an estimate may exceed what it is part of
    total = (
        fresh * rate.input
        + usage.cache_read_tokens * _or(rate.cache_read, rate.input)
        + usage.cache_write_tokens * _or(rate.cache_write, rate.input)
        + (usage.completion_tokens - thought) * rate.output
        + thought * _or(rate.reasoning, rate.output)
    )
    return (total / MILLION).quantize(PLACES, ROUND_HALF_EVEN)


def worst(prompt_tokens: int, max_tokens: int, price: Price | None) -> Decimal | None:
    """The most a call can cost whose prompt has at most so many tokens: what is reserved for it (§18 G1)."""
    if price is None:
        return None
    rate = _rate(price, prompt_tokens)
    into = max(rate.input, _or(rate.cache_write, rate.input))
    out = max(rate.output, _or(rate.reasoning, rate.output))
    return ((prompt_tokens * into + max_tokens * out) / MILLION).quantize(PLACES, ROUND_UP)


def _rate(price: Price, prompt_tokens: int) -> Price:
    if price.long is None or price.above is None or prompt_tokens <= price.above:
        return price
    return price.long


def _or(price: Decimal | None, other: Decimal) -> Decimal:
    return other if price is None else price

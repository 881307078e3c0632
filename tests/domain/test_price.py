"""What calls cost, for all counts and prices. Contract: providers.md §13, §18 G1."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.chat import Usage
from goclaw.domain.price import FREE, PLACES, Price, cost, worst

SONNET = Price(input=Decimal(3), output=Decimal(15), cache_read=Decimal("0.3"), cache_write=Decimal("3.75"))
GPT = Price(input=Decimal("2.5"), output=Decimal(10), cache_read=Decimal("1.25"))
TIERED = Price(input=Decimal(1), output=Decimal(2), above=1000, long=Price(input=Decimal(2), output=Decimal(3)))

counts = st.integers(0, 2_000_000)
usd = st.decimals(0, 200, places=4)
flat = st.builds(
    Price, input=usd, output=usd, cache_read=st.none() | usd, cache_write=st.none() | usd, reasoning=st.none() | usd
)
tiered = st.builds(Price, input=usd, output=usd, cache_read=st.none() | usd, above=counts, long=flat)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """What a vendor may report: parts are never more than their whole."""
    prompt, completion = draw(counts), draw(counts)
    read = draw(st.integers(0, prompt))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cache_read_tokens=read,
        cache_write_tokens=draw(st.integers(0, prompt - read)),
        thinking_tokens=draw(st.integers(0, completion)),
    )


def test_what_is_read_from_a_cache_or_written_to_it_has_its_own_price() -> None:
    usage = Usage(prompt_tokens=13_000, completion_tokens=500, cache_read_tokens=10_000, cache_write_tokens=2000)

    assert cost(usage, SONNET) == Decimal("0.02100000")  # 0.003 + 0.0075 + 0.003 + 0.0075


def test_what_was_cached_is_not_paid_twice() -> None:
    """PR-08: cost uses prompt − cached."""
    usage = Usage(prompt_tokens=1000, completion_tokens=100, cache_read_tokens=800)

    assert cost(usage, GPT) == Decimal("0.00250000")  # 200 fresh, 800 at half, 100 out


def test_reasoning_is_a_part_of_the_completion_with_its_own_price() -> None:
    price = Price(input=Decimal(0), output=Decimal(10), reasoning=Decimal(40))

    assert cost(Usage(completion_tokens=100, thinking_tokens=60), price) == Decimal("0.00280000")
    assert cost(Usage(completion_tokens=100, thinking_tokens=999), price) == Decimal("0.00400000")


def test_a_long_prompt_is_paid_at_its_own_price_with_all_it_has() -> None:
    assert cost(Usage(prompt_tokens=1000), TIERED) == Decimal("0.00100000")
    assert cost(Usage(prompt_tokens=1001, completion_tokens=1000), TIERED) == Decimal("0.00500200")


@given(usages(), flat | tiered | st.none())
def test_a_cost_is_unknown_exactly_when_the_price_is_and_never_negative(usage: Usage, price: Price | None) -> None:
    paid = cost(usage, price)

    assert (paid is None) == (price is None)
    assert paid is None or (paid >= 0 and paid.as_tuple().exponent == -8)


@given(usages(), usages(), flat)
def test_two_calls_cost_what_their_sum_costs(one: Usage, other: Usage, price: Price) -> None:
    apart = [cost(usage, price) or Decimal(0) for usage in (one, other)]
    together = cost(one + other, price)

    assert together is not None
    assert abs(together - sum(apart)) <= PLACES  # each is rounded by itself


@given(usages(), flat)
def test_nothing_costs_more_than_its_worst_case(usage: Usage, price: Price) -> None:
    dearest_read = max(price.input, price.cache_read or Decimal(0))  # a vendor whose cache is dearer than no cache
    bound = worst(usage.prompt_tokens, usage.completion_tokens, Price(**{**_of(price), "input": dearest_read}))

    paid = cost(usage, price)

    assert bound is not None
    assert paid is not None
    assert paid <= bound


def test_free_is_a_price() -> None:
    usage = Usage(prompt_tokens=10**9, completion_tokens=10**9, cache_read_tokens=7)

    assert cost(usage, FREE) == 0
    assert worst(10**9, 10**9, FREE) == 0
    assert worst(10**9, 10**9, None) is None


def test_a_reservation_is_the_dearer_of_both_prices() -> None:
    price = Price(input=Decimal(3), output=Decimal(15), cache_write=Decimal(4), reasoning=Decimal(20))

    assert worst(1_000_000, 1_000_000, price) == Decimal("24.00000000")
    assert worst(1001, 0, TIERED) == Decimal("0.00200200")
    assert worst(1, 0, Price(input=Decimal("0.0001"), output=Decimal(0))) == PLACES  # never rounded to nothing


def _of(price: Price) -> dict[str, Decimal | None]:
    names = ("input", "output", "cache_read", "cache_write", "reasoning")
    return {name: getattr(price, name) for name in names}

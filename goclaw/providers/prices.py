"""Which price holds for a model: the operator's word, else our table. Contract: providers.md §13.

The table is `prices.json` beside this file, one row per model, with the page it was read from and the month.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from goclaw.domain.chat import ChatResponse
from goclaw.domain.price import Price, cost
from goclaw.settings.telemetry import ModelPrice

T = TypeVar("T")

TABLE = Path(__file__).with_name("prices.json")
DATED = re.compile(r"[-@](?:\d{8}|\d{4}-\d{2}-\d{2})$")  # a snapshot costs what its model costs
MOST = Decimal(10**6)  # USD of a call; a vendor can say any number
ANY = "*"  # every model of a vendor


class VendorPrices(Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    date: str  # month the page was read
    models: dict[str, Price]


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    about: str
    read_from: dict[str, str]
    vendors: dict[str, VendorPrices]


@cache
def table() -> Table:
    return msgspec.json.decode(TABLE.read_bytes(), type=Table)


@cache
def _listed() -> dict[str, Price]:
    return {f"{name}/{model}": price for name, row in table().vendors.items() for model, price in row.models.items()}


def price_of(
    provider: str, model: str, overrides: Mapping[str, ModelPrice] | None = None, *, vendor: str = ""
) -> Price | None:
    """The price of `provider`'s `model`, None if nobody knows. `overrides` is `telemetry.model_pricing`.

    A provider under a name of its own has the prices of the `vendor` it is.
    """
    own = _find(overrides or {}, provider, model)
    if own is not None:
        return own.price()
    return _find(_listed(), provider, model) or (_find(_listed(), vendor, model) if vendor else None)


def cost_of(answer: ChatResponse, overrides: Mapping[str, ModelPrice] | None = None) -> Decimal | None:
    """USD of an answer: what its vendor says, else by the price of its model, if anybody knows it."""
    if answer.offline:
        return Decimal(0)
    said = answer.vendor_cost
    if said is None or not said.is_finite():
        said = cost(answer.usage, price_of(answer.provider, answer.model, overrides, vendor=answer.vendor))
    return None if said is None else max(Decimal(0), min(said, MOST))


def _find(prices: Mapping[str, T], provider: str, model: str) -> T | None:
    undated = DATED.sub("", model)
    names = (f"{provider}/{model}", f"{provider}/{undated}", f"{provider}/{ANY}", model, undated)
    return next((prices[name] for name in names if name in prices), None)

"""Runs the farm for whoever wants to chat against it: `python -m tests.fakes.vendors --port 9999`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from contextlib import suppress

import trio

from tests.fakes.vendors import brain
from tests.fakes.vendors.farm import Farm, open_farm


def guide(farm: Farm) -> str:
    """Base URLs, and how a gateway is pointed at them."""
    rows = "\n".join(f"  {vendor.name:<12} {vendor.url}" for vendor in farm)
    rules = "\n".join((brain.__doc__ or "").strip().splitlines()[1:])
    return f"""\
{rows}

A gateway that takes one of them for its vendor:

  GOCLAW_OPENAI_API_KEY=key GOCLAW_OPENAI_BASE_URL={farm["openai"].url} goclaw

or in its config file, for any of them:

  {{providers: {{groq: {{api_key: "key", api_base: "{farm["groq"].url}"}}}}}}

The key is any word but bad-key. What a user's text makes a vendor do:
{rules}
"""


async def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Vendors of models on 127.0.0.1, each behind a path of its own")
    parser.add_argument("--port", type=int, default=0)
    async with open_farm(parser.parse_args(arguments).port) as farm:
        print(guide(farm), flush=True)  # noqa: T201
        await trio.sleep_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(main)

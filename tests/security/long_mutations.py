"""The mutation test of security.md §3.5 at its full length: `make chaos`."""

from __future__ import annotations

import time

from tests.security.shell_corpus import verdict
from tests.security.shell_mutations import mutations

COUNT = 20_000  # SEC-12


def test_twenty_thousand_mutations_and_none_passes() -> None:
    began = time.process_time()

    verdicts = [(verdict(text), text) for _, text in mutations(COUNT)]

    passed = [text for found, text in verdicts if found == "allow"]
    took = time.process_time() - began
    print(f"\n{len(verdicts):,} mutations, {len(passed)} allowed, {took:.1f} s of work")  # noqa: T201
    assert passed == []

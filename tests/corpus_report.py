"""What the corpora of the guards held and let through, printed at the end of a run that tried them.

A case carries `pytest.mark.corpus(guard, id, refused)`. The mark travels with the reports, so that it is the same when
several processes share the files.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "corpus(guard, id, refused): a case of a guard, to be refused or to pass")


def pytest_itemcollected(item: pytest.Item) -> None:
    for mark in item.iter_markers("corpus"):
        item.user_properties.append(("corpus", list(mark.args)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    held: dict[str, dict[tuple[str, bool], bool]] = defaultdict(dict)  # a case fails if one of its tests does
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):  # a collection that failed has none
                if name == "corpus":
                    guard, case, refused = value
                    cases = held[guard]
                    cases[case, refused] = cases.get((case, refused), True) and report.passed
    for guard, cases in sorted(held.items()):
        terminalreporter.write_line(line(guard, cases))


def line(guard: str, cases: dict[tuple[str, bool], bool]) -> str:
    """`corpus shell: 1,025 refused of 1,025, 1,211 passed of 1,211`."""
    counts = []
    for refused, verb in ((True, "refused"), (False, "passed")):
        outcomes = [held for (_, blocks), held in cases.items() if blocks == refused]
        counts.append(f"{sum(outcomes):,} {verb} of {len(outcomes):,}")
    return f"corpus {guard}: {', '.join(counts)}"

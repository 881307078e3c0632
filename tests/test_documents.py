"""What is written about the gateway, compared with the gateway."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from docs import generate
from goclaw.settings.load import load
from goclaw.settings.show import masked

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
RECORDS = sorted((DOCS / "adr").glob("*.md"))
WITHIN = 60.0  # seconds for a gateway to start or stop


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The living tree of a gateway that has just started, as its operators see it."""
    home = tmp_path_factory.mktemp("home")
    process = subprocess.Popen(
        [sys.executable, "-m", "goclaw", "--host", "127.0.0.1", "--port", "0"],
        cwd=ROOT, env={"GOCLAW_HOME": str(home), "GOCLAW_LOG_LEVEL": "error"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        _, address, token = (process.stdout.readline().split()[-1] for _ in range(3))
        ask = Request(address.replace("/ui/", "/v1/actors?depth=4"), headers={"Authorization": f"Bearer {token}"})
        with urlopen(ask, timeout=WITHIN) as answer:
            root: dict[str, Any] = json.load(answer)["root"]
        return root
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WITHIN)


def test_the_generated_pages_are_what_the_code_says() -> None:
    written = {path.name: path.read_text() for path in (DOCS / "generated").iterdir()}

    assert written == generate.pages(), "run: make docs"


def test_the_architecture_names_every_room() -> None:
    rooms = set(re.findall(r"^\| `([a-z]+)/` \|", (DOCS / "architecture.md").read_text(), re.M))

    there = {path.parent.name for path in (ROOT / "goclaw").glob("*/__init__.py")}
    assert rooms == there


def test_the_architecture_draws_the_living_tree(tree: dict[str, Any]) -> None:
    assert list(drawn()) == list(living(tree))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem[:4])
def test_a_decision_record_has_its_sections(path: Path) -> None:
    title, *lines = path.read_text().splitlines()

    assert re.fullmatch(rf"# {path.name[:4]} \S.*", title)
    heads = ("Status ", "Context ", "Decision ", "Cost ", "Would change our mind ")
    assert [next((h for h in heads if line.startswith(h)), line) for line in lines if line] == list(heads)


def test_decision_records_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    dead = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if not leads(page, link)]

    assert dead == []


def test_the_readme_table_holds_settings_as_they_are() -> None:
    known = {(key, default, meaning) for key, default, _, _, meaning in generate.settings()}
    shown = re.findall(r"^\| (`[\w.<>]+`) \| ([^|]*) \| [^|]* \| ([^|]*) \|$", (ROOT / "README.md").read_text(), re.M)

    assert len(shown) > 10
    assert {(key, default.strip(), meaning.strip()) for key, default, meaning in shown} <= known


def test_the_example_configuration_is_valid_and_shows_the_defaults(tmp_path: Path) -> None:
    home = {"GOCLAW_HOME": str(Path("~/.goclaw").expanduser()), "OPENAI_API_KEY": "any"}
    example = load(ROOT / "config/goclaw.example.json5", home, {})
    untouched = load(tmp_path / "none.json", home, {})

    shown = {key: value for key, value in masked(example.settings).items() if not key.startswith("providers.openai")}
    assert shown.items() <= masked(untouched.settings).items()


def drawn() -> Iterator[str]:
    """Paths of the first code block of "The tree": a name's depth is the place of its branch."""
    block = (DOCS / "architecture.md").read_text().partition("## The tree")[2].split("```")[1]
    above: list[str] = []
    for line in block.strip().splitlines():
        branch = re.match(r"([│ ]*)[├└]─ (\S+)", line)
        above = [*above[: len(branch[1]) // 3], branch[2]] if branch else []
        yield "/" + "/".join(above)


def living(node: dict[str, Any]) -> Iterator[str]:
    """Paths of actors. Requests and connections, which nobody restarts, come and go."""
    if "restart" in node:
        yield node["path"]
        for child in node.get("children", ()):
            yield from living(child)


def leads(page: Path, link: str) -> bool:
    return link.startswith(("http://", "https://")) or (page.parent / link).exists()

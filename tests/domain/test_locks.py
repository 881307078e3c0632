"""Resource keys: how they are declared and guessed, who is in whose way, who goes first."""

from __future__ import annotations

import pytest

from goclaw.domain.locks import Holding, Key, Wish, arbitrate, conflict, declared, guessed, keys_of, normalized, score


@pytest.mark.parametrize(
    ("text", "keys", "rest"),
    [
        ("[keys: repo:Claw, branch:main] fix it", ("branch:main", "repo:claw"), "fix it"),
        ("  [KEYS: a/b.py; 'repo:x'\n`branch:y`]\nfix it", ("branch:y", "file:a/b.py", "repo:x"), "fix it"),
        ("[resource_keys: a b] go", ("file:a", "file:b"), "go"),
        ("[resource-key: repo:x] go", ("repo:x",), "go"),
        ("[resource keys: repo:x，repo:y] go", ("repo:x", "repo:y"), "go"),
        ("first\nresource_keys = repo:x\nlast", ("repo:x",), "first\nlast"),
        ("Resource_Keys: repo:x", ("repo:x",), ""),
        ("[keys: repo:x!r, repo:x] go", ("repo:x",), "go"),
        ("[keys: repo:x!r] go", ("repo:x!r",), "go"),
        ("[keys: ] go", (), "go"),
        ("[keys: repo:x] [keys: repo:y] go", ("repo:x",), "[keys: repo:y] go"),
        ("say [keys: repo:x] later", (), "say [keys: repo:x] later"),
        ("my resource_keys: are lost", (), "my resource_keys: are lost"),
        ("no keys: at all", (), "no keys: at all"),
    ],
)
def test_a_text_declares_keys_and_loses_the_directive(text: str, keys: tuple[str, ...], rest: str) -> None:
    assert declared(text) == (keys, rest)


@pytest.mark.parametrize(
    "keys", [", ".join(f"k{n}" for n in range(21)), "x" * 196 + ":", "file:" + "x" * 200, "repo:a\x07b"]
)
def test_too_many_too_long_and_unprintable_keys_are_refused(keys: str) -> None:
    if keys.endswith(":"):
        assert declared(f"[keys: {keys}] go")[0]  # 197 characters are fine
        return
    with pytest.raises(ValueError):
        declared(f"[keys: {keys}] go")


def test_twenty_keys_are_fine() -> None:
    assert len(normalized(f"k{n}" for n in range(20))) == 20


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("look at github.com/goclaw/goclaw.", ("repo:github.com/goclaw/goclaw",)),
        ("fix pkg/Agent/loop.go and README.md", ("file:pkg/agent/loop.go", "file:readme.md")),
        ("merge it into main, then branch:dev", ("branch:dev", "branch:main")),
        ("run the tests of the dashboard", ("topic:test", "topic:webui")),
        ("read https://example.org/a.md", ()),
        ("say hello", ()),
    ],
)
def test_what_a_text_needs_is_guessed(text: str, keys: tuple[str, ...]) -> None:
    assert guessed(text) == keys


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("repo:a", "repo:a", True),
        ("repo:a", "repo:b", False),
        ("repo:a!r", "repo:a!r", False),
        ("repo:a!r", "repo:a", True),
        ("file:src/", "file:src/a.py", True),
        ("file:src/", "file:src", True),
        ("file:src/", "file:srcs/a.py", False),
        ("scope:exclusive", "topic:docs", True),
        ("scope:general", "scope:general", False),
        ("scope:general", "scope:exclusive", False),
    ],
)
def test_which_keys_only_one_run_may_have(one: str, other: str, clash: bool) -> None:
    (mine,), (theirs,) = keys_of([one]), keys_of([other])

    assert conflict(mine, theirs) is conflict(theirs, mine) is clash


def test_a_guessed_topic_is_in_the_way_of_guesses_only() -> None:
    guess, said = Key("topic:docs", guessed=True), Key("topic:docs")

    assert conflict(guess, guess)
    assert not conflict(guess, said)
    assert conflict(Key("file:a", guessed=True), Key("file:a"))


def wish(run: str, *keys: str, **more: object) -> Wish:
    return Wish(run_id=run, keys=keys_of(keys), **more)  # type: ignore[arg-type]


def holding(run: str, key: str) -> Holding:
    return Holding(run, keys_of([key])[0])


def test_the_best_score_goes_first_and_ties_go_to_the_oldest() -> None:
    rivals = arbitrate([wish("b", "k:x", score=1), wish("a", "k:x", score=2), wish("c", "k:y"), wish("d", "k:y")], [])

    assert rivals == {"a": (), "b": ("a",), "c": (), "d": ("c",)}


def test_a_run_gets_all_its_keys_or_none() -> None:
    rivals = arbitrate([wish("a", "k:x", "k:y", score=2), wish("b", "k:y", score=1)], [holding("h", "k:x")])

    assert rivals == {"a": ("h",), "b": ()}


def test_what_is_reserved_is_kept_free_although_it_is_free() -> None:
    old = wish("old", "k:x", "k:y", reserved=True)

    assert arbitrate([wish("new", "k:y", score=999), old], [holding("h", "k:x")]) == {"old": ("h",), "new": ("old",)}


def test_a_child_uses_what_its_ancestor_holds_and_siblings_do_not() -> None:
    held = [holding("root", "k:x")]
    one, two = wish("one", "k:x", ancestors=("root",)), wish("two", "k:x", ancestors=("root",))

    assert arbitrate([one, two], held) == {"one": (), "two": ("one",)}


def test_a_reservation_does_not_stop_the_child_its_holder_waits_for() -> None:
    old = wish("old", "k:x", "k:y", reserved=True)
    child = wish("child", "k:y", ancestors=("root",))

    assert arbitrate([old, child], [holding("root", "k:x")])["child"] == ()


def test_the_score_grows_with_priority_waiting_and_tries() -> None:
    assert [score(priority, 0, 0) for priority in (0, 3, 4, 6, 7, 10)] == [100, 100, 200, 200, 300, 300]
    assert score(5, 29.9, 3) == 200 + 2 + 15

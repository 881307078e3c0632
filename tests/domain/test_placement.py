"""Where shards go: by capacity, with few moves, the same on every node."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.cluster import SHARDS
from goclaw.domain.placement import Place, desired

names = st.lists(st.uuids().map(str), min_size=1, max_size=5, unique=True)


@given(names)
def test_every_shard_has_one_place_whatever_the_order_of_the_nodes(nodes: list[str]) -> None:
    places = [Place(node, 10) for node in nodes]

    found = desired(places, {})

    assert sorted(found) == list(range(SHARDS))
    assert found == desired(places[::-1], {})


@given(names, st.data())
def test_a_node_that_leaves_moves_its_own_shards_only(nodes: list[str], data: st.DataObject) -> None:
    places = [Place(node, 10) for node in nodes]
    gone = data.draw(st.sampled_from(places))
    left = [place for place in places if place != gone]

    before, after = desired(places, {}), desired(left, {})

    assert all(after[shard] == node for shard, node in before.items() if left and node != gone.node_id)


def test_a_node_with_twice_the_room_gets_about_twice_as_much() -> None:
    shares = Counter(desired([Place("big", 200), Place("small", 100)], {}).values())

    assert 140 < shares["big"] < 200


def test_a_wish_counts_while_its_node_is_there() -> None:
    here = desired([Place("a", 1), Place("b", 1)], {3: "a", 4: "b", 5: "gone"})

    assert (here[3], here[4]) == ("a", "b")
    assert here[5] in ("a", "b")
    assert desired([], {3: "a"}) == {}

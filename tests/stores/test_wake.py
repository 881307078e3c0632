from __future__ import annotations

from goclaw.stores.database import Database
from goclaw.stores.listener import listen
from goclaw.stores.wake import CHANNEL, LONGEST, Wake, heard, payloads, ring


async def test_what_is_rung_is_heard(database: Database, dsn: str) -> None:
    async with listen(dsn, CHANNEL) as notes:
        for payload in payloads("n1", "runs", {9, 3}, ()):
            await database.run(ring, payload)
        note = await anext(notes)

    assert note.payload == '{"n":"n1","k":"runs","s":[3,9]}'
    assert heard(note.payload) == Wake("n1", "runs", (3, 9))


def test_many_topics_make_several_notifications_that_fit() -> None:
    topics = [f"run:{n:036}" for n in range(500)] + ["ü" * LONGEST]

    pages = list(payloads("n1", "cache", range(256), topics))

    assert len(pages) > 1
    assert all(len(page.encode()) <= LONGEST for page in pages)
    wakes = [heard(page) for page in pages]
    assert [topic for wake in wakes if wake is not None for topic in wake.t] == topics[:-1]
    assert all(wake is not None and len(wake.s) == 256 for wake in wakes)


def test_what_is_no_wake_up_is_ignored() -> None:
    assert [heard(text) for text in ("", "{}", "[]", '{"n":1,"k":"runs"}', '{"n":"a","k":"other"}')] == [None] * 5

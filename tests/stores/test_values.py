from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec
import pytest

from goclaw.domain.ids import new_id
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction


class Everything(msgspec.Struct, frozen=True, rename="camel"):
    some_id: str
    all_ids: tuple[str, ...]
    at: datetime
    cost: Decimal
    body: dict[str, Any]
    raw: bytes
    flag: bool
    nothing: int | None = None


class Point(msgspec.Struct, frozen=True):
    x: int
    kind: Literal["near", "far"] = "near"


@transaction(readonly=True)
async def everything(db: Connection, id: str) -> Everything:
    sql = """
    SELECT %(id)s::uuid AS some_id, ARRAY[%(id)s::uuid] AS all_ids, '2026-01-02T03:04:05.678+07'::timestamptz AS at,
           1.10::numeric(18, 8) AS cost, %(body)s::jsonb AS body, '\\x00ff'::bytea AS raw, true AS flag,
           NULL::integer AS nothing, 'extra' AS not_a_member
    """
    return await one(Everything, db.execute(sql, {"id": id.upper(), "body": {"a": [1, None, "ü"]}}))


async def test_a_row_becomes_a_struct_with_the_types_of_the_house(database: Database) -> None:
    id = new_id()
    assert await database.run(everything, id) == Everything(
        some_id=id,
        all_ids=(id,),
        at=datetime(2026, 1, 1, 20, 4, 5, 678000, UTC),
        cost=Decimal("1.10000000"),
        body={"a": [1, None, "ü"]},
        raw=b"\x00\xff",
        flag=True,
    )


async def test_a_value_that_does_not_fit_the_struct_is_refused(database: Database) -> None:
    @transaction(readonly=True)
    async def odd(db: Connection) -> Point:
        return await one(Point, db.execute("SELECT 1 AS x, 'sideways' AS kind"))

    with pytest.raises(msgspec.ValidationError, match="sideways"):
        await database.run(odd)


async def test_one_maybe_and_many_count_their_rows(database: Database) -> None:
    @transaction(readonly=True)
    async def counted(db: Connection) -> None:
        rows = "SELECT x FROM generate_series(1, %s) AS x"
        assert await one(int, db.execute(rows, [1])) == 1
        assert await maybe(int, db.execute(rows, [0])) is None
        assert await maybe(Point, db.execute(rows, [1])) == Point(1)
        assert await many(Point, db.execute(rows, [2])) == [Point(1), Point(2)]
        assert await many(str, db.execute("SELECT 'a'")) == ["a"]
        assert await one(dict[str, int], db.execute("SELECT '{\"a\": 1}'::jsonb")) == {"a": 1}
        for call, number in ((one, 0), (one, 2), (maybe, 2)):
            with pytest.raises(LookupError, match=f"got {number}"):
                await call(int, db.execute(rows, [number]))
        with pytest.raises(TypeError, match="one column"):
            await one(int, db.execute("SELECT 1 AS a, 2 AS b"))

    await database.run(counted)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ({"a": 1}, {"a": 1}),
        (Point(3), {"x": 3, "kind": "near"}),
        (Json([1, {"b": None}]), [1, {"b": None}]),
        (Json("text"), "text"),
        (Json(None), None),
    ],
)
async def test_objects_and_structs_are_json_parameters(database: Database, value: Any, stored: Any) -> None:
    @transaction(readonly=True)
    async def echo(db: Connection) -> Json:
        return await one(Json, db.execute("SELECT %s::jsonb AS value", [value]))

    assert (await database.run(echo)).value == stored


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\0b", "ab"),
        ("\0\0", ""),
        ("\\u0000", "\\u0000"),  # six characters, not a NUL
        ("\\\0", "\\"),
        ("\\\\\0u0000", "\\\\u0000"),
        ("%_:;' \"", "%_:;' \""),
    ],
)
async def test_nul_characters_are_dropped_and_nothing_else(database: Database, text: str, kept: str) -> None:
    @transaction(readonly=True)
    async def echo(db: Connection) -> list[str]:
        sql = "SELECT %(text)s::text UNION ALL SELECT %(json)s::jsonb ->> 'value'"
        return await many(str, db.execute(sql, {"text": text, "json": {"value": text}}))

    assert await database.run(echo) == [kept, kept]


def test_a_store_function_carries_its_promises() -> None:
    @transaction
    async def plain(db: Connection) -> None: ...

    @transaction(readonly=True)
    async def reads(db: Connection) -> None: ...

    assert plain.name == "test_values.plain"
    assert (plain.retry_safe, plain.readonly) == (False, False)
    assert (reads.retry_safe, reads.readonly) == (True, True)


def test_a_store_family_is_imported_without_the_driver() -> None:
    program = "import sys, goclaw.stores.tenants; print({'psycopg', 'trio', 'structlog'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout == "set()\n"

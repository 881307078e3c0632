"""Units of work: functions on a connection, each one transaction, and how rows become values.

A store function is written and tested as `await add(db, …)` and run as `await database.run(add, …)`.
This module is all a store family imports, so it stays free of the driver.
Contract: supervision.md §12.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

import msgspec

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Column(Protocol):
    @property
    def name(self) -> str: ...


class Cursor(Protocol):
    """The answer to one statement."""

    @property
    def description(self) -> Sequence[Column] | None: ...

    async def fetchall(self) -> list[tuple[Any, ...]]: ...


class Connection(Protocol):
    """What a store function may do with the database."""

    async def execute(self, query: str, params: Mapping[str, Any] | Sequence[Any] | None = None) -> Cursor: ...

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """A savepoint: an error that leaves the block undoes the block and nothing else."""


class Json(msgspec.Struct, frozen=True):
    """A JSON value as a parameter. Objects (dict, Struct) need no wrapping; bare lists mean SQL arrays."""

    value: Any


class Work(Protocol[P, T_co]):
    """A store function with its promises."""

    name: str  # family.function
    retry_safe: bool  # running it twice is the same as once
    readonly: bool  # every statement stands alone: no BEGIN, no COMMIT
    single: bool  # writes in one statement, which is its own transaction

    def __call__(self, db: Connection, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T_co]: ...


Unit = Callable[Concatenate[Connection, P], Coroutine[Any, Any, T]]


@overload
def transaction(fn: Unit[P, T], /) -> Work[P, T]: ...
@overload
def transaction(
    *, retry_safe: bool = ..., readonly: bool = ..., single: bool = ...
) -> Callable[[Unit[P, T]], Work[P, T]]: ...
def transaction(
    fn: Unit[P, T] | None = None, /, *, retry_safe: bool = False, readonly: bool = False, single: bool = False
) -> Any:
    """Mark a store function as one unit of work. Called directly, it joins the caller's transaction.

    `retry_safe` claims that doing it twice is the same as once; `readonly` implies it. `single` claims that it
    executes exactly one statement, which saves the round trips of BEGIN and COMMIT.
    """

    def mark(fn: Unit[P, T]) -> Work[P, T]:
        work = cast("Work[P, T]", fn)
        work.name = f"{fn.__module__.rpartition('.')[2]}.{fn.__name__}"
        work.retry_safe = retry_safe or readonly
        work.readonly = readonly
        work.single = single
        return work

    return mark if fn is None else mark(fn)


async def one(type_: type[T], answer: Awaitable[Cursor]) -> T:
    """The one row. LookupError if there is none, or a second."""
    rows = await many(type_, answer)
    if len(rows) != 1:
        raise LookupError(f"expected one row of {type_.__name__}, got {len(rows)}")
    return rows[0]


async def maybe(type_: type[T], answer: Awaitable[Cursor]) -> T | None:
    """The one row or None. LookupError if there is a second."""
    rows = await many(type_, answer)
    if len(rows) > 1:
        raise LookupError(f"expected at most one row of {type_.__name__}, got {len(rows)}")
    return rows[0] if rows else None


async def many(type_: type[T], answer: Awaitable[Cursor]) -> list[T]:
    """All rows: a Struct by column names, any other type from a single column. The statement sets the limit."""
    cursor = await answer
    rows = await cursor.fetchall()
    if not rows:
        return []
    columns = tuple(column.name for column in cursor.description or ())
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):  # dict[str, int] is not a class
        members = _members(type_, columns)
        return [msgspec.convert(dict(zip(members, row, strict=True)), type_) for row in rows]
    if len(columns) != 1:
        raise TypeError(f"{type_.__name__} takes one column, not {', '.join(columns)}")
    return [msgspec.convert(row[0], type_) for row in rows]


@lru_cache(maxsize=1024)
def _members(type_: type[msgspec.Struct], columns: tuple[str, ...]) -> tuple[str, ...]:
    """Columns under the names the Struct is encoded with: columns are called like fields, wire names may differ."""
    encoded = {field.name: field.encode_name for field in msgspec.structs.fields(type_)}
    return tuple(encoded.get(column, column) for column in columns)

"""What differs between the languages that vendors speak. All of it is pure: `http.py` does the talking."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from goclaw.domain.chat import ChatRequest
from goclaw.domain.effort import Reasoning
from goclaw.providers.catalogue import Vendor
from goclaw.providers.reader import Assembly


class Learned(Struct, frozen=True):
    """What a vendor has said about one model by refusing it; kept as long as the provider lives."""

    without: frozenset[str] = frozenset()  # parameters it does not take
    most_tokens: int | None = None  # the longest answer it may be asked for
    cool: bool = False  # this once: it writes calls better without temperature
    formless: bool = False  # this once: it refused the schema of the answer

    @property
    def knows_forms(self) -> bool:
        """Whether `response_format` may be sent, by whatever name."""
        return not self.formless and "response_format" not in self.without


class Call(Struct, frozen=True):
    """One POST, relative to the vendor's base URL."""

    path: str
    body: bytes
    headers: dict[str, str] = {}
    reasoning: Reasoning | None = None  # what became of the wish for it
    longest: int | None = None  # tokens of answer it asks for
    family: str = ""  # of the models that understand this one's thoughts


class ModelPage(Struct, frozen=True):
    """Some of a vendor's models, and the query that asks for the rest; empty if these are all."""

    ids: list[str]
    more: str = ""


class Wire(Struct, frozen=True):
    """One language."""

    write: Callable[[ChatRequest, Vendor, Learned], Call]
    assemble: Callable[[], Assembly]
    authorize: Callable[[str], dict[str, str]]  # a key as headers
    list_models: Callable[[bytes], ModelPage]  # raises msgspec.DecodeError
    models_path: str = "/models"
    headers: dict[str, str] = {}  # of every request


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


class _Model(Struct):
    id: str


class _ModelList(Struct):
    data: list[_Model]


def openai_models(body: bytes) -> ModelPage:
    return ModelPage([model.id for model in msgspec.json.decode(body, type=_ModelList).data])

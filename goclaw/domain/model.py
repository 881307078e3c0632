"""What provider actors understand, and what becomes of a model call that did not go well at once."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from goclaw.domain.cooldown import Rest
from goclaw.domain.errors import ProviderTrouble
from goclaw.runtime.message import Message


class Candidate(Struct, frozen=True):
    """Somebody who could answer. Without `model`: with the one that is asked for."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}"


class BorrowProvider(Message[Any]):
    """The provider's client, to ask it something that is no model call. Stays on this node."""


class Entered(Struct, frozen=True):
    """Ask `client` with its key number `slot`, then say `Left`."""

    client: Any  # a Provider
    slot: int
    vendor: str = ""  # the one it is, whatever its name


class Resting(Struct, frozen=True):
    """Not now: the model failed a moment ago."""

    until: float  # seconds since the epoch
    reason: ProviderTrouble


class Enter(Message[Entered | Resting]):
    """May this model be asked? Waits while as many calls as the provider may have are under way."""

    model: str
    tried: tuple[int, ...] = ()  # keys that failed a moment ago
    probe: bool = False  # ask although it rests; granted once in 30 s


class Left(Message[None]):
    """The call is over. `trouble` is empty if it went well, or if nobody knows because it was given up."""

    model: str
    slot: int
    answered: bool = False
    trouble: ProviderTrouble | None = None
    retry_after: float | None = None


class LookAtProviders(Message[None]):
    """Rows of `llm_providers` were written. Told to the roster, answered when the next call sees them."""


class Changed(Message[None]):
    """A provider's row is another one: the next call is asked of it, those under way end as they began."""


class AwaitLogin(Message[None]):
    """A browser may end a login at an account `within` seconds."""

    within: float


class ProvidersChanged(Message[None]):
    """Who there is has changed. Published to `PROVIDERS`."""


class GetRests(Message[tuple[Rest, ...]]):
    """Which models of a provider rest now."""


PROVIDERS = "providers"  # whoever chooses among them


class Retrying(Struct, frozen=True):
    """The same vendor is asked again, after `error` (providers.md §8)."""

    attempt: int
    most: int
    error: str
    delay: float  # seconds


class FellBack(Struct, frozen=True):
    """Somebody else answers, because `wanted` failed with `trouble` (providers.md §9.2)."""

    wanted: str
    now: str
    trouble: str


class OwnTool(Struct, frozen=True, kw_only=True):
    """A tool that the one who was asked runs by himself: told when it begins, and when it has ended."""

    id: str
    name: str
    arguments: dict[str, Any] = {}
    ended: bool = False
    is_error: bool = False
    text: str = ""  # what came of it


Note = Retrying | FellBack | OwnTool

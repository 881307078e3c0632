"""Who is at the door: credentials become a caller. Contract: edge-auth.md §2–§6, edge-websocket.md §5.1."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict, deque
from collections.abc import Collection

import structlog
import trio

from goclaw.domain.access import SYSTEM_USER, Caller, Role, valid_user_id
from goclaw.domain.errors import Err, Rejected, invalid, unauthorized
from goclaw.security.audit import Act
from goclaw.security.origin import dev_allowed, socket_allowed
from goclaw.settings.gateway import Gateway
from goclaw.tools.gates import Audit

CREDENTIAL = 512  # bytes; a longer one is unknown without being hashed (edge-auth.md §2.4)
FAILURES = 20  # wrong credentials of one address …
WINDOW = 300.0  # … within so many seconds …
BLOCK = 60.0  # … close the door to it for so long (edge-auth.md §9.2); a valid credential still passes
ADDRESSES = 10_000  # remembered, the least recent forgotten first

log = structlog.get_logger()


class Gatekeeper:
    def __init__(self, settings: Gateway, bound_hosts: Collection[str], audit: Audit | None = None) -> None:
        self._audit = audit
        self._settings = settings
        self._hosts = (*bound_hosts, *settings.allowed_hosts)
        token = settings.token.reveal().strip()
        self._digest = _digest(token) if token else None  # None: dev mode, everybody is admin
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    @property
    def dev_mode(self) -> bool:
        return self._digest is None

    def admit_page(self, origin: str | None, host: str | None, fetch_site: str | None, *, socket: bool) -> bool:
        """Whether a browser page may talk to us. Programs, which send no Origin, always may try."""
        allowed = self._settings.allowed_origins
        if self.dev_mode:
            return dev_allowed(origin, host, allowed, self._hosts, cross_site=fetch_site == "cross-site")
        return not socket or socket_allowed(origin, host, allowed)

    def caller(self, presented: str | None, user_id: str | None, peer: str, locale: str) -> Caller:
        """The caller behind a bearer credential. Raises `Rejected` unless it is the gateway token.

        In dev mode any credential is ignored and everybody is admin and owner. A user id is taken on trust.
        """
        user = self._user_id(user_id)
        if self._digest is None:
            user = user or SYSTEM_USER
            return Caller(user_id=user, role=Role.ADMIN, is_owner=True, locale=locale)
        if presented is None:
            raise Rejected(unauthorized("unauthenticated"))
        if _fits(presented) and hmac.compare_digest(_digest(presented.strip()), self._digest):
            return Caller(user_id=user, role=Role.ADMIN, is_owner=self._settings.is_owner(user), locale=locale)
        self._failed(peer)
        raise Rejected(unauthorized("bad_credential"))

    def _user_id(self, text: str | None) -> str:
        user = (text or "").strip()
        if user and not valid_user_id(user):
            raise Rejected(invalid("user_id", "user_id_invalid"))
        return user

    def _failed(self, peer: str) -> None:
        """Count a wrong credential. Refuses the address, without counting, when it has shown too many."""
        now = trio.current_time()
        seen = self._failures.setdefault(peer, deque(maxlen=FAILURES))
        self._failures.move_to_end(peer)
        while len(self._failures) > ADDRESSES:
            self._failures.popitem(last=False)
        if len(seen) == FAILURES and now - seen[0] < WINDOW and now - seen[-1] < BLOCK:
            self._note("auth.blocked", peer)
            log.warning("security.auth_blocked", ip=peer)
            left = BLOCK - (now - seen[-1])
            raise Rejected(Err("RESOURCE_EXHAUSTED", "auth_blocked", {"reason": "auth_blocked"}, True, left))
        seen.append(now)
        self._note("auth.failed", peer)
        log.warning("security.auth_failed", ip=peer)

    def _note(self, action: str, peer: str) -> None:
        if self._audit is not None:
            self._audit.note(Act(action=action, decision="deny", actor_type="user", actor_id="", ip=peer))


def _fits(text: str) -> bool:
    return len(text) <= CREDENTIAL and len(text.encode("utf-8", "surrogatepass")) <= CREDENTIAL


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

"""What a stranger may cost before anybody knows who it is. Bytes and seconds."""

from __future__ import annotations

import msgspec

MESSAGE_BYTES = 524_288  # of one message from a client; edge-websocket.md §1.1


class DoorLimits(msgspec.Struct, frozen=True, kw_only=True):
    sockets: int = 10_240  # gateway.max_ws_connections; README R9
    http_connections: int = 2_048  # ours; those that have not spoken yet count too
    backlog: int = 1_024

    header_within: float = 10.0  # first byte to end of the header block
    header_bytes: int = 32 * 1024  # edge-auth.md §9.2, with the two below
    header_fields: int = 100
    url_bytes: int = 8 * 1024

    message_bytes: int = MESSAGE_BYTES
    write_within: float = 10.0  # edge-websocket.md §1.1, with the one below
    close_within: float = 0.8  # goodbye to dead TCP connection; the contract's promise is 1 s

    stuck_within: float = 30.0  # TCP_USER_TIMEOUT: unacknowledged bytes, or a peer that stopped reading

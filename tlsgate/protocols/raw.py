"""Bytes for a static route's target, whatever they mean."""

from __future__ import annotations

from tlsgate.protocols.base import GateProtocol


class Raw(GateProtocol):
    """Only routes lead here; what the bytes are is between the client and the target."""

    name = "raw"
    stands_alone = False

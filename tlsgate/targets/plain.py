"""Targets to which bytes go as they are: a host's sshd, HTTP and TCP applications."""

from __future__ import annotations

from collections.abc import Callable

from tlsgate.net.ends import PlainEnd
from tlsgate.targets.base import Arrived, nothing


def plain(arrived: Arrived) -> Callable[[], None]:
    """Let bytes flow at once; see `base.Opening`."""
    arrived.carry(arrived.accept(), PlainEnd(arrived.lease))
    return nothing

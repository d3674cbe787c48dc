"""What hears of each connection that was let through: the ledger's side in a gateway."""

from __future__ import annotations

from typing import Any

from zope.interface import Interface

__all__ = ["ILedger"]


class ILedger(Interface):
    """Who uses which listener, and how.

    A connection is a `net.connection.Connection`: its `listener`, `transport_kind`, `identity`,
    `peer` and `client_version` tell.
    """

    def opened(connection: Any) -> None:
        """It was dispatched; called once."""

    def known(connection: Any) -> None:
        """Who has it, or by what program, has turned out since it was opened."""

    def closed(connection: Any) -> None:
        """One that was opened has ended; it still has what it had."""

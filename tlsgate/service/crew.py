"""Who does the gateway's work for a daemon: this process, or workers that it watches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import Interface

from tlsgate.config.settings import Settings
from tlsgate.service.listeners import Bound


@frozen(kw_only=True)
class Orders:
    """One configuration at work, as a crew needs it.

    Attributes:
        text: of the configuration file.
        settings: what it means.
        sockets: what is open, by listener name; the daemon opens and closes them.
    """

    text: str
    settings: Settings
    sockets: Mapping[str, Bound]


class ICrew(Interface):
    """Serves connections on sockets that the daemon has opened.

    `prepare` is followed by `commit` or `abort`; the daemon never has two at once.
    """

    async def begin(orders: Orders) -> None:
        """Start to serve; done once everybody serves.

        Raises:
            GateError: it cannot be done.
        """

    async def prepare(orders: Orders) -> Sequence[str]:
        """Get ready for new orders while the old ones are in force.

        Returns:
            sentences that an operator should read.

        Raises:
            GateError: they cannot be taken; nothing has changed.
        """

    async def commit() -> None:
        """Swap; it cannot fail any more. Done once everybody has swapped."""

    def abort() -> None:
        """Forget what was prepared."""

    async def stop_accepting(finish: bool) -> None:
        """Accept no more; done once nobody of the crew holds a listening socket.

        Args:
            finish: nobody else serves the sockets, so what waits in their queues is
                accepted first.
        """

    def drain(seconds: float) -> Deferred[int]:
        """Wait for what is open to end, at most *seconds*, then end it.

        Gives how many connections were cut off.
        """

    def cut() -> None:
        """End everything at once; an unfinished `drain` fires."""

    def reopen_logs() -> None:
        """Open log files anew."""

    async def connections() -> list[dict[str, Any]]:
        """What is open, as `Gateway.connections` has it."""

    async def tally() -> dict[str, Any]:
        """What was counted; see `service.counts`."""

    async def explain(
        listener: str, sni: str | None, alpn: Sequence[str], cert_pem: str | None
    ) -> dict[str, Any]:
        """Decide for a hypothetical connection."""

    def members() -> list[dict[str, Any]]:
        """The processes of the crew: pid, since when; [] when it is this one alone."""

    async def cluster() -> dict[str, Any] | None:
        """What the crew knows of its cluster; None: it is in none.

        Returns:
            name, away (the auth service is not heard), age_seconds (of what is known; None:
            nothing was heard), limit_seconds (of that age, where locks are strict), strict;
            uncovered, sentences about applications whose names no certificate is for; mode,
            that clients are told; mode_age_seconds, for how long (None: never another one).
        """

    async def foresee(text: str, settings: Settings) -> dict[str, Any] | None:
        """What the auth service among the crew makes of new settings, were they taken.

        Args:
            text: of the configuration file; *settings* is what it means.

        Returns:
            as `AuthService.foresee`; None: the crew has none that could be asked.

        Raises:
            GateError: nobody can know.
        """

"""What stands in for `service.served` and for a dialled target in tests of openings."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import FakeReactor
from tlsgate.config.settings import OfferSettings, Timeouts
from tlsgate.core.access import Decision, Identity
from tlsgate.core.offers import Asked, Offer
from tlsgate.errors import GateError
from tlsgate.net.ends import End, PlainEnd
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import Poller
from tlsgate.net.wheel import Wheel
from tlsgate.targets.base import Arrived, Watch
from tlsgate.tls.fast import Slab
from tlsgate.tunnel.dialling import Means

TIMEOUTS = Timeouts(
    prelude_seconds=5.0,
    opening_seconds=10.0,
    dial_seconds=10.0,
    idle_seconds=3600.0,
    write_stall_seconds=30.0,
    close_seconds=60.0,
    lifetime_seconds=None,
    drain_seconds=300.0,
)


class FakeServing:
    """What an opening has asked for, in order; see `targets.base.Serving`.

    Attributes:
        said: ("accept",), ("refuse", error), ("give_up", words, error),
            ("emit", event, fields), ("carry", client, target, to_client, to_target, watch).
    """

    def __init__(self, client: End) -> None:
        self.client = client
        self.said: list[tuple[Any, ...]] = []

    def accept(self) -> End:
        """See `Arrived`."""
        self.said.append(("accept",))
        return self.client

    def refuse(self, error: GateError) -> None:
        """See `Arrived`."""
        self.said.append(("refuse", error))

    def give_up(self, words: bytes, error: GateError) -> None:
        """See `Arrived`."""
        self.said.append(("give_up", words, error))

    def redial(self, reached: Callable[[Lease], None], missed: Callable[[GateError], None]) -> None:
        """See `Arrived`."""
        self.said.append(("redial", reached, missed))

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        """See `Arrived`."""
        self.said.append(("emit", event, fields))

    def carry(
        self, client: End, target: End, to_client: bytes, to_target: bytes, watch: Watch | None
    ) -> None:
        """See `Arrived`."""
        self.said.append(("carry", client, target, to_client, to_target, watch))


class OpeningCase(SynchronousTestCase):
    """One opening without a reactor; the test holds the other ends of both sockets."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        clock: Any = self.reactor
        poller = Poller(clock)
        self.addCleanup(poller.close)
        self.means = Means(
            reactor=clock,
            poller=poller,
            wheel=Wheel(clock),
            slab=Slab(),
            now=clock.seconds,
            time=clock.seconds,
            environ={},
        )
        target_lease, self.target = self.lent()
        client_lease, self.client = self.lent()
        self.lease = target_lease
        self.serving = FakeServing(PlainEnd(client_lease))

    def lent(self) -> tuple[Lease, socket.socket]:
        """Make a socket that is lent, and what is at its other end."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        ours.setblocking(False)
        theirs.settimeout(5)
        return Lease(Owned(ours), self.means.poller), theirs

    def arrived(self, settings: OfferSettings, host: str = "db.internal", **more: Any) -> Arrived:
        """Make what the opening gets; *more* goes into `Asked`."""
        kind, name = settings.kind, settings.name
        door: Any = more.pop("door", None)
        return Arrived(
            asked=Asked(kind=kind, name=name, user="alice", **more),
            offer=Offer(kind=kind, name=name, addresses=settings.addresses),
            settings=settings,
            identity=Identity(common_names=("alice",), not_after=1e9),
            decision=Decision(True, "a role"),
            lease=self.lease,
            host=host,
            port=5432,
            means=self.means,
            timeouts=TIMEOUTS,
            door=door,
            serving=self.serving,
        )

    def turn(self) -> None:
        """Let everything go on."""
        for _ in range(50):
            self.reactor.turn()

"""Tests for `tlsgate.service.served`: what an opening may ask for, and how each step ends.

More than 400 lines: each step is left in each way in which it can be.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from attrs import evolve

from tests.cluster.states import event, lock
from tests.service.test_requests import TIMEOUTS, RequestsCase
from tests.tunnel.yard import Agent, Asker, Yard
from tlsgate.core.offers import Offer
from tlsgate.errors import GateError, HandshakeFailed, TargetUntrusted, TunnelBroken
from tlsgate.net.ends import PlainEnd
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import READ
from tlsgate.service.served import OPENING_SECONDS
from tlsgate.targets.base import Arrived
from tlsgate.tls.fast import BROKEN


class Seen:
    """A watch that keeps what it sees."""

    def __init__(self) -> None:
        self.up = self.down = b""
        self.ends = 0

    def to_target(self, some: memoryview) -> None:
        """The client has sent it."""
        self.up += bytes(some)

    def to_client(self, some: memoryview) -> None:
        """The target has sent it."""
        self.down += bytes(some)

    def over(self) -> None:
        """Nothing more comes."""
        self.ends += 1


class Ending:
    """A watch that sees nothing."""

    to_target = None
    to_client = None

    def __init__(self) -> None:
        self.ends = 0

    def over(self) -> None:
        """Nothing more comes."""
        self.ends += 1


class OpeningCase(RequestsCase):
    """An opening that the test does by hand."""

    def setUp(self) -> None:
        super().setUp()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listening.close)
        address = f"127.0.0.1:{self.listening.getsockname()[1]}"
        self.offers["node", "db1"] = Offer(
            kind="node", name="db1", labels={"env": "prod"}, addresses=(address,)
        )
        self.stopped = 0
        self.requests.openings = {("node", "ssh"): self.open}
        self.arrived: Any = None

    def open(self, arrived: Arrived) -> Any:
        """Begin."""
        self.arrived = arrived
        return self.stop

    def stop(self) -> None:
        """Cancelled."""
        self.stopped += 1

    def begin(self) -> None:
        """A client whose target is dialled."""
        ours, self.client = socket.socketpair()
        self.addCleanup(self.client.close)
        ours.setblocking(False)
        self.client.settimeout(5)
        self.request = self.ask(PlainEnd(Lease(Owned(ours), self.means.poller)))
        self.turn()
        self.target, _ = self.listening.accept()
        self.addCleanup(self.target.close)
        self.target.settimeout(5)

    def turn(self) -> None:
        """Let everything go on."""
        for _ in range(50):
            self.reactor.turn()

    def lock(self) -> None:
        """Alice is locked."""
        self.door.live.say(event("lock", "l", lock("l", user="alice")))
        self.turn()

    def ended(self, sock: socket.socket) -> None:
        """Nothing more comes there."""
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(sock.recv(100), b"")


class OpeningTests(OpeningCase):
    """What an opening may ask for."""

    def test_what_it_gets(self) -> None:
        """All that is known of client and target, and a socket that nobody has used."""
        self.begin()
        arrived: Arrived = self.arrived
        self.assertEqual((arrived.asked.user, arrived.identity.name), ("alice", "alice"))
        self.assertEqual((arrived.offer.name, arrived.settings.name), ("db1", "db1"))
        self.assertEqual(arrived.host, "127.0.0.1")
        self.assertTrue(arrived.decision.allowed)
        self.assertIs(arrived.door, self.door)
        self.assertEqual(self.requests.told()[0]["stage"], "opening")
        self.assertEqual(self.request.accepted, 0)

    def test_carried_under_a_watch(self) -> None:
        """What was read before goes first and is not shown; the rest is, both ways."""
        self.begin()
        seen = Seen()
        client = self.arrived.accept()
        self.arrived.carry(
            client,
            PlainEnd(self.arrived.lease),
            to_client=b"ready ",
            to_target=b"start ",
            watch=seen,
        )
        self.client.sendall(b"select")
        self.target.sendall(b"one row")
        self.turn()
        self.assertEqual(self.target.recv(100), b"start select")
        self.assertEqual(self.client.recv(100), b"ready one row")
        self.assertEqual((seen.up, seen.down, seen.ends), (b"select", b"one row", 0))
        self.client.close()
        self.target.close()
        self.turn()
        self.assertEqual((seen.ends, self.stopped, self.requests.served), (1, 0, set()))

    def test_a_watch_for_the_end(self) -> None:
        """Directions that it leaves out go as without it; it hears of the end, once."""
        self.begin()
        ending = Ending()
        self.arrived.carry(self.arrived.accept(), PlainEnd(self.arrived.lease), watch=ending)
        self.client.sendall(b"select")
        self.turn()
        self.assertEqual((self.target.recv(100), ending.ends), (b"select", 0))
        self.lock()
        self.assertEqual(ending.ends, 1)

    def test_refused(self) -> None:
        """The client hears why; the target is closed, and nothing is stopped."""
        self.begin()
        self.arrived.refuse(TargetUntrusted("db1", "a wrong name"))
        (answered,) = self.request.answered
        self.assertEqual(answered.reason, "target_untrusted")
        self.assertEqual((self.stopped, self.requests.served), (0, set()))
        self.ended(self.target)

    def test_given_up(self) -> None:
        """The client gets its last words whole, and may take its time to close."""
        for words in (b"", b"x" * 500_000):
            self.begin()
            self.arrived.accept()
            self.arrived.give_up(words, HandshakeFailed("no"))
            self.turn()
            self.ended(self.target)
            self.assertEqual(self.audit.events[-1][0], "agent.deny")
            got = b""
            while some := self.client.recv(1 << 16):
                got += some
                self.turn()
            self.assertEqual(got, words)
            self.assertEqual(len(self.requests.served), 1)
            self.client.close()
            self.turn()
            self.assertEqual(self.requests.served, set())
            self.assertEqual(self.audit.events[-1][0], "agent.end")

    def redial(self) -> None:
        """Have the target dialled once more."""
        self.reached: list[Lease] = []
        self.missed: list[GateError] = []
        self.arrived.redial(self.reached.append, self.missed.append)

    def test_redialled(self) -> None:
        """A second dial closes the first socket, and its own is closed like that one."""
        self.begin()
        self.redial()
        self.turn()
        self.ended(self.target)
        second, _ = self.listening.accept()
        self.addCleanup(second.close)
        second.settimeout(5)
        ((lease,), missed) = self.reached, self.missed
        self.assertEqual(missed, [])
        self.arrived.accept()
        self.arrived.give_up(b"no", HandshakeFailed("no"))
        self.ended(second)
        self.assertFalse(lease.open)

    def test_redialled_in_vain(self) -> None:
        """It is told that nobody is there, and what stops the opening stops the dial."""
        self.begin()
        self.listening.close()
        self.redial()
        self.turn()
        reasons = [one.reason for one in self.missed]
        self.assertEqual((self.reached, reasons), ([], ["target_refused"]))
        self.arrived.refuse(self.missed[0])
        self.assertEqual(self.requests.served, set())
        self.redial()  # it is over
        self.assertEqual((self.reached, self.missed), ([], []))

    def test_redialled_for_nobody(self) -> None:
        """Who gives up, or goes, while it is dialled hears no more of it."""
        self.begin()
        self.arrived.accept()
        self.redial()
        self.arrived.give_up(b"no", HandshakeFailed("no"))
        self.turn()
        self.assertEqual((self.reached, self.missed), ([], []))
        self.listening.accept()[0].close()
        self.begin()
        self.redial()
        self.lock()
        self.assertEqual(self.stopped, 1)
        self.turn()
        self.assertEqual((self.reached, self.missed), ([], []))

    def test_cut_before_it_is_accepted(self) -> None:
        """A lock stops the opening, and the client hears of it."""
        self.begin()
        self.lock()
        self.assertEqual((self.stopped, self.request.answered[0].reason), (1, "target_denied"))
        self.ended(self.target)

    def test_cut_after_it_is_accepted(self) -> None:
        """A lock closes both sides; a late carry is nothing."""
        self.begin()
        client = self.arrived.accept()
        self.lock()
        self.assertEqual((self.stopped, self.requests.served), (1, set()))
        self.ended(self.target)
        self.ended(self.client)
        self.arrived.carry(client, PlainEnd(self.arrived.lease))
        self.arrived.give_up(b"x", HandshakeFailed("no"))
        self.assertEqual(self.requests.served, set())

    def test_a_client_that_goes(self) -> None:
        """Nobody waits: the opening is stopped, the target closed, and nothing accepted."""
        self.begin()
        self.request.cancelled()
        self.assertEqual((self.stopped, self.requests.served), (1, set()))
        self.ended(self.target)
        self.assertRaises(TunnelBroken, self.arrived.accept)

    def test_an_opening_without_end(self) -> None:
        """It is ended, whether the client was accepted or not."""
        for accepts in (False, True):
            self.begin()
            if accepts:
                self.arrived.accept()
            self.reactor.advance(OPENING_SECONDS + 2)
            self.turn()
            self.ended(self.target)
            if accepts:
                self.ended(self.client)
            else:
                self.assertEqual(self.request.answered[0].reason, "target_silent")
        self.assertEqual(self.stopped, 2)

    def test_an_opening_that_fails(self) -> None:
        """One that raises is a refusal; a bug is one too, and is logged."""

        def refusing(arrived: Arrived) -> Any:
            raise TargetUntrusted("db1", "no")

        def broken(arrived: Arrived) -> Any:
            arrived.emit("db.session.start", {"db_user": "app"})
            return 1 // 0

        for opening, reason in ((refusing, "target_untrusted"), (broken, "target_refused")):
            self.requests.openings = {("node", "ssh"): opening}
            self.begin()
            self.assertEqual(self.request.answered[0].reason, reason)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        _, fields = next(one for one in self.audit.events if one[0].startswith("db."))
        self.assertEqual((fields["user"], fields["db_user"]), ("alice", "app"))

    def test_one_that_is_done_at_once(self) -> None:
        """What it gives as its stop is never called."""

        def at_once(arrived: Arrived) -> Any:
            arrived.carry(arrived.accept(), PlainEnd(arrived.lease))
            return self.stop

        self.requests.openings = {("node", "ssh"): at_once}
        self.begin()
        self.lock()
        self.assertEqual((self.stopped, self.requests.served), (0, set()))


class StreamTests(OpeningCase):
    """The same over a stream of a tunnel, which has to be good for the next client."""

    def setUp(self) -> None:
        super().setUp()
        self.yard = Yard(self)
        self.requests.means = evolve(
            self.means,
            reactor=self.yard.reactor,
            poller=self.yard.poller,
            wheel=self.yard.wheel,
            slab=self.yard.slab,
            now=self.yard.reactor.seconds,
        )
        agent: Any = Agent()
        agent.ask = self.requests.asked
        self.gateway, self.theirs = self.yard.stream(agent)

    def begin(self) -> None:
        """A client whose target is dialled, and who has heard nothing."""
        self.arrived = None
        self.asker = Asker()
        self.gateway.ask(self.asked(), self.asker.reached, self.asker.failed)
        self.yard.until(lambda: self.arrived)
        self.target, _ = self.listening.accept()
        self.addCleanup(self.target.close)
        self.target.settimeout(5)

    def join(self) -> None:
        """The gateway hears that the target is reached, and relays its client."""
        self.yard.until(lambda: self.asker.end)
        assert self.asker.end is not None
        _, self.client = self.yard.join(self.asker.end, client=True)

    def test_last_words(self) -> None:
        """They come whole, the client takes its time, and the stream serves the next one."""
        for words in (b"ErrorResponse", b"x" * 500_000, b""):
            self.begin()
            self.arrived.accept()
            self.join()
            self.arrived.give_up(words, HandshakeFailed("no"))
            self.ended(self.target)
            got = b""
            while len(got) < len(words):
                self.yard.settle()
                with contextlib.suppress(BlockingIOError):
                    got += self.client.recv(1 << 16)
            self.yard.settle()
            self.assertEqual((got, self.client.recv(1)), (words, b""))
            self.assertTrue(self.gateway.busy)
            self.client.sendall(b"and one more thing")  # nobody hears it
            self.client.close()
            self.yard.settle()
            self.assertEqual((self.gateway.busy, self.theirs.busy), (False, False))
            self.assertEqual((self.requests.served, self.yard.lost), (set(), []))

    def test_a_client_that_stays(self) -> None:
        """Who has had its last words and closes nothing is closed."""
        self.begin()
        self.arrived.accept()
        self.join()
        self.arrived.give_up(b"no", HandshakeFailed("no"))
        self.yard.settle()
        self.assertEqual(len(self.requests.served), 1)
        self.yard.advance(TIMEOUTS.close_seconds * 1.5)
        self.assertEqual(self.requests.served, set())

    def test_what_is_read_before(self) -> None:
        """An opening that has read of the client carries on where it stands."""
        self.begin()
        client = self.arrived.accept()
        self.join()
        self.client.sendall(b"startup")
        self.yard.settle()
        slab = self.requests.means.slab
        count = client.fill(slab, 7)
        self.assertEqual(bytes(slab.view[:count]), b"startup")
        self.client.sendall(b"query")
        self.arrived.carry(
            client, PlainEnd(self.arrived.lease), to_client=b"ready ", to_target=b"other "
        )
        self.target.sendall(b"rows")
        self.yard.settle()
        self.assertEqual(self.target.recv(100), b"other query")
        self.assertEqual(self.client.recv(100), b"ready rows")

    def test_the_tunnel_ends(self) -> None:
        """The opening hears it at the client's end, and nothing is left."""
        self.begin()
        client = self.arrived.accept()
        self.join()
        outcomes: list[int] = []

        def woken(mask: int) -> None:
            outcomes.append(client.fill(self.requests.means.slab, 100))
            self.arrived.give_up(b"", TunnelBroken("gone"))

        client.lease.on_ready = woken
        client.lease.want(READ)
        self.gateway.abort("gone")
        self.yard.settle()
        self.assertEqual(outcomes, [BROKEN])
        self.assertEqual(self.requests.served, set())
        self.ended(self.target)

"""Plans of listening sockets: what stays, what comes, and that a failure changes nothing."""

from __future__ import annotations

import socket
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.endpoints import bind_of
from tlsgate.errors import CannotListen
from tlsgate.service import listeners
from tlsgate.service.listeners import Bound, Changes, Sockets


class FakeSocket:
    """A listening socket that is none."""

    family = socket.AF_INET

    def __init__(self, host: str, port: int) -> None:
        self.name = (host, port)
        self.closed = False

    def getsockname(self) -> tuple[str, int]:
        """Where it is bound."""
        return self.name

    def close(self) -> None:
        """Remember that."""
        self.closed = True


@frozen
class Wanted:
    """A listener, as far as plans look."""

    name: str
    endpoint: str

    @property
    def written(self) -> str:
        """As an operator wrote it."""
        return self.endpoint


def tcp(name: str, port: int, host: str = "127.0.0.1") -> Any:
    """A listener on a TCP port."""
    return Wanted(name, f"tcp:{port}:interface={host}".replace("::1", r"\:\:1"))


class PlanTests(SynchronousTestCase):
    """Tests for `Sockets.plan`, with sockets that are none."""

    def setUp(self) -> None:
        self.opened: list[Bound] = []
        self.taken: set[int] = set()
        self.next_port = 40_000
        self.patch(listeners, "open_endpoint", self.open_endpoint)
        self.sockets = Sockets()

    def open_endpoint(self, endpoint: str) -> Bound:
        """Open nothing; ports in `taken` are somebody else's."""
        wanted = bind_of(endpoint)
        if wanted.kind != "tcp":
            return Bound(wanted, endpoint, None)
        if wanted.port in self.taken:
            raise OSError(98, "Address already in use")
        port = wanted.port
        if not port:
            port = self.next_port = self.next_port + 1
        fake: Any = FakeSocket(wanted.host or "0.0.0.0", port)
        self.opened.append(Bound(wanted, endpoint, fake))
        return self.opened[-1]

    def take(self, *wanted: Any) -> Changes:
        """Plan and commit."""
        plan = self.sockets.plan(wanted)
        plan.commit()
        return plan.changes

    def is_closed(self, number: int) -> bool:
        """Whether the socket that was opened as *number* is closed."""
        return bool(self.opened[number].socket.closed)  # type: ignore[union-attr]

    def test_first(self) -> None:
        """At the start everything is opened, in the settings' order."""
        changes = self.take(tcp("web", 1), tcp("ssh", 2))
        self.assertEqual(changes, Changes(opened=("web", "ssh")))
        self.assertEqual(list(self.sockets.open), ["web", "ssh"])

    def test_unchanged_is_untouched(self) -> None:
        """The same address under the same name keeps the very same socket."""
        self.take(tcp("web", 1))
        before = self.sockets.open["web"]
        changes = self.take(tcp("web", 1), tcp("ssh", 2))
        self.assertEqual(changes, Changes(opened=("ssh",), kept=("web",)))
        self.assertIs(self.sockets.open["web"], before)

    def test_port_0_keeps_its_port(self) -> None:
        """Port 0 is no new wish at each reload; for another name it is."""
        self.take(tcp("web", 0))
        self.assertEqual(self.take(tcp("web", 0)), Changes(kept=("web",)))
        changes = self.take(tcp("web", 0), tcp("ssh", 0))
        self.assertEqual(changes, Changes(opened=("ssh",), kept=("web",)))
        self.assertEqual(len(self.opened), 2)

    def test_the_picked_port_written_down(self) -> None:
        """Whoever writes the port down that the system had picked keeps the socket."""
        self.take(tcp("web", 0))
        port = self.sockets.open["web"].actual.port
        self.assertEqual(self.take(tcp("web", port)), Changes(kept=("web",)))

    def test_closed(self) -> None:
        """A listener that is gone is closed, and only that one."""
        self.take(tcp("web", 1), tcp("ssh", 2))
        self.assertEqual(self.take(tcp("web", 1)), Changes(closed=("ssh",), kept=("web",)))
        self.assertFalse(self.is_closed(0))
        self.assertTrue(self.is_closed(1))

    def test_moved(self) -> None:
        """Another address: the new socket is open before the old one closes."""
        self.take(tcp("web", 1))
        plan = self.sockets.plan([tcp("web", 2)])
        self.assertFalse(self.is_closed(0))
        plan.commit()
        self.assertTrue(self.is_closed(0))
        self.assertEqual(plan.changes, Changes(replaced=("web",)))

    def test_an_address_takes_its_socket_along(self) -> None:
        """Listeners that swap their addresses, or a new name: no socket is opened."""
        self.take(tcp("web", 1), tcp("ssh", 2))
        changes = self.take(tcp("web", 2), tcp("ssh", 1))
        self.assertEqual(changes, Changes(replaced=("web", "ssh")))
        changes = self.take(tcp("new", 2), tcp("ssh", 1))
        self.assertEqual(changes, Changes(opened=("new",), closed=("web",), kept=("ssh",)))
        self.assertEqual(len(self.opened), 2)
        self.assertFalse(self.is_closed(0) or self.is_closed(1))

    def test_overlap(self) -> None:
        """A part of an address that is open is refused, whoever has it, and says so."""
        self.take(tcp("web", 1))
        for host, other in (("0.0.0.0", 1), ("\\:\\:", 1)):
            error = self.assertRaises(
                CannotListen, self.sockets.plan, [tcp("web", other, host), tcp("ssh", 2)]
            )
            self.assertIn("127.0.0.1:1", str(error))
            self.assertIn("web", error.why)
        self.assertEqual(list(self.sockets.open), ["web"])
        self.assertFalse(self.is_closed(0))

    def test_two_of_one_file_overlap(self) -> None:
        """Two new listeners that would share an address are refused before they are open."""
        error = self.assertRaises(
            CannotListen, self.sockets.plan, [tcp("web", 1), tcp("ssh", 1, "0.0.0.0")]
        )
        self.assertEqual(error.listener, "ssh")
        self.assertTrue(self.is_closed(0))

    def test_all_or_nothing(self) -> None:
        """When the last one fails the ones before are closed, and nothing else happens."""
        self.take(tcp("web", 1))
        self.taken.add(9)
        error = self.assertRaises(CannotListen, self.sockets.plan, [tcp("ssh", 2), tcp("kube", 9)])
        self.assertEqual((error.listener, error.why), ("kube", "Address already in use"))
        self.assertEqual(list(self.sockets.open), ["web"])
        self.assertEqual((self.is_closed(0), self.is_closed(1)), (False, True))

    def test_abort(self) -> None:
        """A plan that is given up closes what it had opened."""
        self.take(tcp("web", 1))
        self.sockets.plan([tcp("web", 2), tcp("ssh", 3)]).abort()
        self.assertEqual([self.is_closed(number) for number in range(3)], [False, True, True])
        self.assertEqual(list(self.sockets.open), ["web"])

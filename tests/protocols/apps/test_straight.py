"""Tests for bodies of known length, which pass both parsers by, cut at every place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.protocols.apps.rig import GET, OK, PUT, AppsCase, Target
from tlsgate.tls.fast import Slab

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"
BODY = b"twelve bytes"


class StraightTests(AppsCase):
    """What goes from end to end."""

    def asked(self, raw: bytes = GET) -> tuple[Any, Target]:
        """A client that has asked, and its target."""
        client = self.client()
        client.send(raw)
        return client, self.reach()

    def test_answer(self) -> None:
        """However an answer is cut, it is the same, and both connections go on."""
        whole = HEAD + BODY
        for cut in range(1, len(whole)):
            client, target = self.asked()
            target.says(whole[:cut])
            target.says(whole[cut:])
            self.assertTrue(client.take().endswith(b"\r\n\r\n" + BODY), cut)
            client.send(GET)
            target.says(OK)
            self.assertTrue(client.take().endswith(b"\r\n\r\nhi"), cut)
            self.assertEqual(len(self.tunnels.reaches), 1)
            client.hang_up()
            self.protocol.stop()
            self.tunnels.reaches.clear()

    def test_at_once(self) -> None:
        """The beginning of a body leaves with its head, at once; a head alone leaves as well."""
        for came, together in ((HEAD + BODY, True), (HEAD + BODY[:3], True), (HEAD, False)):
            client, target = self.asked()
            poured: list[bytes] = []
            pour = client.protocol.transport.pour

            def see(
                slab: Slab,
                count: int,
                seen: list[bytes] = poured,
                to: Callable[[Slab, int], int] = pour,
            ) -> int:
                seen.append(bytes(slab.view[:count]))
                return to(slab, count)

            client.protocol.transport.pour = see
            target.says(came)
            self.assertEqual(client.received.partition(b"\r\n\r\n")[2], came[len(HEAD) :])
            self.assertEqual(poured, [client.received] if together else [])
            client.hang_up()
            self.protocol.stop()
            self.tunnels.reaches.clear()

    def test_too_much(self) -> None:
        """A byte more than was said ends both, or only the target's where all had been said."""
        for cut in range(len(HEAD), len(HEAD + BODY) + 1):
            client, target = self.asked()
            target.says((HEAD + BODY)[:cut])
            target.says((HEAD + BODY)[cut:] + b"!")
            self.assertTrue(target.fake.closed, cut)
            self.assertNotIn(b"!", client.received)
            self.assertEqual(client.aborted, cut < len(HEAD + BODY), cut)

    def test_too_little(self) -> None:
        """An answer that ends early is cut for the client as well."""
        for cut in range(len(HEAD), len(HEAD + BODY)):
            for end in (Target.ends, Target.breaks):
                client, target = self.asked()
                target.says((HEAD + BODY)[:cut])
                end(target)
                self.assertTrue(client.aborted and target.fake.closed, cut)

    def test_request(self) -> None:
        """However a request is cut, the target gets the same, and the next one is another."""
        put = PUT.replace(b"6", b"12") + BODY
        for cut in range(1, len(put + GET)):
            client = self.client()
            client.send((put + GET)[:cut])
            early = self.reach() if self.tunnels.reaches else None
            client.send((put + GET)[cut:])
            target = early or self.reach()
            self.assertTrue(target.take().endswith(b"content-length: 12\r\n\r\n" + BODY), cut)
            target.says(OK)
            self.assertTrue(target.take().startswith(b"GET /p HTTP/1.1\r\n"), cut)
            target.says(OK)
            self.assertEqual(client.received.count(b"\r\n\r\nhi"), 2)
            client.hang_up()
            self.protocol.stop()
            self.tunnels.reaches.clear()

    def test_request_too_little(self) -> None:
        """A client that goes in the middle takes the target's connection along."""
        client, target = self.asked(PUT.replace(b"6", b"12") + BODY[:3])
        client.send(BODY[3:7])
        client.hang_up()
        self.assertTrue(target.fake.closed)
        self.assertTrue(target.got.endswith(BODY[:7]))

    def test_slow_target(self) -> None:
        """A target that takes little stops the client, and loses nothing."""
        size = 300_000
        client, target = self.asked(PUT.replace(b"6", b"%d" % size))
        target.take()
        target.room = 10
        body = bytes(range(250)) * (size // 250)
        client.send(body, pieces=40_000)
        self.assertEqual(client._transport.producerState, "paused")
        for room in (0, 1, 70_000, None):
            target.takes(room)
        self.assertEqual(target.take(), body)
        self.assertEqual(client._transport.producerState, "producing")
        target.says(OK)
        self.assertTrue(client.received.endswith(b"hi"))

    def test_target_breaks(self) -> None:
        """A target that breaks off in the middle of a body is a refusal, and an end."""
        client, target = self.asked(PUT)
        client.send(b"ab")
        target._end = -3
        client.send(b"c")
        target.breaks()
        self.assertEqual(client.received[9:12], b"502")
        self.assertTrue(client._transport.disconnecting)

    def test_early_answer(self) -> None:
        """An answer before the body's end is given, and the rest of the body goes nowhere."""
        client, target = self.asked(PUT + b"ab")
        target.says(OK)
        client.send(b"cdef" + GET)
        self.assertTrue(client.received.endswith(b"\r\n\r\nhi"))
        self.assertTrue(target.fake.closed and client._transport.disconnecting)
        self.assertNotIn(b"cdef", target.got)

    def test_counted(self) -> None:
        """The slow-body rule sees what passes by (S33)."""
        client, _ = self.asked(PUT.replace(b"6", b"99999"))
        client.send(bytes(20))
        client.send(bytes(30_000))
        self.contexts[0].clock.advance(11)
        self.assertFalse(client.aborted)
        self.contexts[0].clock.advance(11)
        self.assertTrue(client.aborted)

    def test_next_waits(self) -> None:
        """While a client takes no answer, its next request is not begun."""
        client, target = self.asked()
        target.says(HEAD)
        client.protocol.pauseProducing()
        client.send(GET)
        client.protocol.resumeProducing()
        target.wake()
        target.says(BODY[:5])
        target.take()
        client.protocol.pauseProducing()
        client.protocol._exchange._link.line.resume()  # the last bytes came with the pause
        target.says(BODY[5:])
        self.assertEqual(target.take(), b"")
        client.protocol.resumeProducing()
        self.assertTrue(target.take().startswith(b"GET /p"))

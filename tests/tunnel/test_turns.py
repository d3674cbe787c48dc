"""How clients of a stream end other than in order, and what ends the stream itself.

One file, so that every way in which a client ends is found beside the others.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from tests.net.rig import noise
from tests.tunnel.test_stream import StreamCase, read
from tests.tunnel.yard import NO, Agent, Asker, Served, asked
from tlsgate.core.frames import FrameKind, frame, header, message, numbered
from tlsgate.core.offers import Answered
from tlsgate.net.ends import CHUNK
from tlsgate.tunnel.streamend import StreamEnd, StreamSocket
from tlsgate.tunnel.turns import LEAVE_BYTES, LEAVE_SECONDS

#: struct linger {l_onoff=1, l_linger=0}: close() resets (socket(7)).
_RESET = b"\x01\0\0\0\0\0\0\0"


def is_over(sock: socket.socket) -> bool:
    """True when *sock* has ended, in order or not."""
    try:
        while sock.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def fill(served: Served, source: socket.socket, turn: Callable[[], bool]) -> int:
    """Send for a peer that reads nothing until no more goes; how many bytes went."""
    sent = 0
    for _ in range(20_000):
        try:
            sent += source.send(b"\xaa" * 65_536)
        except BlockingIOError:
            if not turn():
                return sent
    raise AssertionError("it took everything")


class EndingTests(StreamCase):
    """Clients and targets that break, and the stream serves on."""

    def reset(self, served: Served, pair_end: str) -> None:
        """End one side as a reset does: both of its directions, at once, by its relay."""
        pair = served.at_gateway if pair_end == "client" else served.at_agent
        pair.broke(pair.client if pair_end == "client" else pair.target)

    def test_a_client_reset(self) -> None:
        """The target is reset as well; the stream serves the next."""
        served = self.serve()
        served.target.send(b"unread")
        self.yard.settle()
        self.reset(served, "client")
        self.yard.settle()
        self.assertTrue(served.over() and is_over(served.target))
        self.assertEqual(served.at_agent.cause, "client_reset")
        self.assert_serves()

    def test_a_target_reset(self) -> None:
        """The client is reset as well; the stream serves the next."""
        served = self.serve()
        served.client.send(b"unread")
        self.yard.settle()
        self.reset(served, "target")
        self.yard.settle()
        self.assertTrue(served.over() and is_over(served.client))
        self.assertEqual(served.at_gateway.cause, "target_reset")
        self.assert_serves()

    def test_resets_that_cross(self) -> None:
        """Both sides break at the same moment; each takes the other's for an answer."""
        served = self.serve()
        self.reset(served, "target")
        self.reset(served, "client")
        self.yard.settle()
        self.assertTrue(served.over())
        self.assert_serves()

    def test_a_reset_after_the_clients_end(self) -> None:
        """The agent hears of it although it reads nothing more, and a silent target is reset."""
        served = self.serve()
        served.client.shutdown(socket.SHUT_WR)
        self.yard.settle()
        self.assertEqual(read(served.target), b"")
        self.reset(served, "client")
        self.yard.settle()
        self.assertTrue(served.over())
        self.assert_serves()

    def test_a_reset_after_the_targets_end(self) -> None:
        """The gateway hears of it although it reads nothing more, and a silent client is reset."""
        served = self.serve()
        served.target.shutdown(socket.SHUT_WR)
        self.yard.settle()
        self.assertEqual(read(served.client), b"")
        self.reset(served, "target")
        self.yard.settle()
        self.assertTrue(served.over() and is_over(served.client))
        self.assert_serves()

    def test_a_relay_that_is_idle(self) -> None:
        """It ends without both ENDs, so it is reset; the agent's relay ends with it."""
        served = self.serve()
        self.yard.settle()
        self.reactor_idle(served)
        self.assertEqual(served.at_gateway.cause, "idle")
        self.assertTrue(served.over() and is_over(served.client) and is_over(served.target))
        self.yard.reactor.advance(1)
        self.assert_serves()

    def reactor_idle(self, served: Served) -> None:
        """Let the gateway's relay become idle, and not the agent's."""
        served.at_gateway.due(self.yard.reactor.seconds())
        served.at_gateway._last_time -= 61
        served.at_gateway.due(self.yard.reactor.seconds())
        self.yard.settle()

    def test_cancelled_while_the_agent_dials(self) -> None:
        """The agent stops dialling, the asker hears nothing, and the next is served."""
        asker = Asker()
        self.gateway.ask(asked(), asker.reached, asker.failed)
        self.yard.settle()
        self.gateway.cancel()
        self.gateway.cancel()
        self.yard.settle()
        self.assertEqual(self.agent.cancelled, [asked()])
        self.assertFalse(self.agent.asked.pop()[1].open)
        self.assertEqual((asker.end, asker.missed), (None, None))
        self.assert_serves()

    def test_cancelled_while_the_answer_comes(self) -> None:
        """A yes or a no that crosses the RESET reaches nobody."""
        for yes in (True, False):
            asker = Asker()
            self.gateway.ask(asked(), asker.reached, asker.failed)
            self.yard.settle()
            request = self.agent.asked.pop()[1]
            if yes:
                pair, target = self.yard.join(request.accept(), client=False)
                target.send(b"an answer that nobody waits for")
                pair.to_client.pump()
            else:
                request.refuse(NO)
            self.gateway.cancel()
            self.yard.settle()
            self.assertEqual((asker.end, asker.missed), (None, None))
            if yes:
                self.assertFalse(pair.open)
            self.assert_serves()

    def test_a_reset_drops_what_is_under_way(self) -> None:
        """Bytes of the old client that are still under way reach nobody."""
        served = self.serve()
        served.target.send(noise(50_000))
        served.at_agent.to_client.pump()  # they are in the stream, and the gateway has not read
        self.reset(served, "client")
        self.yard.settle()
        self.assert_serves()

    def test_closed_by_the_gateway_while_it_serves(self) -> None:
        """Retired, it serves its client to the end and is closed then, in order."""
        served = self.serve()
        self.gateway.close()
        served.client.send(b"still")
        self.yard.settle()
        self.assertEqual(read(served.target), b"still")
        self.assertEqual(self.yard.lost, [])
        served.client.close()
        served.target.close()
        self.assert_dead()
        self.assertEqual(self.yard.idle, [])

    def test_closed_by_the_gateway_while_idle(self) -> None:
        """It is closed at once."""
        self.gateway.close()
        self.assertEqual([why for _, why in self.yard.lost], ["the tunnel broke: it was retired"])
        self.assert_dead()
        self.gateway.close()
        self.gateway.abort("again")
        self.gateway.cancel()

    def test_closed_by_the_agent(self) -> None:
        """Idle or not it is over at once; a client that it serves is reset."""
        self.theirs.close()
        self.assert_dead()
        self.setUp()
        served = self.serve()
        self.theirs.close()
        self.assert_dead()
        self.assertTrue(served.over() and is_over(served.client) and is_over(served.target))

    def test_aborted_while_it_serves(self) -> None:
        """Client and target are reset on both sides."""
        served = self.serve()
        self.gateway.abort("locked")
        self.assertEqual([why for _, why in self.yard.lost], ["the tunnel broke: locked"])
        self.assert_dead()
        self.assertTrue(served.over() and is_over(served.client) and is_over(served.target))

    def test_it_dies_before_its_status(self) -> None:
        """The asker hears that nobody has answered, and may ask another one."""
        asker = Asker()
        self.gateway.ask(asked(), asker.reached, asker.failed)
        self.yard.settle()
        self.theirs.close()
        self.assert_dead()
        assert asker.missed is not None
        self.assertTrue(asker.missed[1])
        self.assertEqual(self.agent.cancelled, [asked()])

    def test_an_end_whose_client_is_over_touches_nothing(self) -> None:
        """A relay that still holds it can neither read nor write for the next client."""
        served = self.serve("alice")
        old = served.at_gateway.target
        self.reset(served, "client")
        self.yard.settle()
        after = self.serve("bob")
        after.target.send(b"for bob only")
        self.yard.turn()
        self.assertEqual(old.fill(self.yard.slab, CHUNK), -3)
        self.assertEqual(old.put(self.yard.slab, 10), -3)
        self.assertEqual(old.finish(), -3)
        self.assertEqual(old.queued(), 0)
        old.lease.want(1)
        old.lease.close()
        old.lease.abort()
        self.yard.settle()
        self.assertEqual(read(after.client), b"for bob only")
        self.assertIsNone(read(after.target))


class PressureTests(StreamCase):
    """Readers that do not read."""

    def test_bounded(self) -> None:
        """A sender feels a slow reader, either way; no more than a chunk is held at each hop."""
        for one, other in (("client", "target"), ("target", "client")):
            served = self.serve()
            source, sink = getattr(served, one), getattr(served, other)
            sent = fill(served, source, self.yard.turn)
            self.assertLess(sent, 4 << 20)
            for pair in (served.at_gateway, served.at_agent):
                for flow in (pair.to_client, pair.to_target):
                    self.assertLessEqual(flow.waiting(), CHUNK)
            got = 0
            while got < sent:
                got += len(read(sink) or b"")
                self.yard.turn()
            self.assertEqual(got, sent)
            served.client.close()
            served.target.close()
            self.yard.settle()
        self.assert_serves()

    def test_rule_a_write_that_is_stuck_closes_the_connection(self) -> None:
        """A frame has left in part when its client breaks: nothing can follow it."""
        served = self.serve()
        fill(served, served.client, self.yard.turn)
        self.assertGreater(served.at_gateway.to_target.waiting(), 0)
        served.at_gateway.broke(served.at_gateway.client)
        self.assertIn("stuck", self.yard.lost[0][1])
        served.at_agent.broke(served.at_agent.target)
        self.assert_dead()

    def test_stuck_at_the_agent(self) -> None:
        """The same in the other direction."""
        served = self.serve()
        fill(served, served.target, self.yard.turn)
        served.at_agent.broke(served.at_agent.target)
        self.assertIn("stuck", self.agent.lost[0])
        served.at_gateway.broke(served.at_gateway.client)
        self.assert_dead()

    def test_both_ends_said_and_a_slow_target(self) -> None:
        """What the target has not taken yet is not lost, even when ENDED takes too long."""
        served = self.serve()
        served.target.shutdown(socket.SHUT_WR)
        self.yard.settle()
        sent = noise(3 << 20)
        at = 0
        for _ in range(10_000):
            with contextlib.suppress(BlockingIOError):
                at += served.client.send(sent[at : at + 65_536])
            if not self.yard.turn():
                break
        # Let all that is under way be in the agent's hands, but for what the target refuses.
        got = b""
        while served.at_gateway.to_target.held is not None:
            got += self.yard.until(lambda: read(served.target, 4_096))
        served.client.shutdown(socket.SHUT_WR)
        while served.at_gateway.open:
            got += read(served.target, 4_096) or b""
            self.yard.turn()
        self.assertTrue(served.at_agent.open)
        self.yard.reactor.advance(LEAVE_SECONDS + 1)
        self.assertEqual([why for _, why in self.yard.lost], ["the tunnel broke: it was retired"])
        while (some := self.yard.until(lambda: (read(served.target),))[0]) != b"":
            got += some or b""
            self.yard.turn()
        self.assertEqual(got, sent[:at])
        self.assert_dead()


class DoubtTests(StreamCase):
    """A side that does not keep to the rules: whatever it says, the connection ends."""

    def setUp(self) -> None:
        """A gateway's stream, and an agent's TLS that the test itself writes to."""
        super().setUp()
        self.gateway.close()
        self.yard.settle()
        self.yard.lost.clear()
        ours, self.wild = self.yard.secure()
        self.gateway = self.yard.gateway_stream(ours)

    def ask(self) -> Asker:
        """A request, taken off the wire."""
        asker = Asker()
        self.gateway.ask(asked(), asker.reached, asker.failed)
        self.yard.settle()
        self.wild.recv(65_536)
        return asker

    def open(self, behind: bytes = b"") -> tuple[Asker, Served]:
        """A request with a yes; *behind* it in the same record comes more."""
        asker = self.ask()
        yes = message(FrameKind.STATUS, {"n": 1, "answered": Answered().told()})
        self.wild.send(yes + behind)
        self.yard.until(lambda: asker.end)
        assert asker.end is not None
        pair, client = self.yard.join(asker.end, client=True)
        return asker, Served(client, client, pair, pair)

    def test_anything_while_idle(self) -> None:
        """No frame has a place there, nor what is no frame."""
        for words in (
            *(numbered(FrameKind.ENDED, 0), numbered(FrameKind.RESET, 0), b"\0\0\0\0", b"GET /"),
            *(frame(FrameKind.DATA, b"x"), frame(FrameKind.PING, b"12345678")),
            header(FrameKind.STATUS, 65_537),
            # Nor do these: nothing of a MiB is kept of them until they are whole.
            *(header(FrameKind.CONTROL, 1 << 20), header(FrameKind.HELLO, 1 << 20)),
        ):
            self.setUp()
            self.wild.send(words)
            self.yard.settle()
            self.assertEqual(len(self.yard.lost), 1, words)

    def test_it_is_cut_while_idle(self) -> None:
        """The owner hears at once that it is gone, with close_notify or without."""
        for orderly in (True, False):
            self.setUp()
            if orderly:
                self.wild.shutdown()
            else:
                self.wild.sock_shutdown(socket.SHUT_RDWR)
            self.yard.settle()
            self.assertEqual(len(self.yard.lost), 1)

    def test_a_status_and_data_in_one_record(self) -> None:
        """What came with the answer reaches the client, though no socket wakes for it."""
        _, served = self.open(frame(FrameKind.DATA, b"one") + frame(FrameKind.DATA, b"two"))
        self.yard.settle()
        self.assertEqual(read(served.client), b"onetwo")

    def test_frames_and_a_part_in_one_record(self) -> None:
        """However much is read at once, nothing is lost, doubled or told too early."""
        frames = [frame(FrameKind.DATA, words) for words in (b"abcdef", b"ghi", b"jk")]
        for size in (*range(1, 11), 100):
            self.setUp()
            sock, got = self._lent(), [b""]
            self.wild.send(b"".join(frames)[:-3])
            self.yard.settle()
            with contextlib.suppress(BlockingIOError):
                while True:
                    got.append(sock.recv(size))
            self.wild.send(frames[2][-3:] + numbered(FrameKind.END, 1))
            self.yard.settle()
            while some := sock.recv(size):
                got.append(some)
            self.assertEqual(b"".join(got), b"abcdefghijk", size)
            self.assertLessEqual(max(map(len, got)), size)

    def _lent(self) -> StreamSocket:
        """What a refusal would read and write of a client that is there."""
        asker = self.ask()
        self.wild.send(message(FrameKind.STATUS, {"n": 1, "answered": Answered().told()}))
        end = self.yard.until(lambda: asker.end)
        assert isinstance(end, StreamEnd)
        return end.lent.socket

    def test_frames_of_all_cuts(self) -> None:
        """Frames arrive the same wherever the agent's records cut them."""
        frames = [frame(FrameKind.DATA, noise(size)) for size in (1, 5, 40)]
        wire = b"".join(frames) + numbered(FrameKind.END, 1)
        for cut in range(1, len(wire)):
            self.setUp()
            _, served = self.open()
            self.wild.send(wire[:cut])
            self.yard.settle()
            self.wild.send(wire[cut:])
            self.yard.settle()
            got = served.client.recv(1_000)
            self.assertEqual(got, b"".join(one[4:] for one in frames))
            self.assertEqual(read(served.client), b"")

    def test_doubts_while_a_client_is_served(self) -> None:
        """Its relay is reset with the connection."""
        for words in (
            *(numbered(FrameKind.END, 2), numbered(FrameKind.ENDED, 1), b"\0\0\0\0"),
            *(message(FrameKind.STATUS, {"n": 1, "answered": Answered().told()}), b"GET / HT"),
            *(header(FrameKind.DATA, 0), header(FrameKind.DATA, 320 * 1024 + 1)),
            numbered(FrameKind.END, 1) + numbered(FrameKind.END, 1),
            numbered(FrameKind.END, 1) + frame(FrameKind.DATA, b"more"),
        ):
            self.setUp()
            _, served = self.open()
            for at in range(0, len(words), 8):
                self.wild.send(words[at : at + 8])
                self.yard.settle()
            self.assertEqual(len(self.yard.lost), 1, words)
            self.assertFalse(served.at_gateway.open)
            self.assertTrue(is_over(served.client))

    def test_cut_within_a_frame(self) -> None:
        """The bytes that came are the client's; then its relay is reset."""
        for size in (1, 2, 3, 4, 5, 9):
            self.setUp()
            _, served = self.open()
            self.wild.send(frame(FrameKind.DATA, b"0123456789")[:size])
            self.yard.settle()
            self.wild.sock_shutdown(socket.SHUT_RDWR)
            self.yard.settle()
            self.assertEqual(len(self.yard.lost), 1)
            self.assertTrue(is_over(served.client))

    def test_ended_that_does_not_come(self) -> None:
        """After a reset the agent has ten seconds."""
        _, served = self.open()
        served.at_gateway.broke(served.at_gateway.client)
        self.yard.settle()
        self.yard.advance(LEAVE_SECONDS - 1)
        self.assertEqual(self.yard.lost, [])
        self.yard.advance(2)
        self.assertEqual(len(self.yard.lost), 1)

    def test_too_much_after_a_reset(self) -> None:
        """An agent that goes on sending for a client that is over is not read for ever."""
        _, served = self.open()
        served.at_gateway.broke(served.at_gateway.client)
        sent = 0
        while not self.yard.lost and sent < 4 * LEAVE_BYTES:
            with contextlib.suppress(Exception):
                sent += self.wild.send(frame(FrameKind.DATA, bytes(16_000)))
            self.yard.turn()
        self.assertGreater(sent, LEAVE_BYTES - 65_536)
        self.assertLess(sent, 2 * LEAVE_BYTES)
        self.assertEqual(len(self.yard.lost), 1)

    def test_a_late_answer_in_pieces(self) -> None:
        """A STATUS may come byte by byte."""
        asker = self.ask()
        for byte in message(FrameKind.STATUS, {"n": 1, "answered": NO.told()}):
            self.wild.send(bytes([byte]))
            self.yard.settle()
        self.assertEqual(asker.missed, ("alice may not", False))
        self.assertEqual(self.yard.idle, [self.gateway])


class AgentDoubtTests(StreamCase):
    """The same of a gateway."""

    def setUp(self) -> None:
        """An agent's stream, and a gateway's TLS that the test itself writes to."""
        super().setUp()
        self.gateway.close()
        self.yard.settle()
        self.agent = Agent()
        self.wild, ours = self.yard.secure()
        self.theirs = self.yard.agent_stream(ours, self.agent)

    def request(self, serial: int = 1) -> bytes:
        """A REQUEST."""
        return message(FrameKind.REQUEST, {"n": serial, "asked": asked().told()})

    def test_anything_but_a_request(self) -> None:
        """No other frame has a place on an idle stream, nor a number that is not the next."""
        for words in (
            *(numbered(FrameKind.RESET, 0), numbered(FrameKind.RESET, 1), self.request(2)),
            *(frame(FrameKind.DATA, b"x"), self.request(0), self.request() + self.request(2)),
        ):
            self.setUp()
            self.wild.send(words)
            self.yard.settle()
            self.assertEqual(len(self.agent.lost), 1, words)
            self.assertEqual(len(self.agent.asked), len(self.agent.cancelled))

    def test_a_request_behind_the_hello(self) -> None:
        """What was read with the gateway's HELLO is not lost, wherever it was cut."""
        words = self.request()
        for cut in (1, 3, 4, 5, len(words) - 1, len(words)):
            wild, ours = self.yard.secure()
            agent = Agent()
            stream = self.yard.agent_stream(ours, agent, words[:cut])
            if words[cut:]:
                wild.send(words[cut:])
            self.yard.settle()
            self.assertEqual([told for told, _ in agent.asked], [asked()])
            agent.asked.pop()[1].refuse(NO)
            wild.send(self.request(2))
            self.yard.settle()
            self.assertEqual(len(agent.asked), 1)
            stream.close()

    def test_a_reset_that_crosses_a_refusal(self) -> None:
        """It is answered with ENDED, and the next request is taken."""
        self.wild.send(self.request())
        self.yard.settle()
        self.agent.asked.pop()[1].refuse(NO)
        self.wild.recv(65_536)
        self.wild.send(numbered(FrameKind.RESET, 1))
        self.yard.settle()
        self.assertEqual(self.wild.recv(100), numbered(FrameKind.ENDED, 1))
        self.wild.send(self.request(2))
        self.yard.settle()
        self.assertEqual(len(self.agent.asked), 1)

    def test_data_after_the_gateways_end(self) -> None:
        """It has no place: the target is reset with the connection."""
        self.wild.send(self.request())
        self.yard.settle()
        pair, target = self.yard.join(self.agent.asked.pop()[1].accept(), client=False)
        self.wild.send(numbered(FrameKind.END, 1))
        self.yard.settle()
        self.wild.send(frame(FrameKind.DATA, b"more"))
        self.yard.settle()
        self.assertFalse(pair.open)
        self.assertTrue(is_over(target))
        self.assertEqual(len(self.agent.lost), 1)


class PublicEndingTests(EndingTests):
    """The same without pyOpenSSL's private binding."""

    binding = False


class PublicPressureTests(PressureTests):
    """The same without pyOpenSSL's private binding."""

    binding = False


class PublicDoubtTests(DoubtTests):
    """The same without pyOpenSSL's private binding."""

    binding = False

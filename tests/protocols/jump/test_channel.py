"""Tests for `tlsgate.protocols.jump.channel`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.jump.rig import JumpRig
from tests.support.sshwire import string
from tlsgate.core.wire.sshmessages import Message, numbers
from tlsgate.protocols.jump.channel import PACKET, WINDOW


class WindowTests(SynchronousTestCase):
    """What is held, each way."""

    def setUp(self) -> None:
        """Somebody who has logged in."""
        self.rig = JumpRig()
        self.alice = self.rig.alice()
        self.client = self.alice.client

    def test_slow_target(self) -> None:
        """A target that takes nothing stops the client after a window; then all arrives."""
        end, channel = self.alice.reach_node()
        end.room = 0
        for _ in range(WINDOW // PACKET):
            self.assertEqual(self.client.data(channel, b"x" * PACKET), [])
        self.assertFalse(self.alice.over)
        end.room = 1 << 30
        for _ in range(10):
            end.wake()
            self.rig.clock.advance(0)
        self.assertEqual(len(end.heard), WINDOW)
        granted = sum(
            int.from_bytes(content[4:], "big")
            for number, content in self.client.pump()
            if number == Message.CHANNEL_WINDOW_ADJUST
        )
        self.assertGreaterEqual(granted, WINDOW // 2)

    def test_more_than_the_window(self) -> None:
        """Who sends more than it was told to ends the connection."""
        end, channel = self.alice.reach_node()
        end.room = 0
        for _ in range(WINDOW // PACKET):
            self.client.data(channel, b"x" * PACKET)
        self.client.data(channel, b"x")
        self.assertTrue(self.alice.over)

    def test_larger_than_a_packet(self) -> None:
        """One message is never larger than was said."""
        _, channel = self.alice.reach_node()
        self.client.data(channel, b"x" * (PACKET + 1))
        self.assertTrue(self.alice.over)

    def test_data_after_the_end(self) -> None:
        """After its EOF a client sends nothing on a channel."""
        _, channel = self.alice.reach_node()
        self.client.send(Message.CHANNEL_EOF, numbers(channel))
        self.client.data(channel, b"x")
        self.assertTrue(self.alice.over)

    def test_slow_client(self) -> None:
        """A client's window stops the target, and opens it again."""
        end, channel = self.alice.reach_node(window=1000)
        end.say(b"x" * 50_000)
        end.say(b"y" * 50_000)
        found = self.client.pump()
        self.assertEqual(sum(len(content) - 8 for _, content in found), 1000)
        self.assertEqual(len(end.said), 1)  # the second one was not read
        for _ in range(20):
            self.client.send(Message.CHANNEL_WINDOW_ADJUST, numbers(channel, 10_000))
            end.wake()
        found = self.client.pump()
        self.assertEqual(sum(len(content) - 8 for _, content in found), 99_000)

    def test_window_too_large(self) -> None:
        """A window above what four bytes hold ends the connection."""
        _, channel = self.alice.reach_node(window=(1 << 32) - 1)
        self.client.send(Message.CHANNEL_WINDOW_ADJUST, numbers(channel, 1))
        self.assertTrue(self.alice.over)

    def test_a_transport_that_is_full(self) -> None:
        """What the connection does not take is not read from targets, however wide the window."""
        end, _ = self.alice.reach_node(window=1 << 30)
        self.alice.transport.blocked = True
        for _ in range(100):
            end.say(b"x" * 30_000)
        self.assertLess(len(self.alice.transport.output), 200_000)
        self.assertGreater(len(end.said), 90)
        self.alice.transport.blocked = False
        total = 0
        for _ in range(200):
            total += sum(len(content) - 8 for number, content in self.client.pump() if number == 94)
            self.alice.protocol.resumeProducing()
            end.wake()
            self.rig.clock.advance(0)
        total += sum(len(content) - 8 for number, content in self.client.pump() if number == 94)
        self.assertEqual(total, 3_000_000)

    def test_one_slow_channel(self) -> None:
        """A channel whose target takes nothing stops no other one."""
        slow, first = self.alice.reach_node()
        quick, second = self.alice.reach_node(number=8)
        slow.room = 0
        self.client.data(first, b"x" * PACKET)
        self.client.data(second, b"y")
        self.assertEqual((slow.heard, quick.heard), (b"", b"y"))

    def test_r11_client_first(self) -> None:
        """R11: after the client's EOF the target's answer comes whole, then EOF, then CLOSE."""
        end, channel = self.alice.reach_node(window=1 << 30)
        self.client.data(channel, b"question")
        self.client.send(Message.CHANNEL_EOF, numbers(channel))
        self.assertTrue(end.heard_end)
        got = 0
        for _ in range(50):
            end.say(b"x" * 40_000)
            got += sum(len(content) - 8 for number, content in self.client.pump() if number == 94)
        end.say(end=True)
        found = self.client.pump()
        self.assertEqual((got, [number for number, _ in found]), (2_000_000, [96, 97]))
        self.assertFalse(end.reset)

    def test_r11_target_first(self) -> None:
        """R11: after the target's end the client's bytes still arrive."""
        end, channel = self.alice.reach_node()
        end.say(end=True)
        self.assertEqual(self.client.pump(), [(96, numbers(7))])
        for _ in range(50):
            self.client.data(channel, b"x" * PACKET)
        self.client.send(Message.CHANNEL_EOF, numbers(channel))
        self.assertEqual(len(end.heard), 50 * PACKET)
        self.assertTrue(end.heard_end)
        self.assertEqual([number for number, _ in self.client.pump()][-1], 97)
        self.assertFalse(end.reset)

    def test_crossing(self) -> None:
        """What has crossed our CLOSE is let pass; a second CLOSE is not."""
        end, channel = self.alice.reach_node()
        end.open = False
        self.client.data(channel, b"x")
        self.client.data(channel, b"crossed")
        self.client.send(Message.CHANNEL_REQUEST, numbers(channel) + string(b"x") + b"\1")
        self.client.send(Message.CHANNEL_EOF, numbers(channel))
        self.client.send(Message.CHANNEL_CLOSE, numbers(channel))
        self.assertFalse(self.alice.over)
        self.client.send(Message.CHANNEL_CLOSE, numbers(channel))
        self.assertTrue(self.alice.over)

    def test_close_before_the_target_takes(self) -> None:
        """After EOF and CLOSE what was sent before still goes to a slow target."""
        end, channel = self.alice.reach_node()
        end.room = 0
        self.client.data(channel, b"x" * 1000)
        self.client.data(channel, b"y" * 1000)
        self.client.send(Message.CHANNEL_EOF, numbers(channel))
        self.client.send(Message.CHANNEL_CLOSE, numbers(channel))
        end.room = 1 << 20
        for _ in range(5):
            end.wake()
            self.rig.clock.advance(0)
        self.assertEqual((len(end.heard), end.heard_end), (2000, True))
        end.say(b"nobody reads this")
        self.assertFalse(end.open)
        self.assertEqual(self.client.pump()[-1][0], Message.CHANNEL_CLOSE)

"""Tests for `tlsgate.protocols.jump.transport`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.jump.rig import ALICE, AUTHORITY, JumpRig
from tests.support.sshwire import string
from tlsgate.core.wire.sshmessages import Message, numbers
from tlsgate.protocols.jump import transport
from tlsgate.protocols.jump.packets import CTR, ETM, GCM
from tlsgate.protocols.jump.transport import GRACE_SECONDS, Phase


class ExchangeTests(SynchronousTestCase):
    """The key exchange, and its order."""

    def setUp(self) -> None:
        """A jump host."""
        self.rig = JumpRig()

    def test_banner_at_once(self) -> None:
        """The line and KEXINIT leave before the client has said anything."""
        connected = self.rig.connect()
        self.assertTrue(bytes(connected.transport.output).startswith(b"SSH-2.0-tlsgate\r\n"))

    def test_every_suite(self) -> None:
        """Each exchange, cipher and MAC leads to a login, with and without a host certificate."""
        for exchange in (
            b"mlkem768x25519-sha256",
            b"curve25519-sha256",
            b"curve25519-sha256@libssh.org",
        ):
            self.assertFalse(self.rig.alice(exchanges=(exchange,)).over)
        for cipher in (*GCM, *CTR):
            for mac in ETM:
                connected = self.rig.alice(ciphers=(cipher,), macs=(mac,))
                self.assertIs(connected.protocol.phase, Phase.OPEN)
        for strict in (True, False):
            for host_key in (b"ssh-ed25519-cert-v01@openssh.com", b"ssh-ed25519"):
                connected = self.rig.alice(strict=strict, host_keys=(host_key,))
                self.assertTrue(connected.client.host_blob.startswith(string(host_key)))
                self.assertIs(connected.protocol.phase, Phase.OPEN)

    def test_in_pieces(self) -> None:
        """Bytes that come one by one are the same."""
        connected = self.rig.connect()
        whole = connected.protocol.dataReceived

        def in_pieces(data: bytes) -> None:
            for one in data:
                whole(bytes((one,)))

        connected.client._deliver = in_pieces
        connected.client.shake().service()
        connected.client.log_in(ALICE, AUTHORITY.certify(ALICE))
        self.assertIs(connected.protocol.phase, Phase.OPEN)

    def test_nothing_in_common(self) -> None:
        """Who has no algorithm of ours is told what for."""
        for option, word in (
            ({"exchanges": (b"diffie-hellman-group14-sha1",)}, "the key exchange"),
            ({"host_keys": (b"ssh-rsa",)}, "the host key"),
            ({"ciphers": (b"aes256-cbc",)}, "encryption"),
            ({"ciphers": (b"aes256-ctr",), "macs": (b"hmac-sha1",)}, "integrity"),
            ({"ciphers": (b"chacha20-poly1305@openssh.com",)}, "encryption"),
        ):
            connected = self.rig.connect(**option)
            connected.client.begin()
            self.assertIn(word, connected.last_words())
            self.assertTrue(connected.over)

    def test_bad_lines(self) -> None:
        """Who does not speak SSH 2, or whose line does not end, is let go."""
        for line in (b"GET / HTTP/1.1\r\n", b"SSH-1.5-x\r\n", b"x" * 300, b"SSH-2.0-\0\r\n"):
            connected = self.rig.connect()
            connected.protocol.dataReceived(line)
            self.assertTrue(connected.over)

    def test_bad_public_keys(self) -> None:
        """A public key that is none ends it, and is nobody's bug."""
        for exchange in (b"curve25519-sha256", b"mlkem768x25519-sha256"):
            for key in (b"", b"x" * 31, bytes(32), bytes(1216), b"\xff" * 1216, b"x" * 30_000):
                connected = self.rig.connect(exchanges=(exchange,))
                connected.client.begin()
                connected.client.send(Message.KEX_INIT, string(key))
                self.assertTrue(connected.over)
            connected = self.rig.connect(exchanges=(exchange,))
            connected.client.begin()
            connected.client.send(Message.KEX_INIT, b"\xff\xff\xff\xffx")
            self.assertTrue(connected.over)

    def test_s39_strict_order(self) -> None:
        """S39: a message between those of the first exchange ends the connection (Terrapin)."""
        for number in (2, 3, 4, 5, 7, 20, 50, 80, 94, 192):
            for steps in range(4):
                for strict in (True, False):
                    connected = self.rig.connect(strict=strict)
                    client = connected.client
                    client.pump()
                    connected.protocol.dataReceived(b"SSH-2.0-raw\r\n")
                    if steps > 0:
                        client.kexinit()
                    if steps > 1:
                        client.first()
                    if steps > 2:
                        client.keys()
                        client.keys()
                        self.assertTrue(connected.over)
                    if (number, steps) != (20, 0):
                        client.send(number, b"")
                    else:
                        client.send(21)
                    self.assertTrue(connected.over, (number, steps))

    def test_s39_injected(self) -> None:
        """S39: what somebody in the middle puts in before NEWKEYS, or takes out, kills it."""
        # An IGNORE towards the server, in the clear, as the attack of CVE-2023-48795 has it.
        connected = self.rig.connect()
        client = connected.client
        client.begin()
        injected = bytes.fromhex("0000000c06") + b"\x02" + bytes(10)
        connected.protocol.dataReceived(injected)
        self.assertTrue(connected.over)
        # The first message after NEWKEYS is taken out: what follows does not fit any more.
        connected = self.rig.connect()
        client = connected.client
        client.begin()
        client.first()
        client.keys()
        client.sealed(Message.SERVICE_REQUEST, string(b"ssh-userauth"))
        client.send(Message.USERAUTH_REQUEST, b"")
        self.assertTrue(connected.over)

    def test_s39_counts_anew(self) -> None:
        """S39: with the strict exchange both sides count from 0 after NEWKEYS, without not."""
        for strict, expected in ((True, 1), (False, 4)):
            connected = self.rig.connect(strict=strict)
            connected.client.shake().service()
            self.assertEqual(connected.protocol.incomingPacketSequence, expected)


class BeforeLoginTests(SynchronousTestCase):
    """S38: what comes before a login."""

    def test_s38_every_number(self) -> None:
        """S38: each of 256 message numbers before the login ends the connection."""
        rig = JumpRig()
        for number in range(256):
            for content in (b"", b"\0" * 8, string(b"ssh-connection") + b"\0" * 16):
                for asks in (False, True):
                    connected = rig.connect()
                    connected.client.shake()
                    if asks:
                        connected.client.service()
                    connected.client.send(number, content)
                    self.assertTrue(connected.over, (number, content, asks))
                    self.assertEqual(connected.context.identities, [])
        self.assertEqual(rig.tunnels.reaches, [])

    def test_s38_a_server_takes_no_success(self) -> None:
        """S38: USERAUTH_SUCCESS from a client is nothing (CVE-2018-10933)."""
        rig = JumpRig()
        connected = rig.connect()
        connected.client.shake().service()
        connected.client.send(Message.USERAUTH_SUCCESS)
        connected.client.direct(b"db1")
        self.assertTrue(connected.over)
        self.assertEqual(rig.tunnels.reaches, [])

    def test_login_without_service(self) -> None:
        """A login before its service was asked for ends it; another service, too."""
        connected = JumpRig().connect()
        connected.client.shake()
        connected.client.log_in(ALICE, AUTHORITY.certify(ALICE))
        self.assertTrue(connected.over)
        connected = JumpRig().connect()
        connected.client.shake().service(b"ssh-connection")
        self.assertTrue(connected.over)

    def test_extensions_once(self) -> None:
        """What a client can do besides is read, once."""
        connected = JumpRig().connect()
        connected.client.shake()
        content = numbers(1) + string(b"ext-info-in-auth@openssh.com") + string(b"0")
        connected.client.send(Message.EXT_INFO, content)
        self.assertFalse(connected.over)
        connected.client.send(Message.EXT_INFO, content)
        self.assertTrue(connected.over)

    def test_grace(self) -> None:
        """Who has not logged in after ten seconds is let go; who has may stay."""
        rig = JumpRig()
        waiting, alice = rig.connect(), rig.alice()
        rig.clock.advance(GRACE_SECONDS - 0.1)
        self.assertFalse(waiting.over)
        rig.clock.advance(0.2)
        self.assertTrue(waiting.over)
        self.assertIn("no login within 10 s", waiting.last_words())
        self.assertFalse(alice.over)
        waiting.gone()
        alice.gone()
        self.assertEqual(rig.clock.getDelayedCalls(), [])


class OpenTests(SynchronousTestCase):
    """After the login."""

    def setUp(self) -> None:
        """Somebody who has logged in."""
        self.rig = JumpRig()
        self.alice = self.rig.alice()

    def test_small_talk(self) -> None:
        """What means nothing is passed over, what nobody knows is answered so."""
        client = self.alice.client
        client.pump()
        for number in (2, 3, 4, 50):
            client.send(number, b"")
        client.send(192, b"")
        self.assertEqual(client.pump(), [(Message.UNIMPLEMENTED, numbers(6))])
        self.assertFalse(self.alice.over)

    def test_no_second_login(self) -> None:
        """Other messages of logins, and services, end it."""
        for number in (5, 6, 7, 51, 52, 53, 60, 61, 79):
            alice = self.rig.alice()
            alice.client.send(number, string(b"ssh-userauth"))
            self.assertTrue(alice.over, number)

    def test_new_keys(self) -> None:
        """A client may have new keys; data goes on with them, and waits meanwhile."""
        end, number = self.alice.reach_node()
        client = self.alice.client
        client.kexinit()
        end.say(b"waits")
        self.assertEqual(client.pump(), [])
        client.first()
        client.keys()
        self.rig.clock.advance(0)
        found = client.pump()
        self.assertEqual([content[8:] for which, content in found if which == 94], [b"waits"])
        client.data(number, b"on")
        self.assertEqual(end.heard, b"on")

    def test_no_data_in_an_exchange(self) -> None:
        """Between KEXINIT and NEWKEYS nothing else comes."""
        _, number = self.alice.reach_node()
        self.alice.client.kexinit()
        self.alice.client.data(number, b"x")
        self.assertTrue(self.alice.over)

    def test_too_many_exchanges(self) -> None:
        """An exchange costs us more than the client: only so many are done."""
        for _ in range(20):
            client = self.alice.client
            client.kexinit()
            client.first()
            if self.alice.over:
                break
            client.keys()
            client.pump()
        self.assertTrue(self.alice.over)

    def test_our_new_keys(self) -> None:
        """After so many bytes the jump host asks for new keys by itself."""
        self.patch(transport, "_REKEY_BYTES", 100_000)
        end, number = self.alice.reach_node(window=1 << 20)
        client = self.alice.client
        for _ in range(5):
            end.say(b"x" * 30_000)
            client.pump()
        self.assertFalse(self.alice.protocol.ready)
        # What the client has sent meanwhile still counts.
        client.data(number, b"crossed")
        self.assertEqual(end.heard, b"crossed")
        client.kexinit()
        client.first()
        client.keys()
        self.rig.clock.advance(0)
        client.pump()
        self.assertTrue(self.alice.protocol.ready)

    def test_asks_and_does_not_read(self) -> None:
        """Who asks without end and reads nothing is not read any more, until it reads."""
        self.alice.protocol.pauseProducing()
        for _ in range(1100):
            self.alice.client.send(
                Message.GLOBAL_REQUEST, string(b"keepalive@openssh.com\0") + b"\1"
            )
        self.assertFalse(self.alice.transport.reading)
        self.alice.protocol.resumeProducing()
        self.assertTrue(self.alice.transport.reading)

    def test_asks_during_our_exchange(self) -> None:
        """Answers that wait for new keys are bounded."""
        self.alice.protocol.sendKexInit()
        for _ in range(1100):
            self.alice.client.send(Message.GLOBAL_REQUEST, string(b"keepalive@openssh.com") + b"\1")
        self.assertTrue(self.alice.over)

    def test_goodbye(self) -> None:
        """The client's DISCONNECT ends it without a word, and nothing is read after it."""
        self.alice.client.send(Message.DISCONNECT, numbers(11) + string(b"bye") + string(b""))
        self.assertTrue(self.alice.over)
        self.assertIs(self.alice.protocol.phase, Phase.OVER)

    def test_packets_of_somebody_else(self) -> None:
        """A packet that does not open ends it."""
        self.alice.protocol.dataReceived(bytes.fromhex("00000020") + b"\xff" * 64)
        self.assertTrue(self.alice.over)

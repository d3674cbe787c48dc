"""Tests for `tlsgate.core.wire.sshmessages`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.support.sshwire import string
from tlsgate.core.wire.sshmessages import (
    LINE_BYTES,
    Agreed,
    Login,
    Message,
    Offer,
    Open,
    Request,
    agree,
    check_extensions,
    numbers,
    read_adjust,
    read_data,
    read_direct,
    read_global,
    read_kexinit,
    read_line,
    read_login,
    read_number,
    read_open,
    read_request,
    read_service,
    read_signature,
    read_subsystem,
    sentence,
    write_kexinit,
)
from tlsgate.errors import BadBytes

OFFER = Offer(
    exchanges=(b"mlkem", b"curve"), host_keys=(b"ed",), ciphers=(b"gcm", b"ctr"), macs=(b"etm",)
)
KEXINIT = write_kexinit(OFFER, b"c" * 16, (b"marker",))


class ExchangeTests(SynchronousTestCase):
    """Tests for what both can do."""

    def test_kexinit(self) -> None:
        """What is written is read again, and nothing that is cut short or too long."""
        read = read_kexinit(KEXINIT)
        self.assertEqual(read.exchanges, (b"mlkem", b"curve", b"marker"))
        self.assertEqual(read.macs, ((b"etm",), (b"etm",)))
        self.assertEqual((read.compressions, read.guessed), (((b"none",), (b"none",)), False))
        for end in range(len(KEXINIT)):
            self.assertRaises(BadBytes, read_kexinit, KEXINIT[:end])
        self.assertRaises(BadBytes, read_kexinit, KEXINIT + b"x")
        self.assertRaises(BadBytes, read_kexinit, bytes(16) + numbers(4097) + bytes(5000))

    def test_agree(self) -> None:
        """The client's first that we have counts; an AEAD needs no MAC."""
        theirs = evolve(
            read_kexinit(KEXINIT),
            exchanges=(b"other", b"curve", b"mlkem"),
            ciphers=((b"ctr",), (b"x", b"gcm")),
        )
        self.assertEqual(
            agree(OFFER, theirs),
            Agreed(
                exchange=b"curve",
                host_key=b"ed",
                ciphers=(b"ctr", b"gcm"),
                macs=(b"etm", b""),
                wrong_guess=False,
            ),
        )
        self.assertTrue(agree(OFFER, evolve(theirs, guessed=True)).wrong_guess)
        right = evolve(read_kexinit(KEXINIT), guessed=True)
        self.assertFalse(agree(OFFER, right).wrong_guess)

    def test_nothing_in_common(self) -> None:
        """What is lacking is named."""
        theirs = evolve(read_kexinit(KEXINIT), ciphers=((b"ctr",), (b"ctr",)))
        for name, value, what in (
            ("exchanges", (), "the key exchange"),
            ("host_keys", (b"rsa",), "the host key"),
            ("ciphers", ((b"ctr",), ()), "encryption"),
            ("macs", ((), (b"etm",)), "integrity"),
            ("compressions", ((b"none",), (b"zlib",)), "no compression"),
        ):
            lacking: dict[str, Any] = {name: value}
            error = self.assertRaises(BadBytes, agree, OFFER, evolve(theirs, **lacking))
            self.assertIn(what, str(error))

    def test_line(self) -> None:
        """The client's line is of version 2 and bounded, and may come in pieces."""
        wire = b"SSH-2.0-OpenSSH_9.2p1\r\nrest"
        for end in range(23):
            self.assertIsNone(read_line(wire[:end]))
        self.assertEqual(read_line(wire), (b"SSH-2.0-OpenSSH_9.2p1", 23))
        self.assertEqual(read_line(b"SSH-1.99-x\n"), (b"SSH-1.99-x", 11))
        for bad in (b"SSH-1.5-x\n", b"x\n", b"\n", b"SSH-2.0-\0\n", b"SSH-2.0-\rx\n"):
            self.assertRaises(BadBytes, read_line, bad)
        self.assertRaises(BadBytes, read_line, b"SSH-2.0-".ljust(LINE_BYTES, b"x"))


class ReadTests(SynchronousTestCase):
    """Tests for the other messages."""

    def strict(self, read: Callable[[bytes], object], content: bytes, *, tail: bool = True) -> None:
        """No beginning of *content* is read, nor, unless it may have one, what has a tail."""
        for end in range(len(content)):
            self.assertRaises(BadBytes, read, content[:end])
        if tail:
            self.assertRaises(BadBytes, read, content + b"x")

    def test_service(self) -> None:
        """The service's name."""
        self.assertEqual(read_service(string(b"ssh-userauth")), b"ssh-userauth")
        self.strict(read_service, string(b"ssh-userauth"))
        self.assertRaises(BadBytes, read_service, string(b"x" * 257))

    def test_extensions(self) -> None:
        """A bounded number of them."""
        one = string(b"name") + string(b"value")
        check_extensions(numbers(2) + one * 2)
        self.strict(check_extensions, numbers(1) + one)
        self.assertRaises(BadBytes, check_extensions, numbers(17) + one * 17)

    def test_login(self) -> None:
        """A login, its question, and another method."""
        head = string(b"alice") + string(b"ssh-connection")
        self.assertEqual(
            read_login(head + string(b"password") + b"\0" + string(b"secret")),
            Login(user="alice", service=b"ssh-connection", method=b"password"),
        )
        key = string(b"alg") + string(b"blob")
        asking = head + string(b"publickey") + b"\0" + key
        self.assertEqual(
            read_login(asking),
            Login(
                user="alice",
                service=b"ssh-connection",
                method=b"publickey",
                algorithm=b"alg",
                blob=b"blob",
                signed=bytes((Message.USERAUTH_REQUEST,)) + asking,
            ),
        )
        signing = head + string(b"publickey") + b"\1" + key
        read = read_login(signing + string(b"signature"))
        self.assertEqual((read.signature, read.signed[1:]), (b"signature", signing))
        self.strict(read_login, asking)
        self.strict(read_login, signing + string(b"signature"))
        for user in (b"\xff", b"a\nb"):
            self.assertRaises(BadBytes, read_login, string(user) + head[9:])

    def test_signature(self) -> None:
        """Algorithm and own part."""
        content = string(b"ssh-ed25519") + string(b"s" * 64)
        self.assertEqual(read_signature(content), (b"ssh-ed25519", b"s" * 64))
        self.strict(read_signature, content)

    def test_open(self) -> None:
        """A channel, and what depends on its kind."""
        content = string(b"session") + numbers(1, 2, 3)
        self.assertEqual(
            read_open(content + b"rest"),
            Open(kind=b"session", number=1, window=2, most=3, rest=b"rest"),
        )
        self.strict(read_open, content, tail=False)

    def test_direct(self) -> None:
        """Host and port of the target."""
        tail = string(b"::1") + numbers(4711)
        content = string(b"db1") + numbers(22) + tail
        self.assertEqual(read_direct(content), ("db1", 22))
        self.strict(read_direct, content)
        for bad in (string(b"") + numbers(22) + tail, string(b"db1") + numbers(65536) + tail):
            self.assertRaises(BadBytes, read_direct, bad)

    def test_requests(self) -> None:
        """Of a channel, and of the connection."""
        content = string(b"shell") + b"\1"
        self.assertEqual(
            read_request(numbers(7) + content + b"rest"),
            Request(name=b"shell", wants_answer=True, rest=b"rest", number=7),
        )
        self.assertEqual(read_global(content), Request(name=b"shell", wants_answer=True, rest=b""))
        self.strict(read_request, numbers(7) + content, tail=False)
        self.strict(read_global, content, tail=False)

    def test_subsystem(self) -> None:
        """`proxy:` with host, port, perhaps a cluster; other subsystems are others."""
        for word, want in (
            (b"proxy:db1:22", ("db1", 22, None)),
            (b"proxy:db1.gw.test:3022@gw.test", ("db1.gw.test", 3022, "gw.test")),
            (b"proxy:db1:0@default@leaf", ("db1", 0, "leaf")),
            (b"proxy:[::1]:22", ("::1", 22, None)),
            (b"proxy:db1:22@", ("db1", 22, None)),
            (b"sftp", None),
            (b"proxysites", None),
        ):
            self.assertEqual(read_subsystem(string(word)), want)
        self.strict(read_subsystem, string(b"proxy:db1:22"))
        for bad in (b"proxy:", b"proxy:db1", b"proxy::22", b"proxy:db1:x", b"proxy:db1:65536"):
            self.assertRaises(BadBytes, read_subsystem, string(bad))
        self.assertRaises(BadBytes, read_subsystem, string("proxy:db1:२२".encode()))

    def test_channels(self) -> None:
        """Data, windows and ends."""
        self.assertEqual(read_data(numbers(7) + string(b"data")), (7, b"data"))
        self.strict(read_data, numbers(7) + string(b"data"))
        self.assertEqual(read_adjust(numbers(7, 100)), (7, 100))
        self.strict(read_adjust, numbers(7, 100))
        self.assertEqual(read_number(numbers(7)), 7)
        self.strict(read_number, numbers(7))

    def test_sentence(self) -> None:
        """A sentence for the user is bounded."""
        self.assertEqual(sentence("no"), string(b"no") + string(b""))
        self.assertEqual(sentence("x" * 5000), string(b"x" * 1000) + string(b""))

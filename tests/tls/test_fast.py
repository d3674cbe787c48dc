"""Tests for `tlsgate.tls.fast`: both sessions have the same outcomes.

`tests/net/test_relay.py` runs the whole relay on both.
"""

from __future__ import annotations

import contextlib
import socket

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import client_context
from tests.support.certs import pki
from tlsgate.tls.fast import (
    AGAIN,
    BLOCKED,
    BROKEN,
    CUT,
    ENDED,
    HAS_BINDING,
    HEADROOM,
    RECORD,
    BindingSession,
    PublicSession,
    Session,
    Slab,
    open_session,
)


class SessionCase(SynchronousTestCase):
    """A connection whose handshake is done."""

    binding = True

    def setUp(self) -> None:
        """Connect."""
        ours, theirs = socket.socketpair()
        for one in (ours, theirs):
            one.setblocking(False)
            self.addCleanup(one.close)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate_chain_file(str(pki().file("server.pem")))
        context.use_privatekey_file(str(pki().file("server-key.pem")))
        server = SSL.Connection(context, ours)
        server.set_accept_state()
        self.client = SSL.Connection(client_context(SSL.TLS1_3_VERSION), theirs)
        self.client.set_connect_state()
        for side in (self.client, server, self.client, server):
            with contextlib.suppress(SSL.WantReadError):
                side.do_handshake()
        self.theirs = theirs
        self.session: Session = open_session(server, self.binding)
        self.slab = Slab()


class BindingTests(SessionCase):
    """Outcomes through the private binding."""

    def test_kind(self) -> None:
        """The binding is there, and used."""
        self.assertTrue(HAS_BINDING)
        self.assertIsInstance(self.session, BindingSession if self.binding else PublicSession)

    def test_read(self) -> None:
        """Counts, nothing yet, what is left inside, and the end."""
        self.assertEqual(self.session.read(self.slab, 0, 10), AGAIN)
        self.client.send(b"0123456789abc")
        self.assertEqual(self.session.read(self.slab, 5, 10), 10)
        self.assertEqual(bytes(self.slab.view[5:15]), b"0123456789")
        self.assertEqual(self.session.pending(), 3)
        self.assertEqual(self.session.read(self.slab, 0, 10), 3)
        self.client.shutdown()
        self.assertEqual(self.session.read(self.slab, 0, 10), ENDED)
        self.assertEqual(self.session.read(self.slab, 0, 10), ENDED)

    def test_cut(self) -> None:
        """FIN without close_notify is told apart from the end."""
        with self.assertRaises(SSL.WantReadError):
            self.client.recv(1)  # takes what TLS 1.3 sends after the handshake
        self.theirs.close()
        self.assertEqual(self.session.read(self.slab, 0, 10), CUT)
        self.assertEqual(self.session.write(self.slab, 0, 10), BROKEN)

    def test_broken(self) -> None:
        """Bytes that are no record break it."""
        self.theirs.send(b"this is not a TLS record at all")
        self.assertEqual(self.session.read(self.slab, 0, 10), BROKEN)

    def test_write_until_blocked(self) -> None:
        """A full socket blocks; the same bytes again go on where they stopped."""
        size = 4 * RECORD
        self.slab.view[:size] = bytes(range(256)) * (size // 256)
        written = 0
        for _ in range(1_000):
            count = self.session.write(self.slab, 0, size)
            if count == BLOCKED:
                break
            written += count
        self.assertEqual(count, BLOCKED)
        got = 0
        for _ in range(10_000):
            try:
                got += len(self.client.recv(65_536))
            except SSL.WantReadError:
                break
        self.assertGreater(self.session.write(self.slab, 0, size), 0)
        self.assertGreaterEqual(got, written)

    def test_headroom(self) -> None:
        """Places below 0 are as good as the others: a header is read and written there."""
        self.slab.whole[HEADROOM - 4 : HEADROOM + 6] = b"headfollow"
        self.assertEqual(self.session.write(self.slab, -4, 10), 10)
        self.assertEqual(self.client.recv(100), b"headfollow")
        self.client.send(b"0123456789abcdefAB")
        self.assertEqual(self.session.read(self.slab, -HEADROOM, 18), 18)
        self.assertEqual(bytes(self.slab.whole[:18]), b"0123456789abcdefAB")
        self.assertEqual(bytes(self.slab.view[:2]), b"AB")

    def test_say(self) -> None:
        """Words that stand in no slab leave it as it is."""
        before = bytes(self.slab.whole)
        self.assertEqual(self.session.say(b"a few words"), 11)
        self.assertEqual(self.client.recv(100), b"a few words")
        self.assertEqual(bytes(self.slab.whole), before)
        with self.assertRaises(SSL.WantReadError):
            self.client.recv(1)
        words = bytes(4 * RECORD)
        outcome = 1
        for _ in range(1_000):
            if (outcome := self.session.say(words)) <= 0:
                break
        self.assertEqual(outcome, BLOCKED)
        self.theirs.close()
        for _ in range(2):
            outcome = self.session.say(words)
        self.assertEqual(outcome, BROKEN)

    def test_end(self) -> None:
        """close_notify arrives, and reading goes on."""
        self.assertEqual(self.session.end(), ENDED)
        self.assertRaises(SSL.ZeroReturnError, self.client.recv, 1)
        self.client.send(b"still")
        self.assertEqual(self.session.read(self.slab, 0, 10), 5)


class PublicTests(BindingTests):
    """The same outcomes through public calls."""

    binding = False

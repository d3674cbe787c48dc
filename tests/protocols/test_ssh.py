"""Tests for `tlsgate.protocols.ssh`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.sniff import Opening, Then, sniff
from tlsgate.core.wire import ssh
from tlsgate.errors import NotServed
from tlsgate.protocols.ssh import Ssh


class SshTests(SynchronousTestCase):
    """SSH by its banner, and the port that only refuses."""

    def test_own_port(self) -> None:
        """The separate port speaks first: a disconnect with the way out."""
        protocol = Ssh()
        self.assertTrue(protocol.listener.speaks_first)
        error = NotServed("ssh", protocol.advice)
        self.assertEqual(protocol.refusal(error), ssh.disconnect(str(error)))

    def test_banner(self) -> None:
        """On a shared port the client's own banner leads to a route, untouched."""
        opening = sniff(b"SSH-2.0-OpenSSH_9.2p1\r\n", Ssh.openings)
        assert isinstance(opening, Opening)
        self.assertEqual(
            (opening.protocol, opening.then, opening.consumes, opening.answer),
            ("ssh", Then.TAKE, 0, b""),
        )

"""Tests for `tlsgate.protocols.tunnel`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.clients import answers
from tlsgate.core.sniff import Opening, Then, sniff
from tlsgate.core.wire import ssh
from tlsgate.errors import NotServed
from tlsgate.protocols.tunnel import Tunnel


class TunnelTests(SynchronousTestCase):
    """The port that only refuses."""

    error = NotServed("tunnel", Tunnel.advice)

    def test_in_ssh(self) -> None:
        """An agent that speaks SSH at once is told in SSH."""
        opening = sniff(b"SSH-2.0-Go\r\n", Tunnel.openings)
        assert isinstance(opening, Opening)
        self.assertEqual(opening.then, Then.REFUSE)
        self.assertEqual(opening.answer, ssh.disconnect(str(self.error)))

    def test_in_http(self) -> None:
        """One that asks for /webapi/find under TLS is told in JSON."""
        [answer] = answers(Tunnel().refusal(self.error))
        self.assertEqual(
            (answer.code, json.loads(answer.body)),
            (503, {"error": {"message": str(self.error)}}),
        )

"""Tests for `tlsgate.protocols.mysql`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.wire import mysql
from tlsgate.errors import NotServed
from tlsgate.protocols.mysql import MySQL


class MySQLTests(SynchronousTestCase):
    """The port that only refuses."""

    def test_own_port(self) -> None:
        """It speaks first: an ERR packet in the greeting's place."""
        protocol = MySQL()
        self.assertTrue(protocol.listener.speaks_first)
        error = NotServed("mysql", protocol.advice)
        self.assertEqual(protocol.refusal(error), mysql.err_packet(str(error)))

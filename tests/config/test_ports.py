"""Tests for `tlsgate.config.ports`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config import ports


class PortTests(SynchronousTestCase):
    """Tests for the default ports."""

    def test_they_are_those_that_operators_know(self) -> None:
        """Each port is the one of Teleport's networking reference."""
        found = {name: value for name, value in vars(ports).items() if name.isupper()}
        self.assertEqual(
            found,
            {
                "WEB": 3080,
                "SSH": 3023,
                "TUNNEL": 3024,
                "KUBE": 3026,
                "MYSQL": 3036,
                "POSTGRES": 5432,
                "MONGO": 27017,
                "PEER": 3021,
                "NODE": 3022,
                "SSHD": 22,
                "AUTH": 3025,
                "KUBE_SERVICE": 3027,
                "WINDOWS_DESKTOP": 3028,
                "METRICS": 3081,
                "DIAG": 3000,
                "HTTPS": 443,
            },
        )

"""Tests for `tgsh.fromping`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.tgsh.fromping import profile_from


class ProfileFromTests(SynchronousTestCase):
    """Tests for `profile_from`."""

    def test_separate(self) -> None:
        """Public addresses first; a listener that is on any address gets our host."""
        ping: dict[str, Any] = {
            "auth": {"type": "local"},
            "proxy": {
                "tls_routing_enabled": False,
                "ssh": {"listen_addr": "0.0.0.0:3023", "ssh_public_addr": "jump.test:23"},
                "kube": {"listen_addr": "[::]:3026"},
                "db": {"mysql_listen_addr": "10.0.0.1:3036"},
            },
        }
        made = profile_from(ping, "gate.test:443", "gate.test", "alice", "example")
        self.assertEqual(
            (made.ssh_proxy_addr, made.kube_proxy_addr, made.mysql_proxy_addr),
            ("jump.test:23", "gate.test:3026", "10.0.0.1:3036"),
        )
        self.assertEqual((made.tls_routing_enabled, made.host), (False, "gate.test"))

    def test_anything(self) -> None:
        """What is missing, or of another shape, is left empty."""
        for ping in ({}, {"proxy": 3}, {"proxy": {"ssh": 3, "db": {"mysql_listen_addr": 3}}}):
            made = profile_from(ping, "gate.test:443", "gate.test", "alice", "example")
            self.assertEqual((made.ssh_proxy_addr, made.mysql_proxy_addr), ("", ""))
            self.assertTrue(made.tls_routing_enabled)

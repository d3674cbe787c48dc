"""Tests for `tlsgate.core.tunnelway`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.tunnelway import Way, tunnel_way
from tlsgate.errors import BadTunnelWay

SERVER = "gate.example.com:443"


def find(routed: Any, **ssh: Any) -> dict[str, Any]:
    """A document."""
    return {"proxy": {"tls_routing_enabled": routed, "ssh": ssh}}


class WayTests(SynchronousTestCase):
    """Tests for `tunnel_way`."""

    def test_one_port(self) -> None:
        """With one port for all it is the public address, else where the web port listens."""
        for ssh, want in (
            (
                {"public_addr": "a.example:8443", "web_listen_addr": "0.0.0.0:3080"},
                "a.example:8443",
            ),
            ({"public_addr": "a.example"}, "a.example:443"),
            ({"web_listen_addr": "0.0.0.0:3080"}, "gate.example.com:3080"),
            ({"web_listen_addr": "[::]:3080"}, "gate.example.com:3080"),
            ({"web_listen_addr": ":3080"}, "gate.example.com:3080"),
            ({"web_listen_addr": "10.0.0.1:3080"}, "10.0.0.1:3080"),
            ({"public_addr": "[fd00::1]:3"}, "[fd00::1]:3"),
            ({"public_addr": "fd00::1"}, "[fd00::1]:443"),
            # In the middle of a migration both are told; the mode decides (T3, example C).
            (
                {
                    "public_addr": "a.example:443",
                    "ssh_tunnel_public_addr": "t.example:3024",
                    "tunnel_listen_addr": "0.0.0.0:3024",
                },
                "a.example:443",
            ),
        ):
            way = tunnel_way(find(True, **ssh), SERVER)
            self.assertEqual((str(way), way.alpn), (want, True))
        bare = tunnel_way(find(True, public_addr="a.example"), "gate.example.com")
        self.assertEqual(bare, Way("a.example", 443, alpn=True))

    def test_a_port_of_its_own(self) -> None:
        """Teleport's order of addresses; the port is the tunnel listener's."""
        every = {
            "ssh_tunnel_public_addr": "t.example:13024",
            "ssh_public_addr": "s.example:3023",
            "public_addr": "a.example:443",
            "tunnel_listen_addr": "0.0.0.0:3124",
            "web_listen_addr": "0.0.0.0:3080",
        }
        for gone, want in (
            ("", "t.example:13024"),
            ("ssh_tunnel_public_addr", "s.example:3124"),
            ("ssh_public_addr", "a.example:3124"),
            ("public_addr", "gate.example.com:3124"),
        ):
            every.pop(gone, None)
            self.assertEqual(tunnel_way(find(False, **every), SERVER).alpn, False)
            self.assertEqual(str(tunnel_way(find(False, **every), SERVER)), want)
        way = tunnel_way(find(False, ssh_tunnel_public_addr="t.example"), SERVER)
        self.assertEqual(way, Way("t.example", 3024, alpn=False))

    def test_one_port_that_has_both(self) -> None:
        """Where web and tunnel have one address the token has to be confirmed."""
        for ssh in (
            {"ssh_tunnel_public_addr": "a.example:443", "public_addr": "a.example:443"},
            {"tunnel_listen_addr": "0.0.0.0:3080", "web_listen_addr": "0.0.0.0:3080"},
            {
                "ssh_tunnel_public_addr": "agents.example:443",
                "public_addr": "a.example:443",
                "tunnel_listen_addr": "0.0.0.0:443",
                "web_listen_addr": "0.0.0.0:443",
            },
        ):
            self.assertTrue(tunnel_way(find(False, **ssh), SERVER).alpn)

    def test_contradictions(self) -> None:
        """A mode without its address is refused with a sentence, and nothing is guessed."""
        for document, said in (
            (find(False, public_addr="a.example:443"), "there is no address for it"),
            (find(True, tunnel_listen_addr="0.0.0.0:3024"), "no public address says where"),
            ({"proxy": {"tls_routing_enabled": True}}, "no public address says where"),
            (find(None), "neither true nor false"),
            (find("yes"), "neither true nor false"),
            ({}, "nothing of a gateway"),
            ({"proxy": {"tls_routing_enabled": True, "ssh": []}}, "ssh is no object"),
        ):
            error = self.assertRaises(BadTunnelWay, tunnel_way, document, SERVER)
            self.assertIn(said, str(error))

    def test_odd_addresses(self) -> None:
        """What is no address is told by its key."""
        for written in (
            1,
            "a b:1",
            "a:0",
            "a:99999",
            "a:x",
            "x" * 600,
            "http://a:1",
            "[::1",
            "a:-1",
        ):
            error = self.assertRaises(
                BadTunnelWay, tunnel_way, find(True, public_addr=written), SERVER
            )
            self.assertIn("public_addr", str(error))
        self.assertRaises(BadTunnelWay, tunnel_way, find(True, public_addr="a:1"), "a:b:c:x")

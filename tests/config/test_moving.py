"""Tests for `tlsgate.config.moving`: what a file says that does not fit one port, or several."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.read import read_text


def _warnings(text: str) -> list[str]:
    return list(map(str, read_text(text, "f.yaml").warnings))


class WarningTests(SynchronousTestCase):
    """Tests for `warn`."""

    def test_separate_beyond_v1(self) -> None:
        """v2 opens what it names; what clients look for besides is named, with its line."""
        text = """\
version: v2
auth_service:
  proxy_listener_mode: separate
proxy_service:
  listen_addr: 127.0.0.1:3023
"""
        (said,) = _warnings(text)
        self.assertTrue(said.startswith("f.yaml:3:3 auth_service.proxy_listener_mode: "), said)
        self.assertIn("opens no port for tunnel here", said)
        self.assertIn("add tunnel_listen_addr", said)
        self.assertEqual(_warnings(text + "  tunnel_listen_addr: 127.0.0.1:3024\n"), [])
        self.assertEqual(_warnings(text.replace("v2", "v1")), [])

    def test_a_port_that_is_not_open(self) -> None:
        """An address that clients are told has to lead to a port of this file, or the web's."""
        text = """\
version: v2
proxy_service:
  web_listen_addr: 127.0.0.1:3080
  public_addr: gate.test:443
  ssh_public_addr: [gate.test:443, gate.test:3023]
  tunnel_public_addr: gate.test
  postgres_public_addr: gate.test:3080
"""
        ssh, tunnel = _warnings(text)
        self.assertTrue(ssh.startswith("f.yaml:5:36 proxy_service.ssh_public_addr[1]: "), ssh)
        self.assertIn("opens no ssh listener", ssh)
        self.assertIn("tunnel_listen_addr", tunnel)
        self.assertEqual(_warnings(text.replace("v2", "v1")), [])

    def test_the_wrong_port(self) -> None:
        """The public address of everything is not a port that closes one day."""
        text = """\
version: v1
proxy_service:
  web_listen_addr: 127.0.0.1:3080
  public_addr: gate.test:3023
"""
        (said,) = _warnings(text)
        self.assertIn("f.yaml:4", said)
        self.assertIn("points at the port of the ssh listener", said)

    def test_no_name(self) -> None:
        """Who dials an address sends no name; on this host nobody minds."""
        text = "version: v2\nproxy_service:\n  public_addr: {}\n"
        for public, count in (
            ("192.0.2.1:443", 1),
            ("'[2001:db8::1]:443'", 1),
            ("[gate.test, 192.0.2.1]", 0),
            ("127.0.0.1:443", 0),
        ):
            self.assertEqual(len(_warnings(text.format(public))), count, public)
        self.assertEqual(_warnings(text.format("192.0.2.1:443").replace("v2", "v1")), [])

    def test_a_route_without_a_name(self) -> None:
        """TLS that passes through untouched, for whatever name, is behind no balancer's rule."""
        text = """\
version: v2
proxy_service:
  routes:
  - {name: raw, alpn: [x], passthrough: yes, target: "tcp:host=127.0.0.1:port=9"}
  - {name: named, sni: [a.test], alpn: [x], passthrough: yes, target: "tcp:127.0.0.1:9"}
"""
        (said,) = _warnings(text)
        self.assertIn("f.yaml:4", said)
        self.assertIn("add sni", said)

    def test_no_gateway(self) -> None:
        """A file without a gateway has no ports to say anything of."""
        self.assertEqual(_warnings("version: v2\nproxy_service: {enabled: no}\n"), [])

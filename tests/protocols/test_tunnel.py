"""Tests for `tlsgate.protocols.tunnel`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Rig
from tests.protocols.web.clients import answers
from tests.tunnel.gateside import ServerCase, greeting, hello, identity
from tlsgate.config.read import read_text
from tlsgate.core.frames import FrameKind, Frames, message
from tlsgate.core.routing import Ask, CertRule
from tlsgate.core.sniff import Opening, Then, sniff
from tlsgate.core.tunnelway import tunnel_way
from tlsgate.core.wire import ssh
from tlsgate.errors import Denied, NoRoute, NotServed
from tlsgate.interfaces import RelayTo
from tlsgate.net.gate import Gate, Trust
from tlsgate.protocols.addresses import open_listeners
from tlsgate.protocols.tunnel import Tunnel
from tlsgate.protocols.web.protocol import Web
from tlsgate.testing import FakeContext, connect, route


class StrangerTests(SynchronousTestCase):
    """Who comes to the port by mistake."""

    error = NotServed("tunnel", Tunnel.advice)

    def test_in_ssh(self) -> None:
        """An agent that speaks SSH at once is told in SSH."""
        opening = sniff(b"SSH-2.0-Go\r\n", Tunnel.openings)
        assert isinstance(opening, Opening)
        self.assertEqual((opening.then, opening.own_port), (Then.REFUSE, True))
        self.assertEqual(opening.answer, ssh.disconnect(str(self.error)))

    def test_in_http(self) -> None:
        """One that asks for /webapi/find under TLS is told in JSON."""
        [answer] = answers(Tunnel().refusal(self.error))
        self.assertEqual(
            (answer.code, json.loads(answer.body)),
            (503, {"error": {"message": str(self.error)}}),
        )

    def test_agent(self) -> None:
        """An agent reads a refusal in a frame."""
        [frame] = Frames().feed(Tunnel().refusal(Denied("tunnel", "db1", "it is locked")))
        self.assertIn("it is locked", greeting(frame).error)


class BuildTests(ServerCase):
    """What an agent's connection becomes."""

    def test_door(self) -> None:
        """The tunnels of the gateway have it."""
        context = self.context(identity())
        talk = connect(Tunnel(), context)
        talk.send(message(FrameKind.HELLO, hello().told()))
        [first, ping] = Frames().feed(talk.received)
        self.assertEqual((greeting(first).error, ping.kind), ("", FrameKind.PING))
        self.assertEqual(len(self.tunnels.agents), 1)
        talk.hang_up()
        self.assertEqual(len(self.tunnels.agents), 0)

    def test_refused(self) -> None:
        """Or refuse it, or are not there."""
        tunnel = Tunnel()
        self.assertRaises(Denied, tunnel.build, self.context(None))
        self.assertRaises(NotServed, tunnel.build, FakeContext())

    def test_static(self) -> None:
        """A static route is carried to its target."""
        to: Any = Tunnel().build(FakeContext(route=route(target="tcp:127.0.0.1:1")))
        self.assertEqual(to, RelayTo(target="tcp:127.0.0.1:1"))


class AdvertiseTests(SynchronousTestCase):
    """Where agents are sent, and that they understand it."""

    def test_separate(self) -> None:
        """To the tunnel's port; without one to the web port, by the token, like its clients."""
        gate = "web_listen_addr: 0.0.0.0:443\n  public_addr: gate.example.com:4443"
        own = "tunnel_listen_addr: 0.0.0.0:3024"
        same = "tunnel_listen_addr: 0.0.0.0:443"
        named = f"{same}\n  tunnel_public_addr: agents.example.com:4443"
        jump = "listen_addr: 0.0.0.0:3023"
        for version, more, want, alpn in (
            ("v1", own, "gate.example.com:3024", False),
            ("v1", same, "gate.example.com:4443", True),
            ("v1", named, "agents.example.com:4443", True),
            ("v2", jump, "gate.example.com:4443", True),
            ("v2", f"{jump}\n  {own}", "gate.example.com:3024", False),
        ):
            settings = read_text(
                f"version: {version}\nauth_service: {{proxy_listener_mode: separate}}\n"
                f"proxy_service:\n  {gate}\n  {more}\n"
            )
            ssh: dict[str, Any] = {}
            for protocol in (Web(), Tunnel()):
                ssh |= protocol.advertise(settings, open_listeners(settings))["ssh"]
            find = {"proxy": {"tls_routing_enabled": False, "ssh": ssh}}
            way = tunnel_way(find, "gate.example.com:4443")
            self.assertEqual((str(way), way.alpn), (want, alpn), (version, more))

    def test_multiplex(self) -> None:
        """Nothing is said of it but where it listens."""
        settings = read_text("version: v2\nproxy_service: {public_addr: gate.example.com:443}")
        said = Tunnel().advertise(settings, open_listeners(settings))
        self.assertEqual(said, {"ssh": {"tunnel_listen_addr": "0.0.0.0:3080"}})


class RoutesTests(SynchronousTestCase):
    """By which ports and tokens agents come."""

    def gate(self, extra: str, *, trusted: bool = True) -> Gate:
        """A gate, in a cluster or alone."""
        rig = Rig(extra=extra, version="v1")
        self.addCleanup(rig.close)
        settings, gate = rig.settings, rig.gateway.gate
        ca = str(settings.client_ca_files[0])
        trust = Trust(ca_files={"user": ca, "host": ca}, keypairs=settings.keypairs)
        return Gate.build(settings, gate.protocols, trust) if trusted else gate

    def chosen(self, gate: Gate, listener: str, *alpn: bytes) -> str:
        """Who serves it; a certificate of a host is demanded where the tunnel does."""
        try:
            chosen = gate.table.choose(Ask(listener=listener, alpn=alpn)).route
        except NoRoute:
            return "nobody"
        if chosen.protocol == "tunnel":
            self.assertEqual(
                (chosen.client_cert, chosen.trusts, chosen.shows_cluster, chosen.target),
                (CertRule.REQUIRED, ("host",), True, None),
            )
        return chosen.protocol

    def test_own_port(self) -> None:
        """The tunnel's port takes agents with and without the token, and nobody else."""
        gate = self.gate('  tunnel_listen_addr: "127.0.0.1:3024"')
        for alpn, want in (
            ((b"tlsgate-reversetunnel",), "tunnel"),
            ((b"tlsgate-reversetunnel/0", b"tlsgate-reversetunnel"), "tunnel"),
            ((), "tunnel"),
            ((b"http/1.1",), "nobody"),
            ((b"h2",), "nobody"),
        ):
            self.assertEqual(self.chosen(gate, "tunnel", *alpn), want)
        names = [one.name for one in gate.entrances["tunnel"].openings]
        self.assertLess(names.index("tunnel-ssh"), names.index("ssh-banner"))
        self.assertNotIn("tunnel-ssh", [one.name for one in gate.entrances["web"].openings])

    def test_one_listener(self) -> None:
        """Where web and tunnel have one address, the token tells agents from browsers."""
        gate = self.gate('  tunnel_listen_addr: "127.0.0.1:443"')
        self.assertNotIn("tunnel", gate.entrances)
        self.assertEqual(self.chosen(gate, "web", b"tlsgate-reversetunnel"), "tunnel")
        self.assertEqual(self.chosen(gate, "web", b"http/1.1"), "web")
        self.assertEqual(self.chosen(gate, "web"), "web")

    def test_alone(self) -> None:
        """A gateway without a cluster has no tunnels: nobody could be verified."""
        gate = self.gate('  tunnel_listen_addr: "127.0.0.1:3024"', trusted=False)
        for listener in ("web", "tunnel"):
            self.assertEqual(self.chosen(gate, listener, b"tlsgate-reversetunnel"), "nobody")

"""What a gateway's jump host shows to clients of SSH: its public hosts, and no node's name."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import ADDRESS, NAME, PEM, SSH, Cluster
from tlsgate.auth.gateways import Gateways
from tlsgate.auth.principal import nobody
from tlsgate.core.wire.sshcert import parse_line

PATH = "/v1/gateway/certificates"


class JumpHostTests(SynchronousTestCase):
    """The OpenSSH certificate of `gateway.certificates`."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)

    def jump_names(self, cluster: Cluster, *told: str, ssh: str = SSH) -> tuple[str, ...]:
        """The principals of what a gateway shows to clients of SSH."""
        body = {
            "names": ["gw1.gateway.gate.example.com"],
            "tls_public_key": PEM,
            "ssh_public_key": ssh,
            "public": list(told),
        }
        reply = cluster.ask(cluster.gateway, "POST", PATH, body)
        self.assertEqual(reply.status, 200, reply.body)
        found = parse_line(reply.body["ssh_certificate"])
        self.assertEqual((found.kind.name, found.valid_before), ("HOST", reply.body["not_after"]))
        return found.principals

    def test_what_a_jump_host_shows(self) -> None:
        """A certificate for the public hosts, addresses too, its cluster, and its own name."""
        own = "gw1.gateway.gate.example.com"
        self.assertEqual(self.jump_names(self.cluster), ("gate.example.com", own))
        public = ("Gate.Test:443", "192.0.2.1:443")
        other = Cluster(self, public_addresses=lambda: public)
        self.assertEqual(self.jump_names(other), ("gate.test", "192.0.2.1", NAME, own))
        plain = {"names": ["gate.example.com"], "tls_public_key": PEM}
        answer = self.cluster.ask(self.cluster.gateway, "POST", PATH, plain)
        self.assertIsNone(answer.body["ssh_certificate"])

    def test_a_jump_host_is_no_node(self) -> None:
        """A gateway that says its public hosts itself gets no certificate for a node's name."""
        gateways = Gateways(self.cluster.store, tuple)
        cluster = Cluster(self, gateways=gateways, public_addresses=gateways.addresses)
        made = cluster.ask(cluster.local, "POST", "/v1/tokens", {"types": ["node"]}).body
        body = {"token": made["secret"], "type": "node", "name": "db1", "tls_public_key": PEM}
        self.assertEqual(cluster.ask(nobody(ADDRESS), "POST", "/v1/join", body).status, 200)
        told = ("gate.test:443", "db1.gate.test:443", f"db1.{NAME}:443", "eu.gate.test:443")
        names = self.jump_names(cluster, *told)
        self.assertEqual(set(names), {"gate.test", "eu.gate.test", NAME, f"gw1.gateway.{NAME}"})
        self.assertEqual(set(self.jump_names(cluster, *told)), set(names))

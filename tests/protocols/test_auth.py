"""Tests for `tlsgate.protocols.auth`: the auth service's doors on the gateway."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.auth.cluster import NAME, PEM, Cluster
from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.core.routing import CertRule
from tlsgate.errors import Denied, NoRoute, NotServed
from tlsgate.interfaces import IGateProtocol, RelayTo
from tlsgate.protocols.auth import Auth, Join, host_of
from tlsgate.testing import Conversation, FakeCluster, FakeContext, connect, route

KEYS = {"tls_public_key": PEM, "ssh_public_key": None}
ANCHOR = hashlib.sha256(b"user").digest()


def known(api: Any) -> FakeCluster:
    """The cluster as the gateway knows it."""
    return FakeCluster(NAME, anchor=ANCHOR, api=api)


def alice(**more: Any) -> Identity:
    """Alice by her certificate."""
    claims = Claims(cluster=NAME, kind="user", name="alice", roles=("access",))
    fields = {"claims": claims, "anchor": ANCHOR, "not_after": 2e9, "serial": 5, **more}
    return Identity(common_names=("alice",), **fields)


class DoorsCase(SynchronousTestCase):
    """A cluster in this process."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.cluster.user("alice", "access")

    def context(self, identity: Identity | None = None, **more: Any) -> FakeContext:
        fields = {"cluster": known(self.cluster.api), "clock": self.cluster.clock, **more}
        return FakeContext(identity=identity, **fields)

    def get(self, talk: Conversation, path: str, *headers: str) -> tuple[int, Any]:
        """Ask once; the status and the body."""
        talk.take()
        lines = [f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]
        talk.send("\r\n".join(lines).encode())
        self.cluster.turn()
        head, _, body = talk.take().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)


class AuthTests(DoorsCase):
    """Tests for `Auth`."""

    def test_what_it_claims(self) -> None:
        """A token, and a name under each public one; a certificate of the cluster, always."""
        auth = Auth()
        verifyObject(IGateProtocol, auth)
        self.assertEqual(
            list(auth.server_names(("gw.test", "b.test"))), ["auth.gw.test", "auth.b.test"]
        )
        self.assertEqual((auth.alpn, auth.client_cert), ((b"tlsgate-auth",), CertRule.REQUIRED))
        self.assertEqual(auth.holders, ("user", "host"))
        self.assertTrue(auth.shows_cluster and auth.at_auth)

    def test_as_the_holder(self) -> None:
        """The API is asked as who the certificate names."""
        talk = connect(Auth(), self.context(alice()))
        status, said = self.get(talk, "/v1/me")
        self.assertEqual((status, said["name"]), (200, "alice"), said)
        status, said = self.get(talk, "/v1/me", "tlsgate-as: anyone 192.0.2.9")
        self.assertEqual((status, said["name"]), (200, "alice"))  # counts from gateways alone
        self.assertEqual(self.get(talk, "/v1/resources/user")[0], 403)

    def test_a_gateway_asks_for_its_clients(self) -> None:
        """Only a gateway is believed about a client's address; other hosts ask as themselves."""
        asked = json.dumps({"user": "alice", "password": "x" * 16, "otp": "000000"} | KEYS)
        for role, header, address in (
            ("gateway", "anyone 192.0.2.9", "192.0.2.9"),
            ("gateway", "gateway 192.0.2.8", "192.0.2.8"),
            ("node", "anyone 192.0.2.9", "203.0.113.1"),
        ):
            claims = Claims(cluster=NAME, kind="host", name="h", system_roles=(role,))
            context = self.context(alice(claims=claims), peer=IPv4Address("TCP", "203.0.113.1", 1))
            talk = connect(Auth(), context)
            talk.take()
            self.cluster.audit.take()
            head = (
                f"POST /v1/login HTTP/1.1\r\nHost: x\r\ntlsgate-as: {header}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(asked)}\r\n\r\n"
            )
            talk.send((head + asked).encode())
            self.cluster.turn()
            self.assertIn(b" 401 ", talk.take().partition(b"\r\n")[0])
            (fields,) = [told for event, told in self.cluster.audit.events]
            self.assertEqual(fields["addr.remote"], address)

    def test_s10_only_the_clusters_own(self) -> None:
        """Who is not below the cluster's authority is nobody here, whatever it claims to be."""
        for identity, cluster in (
            (None, known(self.cluster.api)),
            (alice(anchor=b"other"), known(self.cluster.api)),
            (alice(claims=None, anchor=b""), known(self.cluster.api)),
            (alice(), None),
        ):
            context = self.context(identity, cluster=cluster)
            self.assertRaises(Denied, Auth().build, context)

    def test_elsewhere(self) -> None:
        """Where the auth service is another process its TLS goes there untouched."""
        away = route(passthrough=True, target="unix:/x", client_cert=CertRule.NONE)
        for protocol in (Auth(), Join()):
            found = protocol.build(self.context(route=away))
            assert isinstance(found, RelayTo)
            self.assertEqual(found.target, "unix:/x")

    def test_not_here(self) -> None:
        """Without an auth service in this process, and without a way to one, it is not served."""
        for protocol in (Auth(), Join()):
            context = self.context(alice(), cluster=known(None))
            self.assertRaises(NotServed, protocol.build, context)

    def test_refusals(self) -> None:
        """A refusal is an HTTP answer in constant words."""
        for error, code in (
            (Denied("auth", "eve", "because of a secret"), b"403"),
            (NotServed("auth", "secret"), b"503"),
            (NoRoute("web", "secret", ()), b"503"),
        ):
            for protocol in (Auth(), Join()):
                wire = protocol.refusal(error)
                self.assertTrue(wire.startswith(b"HTTP/1.1 " + code), wire)
                self.assertNotIn(b"secret", wire)
                json.loads(wire.partition(b"\r\n\r\n")[2])

    def test_addresses(self) -> None:
        """The API hears the client's address without its port, where there is one."""
        for peer, host in (
            (IPv4Address("TCP", "192.0.2.7", 1), "192.0.2.7"),
            (UNIXAddress(None), None),
        ):
            self.assertEqual(host_of(self.context(peer=peer)), host)


class JoinTests(DoorsCase):
    """Tests for `Join`."""

    def test_what_it_claims(self) -> None:
        """A token and no name; nobody is asked for a certificate."""
        join = Join()
        verifyObject(IGateProtocol, join)
        self.assertEqual((join.alpn, join.client_cert), ((b"tlsgate-join",), CertRule.NONE))
        self.assertEqual(list(join.server_names(("gw.test",))), [])

    def test_s06_nobody_whatever_is_shown(self) -> None:
        """S06: through this door everybody is nobody, with a certificate or a header too."""
        for identity in (None, alice()):
            talk = connect(Join(), self.context(identity))
            self.assertEqual(self.get(talk, "/v1/cas")[0], 200)
            for headers in ((), ("tlsgate-as: gateway",), ("tlsgate-as: local 0",)):
                self.assertIn(self.get(talk, "/v1/me", *headers)[0], (401, 403))
                self.assertIn(self.get(talk, "/v1/resources/role", *headers)[0], (401, 403))

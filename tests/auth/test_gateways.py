"""Tests for `tlsgate.auth.gateways`, and for the names that a gateway elsewhere may show."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import NAME, PEM, Cluster
from tlsgate.auth.api import Api
from tlsgate.auth.gateways import Gateways
from tlsgate.auth.principal import gateway, itself
from tlsgate.core.keeping import Put
from tlsgate.store.memory import MemoryStore


class GatewaysTests(SynchronousTestCase):
    """Tests for `Gateways`."""

    def setUp(self) -> None:
        self.time = 1000.0
        self.store = MemoryStore(lambda: self.time)
        self.own: tuple[str, ...] = ()

    def made(self) -> Gateways:
        """One that has started."""
        found = Gateways(self.store, lambda: self.own)
        self.successResultOf(Deferred.fromCoroutine(found.start()))
        self.addCleanup(found.stop)
        return found

    def tell(self, gateways: Gateways, name: str, *addresses: str) -> None:
        """A gateway says where it is."""
        telling = gateways.tell(name, addresses, self.time + 60)
        self.successResultOf(Deferred.fromCoroutine(telling))

    def test_what_was_told(self) -> None:
        """Addresses of all gateways are known, in a new process too; nothing told is nothing."""
        gateways = self.made()
        self.assertFalse(gateways.fixed)
        self.tell(gateways, "gw2", "b.example:443", "a.example:443")
        self.tell(gateways, "gw1", "a.example:443")
        self.tell(gateways, "gw3")
        want = ("a.example:443", "b.example:443")
        self.assertEqual((gateways.addresses(), self.made().addresses()), (want, want))

    def test_the_file_comes_first(self) -> None:
        """What the auth service's own file says is told before all else."""
        self.own = ("x.example:443",)
        gateways = self.made()
        self.tell(gateways, "gw1", "a.example:443")
        self.assertTrue(gateways.fixed)
        self.assertEqual(gateways.addresses(), ("x.example:443", "a.example:443"))

    def test_changed(self) -> None:
        """Whoever wants to know is told of other addresses, once, whichever process took them."""
        gateways, other = self.made(), self.made()
        told: list[str] = []
        gateways.changed = lambda: told.append("here")
        other.changed = lambda: told.append("there")
        self.tell(gateways, "gw1", "a.example:443")
        self.store.turn()
        self.tell(gateways, "gw1", "a.example:443")
        self.tell(gateways, "gw2", "a.example:443")
        self.store.turn()
        self.assertEqual(told, ["here", "there"])

    def test_what_cannot_be_read(self) -> None:
        """A broken item is nobody's address."""
        put = self.store.commit([Put("gateways/gw1", b"{")])
        self.successResultOf(Deferred.fromCoroutine(put))
        self.assertEqual(self.made().addresses(), ())


class NamesTests(SynchronousTestCase):
    """Tests for /v1/gateway/certificates of a gateway that is not beside the auth service."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.gateways = Gateways(self.cluster.parts.store, lambda: ())
        parts = evolve(
            self.cluster.parts,
            gateways=self.gateways,
            public_addresses=self.gateways.addresses,
        )
        self.api = Api(parts)

    def ask(self, who: Any, names: list[str], public: str = "web.example:443") -> tuple[int, Any]:
        """Ask for a certificate."""
        from tlsgate.auth.calls import Ask

        body = {"names": names, "tls_public_key": PEM, "public": [public]}
        asked = Ask(method="POST", path="/v1/gateway/certificates", body=body)
        asking = Deferred.fromCoroutine(self.api.call(who, asked))
        self.cluster.clock.advance(0)
        reply = self.successResultOf(asking)
        return reply.status, reply.body

    def test_names_that_it_says_itself(self) -> None:
        """Any name but another host's; and the cluster knows its address from then on."""
        gw = gateway(NAME, "gw1")
        self.assertEqual(self.ask(gw, ["web.example", "auth.web.example"])[0], 200)
        self.assertEqual(self.gateways.addresses(), ("web.example:443",))
        for taken in (f"auth.{NAME}", f"n1.node.{NAME}", f"*.db.{NAME}", f"a.auth.{NAME}"):
            self.assertEqual(self.ask(gw, [taken])[0], 400, taken)

    def test_an_address_that_is_the_cluster_s_name(self) -> None:
        """Databases are named below it, where agents' hosts are; all else stays another's."""
        gw, public = gateway(NAME, "gw1"), f"{NAME}:443"
        self.assertEqual(self.ask(gw, [NAME, f"*.db.{NAME}"], public)[0], 200)
        for taken in (f"*.node.{NAME}", f"n1.db.{NAME}", f"*.auth.{NAME}"):
            self.assertEqual(self.ask(gw, [taken], public)[0], 400, taken)

    def test_the_auth_service_itself(self) -> None:
        """Only the auth service's own process gets what says that it is the auth service."""
        from cryptography import x509

        from tlsgate.core.claims import CLAIMS_OID, decode

        found = []
        for who, name in (
            (itself(NAME, "a1"), f"auth.{NAME}"),
            (gateway(NAME, "g"), "web.example"),
        ):
            status, body = self.ask(who, [name])
            self.assertEqual(status, 200, body)
            leaf = x509.load_pem_x509_certificate(body["certificate"].encode())
            extension = next(one for one in leaf.extensions if one.oid.dotted_string == CLAIMS_OID)
            found.append(decode(extension.value.value).system_roles)
        self.assertEqual(found, [("gateway", "auth"), ("gateway",)])

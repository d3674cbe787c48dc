"""Tests for `tlsgate.net.gateway`: reload, counts, and what is told of connections."""

from __future__ import annotations

from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import CLIENT, Rig, read_some
from tests.net.test_dispatcher import hello
from tlsgate.errors import AuditFailed
from tlsgate.net.gateway import spell

ROUTE = '[{name: one, alpn: [%s], target: "{unix}", client_cert: none, unsafe_anyone: yes}]'


class TakeTests(SynchronousTestCase):
    """Tests for `Gateway.take`."""

    def test_swap(self) -> None:
        """New connections use the new gate, those that are there go on with theirs."""
        rig, other = Rig(ROUTE % "old"), Rig(ROUTE % "new")
        self.addCleanup(rig.close)
        self.addCleanup(other.close)
        client = rig.secure(alpn=(b"old",)).shake()
        target = rig.accept()
        rig.gateway.take(other.gateway.gate)
        self.assertIn("no application protocol", rig.secure(alpn=(b"old",)).alert())
        client.write(b"still")
        self.assertEqual(read_some(rig, target, 5), b"still")
        self.assertEqual(rig.secure(alpn=(b"new",)).shake().tls.get_alpn_proto_negotiated(), b"new")

    def test_limits_count_at_once(self) -> None:
        """Limits of the new configuration hold for what comes next."""
        rig = Rig()
        other = Rig(extra="  limits: {unauthenticated_per_address: 1}")
        self.addCleanup(rig.close)
        self.addCleanup(other.close)
        rig.connect()
        rig.gateway.take(other.gateway.gate)
        rig.connect()
        self.assertEqual(len(rig.gateway.connections()), 1)


class OpeningTests(SynchronousTestCase):
    """Tests for `Gateway.opening`."""

    def test_who_is_on_the_way_in(self) -> None:
        """Somebody is who has just come, until he is where he wants to be, or takes too long."""
        rig = Rig(ROUTE % "x")
        self.addCleanup(rig.close)
        self.assertFalse(rig.gateway.opening())
        client = rig.secure(alpn=(b"x",))
        rig.settle()
        self.assertTrue(rig.gateway.opening())
        client.shake()
        rig.accept()
        rig.settle()
        self.assertFalse(rig.gateway.opening())
        rig.connect()
        self.assertTrue(rig.gateway.opening())
        rig.reactor.advance(2)
        self.assertFalse(rig.gateway.opening())


class TellTests(SynchronousTestCase):
    """What the gateway says of its connections."""

    def test_ledger_and_audit(self) -> None:
        """A dispatched connection is opened and closed in the ledger, and audited once."""
        rig = Rig(ROUTE % "x")
        self.addCleanup(rig.close)
        client = rig.secure(alpn=(b"x",)).shake()
        target = rig.accept()
        (live,) = rig.gateway.connections()
        self.assertEqual((live["stage"], live["route"], live["alpn"]), ("relaying", "one", "x"))
        client.tls.shutdown()
        target.close()
        rig.settle()
        self.assertEqual(
            rig.witness.seen, [("opened", "web", "tls-alpn"), ("closed", "web", "tls-alpn")]
        )
        ((event, fields),) = rig.witness.events
        self.assertEqual((event, fields["cause"]), ("route.end", "client_ended"))

    def test_of_the_auth_service(self) -> None:
        """Whose TLS goes on to the auth service is nobody here: that one knows who it is."""
        for at_auth, seen in ((False, ["opened"]), (True, [])):
            rig = Rig('[{name: pass, alpn: [open], passthrough: yes, target: "{unix}"}]')
            self.addCleanup(rig.close)
            self.patch(type(rig.gateway.gate.protocols["raw"]), "at_auth", at_auth)
            rig.connect().send(hello())
            rig.accept()
            self.assertEqual([what for what, _, _ in rig.witness.seen], seen)

    def test_closed(self) -> None:
        """While the gateway is closed nobody new reaches a target; who has, goes on."""
        rig = Rig(ROUTE % "x")
        self.addCleanup(rig.close)
        client = rig.secure(alpn=(b"x",)).shake()
        target = rig.accept()
        rig.gateway.closed = AuditFailed
        refused = rig.secure(alpn=(b"x",)).shake()
        self.assertEqual(refused.read_end(), b"")
        rig.advance(3)
        self.assertEqual(rig.journal[-1]["cause"], "audit_failed")
        client.write(b"still")
        self.assertEqual(read_some(rig, target, 5), b"still")
        rig.gateway.closed = lambda: None
        rig.secure(alpn=(b"x",)).shake()
        rig.accept()

    def test_s57_nothing_is_left_to_the_collector(self) -> None:
        """After churn there is no object of a connection left, without a collection."""
        import gc

        from tlsgate.net.connection import Connection
        from tlsgate.net.ends import End
        from tlsgate.net.relay import Flow, Pair
        from tlsgate.tls.handshake import Handshake

        rig = Rig(ROUTE % "x")
        self.addCleanup(rig.close)
        kinds = (Connection, End, Flow, Pair, Handshake)
        gc.collect()
        held = [one for one in gc.get_objects() if isinstance(one, kinds)]  # by other tests
        gc.disable()
        try:
            for number in range(12):
                client = rig.secure(alpn=(b"x",), cert=None).shake()
                target = rig.accept()
                client.write(b"x")
                read_some(rig, target, 1)
                if number % 2:
                    client.tls.shutdown()
                client.sock.close()
                target.close()
                rig.settle()
                del client, target
            there = [one for one in gc.get_objects() if isinstance(one, kinds)]
        finally:
            gc.enable()
        left = [one for one in there if not any(one is other for other in held)]
        self.assertEqual(left, [])


class SpellTests(SynchronousTestCase):
    """Tests for `spell`."""

    def test_addresses(self) -> None:
        """IPv4, IPv6 and UNIX as logs have them."""
        self.assertEqual(spell(CLIENT), "192.0.2.7:4711")
        self.assertEqual(spell(IPv6Address("TCP", "2001:db8::1", 1)), "[2001:db8::1]:1")
        self.assertEqual(spell(UNIXAddress(None)), "unix")

"""Who asks, and how audit events name it."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.principal import (
    Principal,
    gateway,
    local,
    nobody,
    of_certificate,
    of_machine,
    on_behalf,
)
from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.errors import BadAsk, Untrusted


class PrincipalTests(SynchronousTestCase):
    """Tests for `Principal`."""

    def test_names(self) -> None:
        """Each kind has a name that no other kind can take."""
        self.assertEqual(
            [
                str(local(0)),
                str(Principal(kind="user", name="alice")),
                str(gateway("c", "gw1")),
                str(Principal(kind="host", name="h")),
                str(nobody("192.0.2.7")),
            ],
            ["local:0", "alice", "gateway:gw1", "host:h", "nobody"],
        )

    def test_of_a_certificate(self) -> None:
        """What a certificate says stays with who asks; one without claims is nobody's."""
        claims = Claims(cluster="c", kind="user", name="alice", roles=("access",))
        identity = Identity(serial=7, not_after=9.0, claims=claims)
        self.assertEqual(
            of_certificate(identity, "192.0.2.7"),
            Principal(
                kind="user",
                name="alice",
                claims=claims,
                address="192.0.2.7",
                serial=7,
                not_after=9.0,
            ),
        )
        self.assertRaises(Untrusted, of_certificate, Identity(common_names=("x",)), None)


class OnBehalfTests(SynchronousTestCase):
    """Tests for `on_behalf`: whose word about a client's address counts."""

    def test_a_gateway(self) -> None:
        """A gateway asks for a client, as itself or as that client."""
        gw = gateway("c", "gw1")
        self.assertEqual(on_behalf(gw, None), gw)
        self.assertEqual(on_behalf(gw, "gateway"), gw)
        self.assertEqual(on_behalf(gw, "gateway 192.0.2.7"), evolve(gw, address="192.0.2.7"))
        self.assertEqual(on_behalf(gw, "anyone 2001:DB8::1"), nobody("2001:db8::1"))
        self.assertEqual(on_behalf(gw, "anyone"), nobody())

    def test_nobody_else(self) -> None:
        """Users, other hosts, the admin socket and strangers name no address but their own."""
        node = Claims(cluster="c", kind="host", name="n", system_roles=("node", "db", "app"))
        user = Claims(cluster="c", kind="user", name="gateway", roles=("gateway",))
        for other in (
            Principal(kind="host", name="n", claims=node, address="198.51.100.1"),
            Principal(kind="user", name="gateway", claims=user, address="198.51.100.1"),
            nobody("198.51.100.1"),
            local(0),
        ):
            for said in ("anyone 192.0.2.7", "gateway 192.0.2.7", "local 0", "x" * 9999):
                self.assertEqual(on_behalf(other, said), other)

    def test_our_own_processes(self) -> None:
        """On a socket of ours a process may say that it is one; all others are users."""
        us = gateway("c", "gw1")
        self.assertEqual(of_machine(us, 990, "gateway"), us)
        self.assertEqual(of_machine(us, 990, "anyone 192.0.2.1"), nobody("192.0.2.1"))
        for said in (None, "", "local 0", "gateways", "host"):
            self.assertEqual(of_machine(us, 990, said), local(990))
        with self.assertRaises(BadAsk):
            of_machine(us, 990, "gateway x")

    def test_what_cannot_be_read(self) -> None:
        """A gateway's header is bounded, and names an address or none."""
        gw = gateway("c", "gw1")
        for said in (
            "",
            "local 0",
            "anyone x",
            "anyone 192.0.2.7, 10.0.0.1",
            "gateway " + "1" * 64,
        ):
            self.assertRaises(BadAsk, on_behalf, gw, said)

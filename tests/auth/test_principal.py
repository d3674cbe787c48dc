"""Who asks, and how audit events name it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.principal import Principal, gateway, local, nobody, of_certificate
from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.errors import Untrusted


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

"""How audit events name who asks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.principal import Principal, local, nobody


class PrincipalTests(SynchronousTestCase):
    """Tests for `Principal`."""

    def test_names(self) -> None:
        """Each kind has a name that no other kind can take."""
        self.assertEqual(
            [
                str(local(0)),
                str(Principal(kind="user", name="alice")),
                str(Principal(kind="host", name="gw1", system_roles=("gateway",))),
                str(Principal(kind="host", name="h")),
                str(nobody("192.0.2.7")),
            ],
            ["local:0", "alice", "gateway:gw1", "host:h", "nobody"],
        )

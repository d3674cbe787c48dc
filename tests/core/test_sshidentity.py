"""Tests for `tlsgate.core.sshidentity`."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.core.rolevalues import Person
from tlsgate.core.sshidentity import PINNED, identity_of
from tlsgate.core.wire.sshcert import Kind, SshCertificate
from tlsgate.errors import BadCertificate

KEY = b"the authority's key"
ALICE = Person("alice", ("ops",), {"logins": ("root",)})


def ssh(*principals: str, **more: Any) -> SshCertificate:
    """A certificate of the cluster's users, as it was read."""
    fields: dict[str, Any] = {
        "key": b"key",
        "serial": 9,
        "kind": Kind.USER,
        "key_id": "alice",
        "principals": principals,
        "valid_after": 0,
        "valid_before": 500,
        "critical_options": {},
        "extensions": {"permit-pty": b""},
        "authority": KEY,
        "signed": b"",
        "algorithm": b"",
        "signature": b"",
    }
    return SshCertificate(**{**fields, **more})


def identity(certificate: SshCertificate, people: Any = (ALICE,)) -> Identity:
    """Whose it is at second 100."""
    named = None if people is None else {one.name: one for one in people}
    return identity_of(certificate, {KEY}, cluster="root", people=named, now=100.0)


class IdentityTests(SynchronousTestCase):
    """Tests for `identity_of`."""

    def test_a_user(self) -> None:
        """Roles and traits are the user's, as they are now."""
        claims = Claims(
            cluster="root", kind="user", name="alice", roles=("ops",), traits={"logins": ("root",)}
        )
        wanted = Identity(
            common_names=("alice",),
            serial=9,
            not_after=500.0,
            claims=claims,
            anchor=hashlib.sha256(KEY).digest(),
        )
        self.assertEqual(identity(ssh("alice")), wanted)

    def test_s55_pinned(self) -> None:
        """The address that a certificate is pinned to is part of who shows it."""
        found = identity(ssh("alice", extensions={PINNED: b"\0\0\0\x09192.0.2.1"}))
        assert found.claims is not None
        self.assertEqual(found.claims.pinned_address, "192.0.2.1")

    def test_s36_refused(self) -> None:
        """What is not good for a user of the cluster is refused, with the reason."""
        for certificate, why in (
            (ssh("alice", authority=b"other"), "signed by no authority that is trusted here"),
            (ssh("alice", kind=Kind.HOST), "it is a host's, not a user's"),
            (ssh(), "it names no principal"),
            (ssh("alice", "bob"), "it names several principals"),
            (ssh("bob"), "there is no user 'bob' any more"),
            (ssh("alice", valid_before=100), "it has ended"),
            (ssh("alice", valid_before=(1 << 64) - 1), "it never ends"),
            (ssh("alice", critical_options={"force-command": b""}), "critical option"),
            (ssh("alice", extensions={PINNED: b"\0\0\0\x02x"}), "pinned to cannot be read"),
            (ssh("alice", extensions={PINNED: b"\0\0\0\x01\xff"}), "pinned to cannot be read"),
        ):
            error = self.assertRaises(BadCertificate, identity, certificate)
            self.assertIn(why, error.why)
        error = self.assertRaises(BadCertificate, identity, ssh("alice"), None)
        self.assertIn("does not say which roles", error.why)

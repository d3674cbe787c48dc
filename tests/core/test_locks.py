"""Tests for `tlsgate.core.locks`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.core.locks import Lock, lock_of, lock_on
from tlsgate.errors import BadResource

ALICE = Identity(
    serial=0xABC, claims=Claims(cluster="c", kind="user", name="alice", roles=("access", "dev"))
)
NODE = Identity(
    serial=7, claims=Claims(cluster="c", kind="host", name="db1", system_roles=("node",))
)


def lock(what: str, which: str, **more: Any) -> Lock:
    """A lock without an end."""
    return Lock(name="one", what=what, which=which, **more)


class MatchTests(SynchronousTestCase):
    """Tests for `lock_on`."""

    def test_each_target(self) -> None:
        """A lock is on its user, each bearer of its role, its agent, or one certificate."""
        for one, alice, node in (
            (lock("user", "alice"), True, False),
            (lock("user", "db1"), False, False),
            (lock("role", "dev"), True, False),
            (lock("role", "node"), False, False),
            (lock("agent", "db1"), False, True),
            (lock("agent", "alice"), False, False),
            (lock("certificate", "abc"), True, False),
            (lock("certificate", "7"), False, True),
            (lock("login", "alice"), False, False),
        ):
            found = [lock_on([one], who, 0) is one for who in (ALICE, NODE)]
            self.assertEqual(found, [alice, node], one)

    def test_end(self) -> None:
        """From its end on a lock shuts nobody out."""
        one = lock("user", "alice", expires=10.0)
        self.assertEqual([lock_on([one], ALICE, now) for now in (9.9, 10.0)], [one, None])

    def test_others(self) -> None:
        """Locks are for the cluster's own certificates; a foreign one has no claims."""
        foreign = Identity(common_names=("alice",), serial=0xABC)
        locks = [lock("user", "alice"), lock("certificate", "abc")]
        self.assertIsNone(lock_on(locks, foreign, 0))

    def test_the_first_that_matches(self) -> None:
        """Of several the first one is told."""
        locks = [lock("user", "bob"), lock("role", "dev"), lock("user", "alice")]
        self.assertIs(lock_on(locks, ALICE, 0), locks[1])


class ReadTests(SynchronousTestCase):
    """Tests for `lock_of`."""

    def test_resource(self) -> None:
        """A resource of the API is read whole."""
        spec = {"target": {"user": "alice"}, "expires": 5.0, "message": "away"}
        self.assertEqual(
            lock_of({"metadata": {"name": "l1"}, "spec": spec}),
            Lock(name="l1", what="user", which="alice", expires=5.0, message="away"),
        )

    def test_serial_numbers(self) -> None:
        """A serial number is taken as OpenSSL prints it, too."""
        read = lock_of({"spec": {"target": {"certificate": "00:0A:BC"}}})
        self.assertEqual(read.which, "abc")

    def test_no_single_target(self) -> None:
        """A lock without a target, with two, or on what there is not, is refused."""
        for target in ({}, {"user": ""}, {"user": "a", "role": "b"}, {"host": "a"}, {"user": 1}):
            self.assertRaises(BadResource, lock_of, {"spec": {"target": target}})

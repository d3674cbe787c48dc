"""Tests for `tlsgate.auth.kind_people`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.auth.written import problems, warned, written
from tlsgate.auth.kind_people import LockSpec, TokenSpec, UserSpec
from tlsgate.auth.kinds import as_json, read_resource, spec_of


class UserTests(SynchronousTestCase):
    """Kind user."""

    def test_user(self) -> None:
        """A user has roles and traits; a trait's only value may stand alone."""
        resource = read_resource(
            written("user", "alice", roles=["access", "editor"], traits={"logins": "alice"})
        )
        self.assertEqual(
            resource.spec, {"roles": ["access", "editor"], "traits": {"logins": ["alice"]}}
        )
        spec = spec_of(resource, UserSpec)
        self.assertEqual((spec.roles, spec.traits), (("access", "editor"), {"logins": ("alice",)}))

    def test_s24_secrets_do_not_stay(self) -> None:
        """S24: what Teleport keeps in a user beside this is left out, with a warning."""
        resource = read_resource(written("user", local_auth={"password_hash": "canary"}))
        self.assertNotIn("canary", repr(resource) + json.dumps(as_json(resource)))
        self.assertEqual([path for path, _ in resource.warnings], ["spec.local_auth"])

    def test_wrong(self) -> None:
        """Each problem has its path."""
        found = problems(written("user", roles=["a/b", 3], traits={"x": [1]}, rolse=[]))
        self.assertEqual(
            sorted(found), ["spec.roles[0]", "spec.roles[1]", "spec.rolse", "spec.traits.x[0]"]
        )
        self.assertEqual(
            problems(written("user", roles=3, traits=[])),
            {
                "spec.roles": "has to be a list, not '3'",
                "spec.traits": "has to be a mapping (key: value), not a list",
            },
        )

    def test_certificates_are_small(self) -> None:
        """Roles and traits that no handshake could carry are refused."""
        found = problems(written("user", traits={"x": ["y" * 1000] * 17}))
        self.assertIn("fit into certificates", found["spec"])


class TokenTests(SynchronousTestCase):
    """Kind token."""

    def test_token(self) -> None:
        """A token says what may join, and how often."""
        resource = read_resource(written("token", types=["Node", "db", "node"], uses=3))
        self.assertEqual(resource.spec, {"types": ["db", "node"], "uses": 3})
        self.assertEqual(spec_of(resource, TokenSpec).uses, 3)

    def test_words_of_teleport(self) -> None:
        """`roles` are types, and a proxy is a gateway."""
        resource = read_resource(written("token", roles=["Proxy", "Node"], uses="Unlimited"))
        self.assertEqual(resource.spec, {"types": ["gateway", "node"], "uses": "unlimited"})

    def test_wrong(self) -> None:
        """What is no type, no number of uses, no method is told."""
        found = problems(
            written("token", types=["nod"], uses=0, join_method="iam", labels={"a": 1}, secret="x")
        )
        self.assertEqual(
            sorted(found),
            ["spec.join_method", "spec.labels", "spec.secret", "spec.types", "spec.uses"],
        )
        self.assertIn("did you mean node?", found["spec.types"])
        self.assertEqual(problems(written("token")), {"spec.types": "is missing"})
        self.assertIn("at least one", problems(written("token", types=[]))["spec.types"])
        self.assertIn("not 'all'", problems(written("token", types="db", uses="all"))["spec.uses"])


class LockTests(SynchronousTestCase):
    """Kind lock."""

    def test_lock(self) -> None:
        """A lock's end is the resource's end."""
        resource = read_resource(
            written("lock", target={"user": "bob"}, message="left", expires="2030-01-01T00:00:00Z")
        )
        self.assertEqual(resource.expires, 1893456000.0)
        self.assertEqual(
            resource.spec,
            {"target": {"user": "bob"}, "message": "left", "expires": "2030-01-01T00:00:00Z"},
        )
        self.assertEqual(spec_of(resource, LockSpec).target.user, "bob")
        made = written("lock", target={"login": "root"}, created_at=5, created_by="local:0")
        self.assertEqual(read_resource(made).spec["created_at"], "1970-01-01T00:00:05Z")
        self.assertEqual(read_resource(as_json(resource)), resource)

    def test_targets(self) -> None:
        """A lock names one or more of what may be locked; with several, all have to fit."""
        both = {"login": "root", "user": "bob"}
        self.assertEqual(
            read_resource(written("lock", target=both)).spec["target"],
            {"user": "bob", "login": "root"},
        )
        serial = written("lock", target={"certificate": "00:1F"})
        self.assertEqual(read_resource(serial).spec["target"], {"certificate": "1f"})
        why = "has to name one or more of certificate, user, agent, login, role"
        for target in ({}, {"node": "x"}):
            self.assertEqual(problems(written("lock", target=target)), {"spec.target": why})
        self.assertEqual(problems(written("lock")), {"spec.target": "is missing"})
        self.assertEqual(
            set(problems(written("lock", target={"user": "a", "certificate": "x", "login": ""}))),
            {"spec.target.certificate", "spec.target.login"},
        )

    def test_served_in_part(self) -> None:
        """What narrows a lock and is not served is a warning: more is locked, never less."""
        self.assertEqual(
            warned(written("lock", target={"user": "a", "mfa_device": "x"})),
            {"spec.target.mfa_device": "is not served by this version"},
        )

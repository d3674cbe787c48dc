"""Tests for `tlsgate.auth.presets`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.kinds import as_json, read_resource, role_of
from tlsgate.auth.presets import presets
from tlsgate.core.roles import Person, Target, allowed_logins, decide_target, decide_verb, effective

ROLES = [role_of(resource) for resource in presets()]
KINDS = (
    "user",
    "role",
    "token",
    "lock",
    "cluster_networking_config",
    "cluster_auth_preference",
    "cert_authority",
    "event",
)
VERBS = ("list", "create", "read", "readnosecrets", "update", "delete", "rotate")


def verbs(role: str, kind: str) -> set[str]:
    """What who holds only *role* may do with *kind*."""
    person = Person("alice", (role,))
    return {verb for verb in VERBS if decide_verb(ROLES, person, kind, verb).allowed}


class PresetsTests(SynchronousTestCase):
    """Tests for `presets`."""

    def test_names(self) -> None:
        """There are three, written without a warning, and they read back the same."""
        self.assertEqual([one.name for one in presets()], ["access", "editor", "auditor"])
        for one in presets():
            self.assertEqual(one.warnings, ())
            self.assertEqual(read_resource(as_json(one)), one)

    def test_access(self) -> None:
        """Access reaches every target as whom the traits say, and changes nothing."""
        alice = Person("alice", ("access",), {"logins": ("alice",), "db_users": ("app",)})
        node = Target(kind="node", name="n", labels={}, login="alice")
        self.assertTrue(decide_target(ROLES, alice, node).allowed)
        self.assertEqual(allowed_logins(ROLES, alice), ("alice",))
        self.assertEqual(allowed_logins(ROLES, Person("bob", ("access",))), ())
        database = Target(kind="db", name="d", db_user="app", db_name="x")
        self.assertFalse(decide_target(ROLES, alice, database).allowed)
        self.assertEqual({kind for kind in KINDS if verbs("access", kind)}, set())

    def test_editor(self) -> None:
        """The editor changes the cluster, sees no key of an authority, and reaches no target."""
        most = {"list", "create", "read", "readnosecrets", "update", "delete"}
        for kind in KINDS[:6]:
            self.assertEqual(verbs("editor", kind), most, kind)
        self.assertEqual(verbs("editor", "cert_authority"), {"list", "readnosecrets", "rotate"})
        editor = Person("e", ("editor",), {"logins": ("root",)})
        for kind in ("node", "db", "app", "kube"):
            target = Target(kind=kind, name="x")  # type: ignore[arg-type]
            self.assertFalse(decide_target(ROLES, editor, target).allowed)

    def test_auditor(self) -> None:
        """The auditor reads what happened, and nothing else."""
        self.assertEqual(verbs("auditor", "event"), {"list", "read", "readnosecrets"})
        self.assertEqual({kind for kind in KINDS if verbs("auditor", kind)}, {"event"})

    def test_together(self) -> None:
        """Who has all three may forward ports and the agent, for at most 30 hours."""
        options = effective(ROLES)
        self.assertEqual(options.max_session_seconds, 108000.0)
        self.assertTrue(options.port_forwarding and options.forward_agent)

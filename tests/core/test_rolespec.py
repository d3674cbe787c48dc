"""Tests for `tlsgate.core.rolespec`."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.rolespec import ENTRIES, parse_role
from tlsgate.core.rolevalues import Conditions, Options, Role, Rule
from tlsgate.errors import BadResource


def resource(**spec: Any) -> dict[str, Any]:
    """A role named r with that spec."""
    return {"kind": "role", "version": "v7", "metadata": {"name": "r"}, "spec": spec}


class ParseTests(SynchronousTestCase):
    """Tests for `parse_role`."""

    def problems(self, written: Any) -> list[tuple[str, str]]:
        return [*self.assertRaises(BadResource, parse_role, written).problems]

    def test_whole(self) -> None:
        """Every key that is served becomes its field."""
        conditions: dict[str, Any] = {
            "logins": ["{{internal.logins}}", "root"],
            "node_labels": {"env": "prod", "zone": ["a", "^b.$"]},
            "db_labels": {"*": "*"},
            "db_users": ["app-*"],
            "db_names": "*",
            "app_labels": {"x/y": ["{{external.team}}"]},
            "kubernetes_labels": {"*": ["*"]},
            "kubernetes_users": ["alice"],
            "kubernetes_groups": ["viewers"],
            "rules": [{"resources": ["user", "*"], "verbs": ["list", "*"]}],
        }
        options = {
            "max_session_ttl": "8h",
            "client_idle_timeout": "10m0s",
            "disconnect_expired_cert": True,
            "pin_source_ip": True,
            "port_forwarding": False,
            "forward_agent": True,
            "lock": "strict",
            "audit_queries": True,
        }
        wanted = Conditions(
            logins=("{{internal.logins}}", "root"),
            node_labels={"env": ("prod",), "zone": ("a", "^b.$")},
            db_labels={"*": ("*",)},
            db_users=("app-*",),
            db_names=("*",),
            app_labels={"x/y": ("{{external.team}}",)},
            kubernetes_labels={"*": ("*",)},
            kubernetes_users=("alice",),
            kubernetes_groups=("viewers",),
            rules=(Rule(("user", "*"), ("list", "*")),),
        )
        self.assertEqual(
            parse_role(resource(allow=conditions, deny=conditions, options=options)),
            Role(
                name="r",
                allow=wanted,
                deny=wanted,
                options=Options(
                    max_session_seconds=28800.0,
                    client_idle_seconds=600.0,
                    disconnect_expired_cert=True,
                    pin_source_ip=True,
                    port_forwarding=False,
                    forward_agent=True,
                    strict_locks=True,
                    audit_queries=True,
                ),
            ),
        )

    def test_empty(self) -> None:
        """A role without a word allows nothing."""
        self.assertEqual(parse_role(resource()), Role(name="r"))
        written = resource(options={"client_idle_timeout": "0s"})
        self.assertEqual(parse_role(written), Role(name="r"))

    def test_deny_takes_patterns(self) -> None:
        """What an allow gives by name only, a deny may take by pattern."""
        role = parse_role(resource(deny={"logins": ["*"], "kubernetes_groups": ["sys*"]}))
        self.assertEqual(role.deny.logins, ("*",))

    def test_every_problem_at_once(self) -> None:
        """Each problem is told with its path."""
        written = {
            "kind": "user",
            "version": "v4",
            "metadata": {"name": 3},
            "more": 1,
            "spec": {
                "allow": {
                    "logins": ["*", "a b", "{{x}}", 1, "ok", "x" * 257],
                    "kubernetes_groups": "sys*",
                    "db_users": ["^(a$"],
                    "db_names": {"a": 1},
                    "node_labels": {"a b": "x", "*": "prod", "env": ["^[$", "a\n"], 7: "x"},
                    "app_labels": [],
                    "where": "x",
                    "rules": [
                        {"resources": ["A"], "verbs": ["reed"], "where": "x"},
                        "rule",
                        {"verbs": ["list"]},
                    ],
                },
                "deny": {"rules": "x", "db_users": ["x"] * (ENTRIES + 1)},
                "options": {
                    "max_session_ttl": "59s",
                    "client_idle_timeout": "soon",
                    "pin_source_ip": "yes",
                    "max_sessions": 3,
                    "lock": "sometimes",
                },
            },
        }
        found = self.problems(written)
        self.assertEqual(
            sorted(path for path, _ in found),
            [
                "kind",
                "metadata.name",
                "more",
                "spec.allow.app_labels",
                "spec.allow.db_names",
                "spec.allow.db_users[0]",
                "spec.allow.kubernetes_groups",
                "spec.allow.logins[0]",
                "spec.allow.logins[1]",
                "spec.allow.logins[2]",
                "spec.allow.logins[3]",
                "spec.allow.logins[5]",
                "spec.allow.node_labels.*",
                "spec.allow.node_labels.7",
                "spec.allow.node_labels.a b",
                "spec.allow.node_labels.env[0]",
                "spec.allow.node_labels.env[1]",
                "spec.allow.rules[0].resources[0]",
                "spec.allow.rules[0].verbs[0]",
                "spec.allow.rules[0].where",
                "spec.allow.rules[1]",
                "spec.allow.rules[2].resources",
                "spec.allow.where",
                "spec.deny.db_users",
                "spec.deny.rules",
                "spec.options.client_idle_timeout",
                "spec.options.lock",
                "spec.options.max_session_ttl",
                "spec.options.max_sessions",
                "spec.options.pin_source_ip",
                "version",
            ],
        )
        self.assertIn(("spec.allow.logins[0]", "'*': logins are given by name, without *"), found)

    def test_any_value(self) -> None:
        """Whatever comes, it is a role or a BadResource."""
        keys = st.sampled_from(["allow", "logins", "node_labels", "rules", "options", "env", "x"])
        values = st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=4),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
            max_leaves=8,
        )

        @given(st.dictionaries(st.sampled_from(["allow", "deny", "options"]), values) | values)
        def check(spec: Any) -> None:
            try:
                parse_role({**resource(), "spec": spec})
            except BadResource as e:
                self.assertTrue(e.problems)

        check()

    def test_not_a_mapping(self) -> None:
        """A list in place of the whole is told as such."""
        paths = [path for path, _ in self.problems([])]
        self.assertEqual(paths, ["", "kind", "version", "metadata", "metadata.name"])

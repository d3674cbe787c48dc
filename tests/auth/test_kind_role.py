"""Tests for `tlsgate.auth.kind_role`; values are tested with `core.rolespec`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.auth.written import problems, written
from tlsgate.auth.kind_role import ConditionsSpec, OptionsSpec
from tlsgate.auth.kinds import read_resource, role_of
from tlsgate.config.fields import Unserved
from tlsgate.core import rolespec
from tlsgate.core.labels import EVERYTHING
from tlsgate.core.rolevalues import Conditions, Options, Role, Rule


class RoleTests(SynchronousTestCase):
    """Kind role; its values are tested with `core.rolespec`."""

    def test_role(self) -> None:
        """Every key that is served reaches the role that decides."""
        conditions: dict[str, Any] = {
            "logins": "root",
            "node_labels": {"*": "*"},
            "db_labels": {"env": ["dev", "prod"]},
            "db_users": ["app"],
            "db_names": ["*"],
            "app_labels": {"x": "y"},
            "kubernetes_labels": {"*": ["*"]},
            "kubernetes_users": ["u"],
            "kubernetes_groups": ["g"],
            "rules": [{"resources": ["user"], "verbs": "list"}],
        }
        wanted = Conditions(
            logins=("root",),
            node_labels=EVERYTHING,
            db_labels={"env": ("dev", "prod")},
            db_users=("app",),
            db_names=("*",),
            app_labels={"x": ("y",)},
            kubernetes_labels=EVERYTHING,
            kubernetes_users=("u",),
            kubernetes_groups=("g",),
            rules=(Rule(("user",), ("list",)),),
        )
        options = {
            "max_session_ttl": "8h",
            "client_idle_timeout": "10m",
            "disconnect_expired_cert": "yes",
            "pin_source_ip": True,
            "port_forwarding": "no",
            "forward_agent": "on",
            "audit_queries": "yes",
        }
        resource = read_resource(
            written("role", allow=conditions, deny=conditions, options=options)
        )
        self.assertEqual(resource.warnings, ())
        self.assertEqual(resource.spec["options"]["max_session_ttl"], "8h0m0s")
        self.assertEqual(resource.spec["allow"]["node_labels"], {"*": "*"})
        self.assertEqual(
            role_of(resource),
            Role(
                name="x",
                allow=wanted,
                deny=wanted,
                options=Options(
                    max_session_seconds=28800.0,
                    client_idle_seconds=600.0,
                    disconnect_expired_cert=True,
                    pin_source_ip=True,
                    port_forwarding=False,
                    forward_agent=True,
                    audit_queries=True,
                ),
            ),
        )

    def test_every_problem_at_once(self) -> None:
        """Keys, shapes and values are told together, each with its path."""
        found = problems(
            {
                "kind": "role",
                "version": "v4",
                "metadata": {"name": "a b"},
                "spec": {
                    "allow": {
                        "login": ["x"],
                        "logins": ["*", 3],
                        "node_labels": {"env": ["^(a$", "ok", "^b)$"], "a b": "x"},
                        "rules": [{"resources": ["A"], "verbs": ["reed"], "wher": 1}, "x"],
                    },
                    "deny": [],
                    "options": {"max_session_ttl": "10s", "pin_source_ip": "maybe"},
                    "allows": {},
                },
            }
        )
        self.assertEqual(
            sorted(found),
            [
                "metadata.name",
                "spec.allow.login",
                "spec.allow.logins[0]",
                "spec.allow.logins[1]",
                "spec.allow.node_labels.a b",
                "spec.allow.node_labels.env[0]",
                "spec.allow.node_labels.env[2]",
                "spec.allow.rules[0].resources[0]",
                "spec.allow.rules[0].verbs[0]",
                "spec.allow.rules[0].wher",
                "spec.allow.rules[1]",
                "spec.allows",
                "spec.deny",
                "spec.options.max_session_ttl",
                "spec.options.pin_source_ip",
                "version",
            ],
        )
        self.assertIn("did you mean logins?", found["spec.allow.login"])

    def test_teleports_own(self) -> None:
        """A role of Teleport's loads; what it says beyond us is a warning with its path."""
        everything = [{"kind": "*", "name": "*", "namespace": "*", "verbs": ["*"]}]
        resource = read_resource(
            {
                "kind": "role",
                "version": "v7",
                "metadata": {"name": "access", "id": 1, "revision": 4},
                "spec": {
                    "allow": {
                        "logins": ["{{internal.logins}}"],
                        "kubernetes_labels": {"*": "*"},
                        "kubernetes_resources": everything,
                        "aws_role_arns": ["{{internal.aws_role_arns}}"],
                        "rules": [
                            {"resources": ["event"], "verbs": ["list", "read"]},
                            {"resources": ["session"], "verbs": ["list"], "where": "x == y"},
                        ],
                    },
                    "deny": {"rules": [{"resources": ["role"], "verbs": ["*"], "where": "x"}]},
                    "options": {
                        "cert_format": "standard",
                        "max_session_ttl": "30h0m0s",
                        "record_session": {"default": "best_effort"},
                        "require_session_mfa": True,
                    },
                },
            }
        )
        later = "is not served by this version"
        self.assertEqual(
            dict(resource.warnings),
            {
                "metadata.id": later,
                "spec.allow.aws_role_arns": later,
                "spec.allow.kubernetes_resources": later,
                "spec.allow.rules[1].where": "is not served: the rule allows nothing",
                "spec.deny.rules[0].where": "is not served: the rule always denies",
                "spec.options.cert_format": later,
                "spec.options.record_session": f"{later}: this is not enforced",
                "spec.options.require_session_mfa": f"{later}: this is not enforced",
            },
        )
        self.assertEqual(
            resource.spec,
            {
                "allow": {
                    "logins": ["{{internal.logins}}"],
                    "kubernetes_labels": {"*": "*"},
                    "rules": [{"resources": ["event"], "verbs": ["list", "read"]}],
                },
                "deny": {"rules": [{"resources": ["role"], "verbs": ["*"]}]},
                "options": {"max_session_ttl": "30h0m0s"},
            },
        )

    def test_narrowed_kubernetes(self) -> None:
        """A role that allows some of a cluster allows none of it, for we cannot tell apart."""
        pods = [{"kind": "pod", "name": "x", "namespace": "default"}]
        allow = {"kubernetes_labels": {"*": "*"}, "kubernetes_resources": pods}
        resource = read_resource(written("role", allow=allow))
        self.assertEqual(resource.spec, {})
        self.assertIn("allow nothing", dict(resource.warnings)["spec.allow.kubernetes_resources"])
        found = problems(written("role", deny={"kubernetes_resources": pods}))
        self.assertEqual([*found], ["spec.deny.kubernetes_resources"])

    def test_every_key_is_served_or_says_so(self) -> None:
        """A key of the models either reaches the core, or is warned of when it is written."""
        served = {*rolespec.SELECTORS, *rolespec.WORDS, "rules", *rolespec.OPTIONS}
        for model in (ConditionsSpec, OptionsSpec):
            for key, info in model.model_fields.items():
                later = any(isinstance(one, Unserved) for one in info.metadata)
                self.assertNotEqual(later, key in served, key)

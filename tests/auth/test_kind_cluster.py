"""Tests for `tlsgate.auth.kind_cluster`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.auth.written import problems, written
from tlsgate.auth.kind_cluster import AuthPreferenceSpec, NetworkingSpec
from tlsgate.auth.kinds import as_json, defaults, read_resource, spec_of


class NetworkingTests(SynchronousTestCase):
    """Kind cluster_networking_config."""

    def test_defaults(self) -> None:
        """Every setting stands there with its default."""
        self.assertEqual(
            as_json(defaults("cluster_networking_config")),
            {
                "kind": "cluster_networking_config",
                "version": "v2",
                "metadata": {
                    "name": "cluster-networking-config",
                    "labels": {"teleport.dev/origin": "defaults"},
                },
                "spec": {
                    "proxy_listener_mode": 0,
                    "proxy_ping_interval": "30s",
                    "client_idle_timeout": "0s",
                    "client_idle_timeout_message": "",
                    "web_idle_timeout": "0s",
                    "keep_alive_interval": "5m0s",
                    "keep_alive_count_max": 3,
                    "session_control_timeout": "0s",
                    "routing_strategy": 0,
                    "tunnel_strategy": {"type": "agent_mesh"},
                },
            },
        )

    def test_mode(self) -> None:
        """The mode may be its number or its word; the number is kept."""
        for value, mode in ((0, "separate"), (1, "multiplex"), ("Multiplex", "multiplex")):
            resource = read_resource(written("networking", None, proxy_listener_mode=value))
            self.assertEqual(spec_of(resource, NetworkingSpec).mode, mode)
            self.assertIsInstance(resource.spec["proxy_listener_mode"], int)
        for wrong in (2, True, "both", None, 0.0):
            found = problems(written("networking", None, proxy_listener_mode=wrong))
            self.assertEqual([*found], [] if wrong is None else ["spec.proxy_listener_mode"])

    def test_others(self) -> None:
        """Durations are kept as Go writes them; strategies take their word."""
        resource = read_resource(
            written(
                "networking",
                None,
                client_idle_timeout="90m",
                web_idle_timeout=0,
                proxy_ping_interval="1.5s",
                routing_strategy="most_recent",
                tunnel_strategy={"type": "proxy_peering", "agent_connection_count": 2},
            )
        )
        spec = spec_of(resource, NetworkingSpec)
        self.assertEqual(resource.spec["client_idle_timeout"], "1h30m0s")
        self.assertEqual(spec.client_idle_seconds, 5400.0)
        self.assertIsNone(spec.web_idle_seconds)
        self.assertEqual(spec.ping_seconds, 1.5)
        self.assertEqual(resource.spec["routing_strategy"], 1)
        self.assertEqual(spec.tunnel_strategy.agent_connection_count, 2)
        mesh = read_resource(written("networking", None, tunnel_strategy="agent_mesh"))
        self.assertEqual(mesh.spec["tunnel_strategy"], {"type": "agent_mesh"})

    def test_wrong(self) -> None:
        """Every problem at once."""
        found = problems(
            written(
                "networking",
                None,
                proxy_ping_interval="10ms",
                keep_alive_interval="never",
                keep_alive_count_max=0,
                client_idle_timeout=30,
                client_idle_timeout_message="\x1b[31m",
                proxy_listner_mode=1,
                tunnel_strategy={"type": "mesh", "agent_connection_count": "2"},
            )
        )
        self.assertEqual(
            sorted(found),
            [
                "spec.client_idle_timeout",
                "spec.client_idle_timeout_message",
                "spec.keep_alive_count_max",
                "spec.keep_alive_interval",
                "spec.proxy_listner_mode",
                "spec.proxy_ping_interval",
                "spec.tunnel_strategy.agent_connection_count",
                "spec.tunnel_strategy.type",
            ],
        )
        self.assertIn("did you mean proxy_listener_mode?", found["spec.proxy_listner_mode"])


class AuthPreferenceTests(SynchronousTestCase):
    """Kind cluster_auth_preference."""

    def test_unsafe_second_factor_off(self) -> None:
        """A password alone logs in only where `unsafe_second_factor_off` says so."""
        for off in ("off", "OFF", False):
            found = problems(written("cap", None, second_factor=off))
            self.assertIn("unsafe_second_factor_off", found["spec.second_factor"])
            resource = read_resource(
                written("cap", None, second_factor=off, unsafe_second_factor_off="yes")
            )
            self.assertFalse(spec_of(resource, AuthPreferenceSpec).asks_otp)
            self.assertEqual(read_resource(as_json(resource)), resource)

    def test_second_factors(self) -> None:
        """otp is served, and so is "on"; what is not served is refused, never weakened."""
        for right in ("otp", "on", True):
            resource = read_resource(written("cap", None, second_factor=right))
            self.assertTrue(spec_of(resource, AuthPreferenceSpec).asks_otp)
        for wrong in ("webauthn", "optional", "u2f", "sms", 3):
            found = problems(written("cap", None, second_factor=wrong))
            self.assertEqual([*found], ["spec.second_factor"])

    def test_others(self) -> None:
        """Flags take yes and no; what is not enforced is said."""
        resource = read_resource(
            written("cap", None, disconnect_expired_cert="no", require_session_mfa=True)
        )
        self.assertEqual(resource.spec["disconnect_expired_cert"], False)
        self.assertEqual(
            dict(resource.warnings),
            {"spec.require_session_mfa": "is not served by this version: this is not enforced"},
        )
        found = problems(
            written("cap", None, disconnect_expired_cert=1, locking_mode="lax", type="saml")
        )
        self.assertEqual(
            sorted(found), ["spec.disconnect_expired_cert", "spec.locking_mode", "spec.type"]
        )

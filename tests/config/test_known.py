"""Tests for `tlsgate.config.known`, through `read_text`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.agents import SERVICES
from tlsgate.config.known import File
from tlsgate.config.read import read_text
from tlsgate.errors import BadSettings

UNBUILT = (
    "kubernetes_service",
    "windows_desktop_service",
    "discovery_service",
    "okta_service",
    "metrics_service",
    "tracing_service",
    "jamf_service",
    "debug_service",
)


class ServiceTests(SynchronousTestCase):
    """Tests for services that are not part of this version."""

    def test_the_list_is_whole(self) -> None:
        """Every service of the schema that is not built is tried below."""
        names = tuple(name for name in File.model_fields if name.endswith("_service"))
        built = ("auth_service", "proxy_service", *SERVICES)
        self.assertEqual(sorted(names), sorted((*UNBUILT, *built)))

    def test_only_a_written_yes_is_refused(self) -> None:
        """`enabled: yes` is an error, a block without it a warning, `no` neither."""
        for name in UNBUILT:
            error = self.assertRaises(BadSettings, read_text, f"{name}: {{enabled: on}}", "f")
            self.assertEqual([one.path for one in error.problems], [f"{name}.enabled"])
            for block in ("", " {}", " {enabled: }"):
                warnings = read_text(f"{name}:{block}").warnings
                self.assertEqual([one.path for one in warnings], [name])
            self.assertEqual(read_text(f"{name}: {{enabled: no}}").warnings, ())

    def test_keys_below_are_checked(self) -> None:
        """A mistyped key of an agent's block is an error, even where the block is off."""
        for text in (
            "ssh_service: {enabled: no, lables: {}}",
            "ssh_service: {x11: {enable: yes}}",
            "app_service: {apps: [{name: a, url: b}]}",
            "db_service: {databases: [{name: a, tls: {ca: b}}]}",
            "kubernetes_service: {comands: []}",
        ):
            self.assertRaises(BadSettings, read_text, text)

    def test_s43_a_password_alone_has_an_unsafe_name(self) -> None:
        """Without a second factor nobody logs in, unless the file says that it is unsafe."""
        off = "auth_service: {authentication: {second_factor: off%s}}"
        error = self.assertRaises(BadSettings, read_text, off % "")
        self.assertEqual(
            [one.path for one in error.problems], ["auth_service.authentication.second_factor"]
        )
        self.assertEqual(read_text(off % ", unsafe_second_factor_off: yes").warnings, ())
        elsewhere = "auth_service: {enabled: no, authentication: {second_factor: off}}"
        self.assertFalse(read_text(elsewhere).auth_enabled)

    def test_what_is_not_served_yet_is_a_warning(self) -> None:
        """Other factors and connectors are named, and the local ones count."""
        read = read_text("auth_service: {authentication: {type: oidc, second_factor: u2f}}")
        self.assertEqual(
            [one.path.rpartition(".")[2] for one in read.warnings], ["type", "second_factor"]
        )

    def test_auth_service_is_on_unless_it_is_off(self) -> None:
        """Without a word about it, a daemon is its own cluster."""
        self.assertTrue(read_text("auth_service: {enabled: yes}").auth_enabled)
        self.assertFalse(read_text("auth_service: {enabled: no}").auth_enabled)
        self.assertTrue(read_text("version: v2").auth_enabled)

"""Tests for `tlsgate.config.assemble`, through `read_text`."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config import assemble, schema
from tlsgate.config.read import read_text
from tlsgate.errors import BadSettings


class AssemblyTests(SynchronousTestCase):
    """Tests for what settings are made of checked blocks."""

    def test_modes(self) -> None:
        """The mode follows the version unless it is said; separate without a port is refused."""
        ports = "listen_addr: ':3023'"
        table = {
            ("v1", "", ""): "separate",
            ("v1", "multiplex", ""): "multiplex",
            ("v2", "", ""): "multiplex",
            ("v3", "", ports): "multiplex",
            ("v2", "separate", ports): "separate",
            ("v3", "Separate", ports): "separate",
            ("v2", "separate", ""): None,
            ("v3", "separate", "tunnel_listen_addr: 0.0.0.0:3080"): None,
        }
        found: dict[tuple[str, str, str], str | None] = {}
        for version, mode, ports in table:
            key = f"proxy_listener_mode: {mode}" if mode else ""
            text = f"version: {version}\nauth_service: {{{key}}}\nproxy_service: {{{ports}}}\n"
            try:
                found[version, mode, ports] = read_text(text).mode
            except BadSettings as error:
                self.assertEqual(
                    [one.path for one in error.problems], ["auth_service.proxy_listener_mode"]
                )
                found[version, mode, ports] = None
        self.assertEqual(found, table)

    def test_separate_without_the_gateway(self) -> None:
        """A file for auth alone cannot know which ports its gateways open."""
        text = (
            "version: v2\nproxy_service: {enabled: no}\nauth_service: {proxy_listener_mode: "
            "separate}"
        )
        self.assertEqual(read_text(text).mode, "separate")

    def test_forwarders(self) -> None:
        """Whose X-Forwarded-For counts is named; Teleport's `yes`, and everybody, are warned of."""
        for written, found, warned in (
            ("10.0.0.5", ["10.0.0.5/32"], ""),
            ("[10.0.0.0/8, 'fd00::/8']", ["10.0.0.0/8", "fd00::/8"], ""),
            ("no", [], ""),
            ("yes", list(schema.TRUSTED), "name your balancers"),
            ("0.0.0.0/0", ["0.0.0.0/0"], "lets anyone name any client address"),
        ):
            made = read_text(f"version: v3\nproxy_service: {{trust_x_forwarded_for: {written}}}\n")
            self.assertEqual([str(one) for one in made.forwarders], found)
            said = [one.message for one in made.warnings if "forwarded" in one.path]
            self.assertEqual(len(said), bool(warned), said)
            self.assertIn(warned, "".join(said))
        for written in ("maybe", "{mode: on}", "[10.0.0.1/8]"):
            text = f"version: v3\nproxy_service: {{trust_x_forwarded_for: {written}}}\n"
            self.assertRaises(BadSettings, read_text, text)

    def test_log_outputs(self) -> None:
        """Teleport's other spellings of the standard streams and levels are read."""
        table = {
            ("2", "warning"): ("stderr", "warn"),
            ("out", "ERR"): ("stdout", "error"),
            ("error", "trace"): ("stderr", "debug"),
        }
        for (output, severity), want in table.items():
            log = read_text(f"teleport: {{log: {{output: {output}, severity: {severity}}}}}").log
            self.assertEqual((log.output, log.severity), want)

    def test_public_ports(self) -> None:
        """Without a port the web address means the web listener's, or 443 behind a socket."""
        table = {"':8443'": "a.b:8443", "unix:/a": "a.b:443", "127.0.0.1:0": "a.b:443"}
        found = {
            address: read_text(
                f"version: v2\nproxy_service: {{web_listen_addr: {address}, public_addr: a.b}}"
            ).public.web[0]
            for address in table
        }
        self.assertEqual(found, table)

    def test_authentication_is_told_as_written(self) -> None:
        """What the ping document tells is what the file says, in JSON types."""
        read = read_text(
            "auth_service: {authentication: {type: Local, local_auth: off, locking_mode: strict, "
            "webauthn: {rp_id: a.b, attestation_allowed_cas: [x]}, require_session_mfa: yes}}"
        )
        self.assertEqual(
            read.authentication,
            {"type": "local", "local_auth": False, "webauthn": {"rp_id": "a.b"}},
        )

    def test_limits(self) -> None:
        """Connections follow the open files; either key may say other, ours wins."""
        self.patch(assemble, "default_connections", lambda: 500)
        table = {
            "": 500,
            "teleport: {connection_limits: {max_connections: 300}}": 300,
            "proxy_service: {limits: {connections: 200}}": 200,
            "teleport: {connection_limits: {max_connections: 300}}\n"
            "proxy_service: {limits: {connections: 200}}": 200,
        }
        found = {text: read_text(f"version: v1\n{text}").limits.connections for text in table}
        self.assertEqual(found, table)
        (warning,) = read_text("proxy_service: {limits: {connections: 501}}", "f").warnings
        self.assertEqual(
            str(warning),
            "f:1:26 proxy_service.limits.connections: 501 connections need 1258 open files; "
            "this process may have enough for 500",
        )

    def test_open_files(self) -> None:
        """Half of what is left of the open files, at least 16 and at most 15000."""
        table = {1024: 384, 100: 16, 1_000_000: 15000, resource.RLIM_INFINITY: 15000}
        for soft, want in table.items():
            self.patch(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
            self.assertEqual(assemble.default_connections(), want)

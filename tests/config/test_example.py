"""Tests with etc/tlsgate.yaml, the commented file that operators begin with."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config import schema
from tlsgate.config.known import File
from tlsgate.config.read import read_file, read_text
from tlsgate.config.settings import Settings
from tlsgate.config.validate import patterns
from tlsgate.core.access import Kind, Rule
from tlsgate.core.routing import CertRule, SendProxy

EXAMPLE = Path(__file__).parents[2] / "etc" / "tlsgate.yaml"
#: A setting that is switched off: the "#" touches a word.
_OFF = re.compile(r"^( *)#(?=[\w-])", re.MULTILINE)


class ExampleTests(SynchronousTestCase):
    """Tests for the commented example."""

    maxDiff = None

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("gate.key", "gate.pem", "clients-ca.pem"):
            (self.folder / name).touch()
        shutil.copy(EXAMPLE, self.folder)
        self.text = EXAMPLE.read_text()

    def read_all(self) -> Settings:
        """The settings when everything is switched on."""
        return read_text(_OFF.sub(r"\1", self.text), str(self.folder / "tlsgate.yaml"))

    def test_it_loads_as_it_stands(self) -> None:
        """The file is valid beside the files that it names, without a warning."""
        settings = read_file(self.folder / "tlsgate.yaml")
        self.assertEqual([warning.path for warning in settings.warnings], [])
        self.assertEqual([one.name for one in settings.listeners], ["web"])
        self.assertEqual(
            [(route.name, route.client_cert.value, route.plain) for route in settings.routes],
            [
                ("echo", "required", False),
                ("orders", "required", False),
                ("vault", "none", False),
                ("bastion", "none", True),
            ],
        )

    def test_everything_can_be_switched_on(self) -> None:
        """Each commented setting is valid where it stands, all at once."""
        settings = self.read_all()
        names = ["web", "ssh", "tunnel", "kube", "mysql", "postgres", "mongo", "line-echo", "auth"]
        self.assertEqual([one.name for one in settings.listeners], names)
        echo = settings.routes[0]
        self.assertEqual(
            (echo.server_names, echo.alpn, echo.send_proxy, echo.idle_seconds, echo.client_cert),
            (
                ("echo.example.com", "*.echo.example.com"),
                (b"demo-echo",),
                SendProxy.V2,
                600.0,
                CertRule.REQUIRED,
            ),
        )
        self.assertEqual(
            echo.allow,
            (
                Rule(Kind.CN, "alice"),
                Rule(Kind.SAN, "spiffe://example.com/ns/ops/sa/deploy"),
                Rule(Kind.DNS, "*.ops.example.com"),
            ),
        )
        self.assertEqual(settings.protocols, {"line-echo": {"greeting": "hello"}})

    def test_what_it_calls_a_default_is_one(self) -> None:
        """Switching a default on changes nothing."""
        bare = read_text("version: v2\nproxy_service: {web_listen_addr: 0.0.0.0:3080}")
        full = self.read_all()
        for name in ("timeouts", "log", "mode", "workers", "strict_sni"):
            self.assertEqual(getattr(full, name), getattr(bare, name), name)
        self.assertEqual(full.keypairs_reload_seconds, bare.keypairs_reload_seconds)
        self.assertEqual(full.limits.unauthenticated, schema.UNAUTHENTICATED)
        self.assertEqual(
            (
                full.limits.unauthenticated_per_address,
                full.limits.handshakes_per_second_per_address,
            ),
            (
                bare.limits.unauthenticated_per_address,
                bare.limits.handshakes_per_second_per_address,
            ),
        )

    def test_it_names_every_setting(self) -> None:
        """No key of teleport, auth_service or proxy_service is left out."""
        named = set(re.findall(r"[a-z_0-9]+", self.text))
        unserved = re.compile(
            r"proxy_service\.(acme|idp|ui|ui_config)\.|teleport\.(cache|join_params)\."
        )
        keys = (
            f"{'.'.join(pattern)}.{name}"
            for pattern, block in patterns(File).items()
            if pattern[:1] in (("teleport",), ("proxy_service",))
            for name in block.model_fields
            if name not in named
        )
        self.assertEqual([key for key in keys if not unserved.match(key)], [])

"""Tests for `tgctl export`: the file it reads, and what goes where."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import run

CONFIG = """\
version: v2
teleport: {data_dir: data}
proxy_service:
  web_listen_addr: "127.0.0.1:3080"
  public_addr: gw.example.com:443
  routes: [{name: odd, alpn: ["two words"], passthrough: yes, target: "tcp:h:1"}]
"""


class ExportTests(SynchronousTestCase):
    """Tests for `tgctl export`."""

    def setUp(self) -> None:
        self.config = Path(self.mktemp()).absolute()
        self.config.write_text(CONFIG)

    def export(self, *words: str) -> str:
        result = run("export", *words, "--config", str(self.config))
        self.assertEqual(result.exit_code, 0)
        self.assertEqual(
            result.stderr, "tgctl: ALPN 'two words' cannot be written here; left out\n"
        )
        return result.stdout

    def test_each(self) -> None:
        """Each balancer's output is its own, and Envoy's is YAML."""
        self.assertIn("use_backend tlsgate if", self.export("haproxy"))
        self.assertIn("ssl_preread on;", self.export("nginx"))
        found = yaml.safe_load(self.export("envoy"))
        self.assertEqual(list(found), ["static_resources"])

    def test_options(self) -> None:
        """Where it listens, where it sends, and where the rest goes."""
        shown = self.export(
            *("haproxy", "--bind", "127.0.0.1:8443", "--to", "a:1", "--to", "b:2"),
            *("--other", "c:3"),
        )
        for line in ("bind 127.0.0.1:8443", "server gateway2 b:2", "server other c:3"):
            self.assertIn(f"    {line}\n", shown)

    def test_rules(self) -> None:
        """Programs get the rules themselves."""
        found = json.loads(self.export("haproxy", "--format", "json"))
        self.assertEqual(
            found["names"],
            [
                "gw.example.com",
                "*.gw.example.com",
                "auth.gw.example.com",
                "*.db.gw.example.com",
            ],
        )
        self.assertEqual(found["gateways"], ["127.0.0.1:3080"])

    def test_no_file(self) -> None:
        """Without a configuration there is nothing to export."""
        result = run("export", "haproxy")
        self.assertEqual((result.exit_code, result.stdout), (2, ""))
        self.assertIn("--config FILE", result.stderr)

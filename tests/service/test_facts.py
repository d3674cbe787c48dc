"""What a gateway says of itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

import tlsgate
from tlsgate.auth.ledgerbodies import ReportBody
from tlsgate.config.read import read_text
from tlsgate.config.settings import Closing, Settings
from tlsgate.service.facts import facts, file_facts, told_ports

TEXT = """\
version: v1
teleport:
  nodename: gw1
auth_service:
  # what clients are told
  proxy_listener_mode: separate
proxy_service:
  web_listen_addr: 127.0.0.1:3080
  public_addr: gate.example.com:443
"""


def settings(text: str) -> Settings:
    """What *text* means."""
    return read_text(text, "/etc/tlsgate.yaml", data_dir=Path(tempfile.gettempdir()))


class FactsTests(SynchronousTestCase):
    """Tests for `file_facts`, `told_ports` and `facts`."""

    def test_file(self) -> None:
        """What decides the mode is told with its line."""
        self.assertEqual(
            file_facts(TEXT, settings(TEXT)),
            {
                "path": "/etc/tlsgate.yaml",
                "mode": "separate",
                "mode_line": 6,
                "version_line": 1,
            },
        )

    def test_nothing_said(self) -> None:
        """A file may leave all of it open."""
        text = TEXT.replace("version: v1\n", "").replace("  proxy_listener_mode: separate\n", "")
        told = file_facts(text, settings(text))
        self.assertEqual((told["mode"], told["mode_line"], told["version_line"]), (None,) * 3)

    def test_odd_paths(self) -> None:
        """A path that cannot be printed keeps the gateway from being heard no more than another."""
        now = evolve(settings(TEXT), file=Path("/etc/a\n\udcff" + "x" * 300))
        file = file_facts(TEXT, now)
        self.assertEqual(file["path"], "/etc/a??" + "x" * 248)
        ports = told_ports(now, {"web": "/run/\x1b.sock"}, {}, {})
        self.assertEqual(ports[0]["address"], "/run/?.sock")
        told = facts(now, worker=0, mode="separate", file=file, listeners=ports)
        body = {**told, "boot": "0" * 16, "started": 1.0, "number": 1, "ledger": []}
        ReportBody.model_validate(body)

    def test_refusing(self) -> None:
        """A closed listener whose port refuses is told with its end."""
        now = settings(TEXT)
        ssh = evolve(now.listeners[0], name="ssh")
        now = evolve(now, listeners=(), closing=(Closing(listener=ssh, since=7.0, until=9.0),))
        told = told_ports(now, {"ssh": "127.0.0.1:3023"}, {"ssh": 1}, {})
        self.assertEqual(
            told,
            [
                {
                    "name": "ssh",
                    "address": "127.0.0.1:3023",
                    "public": [],
                    "state": "refusing",
                    "since": 7.0,
                    "until": 9.0,
                    "open": 1,
                }
            ],
        )

    def test_whole(self) -> None:
        """The auth service takes what is told."""
        now = settings(TEXT)
        ports = told_ports(now, {"web": "127.0.0.1:3080", "ssh": None}, {"web": 2}, {"web": 5.0})
        told = facts(now, worker=1, mode="separate", file=file_facts(TEXT, now), listeners=ports)
        body = ReportBody.model_validate({**told, "boot": "0" * 16, "started": 1.0})
        self.assertEqual(
            (body.gateway, body.worker, body.workers, body.version, body.config_version),
            ("gw1", "1", 1, tlsgate.__version__, "v1"),
        )
        web = next(one for one in body.listeners if one.name == "web")
        self.assertEqual(
            (web.address, web.public, web.state, web.since, web.open),
            ("127.0.0.1:3080", ["gate.example.com:443"], "open", 5.0, 2),
        )
        self.assertEqual({one.name for one in body.listeners}, {"web", "ssh"})

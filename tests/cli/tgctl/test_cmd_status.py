"""Tests for `tgctl status`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tests.support.daemon import STATUS
from tlsgate.errors import DaemonSaid, Fault

ANSWERS = {"GET /v1/status": STATUS}


class StatusTests(SynchronousTestCase):
    """Tests for `tgctl status`."""

    def text(self, *words: str) -> str:
        result = run(*words, door=TableDoor(ANSWERS))
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        return result.stdout

    def test_status(self) -> None:
        """One fact a line."""
        lines = self.text("status").splitlines()
        self.assertEqual(lines[0], "version      1.0.0")
        self.assertIn("ready        yes", lines)

    def test_values(self) -> None:
        """Programs get the daemon's answer whole."""
        door = TableDoor(ANSWERS)
        result = run("status", "--format", "json", door=door)
        self.assertEqual(json.loads(result.stdout), STATUS)
        self.assertEqual(door.asked, [("GET /v1/status", None), ("GET /v1/cluster", None)])

    def test_last_reload(self) -> None:
        """How the last reload ended, and each warning, has a line of its own."""
        last = {"time": 0.0, "ok": False, "why": "data_dir cannot change"}
        more = {"last_reload": last, "warnings": ["a certificate has expired"]}
        shown = run("status", door=TableDoor({"GET /v1/status": {**STATUS, **more}})).stdout
        self.assertRegex(shown, r"\nlast reload  .* ago, refused: data_dir cannot change\n")
        self.assertRegex(shown, r"\nwarning      a certificate has expired\n$")

    def test_refused_for_many_reasons(self) -> None:
        """Of a reload with several problems the first is shown, and where to see them all."""
        last = {"time": 0.0, "ok": False, "why": "gate.yaml:7:3 a: no\ngate.yaml:8:3 b: no"}
        shown = run("status", door=TableDoor({"GET /v1/status": {**STATUS, "last_reload": last}}))
        self.assertIn("gate.yaml:7:3 a: no (and 1 more; see tgctl check)\n", shown.stdout)

    def test_cluster(self) -> None:
        """A daemon with an auth service shows its cluster, with CAs and pins."""
        cluster = {
            "cluster_name": "example",
            "version": "1.0.0",
            "users": 3,
            "networking": {"spec": {"proxy_listener_mode": 1}},
            "authorities": {
                "user": {"phase": "init", "since": 1767323045.0, "fingerprint": "ab"},
                "ssh_host": {"phase": "standby", "since": 0, "fingerprint": "cd"},
            },
            "pins": ["sha256:ab"],
        }
        table = {**ANSWERS, "GET /v1/cluster": cluster}
        lines = run("status", door=TableDoor(table)).stdout.splitlines()
        self.assertEqual(
            lines[-7:],
            [
                "cluster          example",
                "cluster version  1.0.0",
                "users            3",
                "listener mode    multiplex",
                "user CA          init, since 2026-01-02 03:04:05 UTC",
                "ssh host CA      standby",
                "CA pin           sha256:ab",
            ],
        )

    def test_cluster_away(self) -> None:
        """A gateway whose auth service is away says so, and the rest all the same."""
        away = DaemonSaid("unreachable", Fault.TARGET, "auth cannot be reached: away")
        result = run("status", door=TableDoor({**ANSWERS, "GET /v1/cluster": away}))
        self.assertEqual(result.exit_code, 0)
        self.assertIn("\ncluster      does not answer: auth cannot be reached", result.stdout)

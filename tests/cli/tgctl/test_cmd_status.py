"""Tests for `tgctl status`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tests.support.daemon import STATUS

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
        self.assertEqual(door.asked, [("GET /v1/status", None)])

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

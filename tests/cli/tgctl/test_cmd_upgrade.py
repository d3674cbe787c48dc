"""Tests for `tgctl upgrade`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tests.support.daemon import UPGRADED

ANSWERS = {"POST /v1/upgrade": UPGRADED}


class UpgradeTests(SynchronousTestCase):
    """Tests for `tgctl upgrade`."""

    def text(self, *words: str) -> str:
        result = run(*words, door=TableDoor(ANSWERS))
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        return result.stdout

    def test_upgrade(self) -> None:
        """The new process is named."""
        self.assertEqual(self.text("upgrade"), "process 43 of version 1.0.1 has taken over\n")

    def test_values(self) -> None:
        """Programs get the daemon's answer whole."""
        door = TableDoor(ANSWERS)
        result = run("upgrade", "--format", "json", door=door)
        self.assertEqual(json.loads(result.stdout), UPGRADED)
        self.assertEqual(door.asked, [("POST /v1/upgrade", None)])

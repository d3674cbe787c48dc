"""Tests for `tgctl reload`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tests.support.daemon import RELOADED

ANSWERS = {"POST /v1/reload": RELOADED}


class ReloadTests(SynchronousTestCase):
    """Tests for `tgctl reload`."""

    def text(self, *words: str) -> str:
        result = run(*words, door=TableDoor(ANSWERS))
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        return result.stdout

    def test_reload(self) -> None:
        """What changed is named, and warnings are not lost."""
        self.assertEqual(
            self.text("reload"),
            "reloaded; opened: postgres; closed: ssh, tunnel\n"
            "warning: tlsgate.yaml:3:1 is not served\n",
        )

    def test_values(self) -> None:
        """Programs get the daemon's answer whole."""
        door = TableDoor(ANSWERS)
        result = run("reload", "--format", "json", door=door)
        self.assertEqual(json.loads(result.stdout), RELOADED)
        self.assertEqual(door.asked, [("POST /v1/reload", None)])

    def test_nothing_changed(self) -> None:
        """A reload that changes no listener says so."""
        door = TableDoor({"POST /v1/reload": {"opened": [], "closed": [], "kept": ["web"]}})
        self.assertEqual(
            run("reload", door=door).stdout,
            "reloaded; in force for new connections; listeners are as before\n",
        )

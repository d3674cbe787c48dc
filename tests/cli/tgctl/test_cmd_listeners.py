"""Tests for `tgctl listeners`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tests.support.daemon import LISTENERS

ANSWERS = {"GET /v1/listeners": LISTENERS}


class ListenersTests(SynchronousTestCase):
    """Tests for `tgctl listeners`."""

    def text(self, *words: str) -> str:
        result = run(*words, door=TableDoor(ANSWERS))
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        return result.stdout

    def test_listeners(self) -> None:
        """One line a listener; one that is not open says what it should have opened."""
        self.assertEqual(
            self.text("listeners"),
            "LISTENER  PROTOCOL    ADDRESS            STATE   PROXY  ACTIVE  ACCEPTED  REFUSED\n"
            "web       all routes  [::]:3080          open    on          2        17        1\n"
            "ssh       ssh         closed (tcp:3023)  closed  off         0         0        0\n",
        )

    def test_refusing(self) -> None:
        """A port that only says where its clients go now is shown so, and until when."""
        row = {**LISTENERS[0], "state": "refusing", "until": 0.0}
        result = run("listeners", door=TableDoor({"GET /v1/listeners": [row]}))
        self.assertIn(" refusing until 1970-01-01 ", result.stdout)
        self.assertIn(" REFUSED\n", result.stdout)

    def test_values(self) -> None:
        """Programs get the daemon's answer whole."""
        door = TableDoor(ANSWERS)
        result = run("listeners", "--format", "json", door=door)
        self.assertEqual(json.loads(result.stdout), LISTENERS)
        self.assertEqual(door.asked, [("GET /v1/listeners", None)])

    def test_nothing_there(self) -> None:
        """An empty list is a sentence, not an empty table."""
        door = TableDoor({"GET /v1/listeners": []})
        self.assertEqual(run("listeners", door=door).stdout, "no listener\n")

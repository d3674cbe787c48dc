"""Tests for `tgctl connections`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tests.support.daemon import CONNECTIONS

ANSWERS = {"GET /v1/connections": CONNECTIONS}


class ConnectionsTests(SynchronousTestCase):
    """Tests for `tgctl connections`."""

    def text(self, *words: str) -> str:
        result = run(*words, door=TableDoor(ANSWERS))
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        return result.stdout

    def test_connections(self) -> None:
        """The oldest first; what is not known yet is a dash."""
        self.assertEqual(
            self.text("connections"),
            "PEER             LISTENER  ROUTE      IDENTITY  ASKED FOR          "
            "TO TARGET  TO CLIENT    SINCE\n"
            "192.0.2.8:50001  web       echo       alice     gw.test demo-echo  "
            "  2.0 KiB    3.0 GiB  1 h 2 m\n"
            "192.0.2.7:50000  web       (opening)  -         -                  "
            "      0 B        0 B    0.2 s\n",
        )

    def test_target(self) -> None:
        """Where a protocol has read who is meant, that is what was asked for."""
        row = {**CONNECTIONS[1], "target": "node/db1"}
        shown = run("connections", door=TableDoor({"GET /v1/connections": [row]})).stdout
        self.assertIn("alice     node/db1 ", shown)

    def test_connections_of_one_identity(self) -> None:
        """A filter leaves the others out."""
        shown = self.text("connections", "--identity", "alice", "--format", "json")
        self.assertEqual(json.loads(shown), [CONNECTIONS[1]])

    def test_a_peer_cannot_steer_the_terminal(self) -> None:
        """Control characters and markup in what a peer sent are shown, not obeyed."""
        row = {**CONNECTIONS[1], "identity": "\x1b[31mroot\u202e[bold]"}
        shown = run("connections", door=TableDoor({"GET /v1/connections": [row]})).stdout
        self.assertIn("\\x1b[31mroot\\u202e[bold]", shown)
        self.assertNotIn("\x1b", shown)

    def test_nothing_there(self) -> None:
        """An empty list is a sentence, not an empty table."""
        door = TableDoor({"GET /v1/connections": []})
        self.assertEqual(run("connections", door=door).stdout, "no connection\n")

"""Tests for `tests.bench.databases` and `tests.bench.apps`: from what was told to figures."""

from __future__ import annotations

import json
import socket
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.bench import apps, databases, twice
from tests.bench.identity import Figure


def nowhere() -> socket.socket:
    """Nobody dials here."""
    raise AssertionError


class FigureTests(SynchronousTestCase):
    """Tests for what is made of the rounds."""

    def test_databases(self) -> None:
        """Ratios are those of neighbouring runs; four of the figures have to reach something."""
        told = {"tps": 80.0, "tps cpu": 1.0, "connect": 1.0, "select": 400.0, "copy": 301.0}
        told["copy cpu"] = 1.0
        ways = [
            databases.Way(name, {}, (), {what: [value * by] for what, value in told.items()})
            for name, by in (("both", 1.0), ("twice", 1.25), ("straight", 0.25))
        ]
        ways.append(databases.Way("recorded", {}, (), {"tps": [60.0], "tps cpu": [0.5]}))
        rows = [one.row() for one in databases.figures(ways)]
        verdicts = [(row[0].strip(), *row[1:]) for row in rows if row[4]]
        self.assertEqual(
            verdicts,
            [
                ("both to HAProxy twice", "0.800", "", ">= 0.8", "reached"),
                ("recorded to not", "0.750", "", ">= 0.75", "reached"),
                ("SELECT 1: what both add", "300", "us", "<= 350", "reached"),
                ("COPY through both", "301", "MiB/s", ">= 300", "reached"),
            ],
        )

    def test_apps(self) -> None:
        """The gateway's way alone has to reach something."""
        told = {"rate": 1.0, "rate cpu": 2000.0, "one": 2.0, "download": 300.0, "download cpu": 1.0}
        ways = [
            apps.Way(name, nowhere, (), {what: [value * by] for what, value in told.items()})
            for name, by in (("both", 1.0), ("twice", 2.0), ("straight", 0.5))
        ]
        rows = [one.row() for one in apps.figures(ways)]
        self.assertEqual([row[4] for row in rows if row[4]], ["missed", "reached", "reached"])
        self.assertIn(("  both to HAProxy twice", "0.500", "", "", ""), rows)

    def test_json(self) -> None:
        """The figures stand in a file as well; the exit code says whether all is reached."""
        file = Path(self.mktemp())

        def measure(given: Namespace) -> Iterator[Figure]:
            yield Figure(what="one", value=2.0, unit="ms", reach=1.0)

        code = twice.run("name", "What it does.", [f"--json={file}"], measure)
        (figure,) = json.loads(file.read_text())["figures"]
        self.assertEqual((code, figure["verdict"], figure["value"]), (1, "missed", 2.0))

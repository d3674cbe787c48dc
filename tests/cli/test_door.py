"""Tests for `cli.door`: what an answer of the daemon becomes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.door import Door, read_answer
from tlsgate.config.adminsocket import SUN_PATH_BYTES, short_name
from tlsgate.errors import BadAsk, DaemonAway, DaemonSaid, Fault, Place, Problem


class ReadAnswerTests(SynchronousTestCase):
    """Tests for `read_answer`."""

    def test_value(self) -> None:
        """A good answer is its JSON."""
        self.assertEqual(read_answer("d", 200, b'[{"a": 1}]\n'), [{"a": 1}])

    def test_refusal(self) -> None:
        """A refusal keeps its words, its fault and its problems."""
        body = {
            "error": {
                "reason": "bad_settings",
                "fault": "operator",
                "message": "no",
                "problems": [{"file": "f", "line": 1, "column": 2, "path": "p", "message": "m"}],
            }
        }
        error = self.assertRaises(DaemonSaid, read_answer, "d", 409, json.dumps(body).encode())
        self.assertEqual(
            (error.word, error.whose, str(error), error.problems),
            ("bad_settings", Fault.OPERATOR, "no", (Problem(Place("f", 1, 2), "p", "m"),)),
        )

    def test_somebody_else(self) -> None:
        """What is not a tlsgate's answer is said to be so."""
        for status, body in ((200, b"<html>"), (404, b"{}"), (500, b"[]"), (409, b'{"error":1}')):
            error = self.assertRaises(DaemonAway, read_answer, "d", status, body)
            self.assertIn("something else answers", str(error))


class DoorTests(SynchronousTestCase):
    """Tests for `Door`."""

    def test_no_socket(self) -> None:
        """No file, or no folder: no daemon."""
        for folder in (Path("."), Path("missing"), Path("x" * 200)):
            error = self.assertRaises(DaemonAway, Door(folder.absolute()).ask, "GET", "/v1/status")
            self.assertIn("no such socket", str(error))

    def test_too_long_a_question(self) -> None:
        """What the daemon's HTTP would cut off is not asked at all."""
        error = self.assertRaises(
            BadAsk, Door(Path("/d")).ask, "GET", "/v1/explain", {"cert": "+" * 6000}
        )
        self.assertEqual(str(error), "the question has 18017 bytes; 16000 are possible")


class ShortNameTests(SynchronousTestCase):
    """Tests for `short_name`."""

    def test_short(self) -> None:
        """A name that fits is used as it is."""
        with short_name(Path("/d/admin.sock")) as name:
            self.assertEqual(name, "/d/admin.sock")

    def test_limit(self) -> None:
        """The longest name that fits, and one byte more."""
        made = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, made)
        # A fixed length, wherever the checkout and the folder for temporary files are.
        folder = Path(made) / ("d" * (80 - len(os.fsencode(made))))
        folder.mkdir()
        room = SUN_PATH_BYTES - len(os.fsencode(folder)) - 1
        for length, short in ((room, True), (room + 1, False)):
            path = folder / ("n" * length)
            with short_name(path) as name:
                self.assertEqual(name == str(path), short)
                self.assertLessEqual(len(os.fsencode(name)), SUN_PATH_BYTES)

    def test_long_folder(self) -> None:
        """A long name reaches the same file, and leaves no descriptor behind."""
        folder = Path(self.mktemp()).absolute() / ("d" * 120)
        folder.mkdir(parents=True)
        (folder / "file").write_text("here")
        before = os.listdir("/proc/self/fd")
        with short_name(folder / "file") as name:
            self.assertLessEqual(len(name), SUN_PATH_BYTES)
            self.assertEqual(Path(name).read_text(), "here")
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))

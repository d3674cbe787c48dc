"""Tests with faulty files: tests/vectors/config, each with its problems beside it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.read import read_file
from tlsgate.errors import BadSettings

VECTORS = Path(__file__).parent.parent / "vectors" / "config"


class FaultTests(SynchronousTestCase):
    """Tests for what `read_file` says of files that it refuses."""

    maxDiff = None

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "ca.pem").touch()
        (self.folder / "keys").mkdir()

    def tell(self, vector: Path) -> str:
        """The error's text, without the folder's name."""
        shutil.copy(vector, self.folder)
        error = self.assertRaises(BadSettings, read_file, self.folder / vector.name)
        return f"{error}\n".replace(f"{self.folder}/", "")

    def test_all_problems_at_once(self) -> None:
        """Each file's problems are told together, in its order, as they stand beside it."""
        vectors = sorted(VECTORS.glob("*.yaml"))
        self.assertGreaterEqual(len(vectors), 9)
        self.assertEqual(
            {vector.name: self.tell(vector) for vector in vectors},
            {vector.name: vector.with_suffix(".txt").read_text() for vector in vectors},
        )

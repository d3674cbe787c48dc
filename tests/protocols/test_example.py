"""The examples of docs/plugins.md are what stands below etc/examples, and they work."""

from __future__ import annotations

import importlib.util
import re
import shutil
import unittest
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate import registry

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "etc" / "examples" / "plugin"


class ExampleTests(SynchronousTestCase):
    """The plug-ins whoami and tonode."""

    def test_its_own_tests(self) -> None:
        """Their own tests, test_whoami.py and test_tonode.py, pass as an author runs them."""
        for name, count in (("test_whoami", 5), ("test_tonode", 3)):
            spec = importlib.util.spec_from_file_location(f"_{name}", EXAMPLE / f"{name}.py")
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
            self.assertEqual((result.failures, result.errors), ([], []))
            self.assertGreaterEqual(result.testsRun, count)

    def test_drops_in(self) -> None:
        """Put into a folder of plug-ins, they are found, and their tests are left alone."""
        folder = Path(self.mktemp()).absolute()
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        folder.chmod(0o700)
        self.addCleanup(registry.load, None)
        self.addCleanup(shutil.rmtree, folder)
        loaded = registry.load(folder)
        self.assertEqual((loaded.failed, loaded.changed), ((), ()))
        self.assertEqual(loaded.protocols["whoami"].alpn, (b"whoami",))
        self.assertEqual(loaded.protocols["tonode"].holders, ("user",))

    def test_the_guide_quotes_it(self) -> None:
        """Every piece of Python in docs/plugins.md stands so in the example."""
        sources = [file.read_text() for file in EXAMPLE.glob("*.py")]
        pieces = re.findall(
            r"^```python\n(.*?)^```", (ROOT / "docs" / "plugins.md").read_text(), re.M | re.S
        )
        self.assertTrue(len(pieces) >= 4)
        for piece in pieces:
            self.assertTrue(any(piece in source for source in sources), piece)

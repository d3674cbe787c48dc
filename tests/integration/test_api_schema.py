"""The API by its own description: schemathesis asks all that it allows, and more.

`test_api_doors` has the presets at the real door; here are those who have none.
"""

from __future__ import annotations

import json
import re
import shutil
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support.child import Child, sized, temporary
from tests.support.harness import ROOT
from tlsgate.auth.openapi import document

#: Not asked for: a schema cannot say what only the cluster knows, such as which roles there
#: are, what is a key that curves allow, or which phase may follow.
_UNASKED = "positive_data_acceptance"
_SECONDS = 240.0
#: Its own list of refusals lacks 413: what it makes up is now and then longer than a body may be.
_SETTINGS = """
[checks.negative_data_rejection]
expected-statuses = ["4xx"]
"""


class SchemaTests(SynchronousTestCase):
    """`auth.web` over a socket; who asks is said by a header of this test's child only."""

    def setUp(self) -> None:
        self.folder = temporary("schema")
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "openapi.json").write_text(json.dumps(document()))
        (self.folder / "schemathesis.toml").write_text(_SETTINGS)

    def serve(self) -> Child:
        """The API of a fresh cluster, in a child."""
        house = Child(
            [sys.executable, "-m", "tests.support.apihouse"], self.folder / "house.log", cwd=ROOT
        )
        self.addCleanup(house.end)
        house.until(lambda: "}\n" in house.text(), "the API listens")
        return house

    def run_as(self, who: str, phases: str, examples: int) -> None:
        """Let schemathesis ask as *who*; every answer has to be as described, and no 500."""
        house = self.serve()
        port = json.loads(house.text().splitlines()[0])["port"]
        asking = Child(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json"),
                *("--url", f"http://127.0.0.1:{port}"),
                *("--header", f"x-as: {who}"),
                *("--exclude-operation-id", "watch"),  # it has no end
                *("--phases", phases),
                *("--max-examples", str(examples)),
                *("--checks", "all", "--exclude-checks", _UNASKED),
                *("--warnings", "off", "--no-color", "--continue-on-failure"),
            ],
            self.folder / f"{who}.log",
            cwd=self.folder,
        )
        self.addCleanup(asking.end)
        code = asking.wait(_SECONDS)
        self.assertEqual(code, 0, f"as {who}\n{asking.text()[-6000:]}")
        self.assertRegex(asking.text(), r"[1-9]\d* generated")
        self.assertIsNone(re.search("Traceback|Unhandled", house.text()), house.text()[-4000:])
        self.assertIsNone(house.code)
        house.end()

    def test_editor(self) -> None:
        """Who may change most: every parameter at its edges, and random ones."""
        self.run_as("editor", "examples,coverage,fuzzing", sized(3, 100))

    def test_local(self) -> None:
        """The admin socket's user, who may do everything."""
        self.run_as("local", "fuzzing", sized(3, 100))

    def test_gateway(self) -> None:
        """A gateway of the cluster."""
        self.run_as("gateway", "fuzzing", sized(2, 50))

    def test_nobody(self) -> None:
        """Who has shown nothing."""
        self.run_as("nobody", "fuzzing", sized(2, 50))

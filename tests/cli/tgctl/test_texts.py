"""Tests for `cli.tgctl.texts`: what `tgctl init` writes works as it stands."""

from __future__ import annotations

import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate import registry
from tlsgate.cli.tgctl.texts import PLUGIN
from tlsgate.errors import Denied
from tlsgate.testing import FakeContext, connect, holder, route


class PluginTests(SynchronousTestCase):
    """The drop-in protocol."""

    def test_serves(self) -> None:
        """It is found as any drop-in is, greets by name, echoes, and ends when asked to."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.addCleanup(shutil.rmtree, folder)  # its plug-in is forgotten
        file = folder / "demo_echo.py"
        file.write_text(PLUGIN)
        file.chmod(0o600)
        loaded = registry.load(folder)
        self.assertEqual(loaded.failed, ())
        demo = loaded.protocols["demo-echo"]
        demo_route = route(protocol="demo-echo")
        talk = connect(demo, FakeContext(route=demo_route, identity=holder("alice")))
        self.assertEqual(talk.take(), b"welcome, alice; `bye` ends\n")
        talk.send(b"hello\nagain\n", pieces=1)
        self.assertEqual(talk.take(), b"hello\nagain\n")
        talk.send(b"bye\r\n")
        self.assertEqual(talk.take(), b"bye\r\n")
        refused = demo.refusal(Denied("echo", "bob", "no rule names this certificate"))
        self.assertEqual(
            refused,
            b"refused: 'bob' may not use route echo: no rule names this certificate\n",
        )

"""Tests for `tgctl version`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

import tlsgate
from tests.support.commandline import run


class VersionTests(SynchronousTestCase):
    """Tests for `tgctl version`."""

    def test_versions(self) -> None:
        """What a bug report needs."""
        found = json.loads(run("version", "--format", "json").stdout)
        self.assertEqual(list(found), ["tlsgate", "Python", "Twisted", "pyOpenSSL", "cryptography"])
        self.assertEqual(found["tlsgate"], tlsgate.__version__)

    def test_option(self) -> None:
        """--version is the short answer."""
        self.assertEqual(run("--version").stdout, f"tlsgate, version {tlsgate.__version__}\n")

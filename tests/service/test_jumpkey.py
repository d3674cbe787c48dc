"""Tests for `tlsgate.service.jumpkey`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.sshwire import certificate, line
from tlsgate.service.jumpkey import JumpKey
from tlsgate.tls.sshhost import SshHost


class JumpKeyTests(SynchronousTestCase):
    """Tests for `JumpKey`."""

    def test_workers(self) -> None:
        """Workers share a key, and each keeps its own certificate of it."""
        folder = Path(tempfile.mkdtemp())
        keys = [JumpKey(folder, folder / str(index)) for index in range(2)]
        for key in keys:
            key.own.mkdir()
            self.assertIsNone(key.files()) if key is keys[0] else None
            self.assertEqual(key.line(), keys[0].line())
        bare = keys[0].files()
        assert bare is not None
        blob = SshHost.load(bare).blob
        keys[0].certify(line(certificate(key=blob, kind=2)))
        self.assertEqual([key.certified for key in keys], [True, False])
        shown = keys[0].files()
        assert shown is not None
        self.assertTrue(SshHost.load(shown).certificate)
        keys[0].certify(None)
        keys[1].certify(None)
        self.assertEqual(keys[0].files(), bare)

"""Tests for `tlsgate.cluster.hostfiles`."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.authorities import Cluster
from tlsgate.cluster.hostfiles import HostFiles, Joined
from tlsgate.errors import BadKeyPair, NotJoined


class HostFilesTests(SynchronousTestCase):
    """Tests for `HostFiles`."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.folder = Path(self.mktemp()) / "gateway"
        self.files = HostFiles(self.folder)

    def keep(self, *roles: str, name: str = "gw1") -> Joined:
        """Keep a new certificate for the key."""
        claims = self.cluster.host(name, *roles)
        issued = self.cluster.issuer.host_certificate(claims, self.files.public_key())
        return self.files.keep(issued.tls_pem, "".join(issued.cas["host"]))

    def test_nothing_yet(self) -> None:
        """Before a join there is no membership; the key is made once, for its owner only."""
        self.assertIsNone(self.files.joined())
        key = self.files.public_key()
        self.assertEqual((self.files.public_key(), HostFiles(self.folder).public_key()), (key, key))
        mode = (self.folder / "host.key").stat().st_mode & 0o777
        self.assertEqual((mode, self.folder.stat().st_mode & 0o777), (0o600, 0o700))
        self.assertIsNone(self.files.joined())

    def test_sshd_gets_through(self) -> None:
        """An agent's folder may be passed by anybody, since sshd reads below it; no more."""
        folder = self.folder.parent / "agent"
        HostFiles(folder, "node").public_key()
        modes = [one.stat().st_mode & 0o777 for one in (folder, folder / "host.key")]
        self.assertEqual(modes, [0o711, 0o600])

    def test_what_is_kept(self) -> None:
        """The certificate says who we are and where, and when the next one is due."""
        joined = self.keep()
        self.assertEqual((joined.name, joined.cluster), ("gw1", self.cluster.name))
        life = joined.not_after - (self.cluster.now - 60)
        self.assertAlmostEqual(joined.renew_at, joined.not_after - life / 3, delta=1)
        self.assertEqual(len(joined.cas), 1)
        self.assertIs(self.files.joined(), joined)

    def test_another_process_writes(self) -> None:
        """What another worker has renewed is seen by the file's time."""
        self.keep()
        reader = HostFiles(self.folder)
        first = reader.joined()
        self.cluster.now += 3600
        self.keep()
        os.utime(self.folder / "host.crt", ns=(1, 1))
        second = reader.joined()
        assert first is not None and second is not None
        self.assertGreater(second.not_after, first.not_after)

    def test_what_cannot_be_used(self) -> None:
        """A node's certificate, a broken one, one of another key, and authorities that are gone."""
        self.assertRaises(NotJoined, self.keep, "node")
        self.keep()
        (self.folder / "host.cas").unlink()
        self.assertRaises(BadKeyPair, HostFiles(self.folder).joined)
        reader = HostFiles(self.folder)
        known = self.keep()
        self.assertEqual(reader.joined().pair.chain, known.pair.chain)  # type: ignore[union-attr]
        self.assertRaises(BadKeyPair, self.files.keep, "no PEM", "no PEM")
        # Who has read what was there goes on with it, and a new process cannot begin.
        self.assertEqual(reader.joined().pair.chain, known.pair.chain)  # type: ignore[union-attr]
        self.assertRaises(BadKeyPair, HostFiles(self.folder).joined)
        (self.folder / "host.key").write_bytes(b"broken")
        self.assertRaises(BadKeyPair, self.files.public_key)

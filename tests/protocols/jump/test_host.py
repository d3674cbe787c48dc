"""Tests for `tlsgate.protocols.jump.host`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.jump.rig import ALICE, HOST, JumpRig
from tests.support.sshwire import blob_of, certificate
from tlsgate.errors import NotServed, TooMany
from tlsgate.protocols.jump.transport import GRACE_SECONDS


class JumpTests(SynchronousTestCase):
    """Tests for `Jump`."""

    def setUp(self) -> None:
        """A jump host."""
        self.rig = JumpRig()

    def test_no_cluster(self) -> None:
        """Without a cluster, or a key to show, there is no jump host."""
        self.rig.ssh_host = None
        self.assertRaises(NotServed, self.rig.connect)

    def test_without_certificate(self) -> None:
        """Without a host certificate the plain key is shown."""
        rig = JumpRig(certified=False)
        connected = rig.alice()
        self.assertEqual(connected.client.host_blob, blob_of(HOST))

    def refused(self) -> None:
        """A login that is refused."""
        connected = self.rig.connect()
        connected.client.shake().service()
        connected.client.log_in(ALICE, certificate(key=blob_of(ALICE)))
        connected.gone()

    def test_penalties_grow(self) -> None:
        """Whose logins fail has to stay away, longer each time, and may come back then."""
        waits = []
        for _ in range(3):
            while True:
                try:
                    self.refused()
                except TooMany as error:
                    waits.append(error.limit)
                    break
            self.rig.clock.advance(waits[-1] - 14.0)  # it may come again, and still owes
        self.assertEqual(waits, sorted(waits))
        self.assertGreater(waits[-1], waits[0])
        self.rig.clock.advance(600.0)
        self.assertFalse(self.rig.alice().over)

    def test_grace_costs(self) -> None:
        """So does waiting until the time to log in is over."""
        connected = [self.rig.connect() for _ in range(2)]
        self.rig.clock.advance(GRACE_SECONDS)
        for one in connected:
            one.gone()
        self.assertRaises(TooMany, self.rig.connect)

    def test_looks_cost_nothing(self) -> None:
        """A balancer that opens the port and goes is never kept out; scans are, late."""
        for _ in range(100):
            self.rig.connect().gone()
        scans = 0
        try:
            for _ in range(100):
                connected = self.rig.connect()
                connected.client.shake()
                connected.gone()
                scans += 1
        except TooMany:
            pass
        self.assertEqual(scans, 16)

    def test_forgiven(self) -> None:
        """A login that is good clears the address."""
        self.refused()
        self.refused()
        self.rig.alice().gone()
        self.refused()
        self.refused()
        self.assertFalse(self.rig.connect().over)

    def test_other_addresses(self) -> None:
        """Nobody stays away for somebody else."""
        self.rig.connect().gone()
        penalties = self.rig.jump.penalties
        assert penalties is not None
        penalties.charge("192.0.2.8", 60.0)
        self.assertFalse(self.rig.connect().over)

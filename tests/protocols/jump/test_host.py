"""Tests for `tlsgate.protocols.jump.host`."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.jump.rig import ALICE, HOST, JumpRig
from tests.support.sshwire import blob_of, certificate
from tlsgate.core.wire.sshmessages import numbers
from tlsgate.errors import NotServed, TooMany
from tlsgate.net.relay import Pair
from tlsgate.protocols.jump.channel import Channel, ChannelEnd
from tlsgate.protocols.jump.channels import Channels
from tlsgate.protocols.jump.login import Logins
from tlsgate.protocols.jump.transport import GRACE_SECONDS, JumpTransport


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

    def test_s57_nothing_is_left_to_the_collector(self) -> None:
        """S57: after connections of every fate no object of one is left, without a collection."""
        kinds = (JumpTransport, Logins, Channels, Channel, ChannelEnd, Pair)
        gc.collect()
        held = [one for one in gc.get_objects() if isinstance(one, kinds)]  # by other tests
        gc.disable()
        try:
            for fate in range(6):
                connected = self.rig.alice() if fate else self.rig.connect()
                if fate > 1:
                    end, number = connected.reach_node()
                    connected.client.data(number, b"x")
                    if fate == 3:
                        end.say(end=True)
                        connected.client.send(96, numbers(number))
                        connected.client.send(97, numbers(number))
                    elif fate == 4:
                        connected.client.send(97, numbers(number))
                    elif fate == 5:
                        connected.client.direct(b"db1")
                    del end
                connected.gone()
                self.rig.tunnels.reaches.clear()
                del connected
            there = [one for one in gc.get_objects() if isinstance(one, kinds)]
        finally:
            gc.enable()
        left = [one for one in there if not any(one is other for other in held)]
        self.assertEqual(left, [])

"""A jump host without a network: a cluster, agents and a transport that are only told of."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from tests.protocols.jump.client import RawClient, first_string
from tests.support.sshwire import blob_of, certificate, ed25519_signer
from tlsgate.core.access import Decision, Identity
from tlsgate.core.offers import Offer
from tlsgate.core.rolevalues import Target
from tlsgate.core.wire.sshcert import Kind, SshCertificate, judge
from tlsgate.errors import BadCertificate, GateError, Untrusted
from tlsgate.net.ends import End
from tlsgate.net.relay import Pair, Waits
from tlsgate.net.wheel import Wheel
from tlsgate.protocols.jump.host import Jump
from tlsgate.protocols.jump.transport import JumpTransport
from tlsgate.testing import FakeCluster, FakeTunnels
from tlsgate.tls.fast import AGAIN, BROKEN, ENDED, Slab
from tlsgate.tls.sshhost import SshHost
from tlsgate.tls.sshtrust import verify_signature

NOW = 1500
PEER = IPv4Address("TCP", "192.0.2.7", 4711)


class Authority:
    """Signs certificates of users."""

    def __init__(self) -> None:
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.blob = blob_of(self.key)

    def certify(self, key: Any, name: bytes = b"alice", **fields: Any) -> bytes:
        """A certificate of *key*, good unless *fields* say otherwise."""
        wanted: dict[str, Any] = {
            "key": blob_of(key),
            "key_id": name,
            "principals": (name,),
            "authority": self.blob,
            "signature": ed25519_signer(self.key),
        }
        return certificate(**{**wanted, **fields})


AUTHORITY = Authority()
HOST = ed25519.Ed25519PrivateKey.generate()
KEYS: Mapping[bytes, Any] = {
    b"ssh-ed25519": ed25519.Ed25519PrivateKey.generate(),
    b"ecdsa-sha2-nistp256": ec.generate_private_key(ec.SECP256R1()),
    b"ecdsa-sha2-nistp384": ec.generate_private_key(ec.SECP384R1()),
    b"ssh-rsa": rsa.generate_private_key(65537, 2048),
}
ALICE = KEYS[b"ssh-ed25519"]


class DevCluster(FakeCluster):
    """A cluster whose users may reach nodes that are labelled env: dev."""

    def __init__(self) -> None:
        super().__init__("gw.test")
        self.allow: Callable[[Identity, Target], bool] = lambda _, target: (
            target.labels.get("env") == "dev"
        )

    def ssh_identity(self, certificate: SshCertificate) -> Identity:
        """See `ICluster`; the key id is the user."""
        try:
            judge(certificate, {AUTHORITY.blob}, Kind.USER, NOW, certificate.key_id)
            verify_signature(certificate)
        except Untrusted as error:
            raise BadCertificate(str(error)) from error
        not_after = float(certificate.valid_before)
        return Identity(common_names=(certificate.key_id,), not_after=not_after)

    def decide_target(self, identity: Identity, target: Target, address: str | None) -> Decision:
        """See `ICluster`."""
        super().decide_target(identity, target, address)
        if self.allow(identity, target):
            return Decision(True, "role dev")
        return Decision(False, "no role of theirs allows it")


class MemoryEnd(End):
    """A target in memory."""

    def __init__(self) -> None:
        self.mask = 0
        self.open = True
        self.reset = False
        self.fd = -1
        self.on_ready: Callable[[int], None] = lambda mask: None
        super().__init__(self)  # type: ignore[arg-type]
        self.said: list[bytes] = []  # by the target, not read yet
        self.target_ended = False
        self.heard = bytearray()
        self.heard_end = False
        self.room = 1 << 30

    # -- the lease --

    def want(self, mask: int) -> None:
        """See `Lease`."""
        self.mask = mask

    def close(self) -> None:
        """See `Lease`."""
        self.open = False

    def abort(self) -> None:
        """See `Lease`."""
        self.open, self.reset = False, True

    # -- the end --

    def fill(self, slab: Slab, size: int) -> int:
        """See `End`."""
        if not self.said:
            return ENDED if self.target_ended else AGAIN
        data, rest = self.said[0][:size], self.said[0][size:]
        self.said[:1] = [rest] if rest else []
        slab.view[: len(data)] = data
        self.drained = not self.said
        return len(data)

    def put(self, slab: Slab, size: int) -> int:
        """See `End`."""
        if not self.open:
            return BROKEN
        count = min(size, self.room)
        self.room -= count
        self.heard += slab.view[:count]
        return count

    def finish(self) -> int:
        """See `End`."""
        self.heard_end = True
        return ENDED

    def queued(self) -> int:
        """See `End`."""
        return 0

    def step(self) -> int:
        """See `End`."""
        return 1 << 16

    # -- the test --

    def wake(self) -> None:
        """Tell the pair what it waits for."""
        if self.open and self.mask:
            self.on_ready(self.mask)

    def say(self, data: bytes = b"", *, end: bool = False) -> None:
        """The target says *data*."""
        if data:
            self.said.append(data)
        self.target_ended = self.target_ended or end
        self.wake()


#: The second node nobody may reach.
NODES = (
    Offer(
        kind="node",
        name="db1",
        labels={"env": "dev"},
        addresses=("127.0.0.1:22", "10.0.0.5:2222"),
    ),
    Offer(kind="node", name="prod1", labels={"env": "prod"}, addresses=("127.0.0.1:22",)),
)


class FakeTransport:
    """What `ServedTransport` does for a protocol."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.connected = True
        self.reading = True
        self.producer: Any = None
        self.blocked = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        self.producer = producer

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        if self.connected:
            self.output += data
            if self.blocked and len(self.output) > 65536:
                self.producer.pauseProducing()

    def taken(self) -> bytes:
        """What was written since."""
        data = bytes(self.output)
        self.output.clear()
        return data

    def loseConnection(self) -> None:
        """See `ITransport`."""
        self.connected = False

    abortConnection = loseConnection

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self.reading = False

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self.reading = True


class FakeContext:
    """What the jump host uses of `IRouteContext`."""

    listener = "ssh"
    peer = PEER
    trace = "00" * 8
    route = SimpleNamespace(name="ssh-plain")
    settings = SimpleNamespace(public=SimpleNamespace(web=("gw.test:443",), ssh=("gw.test:3023",)))

    def __init__(self, rig: JumpRig) -> None:
        self._rig = rig
        self.clock = rig.clock
        self.cluster = rig.cluster
        self.tunnels = rig.tunnels
        self.ssh_host = rig.ssh_host
        self.identities: list[Identity] = []
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.occupied = False
        self.why: GateError | None = None

    def closed(self) -> GateError | None:
        """See `IRouteContext`."""
        return self.why

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        """See `IRouteContext`."""
        self.events.append((event, fields))

    def identify(self, identity: Identity) -> None:
        """See `IRouteContext`."""
        self.identities.append(identity)

    def came_by(self, program: str) -> None:
        """See `IRouteContext`."""
        self.program = program

    def busy(self, is_busy: bool) -> None:
        """See `IRouteContext`."""
        self.occupied = is_busy

    def couple(self, client: End, target: End, limits: Decision | None) -> Pair:
        """See `IRouteContext`."""
        waits = Waits(
            idle_seconds=300.0,
            write_stall_seconds=600.0,
            close_seconds=60.0,
            lifetime_seconds=None,
        )
        rig = self._rig
        return Pair(client, target, rig.slab, waits, rig.wheel, rig.clock.seconds)


class JumpRig:
    """A jump host, and clients of it."""

    def __init__(self, *, certified: bool = True) -> None:
        self.clock = Clock()
        self.cluster = DevCluster()
        self.tunnels = FakeTunnels(*NODES)
        self.wheel = Wheel(self.clock)
        self.slab = Slab()
        blob = blob_of(HOST)
        shown = certificate(key=blob, kind=2, principals=(b"gw.test",)) if certified else b""
        self.ssh_host: SshHost | None = SshHost(key=HOST, blob=blob, certificate=shown)
        self.time = float(NOW)
        self.jump = Jump(lambda: self.time)

    def connect(self, **options: Any) -> Connected:
        """A client that has said nothing yet."""
        return Connected(self, options)

    def alice(self, **options: Any) -> Connected:
        """A client who has logged in."""
        connected = self.connect(**options)
        connected.client.shake().service()
        connected.client.log_in(ALICE, AUTHORITY.certify(ALICE))
        return connected


class Connected:
    """One connection, from both sides."""

    def __init__(self, rig: JumpRig, options: Mapping[str, Any]) -> None:
        self.rig = rig
        self.context = FakeContext(rig)
        self.transport = FakeTransport()
        context: Any = self.context
        protocol: Any = rig.jump.build(context).buildProtocol(PEER)
        self.protocol: JumpTransport = protocol
        self.client = RawClient(self._deliver, self.transport.taken, **options)
        protocol.makeConnection(self.transport)

    def _deliver(self, data: bytes) -> None:
        if self.transport.connected:
            self.protocol.dataReceived(data)

    @property
    def over(self) -> bool:
        """Whether the jump host has ended it."""
        return not self.transport.connected

    def gone(self) -> None:
        """The client goes, or the gateway cuts it off."""
        self.transport.connected = False
        self.protocol.connectionLost()
        # As `ServedTransport` does; and no cycle of the test's own is left.
        self.transport.producer = None
        self.client._deliver = lambda data: None

    def last_words(self) -> str:
        """The sentence of the jump host's DISCONNECT."""
        (content,) = [one for number, one in self.client.pump() if number == 1]
        return first_string(content[4:]).decode()

    def reach_node(self, host: bytes = b"db1", **more: int) -> tuple[MemoryEnd, int]:
        """Open a channel to a node; gives its end, and the channel's number of the host."""
        self.client.direct(host, **more)
        end = MemoryEnd()
        self.rig.tunnels.reaches[-1].reached(end)
        (opened,) = [one for number, one in self.client.pump() if number == 91]
        return end, int.from_bytes(opened[4:8], "big")


def line_of(blob: bytes) -> str:
    """A certificate as the agent gets it."""
    return f"{first_string(blob).decode()} {base64.b64encode(blob).decode()}"

"""The jump host of one gateway: who may come in at all, and what each connection is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Factory

from tlsgate.core.penalties import Penalties
from tlsgate.errors import NotServed, TooMany
from tlsgate.interfaces import IRouteContext
from tlsgate.protocols.jump.channels import Channels
from tlsgate.protocols.jump.login import Bearer, Logins
from tlsgate.protocols.jump.transport import HostKey, JumpTransport, Phase

#: What an address is charged with: for an exchange of keys without a login, for a login that
#: was refused, for one that took too long. OpenSSH has the same (PerSourcePenalties).
NO_LOGIN_SECONDS: Final = 1.0
FAILED_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 10.0


class Jump:
    """Makes a transport for each connection, and remembers addresses.

    Args:
        now: seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.penalties: Penalties | None = None

    def build(self, context: IRouteContext) -> IProtocolFactory:
        """Serve one connection.

        Raises:
            NotServed: there is no cluster, whose users it could take.
            TooMany: its address has failed too often.
        """
        host = context.ssh_host
        if context.cluster is None or host is None:
            raise NotServed("ssh", "there is no cluster whose users could log in")
        penalties = self.penalties
        if penalties is None:
            penalties = self.penalties = Penalties(context.clock.seconds)
        address = getattr(context.peer, "host", "")
        if owed := penalties.owes(address):
            raise TooMany("failed logins; seconds to wait", int(owed) + 1)
        key = HostKey(key=host.key, blob=host.blob, certificate=host.certificate)
        return _OneOff(context, key, penalties, address, self._now)


class _OneOff(Factory):
    """Puts the parts of one connection together."""

    noisy = False

    def __init__(
        self,
        context: IRouteContext,
        key: HostKey,
        penalties: Penalties,
        address: str,
        now: Callable[[], float],
    ) -> None:
        self._context = context
        self._key = key
        self._penalties = penalties
        self._address = address
        self._now = now
        self._logins: Logins | None = None
        self._channels: Channels | None = None

    def buildProtocol(self, addr: IAddress | None) -> JumpTransport:
        """Twisted's name: the protocol of the connection."""
        return JumpTransport(self._key, self._context.clock, self._log_in, self._ended)

    def _log_in(self, transport: JumpTransport) -> Callable[[bytes], None]:
        cluster = self._context.cluster
        assert cluster is not None
        # "SSH-2.0-OpenSSH_9.2p1 Debian-2" (RFC 4253 section 4.2)
        banner = transport.otherVersionString.decode("ascii", "replace")
        self._context.came_by(banner.split("-", 2)[-1])
        self._logins = Logins(transport, cluster, lambda bearer: self._welcome(transport, bearer))
        return self._logins.take

    def _welcome(self, transport: JumpTransport, bearer: Bearer) -> None:
        self._penalties.forgive(self._address)
        self._context.identify(bearer.identity)
        self._channels = Channels(transport, self._context, bearer, self._now)
        self._channels.start()

    def _ended(self, phase: Phase, grace_over: bool) -> None:
        """The connection is gone; its address may have to stay away."""
        logins, self._logins = self._logins, None
        channels, self._channels = self._channels, None
        if channels is not None:
            channels.stop()
        elif grace_over:
            self._penalties.charge(self._address, GRACE_SECONDS)
        elif logins is not None and logins.failures:
            self._penalties.charge(self._address, FAILED_SECONDS)
        elif phase is not Phase.EXCHANGE:
            # A balancer's look at the port costs nothing, and is no offence.
            self._penalties.charge(self._address, NO_LOGIN_SECONDS, grows=False)

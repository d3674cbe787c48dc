"""PostgreSQL servers: the opening of an agent's databases, and requests to cancel.

A request to cancel takes the same way as a session up to TLS, and then says the server's own
key (`pgkeys`) in place of a start-up message.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsgate.core.wire.pgmessages import cancel_request
from tlsgate.errors import TunnelBroken
from tlsgate.net.ends import SecureEnd
from tlsgate.targets.base import Arrived
from tlsgate.targets.dbcerts import Passports
from tlsgate.targets.pgkeys import Keys
from tlsgate.targets.pgstart import Start


class Postgres:
    """The opening of one agent, with the certificates and the keys that it remembers."""

    def __init__(self) -> None:
        self._passports, self._keys = Passports(), Keys()

    def __call__(self, arrived: Arrived) -> Callable[[], None]:
        """Begin; see `base.Opening`."""
        made: Start
        if "cancel" in arrived.asked.details:
            made = _Cancelling(arrived, self._passports, self._keys)
        else:
            made = Start(arrived, self._passports, self._keys)
        made.start()
        return made.stop

    def forget(self) -> None:
        """Ask auth anew; see `base.Opening`."""
        self._passports.forget_all()


class _Cancelling(Start):
    """One request to cancel what another session does."""

    def __init__(self, arrived: Arrived, passports: Passports, keys: Keys) -> None:
        super().__init__(arrived, passports, keys)
        asked = arrived.asked
        self._meant = keys.find(asked.details["cancel"], asked.user, asked.name)
        if self._meant is not None:
            self.user = self._meant.db_user

    def unfit(self) -> str:
        """See `Start`."""
        if self._meant is None:
            return "no session of theirs has this key"
        if self._meant.address != self.lease.socket.getpeername():
            return "its server is not the one that is dialled by this name now"
        return ""

    def accept(self) -> None:
        """See `pgsession.Effects`: in place of a start-up message."""
        assert self._meant is not None
        self.to_server(cancel_request(self._meant.key))
        if self._out:
            return  # the deadline ends it: a new socket takes these few bytes
        try:
            client = self.arrived.accept()
        except TunnelBroken as error:
            client = None
            self.machine.stopped()
            self.end()
            self.arrived.refuse(error)
        if client is not None:
            self.machine.stopped()
            self.end()
            # The server ends the connection when it has done so, and the client waits for it.
            self.arrived.carry(client, SecureEnd(self.lease, self.secured))

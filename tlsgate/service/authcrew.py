"""The auth service in a process of its own, for a daemon with workers.

It is a member of the crew as a worker is, with two sockets that the supervisor has opened:

- DATA/auth.sock: the API for processes of this machine, over HTTP. A header says on whose
  behalf: a gateway for itself, a gateway for somebody without an identity, an operator.
- DATA/auth-tls.sock: `tlsgate-auth` and `tlsgate-join`, whose TLS the workers pass through
  untouched, behind a PROXY header.

1. `begin` opens the store and serves; while another process has the store still, which is
   so in an upgrade, it goes on trying, and clients wait in the sockets' queues. Until then a
   reload is refused.
2. A reload builds the gate anew and takes up what the file says of the cluster.
3. `stop_accepting` leaves the store, so that a successor can have it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.http import Request
from zope.interface import implementer

from tlsgate.auth.principal import AS_HEADER, Principal, itself, local, of_machine
from tlsgate.auth.web import ApiResource, ApiSite
from tlsgate.cluster.view import ClusterView
from tlsgate.config.settings import Listener, ProxyProtocol, Settings
from tlsgate.errors import Forbidden, GateError, ReloadRefused, StoreFailed
from tlsgate.net.gate import WEB
from tlsgate.net.tally import Tally
from tlsgate.service import counts
from tlsgate.service.acceptor import Acceptor, Descriptors
from tlsgate.service.admin import peer_uid
from tlsgate.service.audit import AuditLog
from tlsgate.service.auth import AuthService
from tlsgate.service.authsockets import API, TLS
from tlsgate.service.crew import ICrew, Orders
from tlsgate.service.door import LocalDoor
from tlsgate.service.listeners import Bound
from tlsgate.service.local import LocalGateway, build
from tlsgate.service.membership import Membership

#: How long the process waits for another one to leave the store.
_STORE_SECONDS: Final = 60.0
#: Between a failure to start so late and the next try.
_AGAIN_SECONDS: Final = 5.0
#: How long a reload waits for that, and how often it looks: right after an upgrade the process
#: before answers its last questions.
_RELOAD_SECONDS, _LOOK_SECONDS = 15.0, 0.1


@implementer(ICrew)
class AuthCrew:
    """See the module.

    Args:
        reactor: Twisted's.
        settings: the first ones.
        journal, audit: where the end of each connection is told.
        descriptors: of this process.
        in_thread: see `service.local.InThread`.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        *,
        journal: Callable[[Mapping[str, object]], None],
        audit: AuditLog,
        descriptors: Descriptors,
        in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._descriptors = descriptors
        door = LocalDoor(settings.cluster_name, settings.node_name)
        view = ClusterView(settings.cluster_name, door, reactor, time.time, mode=settings.mode)
        folder = settings.data_dir / "gateway" / "auth"
        self._auth = AuthService(lambda: self._settings, reactor, door, audit, in_thread)
        membership = Membership(view, folder, reactor, in_thread)
        membership.more_names, self._auth.on_gateways = (
            self._auth.gateway_names,
            membership.refresh,
        )
        self._inner = LocalGateway(
            reactor,
            build(_inside(settings)),
            journal=journal,
            audit=audit,
            descriptors=descriptors,
            in_thread=in_thread,
            index=1,  # the first worker speaks of certificates for all
            membership=membership,
            reports=False,  # its ports are inside the daemon
        )
        self._api: Acceptor | None = None
        self._serves = False
        self._stopped = False

    async def begin(self, orders: Orders) -> None:
        try:
            await self._auth.start()
        except StoreFailed as error:
            self.log.info("the auth service waits: {why}", why=str(error))
            Deferred.fromCoroutine(self._late(orders)).addErrback(
                lambda failure: self.log.failure("the auth service", failure=failure)
            )
            return
        await self._serve(orders)

    async def _late(self, orders: Orders) -> None:
        """Start once the store is free; until somebody stops us, nothing else is to be done."""
        while not self._stopped:
            try:
                await self._auth.start_after(_STORE_SECONDS)
                if not self._stopped:
                    await self._serve(orders)
                    self.log.info("the auth service has the store, and serves")
                    return
            except GateError as error:
                self.log.error("the auth service cannot start yet: {error}", error=str(error))
            self._auth.stop()
            if not self._stopped:
                await deferLater(self._reactor, _AGAIN_SECONDS)

    async def _serve(self, orders: Orders) -> None:
        listening = orders.sockets[API].socket
        assert listening is not None
        await self._inner.begin(_inside_orders(orders))
        if self._stopped or self._auth.api is None:  # while that waited
            self._auth.stop()
            return
        site = ApiSite(ApiResource(self._auth.api, self._who, self._reactor), self._reactor)
        self._api = Acceptor(self._reactor, API, listening, site, self._descriptors)
        self._api.start()
        self._serves = True

    async def prepare(self, orders: Orders) -> Sequence[str]:
        await self._wait()
        if not self._serves:
            raise ReloadRefused(["the auth service has not started yet; try again"])
        self._next = orders
        remarks = await self._inner.prepare(_inside_orders(orders))
        return (*remarks, *self._auth.remarks)

    async def foresee(self, text: str, settings: Settings) -> dict[str, Any] | None:
        await self._wait()
        return await self._auth.foresee(settings)

    async def _wait(self) -> None:
        """Until it serves, for a while."""
        until = self._reactor.seconds() + _RELOAD_SECONDS
        while not self._serves and not self._stopped and self._reactor.seconds() < until:
            await deferLater(self._reactor, _LOOK_SECONDS)

    async def commit(self) -> None:
        self._settings = self._next.settings
        await self._inner.commit()
        if self._auth.api is not None:
            await self._auth.follow()

    def abort(self) -> None:
        self._inner.abort()

    async def stop_accepting(self, finish: bool) -> None:
        self._stopped = True
        if self._api is not None:
            self._api.stop()
        # What it waits for, it waits for behind us: the next one needs the store.
        stopping = Deferred.fromCoroutine(self._inner.stop_accepting(finish))
        stopping.addErrback(lambda failure: self.log.failure("the auth service", failure=failure))
        self._auth.stop()

    def drain(self, seconds: float) -> Deferred[int]:
        # Whoever asks something now is answered; nobody holds a connection for its own sake.
        self._inner.cut()
        return succeed(0)

    def cut(self) -> None:
        self._inner.cut()

    def reopen_logs(self) -> None:
        """The process's own logs are all there are."""

    async def connections(self) -> list[dict[str, Any]]:
        return []  # they are those of the workers, which pass them through

    async def tally(self) -> dict[str, Any]:
        return counts.fields(Tally())

    async def explain(
        self, listener: str, sni: str | None, alpn: Sequence[str], cert_pem: str | None
    ) -> dict[str, Any]:
        raise NotImplementedError  # workers are asked

    def members(self) -> list[dict[str, Any]]:
        return []

    async def cluster(self) -> dict[str, Any] | None:
        return None  # workers are asked

    def _who(self, request: Request) -> Principal:
        """Whom a process of this machine asks for.

        Raises:
            Forbidden: it is neither root's nor ours.
        """
        uid = peer_uid(request)
        if uid not in (0, os.geteuid()):
            raise Forbidden(f"local:{uid}", "use this socket", "it is root's and the owner's")
        us = itself(self._settings.cluster_name, self._settings.node_name)
        said = request.getHeader(AS_HEADER) or ""
        word, _, rest = said.partition(" ")
        if word == "local" and len(rest) <= 10 and rest.isascii() and rest.isdecimal():
            return local(int(rest))  # who has asked the supervisor
        return of_machine(us, uid, said)


def _inside(settings: Settings) -> Settings:
    """What the gate for the auth service's own TLS is built of."""
    web = Listener(
        name=WEB,
        protocol=None,
        endpoint="",
        written="",
        proxy_protocol=ProxyProtocol(on=True, trusted=()),
        limits=settings.limits,
        timeouts=settings.timeouts,
    )
    return evolve(settings, listeners=(web,), routes=(), protocols={}, workers=1, diag=None)


def _inside_orders(orders: Orders) -> Orders:
    sockets: dict[str, Bound] = {WEB: orders.sockets[TLS]}
    return Orders(text=orders.text, settings=_inside(orders.settings), sockets=sockets)

"""Tests for `tlsgate.service.authcrew`: when it serves, and whom it takes somebody for."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.service.doubles import FakeCrew, FakeReactor, fake_bound
from tlsgate.auth.principal import Principal
from tlsgate.cluster.httpdoor import AS_HEADER
from tlsgate.errors import BadSeal, Forbidden, GateError, ReloadRefused, StoreFailed
from tlsgate.net.gate import WEB
from tlsgate.service import authcrew
from tlsgate.service.authcrew import AuthCrew
from tlsgate.service.authsockets import API, TLS
from tlsgate.service.crew import ICrew, Orders
from tlsgate.testing import listener, route, settings


class FakeAuth:
    """An auth service that starts as the test says."""

    def __init__(self, *_: Any) -> None:
        self.api: Any = None
        self.remarks = ("a token on the command line",)
        self.told: list[Any] = []
        #: What the next starts meet.
        self.errors: list[GateError] = []
        self.waits: Deferred[None] | None = None
        self.on_gateways: Any = None

    def gateway_names(self) -> list[str]:
        """There is no gateway elsewhere."""
        return []

    async def start(self) -> Any:
        self.told.append("start")
        if self.errors:
            raise self.errors.pop(0)
        self.api = object()

    async def start_after(self, seconds: float) -> None:
        self.told.append(("start_after", seconds))
        if self.waits is not None:
            await self.waits
        if self.errors:
            raise self.errors.pop(0)
        self.api = object()

    async def follow(self) -> None:
        self.told.append("follow")

    async def foresee(self, settings: Any) -> Any:
        return None if self.api is None else {"next_mode": settings.mode}

    def stop(self) -> None:
        self.told.append("stop")
        self.api = None


class FakeAcceptor:
    """Accepts nothing."""

    made: list[FakeAcceptor]

    def __init__(self, reactor: Any, name: str, listening: Any, factory: Any, *_: Any) -> None:
        self.name = name
        self.listening = listening
        self.factory = factory
        self.told: list[str] = []
        self.made.append(self)

    def start(self) -> None:
        self.told.append("start")

    def stop(self) -> None:
        self.told.append("stop")


class FakeMembership:
    """A membership that does nothing."""

    more_names: Any = None

    def __init__(self, *_: Any) -> None:
        """Remember nothing."""

    def refresh(self) -> None:
        """Fetch nothing."""


class AuthCrewCase(SynchronousTestCase):
    """A crew whose parts are the test's."""

    def setUp(self) -> None:
        self.inner = FakeCrew()
        self.built: list[Any] = []
        self.inner.remarks = ["a remark"]
        FakeAcceptor.made = []
        self.patch(authcrew, "AuthService", self.make_auth)
        self.patch(authcrew, "LocalGateway", lambda *args, **more: self.inner)
        self.patch(authcrew, "build", self.built.append)
        self.patch(authcrew, "Membership", FakeMembership)
        self.patch(authcrew, "Acceptor", FakeAcceptor)
        self.clock = FakeReactor()
        nothing: Any = None
        self.settings = settings(
            workers=2,
            listeners=(listener("web", "tcp:1"), listener("kube", "tcp:2", "kubernetes")),
            routes=(route(target="tcp:x:1"),),
        )
        self.crew = AuthCrew(
            self.clock,
            self.settings,
            journal=nothing,
            audit=nothing,
            descriptors=nothing,
            in_thread=succeed,
        )
        self.api, self.tls = fake_bound(8), fake_bound(9)

    def make_auth(self, *args: Any) -> FakeAuth:
        self.auth = FakeAuth(*args)
        self.current = args[0]
        return self.auth

    def orders(self, text: str = "one", **fields: Any) -> Orders:
        sockets = {API: self.api, TLS: self.tls}
        return Orders(text=text, settings=settings(workers=2, **fields), sockets=sockets)

    def begin(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.crew.begin(self.orders()))


class BeginTests(AuthCrewCase):
    """From orders to serving."""

    def test_serves(self) -> None:
        """The store first, then the gate for its own TLS, then the API's socket."""
        verifyObject(ICrew, self.crew)
        self.successResultOf(self.begin())
        self.assertEqual((self.auth.told, self.inner.told), (["start"], [("begin", "one")]))
        (acceptor,) = FakeAcceptor.made
        self.assertEqual((acceptor.name, acceptor.told), (API, ["start"]))
        self.assertIs(acceptor.listening, self.api)

    def test_its_own_gate(self) -> None:
        """That has one listener behind PROXY headers, and none of the gateway's routes."""
        (inside,) = self.built
        (web,) = inside.listeners
        self.assertEqual((web.name, web.protocol, web.proxy_protocol.on), (WEB, None, True))
        self.assertEqual((inside.routes, inside.workers, inside.diag), ((), 1, None))
        self.assertEqual(inside.limits, self.settings.limits)

    def test_it_cannot_start(self) -> None:
        """What waiting does not mend is why it does not start."""
        self.auth.errors = [BadSeal("what auth keeps", "no key")]
        self.failureResultOf(self.begin(), BadSeal)
        self.assertEqual((self.inner.told, FakeAcceptor.made), ([], []))

    def test_the_store_is_in_use(self) -> None:
        """While another process has it, clients wait; then it serves."""
        self.auth.errors = [StoreFailed("in use")]
        self.auth.waits = Deferred()
        self.successResultOf(self.begin())
        self.assertEqual((self.inner.told, FakeAcceptor.made), ([], []))
        self.auth.waits.callback(None)
        self.assertEqual(self.inner.told, [("begin", "one")])
        self.assertEqual(len(FakeAcceptor.made), 1)

    def test_the_store_stays_in_use(self) -> None:
        """It goes on trying, whatever keeps it from starting so late."""
        errors = [StoreFailed("in use"), StoreFailed("in use"), BadSeal("x", "no key")]
        self.auth.errors = list(errors)
        self.successResultOf(self.begin())
        for _ in errors:
            self.clock.advance(5)
        self.assertEqual(self.auth.errors, [])
        self.assertEqual(self.inner.told, [("begin", "one")])
        self.assertEqual(len(FakeAcceptor.made), 1)
        self.clock.advance(60)
        self.assertEqual(len(FakeAcceptor.made), 1)

    def test_the_gate_fails_so_late(self) -> None:
        """Where the store is there and the gate is not yet, all of it begins again."""
        self.auth.errors = [StoreFailed("in use")]
        self.inner.error = ReloadRefused(["x"])
        self.successResultOf(self.begin())
        self.assertEqual(self.auth.told[-1], "stop")
        self.inner.error = None
        self.clock.advance(5)
        self.assertEqual(len(FakeAcceptor.made), 1)
        self.assertIsNotNone(self.auth.api)

    def test_stopped_while_it_waits(self) -> None:
        """Who is told to end while it waits for the store lets go of it."""
        self.auth.errors = [StoreFailed("in use")]
        self.auth.waits = Deferred()
        self.begin()
        self.successResultOf(Deferred.fromCoroutine(self.crew.stop_accepting(True)))
        self.auth.waits.callback(None)
        self.assertEqual(self.auth.told[-1], "stop")
        self.assertIsNone(self.auth.api)
        self.assertEqual((FakeAcceptor.made, self.inner.told), ([], [("stop", True)]))
        self.clock.advance(60)
        self.assertEqual(self.auth.told[-1], "stop")

    def test_stopped_while_the_gate_begins(self) -> None:
        """The same a moment later: the API's socket is not served any more."""
        self.inner.begins = Deferred()
        begun = self.begin()
        self.successResultOf(Deferred.fromCoroutine(self.crew.stop_accepting(True)))
        self.inner.begins.callback(None)
        self.successResultOf(begun)
        self.assertEqual(FakeAcceptor.made, [])


class ReloadTests(AuthCrewCase):
    """New orders, and the end."""

    def test_reload(self) -> None:
        """The gate prepares; with the swap the cluster's settings are taken up."""
        self.successResultOf(self.begin())
        asked = Deferred.fromCoroutine(self.crew.prepare(self.orders("two", node_name="n2")))
        remarks = self.successResultOf(asked)
        self.assertEqual(list(remarks), ["a remark", "a token on the command line"])
        self.assertEqual(self.current().node_name, "node")
        self.successResultOf(Deferred.fromCoroutine(self.crew.commit()))
        self.assertEqual(self.current().node_name, "n2")
        self.assertEqual(self.inner.told[-2:], [("prepare", "two"), "commit"])
        self.assertEqual(self.auth.told[-1], "follow")

    def test_foresee(self) -> None:
        """It says what would become of the mode; who is just starting is waited for."""
        self.auth.errors = [StoreFailed("in use")]
        self.auth.waits = Deferred()
        self.begin()
        asked = Deferred.fromCoroutine(self.crew.foresee("two", settings(mode="multiplex")))
        self.assertNoResult(asked)
        self.auth.waits.callback(None)
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(asked), {"next_mode": "multiplex"})

    def test_abort(self) -> None:
        """What was prepared is forgotten."""
        self.successResultOf(self.begin())
        self.successResultOf(Deferred.fromCoroutine(self.crew.prepare(self.orders("two"))))
        self.crew.abort()
        self.assertEqual((self.inner.told[-1], self.current().node_name), ("abort", "node"))

    def test_before_it_serves(self) -> None:
        """A reload waits a while for the store; then it is refused, and harms nothing."""
        self.auth.errors = [StoreFailed("in use")]
        self.auth.waits = Deferred()
        self.begin()
        asked = Deferred.fromCoroutine(self.crew.prepare(self.orders("two")))
        self.assertNoResult(asked)
        self.clock.pump([0.1] * 151)
        self.failureResultOf(asked, ReloadRefused)
        self.crew.abort()
        self.auth.waits.callback(None)
        self.assertEqual(self.inner.told, ["abort", ("begin", "one")])
        self.successResultOf(Deferred.fromCoroutine(self.crew.prepare(self.orders("two"))))

    def test_reload_right_after_an_upgrade(self) -> None:
        """A reload that comes while the process before leaves the store is taken in its turn."""
        self.auth.errors = [StoreFailed("in use")]
        self.auth.waits = Deferred()
        self.begin()
        asked = Deferred.fromCoroutine(self.crew.prepare(self.orders("two")))
        self.clock.advance(1)
        self.assertNoResult(asked)
        self.auth.waits.callback(None)
        self.clock.advance(1)
        self.successResultOf(asked)
        self.assertEqual(self.inner.told, [("begin", "one"), ("prepare", "two")])

    def test_end(self) -> None:
        """It leaves the store at once, and holds nobody."""
        self.successResultOf(self.begin())
        self.successResultOf(Deferred.fromCoroutine(self.crew.stop_accepting(False)))
        self.assertEqual(FakeAcceptor.made[0].told, ["start", "stop"])
        self.assertEqual((self.auth.told[-1], self.inner.told[-1]), ("stop", ("stop", False)))
        self.assertEqual(self.successResultOf(self.crew.drain(300)), 0)
        self.assertEqual(self.inner.told[-1], "cut")

    def test_nothing_of_its_own(self) -> None:
        """Connections and counts are the workers': it carries none of its own."""
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.crew.connections())), [])
        self.assertEqual(self.crew.members(), [])
        tally = self.successResultOf(Deferred.fromCoroutine(self.crew.tally()))
        self.assertEqual(tally["accepted"], {})


class _Request:
    """A request with one header."""

    def __init__(self, header: str | None) -> None:
        self._header = header

    def getHeader(self, name: str) -> str | None:
        assert name == AS_HEADER
        return self._header


class WhoTests(AuthCrewCase):
    """Whom somebody at DATA/auth.sock asks for."""

    def who(self, header: str | None, uid: int | None = None) -> Principal:
        self.patch(authcrew, "peer_uid", lambda _: os.geteuid() if uid is None else uid)
        request: Any = _Request(header)
        return self.crew._who(request)

    def test_by_the_header(self) -> None:
        """A gateway for itself, a gateway for somebody unknown, an operator by their user id."""
        for header, kind, name, address in (
            ("gateway", "host", "node", None),
            ("anyone", "nobody", "", None),
            ("anyone 192.0.2.7", "nobody", "", "192.0.2.7"),
            ("anyone 2001:db8::1", "nobody", "", "2001:db8::1"),
            ("local 1000", "local", "1000", None),
        ):
            found = self.who(header)
            self.assertEqual((found.kind, found.name, found.address), (kind, name, address))
        self.assertIn("gateway", self.who("gateway").system_roles)

    def test_without_a_header(self) -> None:
        """Who says nothing, or nothing that can be read, is the user that the kernel names."""
        me = str(os.geteuid())
        for header in (None, "", "local", "local x", "local -1", "local \u0663", "root 0"):
            self.assertEqual(str(self.who(header)), f"local:{me}", header)

    def test_not_for_others(self) -> None:
        """Any other user is refused, whatever the header says; root is not."""
        for header in (None, "gateway", "anyone", "local 0"):
            self.assertRaises(Forbidden, self.who, header, os.geteuid() + 12345)
        self.assertEqual(self.who(None, 0).name, "0")

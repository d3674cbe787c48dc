"""Random walks of a cluster with two gateways: what clients are told is served, always.

The auth service is real (its setting, its guard, what it keeps, on a store in memory), and so
are the rules by which a gateway reloads. Around them everything happens that happens: switches
that are asked for at the wrong moment, files that contradict each other, reports and news that
come late, crashes of the auth service in the middle of a step, and of gateways.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from attrs import define, evolve, field
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.core.migrations import report
from tlsgate.auth import networking
from tlsgate.auth.gatewayreports import Reports
from tlsgate.auth.ledger import Ledger
from tlsgate.auth.migration import Migration, Own, Run
from tlsgate.core.migration import (
    MULTIPLEX,
    NEEDED,
    SEPARATE,
    SEPARATE_PORTS,
    may_reload,
    mode_in_force,
)
from tlsgate.errors import GateError
from tlsgate.store.memory import MemoryStore

SETTLE = 60.0
NETWORKING = networking.NETWORKING

#: Which listeners a version opens.
PORTS = {"v1": ("web", "ssh", "tunnel"), "v2": ("web",)}


@define
class Gateway:
    """A gateway as its own clients see it.

    Attributes:
        version, mode: of its file; the mode counts where the auth service is.
        open: the listeners that serve.
        told: the mode that it tells; since when, as far as this process knows.
        last: when clients were last told to use a port.
    """

    name: str
    version: str = "v1"
    mode: str | None = None
    open: tuple[str, ...] = PORTS["v1"]
    told: str = SEPARATE
    since: float | None = None
    boot: int = 0
    last: dict[str, float] = field(factory=dict)

    def hear(self, mode: str, now: float) -> None:
        """The cluster's mode arrives."""
        told = mode_in_force(mode, self.open)
        if told != self.told:
            self.told, self.since = told, now

    def tell(self, now: float) -> None:
        """Clients ask where to go."""
        names = self.open if self.told == SEPARATE else ("web",)
        for name in (*names, *NEEDED[self.told]):
            self.last[name] = now


class World:
    """The cluster: the auth service beside gateway a, and gateway b."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.case = case
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.store = MemoryStore(self.clock.seconds, lambda call: self.clock.callLater(0, call))
        self.a, self.b = Gateway("a"), Gateway("b")
        self.ended: list[bool] = []
        self.start()
        self.follow()
        for gateway in (self.a, self.b):
            self.report(gateway)

    @property
    def now(self) -> float:
        """The time."""
        return self.clock.seconds()

    def run(self, doing: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine gives that waits for nothing."""
        made = self.case.successResultOf(Deferred.fromCoroutine(doing))
        for _ in range(3):
            self.clock.advance(0)
        return made

    def start(self) -> None:
        """The auth service starts on what is kept."""
        self.reports = Reports(self.store, Ledger())
        self.run(self.reports.start())
        self.migration = Migration(
            self.store,
            self.reports,
            self.clock.seconds,
            settle_seconds=lambda: SETTLE,
            own=lambda: Own(gateway="a", listeners=self.a.open),
        )
        self.migration.told = lambda _, success: self.ended.append(success)
        self.run(self.migration.start())

    def follow(self) -> None:
        """The auth service takes up what the file of its host says."""
        said = None if self.a.mode is None else {"proxy_listener_mode": self.a.mode}
        default = {"proxy_listener_mode": SEPARATE if self.a.version == "v1" else MULTIPLEX}
        self.run(networking.start(self.store, NETWORKING, said, default))
        self.run(self.migration.look_again())
        # The gateway beside it hears at once.
        self.a.hear(self.migration.mode, self.now)

    # -- what happens --

    def report(self, gateway: Gateway) -> None:
        """A gateway's word arrives."""
        said = report(
            gateway.name,
            gateway.open,
            heard=self.now,
            started=float(gateway.boot),
            boot=f"{gateway.boot:08x}",
            mode_in_force=gateway.told,
        )
        self.run(self.reports.take(said, 0, []))

    def switch(self, mode: str, crash: str) -> None:
        """An operator asks for a mode; perhaps the auth service dies while it is done."""
        run = Run(step=2, direction="there", stage="switching", mode=mode)
        if crash == "before" and not self.migration.may_switch("", mode):
            self.run(self.migration.begin(run))
        else:
            self.run(self.write(mode, run))
        if crash != "no":
            self.migration.stop()
            self.start()
            self.case.assertIsNone(self.migration.run)
            self.follow()
        elif self.migration.run is not None:
            self.run(self.migration.end())
        self.a.hear(self.migration.mode, self.now)

    async def write(self, mode: str, run: Run) -> None:
        """What the step does."""
        old = await networking.current(self.store, NETWORKING)
        new = evolve(old, spec={**old.spec, "proxy_listener_mode": int(mode == MULTIPLEX)})
        guard = self.migration.may_switch
        try:
            await networking.write(
                self.store, new, force=False, confirm=False, may_switch=guard
            ) if old.origin != "dynamic" else await networking.write(
                self.store,
                evolve(new, revision=old.revision),
                force=False,
                confirm=False,
                may_switch=guard,
            )
            await self.migration.begin(run)
        except GateError:
            return
        # The crash of "after" comes here: the note is there, and so is the mode.

    def reload(self, gateway: Gateway) -> None:
        """A gateway's file is taken, or it is said why not."""
        after = PORTS[gateway.version]
        beside = gateway is self.a
        mode = gateway.told
        why: tuple[str, ...] = ()
        if beside:
            said = None if gateway.mode is None else {"proxy_listener_mode": gateway.mode}
            default = {"proxy_listener_mode": SEPARATE if gateway.version == "v1" else MULTIPLEX}
            mode = self.run(networking.mode_after(self.store, said, default))
            if mode != self.migration.mode:
                why = tuple(self.migration.may_switch_with(after, mode))
        since = gateway.since
        if beside and self.migration.mode_since is not None:
            since = max(since or 0.0, self.migration.mode_since)
        why += may_reload(
            gateway.open,
            after,
            mode=gateway.told,
            next_mode=mode_in_force(mode, after) if not beside else mode,
            mode_since=since,
            now=self.now,
            settle_seconds=SETTLE,
        )
        if why:
            return
        for name in set(gateway.open) & set(SEPARATE_PORTS) - set(after):
            ago = self.now - gateway.last.get(name, float("-inf"))
            self.case.assertGreaterEqual(ago, SETTLE, f"{gateway.name} closes {name}")
        gateway.open = after
        if beside:
            self.follow()
        gateway.hear(self.migration.mode, self.now)

    def restart(self, gateway: Gateway) -> None:
        """A gateway dies, and starts by its file; what it told before it does not know."""
        gateway.boot += 1
        gateway.open = PORTS[gateway.version]
        gateway.told = mode_in_force(self.migration.mode, gateway.open)
        gateway.since = self.now
        # Whoever was told by the dead one finds what the file says: a start is no reload.
        gateway.last.clear()
        if gateway is self.a:
            self.migration.stop()
            self.start()
            self.follow()
            gateway.since = self.now

    def check(self) -> None:
        """What every client is told, is served; now, and for who was told a moment ago."""
        for gateway in (self.a, self.b):
            gateway.tell(self.now)
            lacks = [name for name in NEEDED[gateway.told] if name not in gateway.open]
            self.case.assertEqual(lacks, [], f"{gateway.name} tells {gateway.told}")
            for name, when in gateway.last.items():
                if self.now - when < SETTLE:
                    self.case.assertIn(name, gateway.open, f"{gateway.name} told it")


GATEWAYS = st.sampled_from(["a", "b"])
EVENTS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.5, 10.0, 59.0, 61.0])),
    st.tuples(
        st.just("switch"),
        st.sampled_from([SEPARATE, MULTIPLEX]),
        st.sampled_from(["no", "before", "after"]),
    ),
    st.tuples(
        st.just("edit"),
        GATEWAYS,
        st.sampled_from(["v1", "v2"]),
        st.sampled_from([None, None, SEPARATE, MULTIPLEX]),
    ),
    st.tuples(st.just("reload"), GATEWAYS),
    st.tuples(st.just("report"), GATEWAYS),
    st.tuples(st.just("hear"), GATEWAYS),
    st.tuples(st.just("restart"), GATEWAYS),
)


class WalkTests(SynchronousTestCase):
    """The invariant, whatever happens in whatever order."""

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(EVENTS, max_size=40))
    @example([("edit", "a", "v2", None), ("reload", "a")])
    @example(
        [
            ("switch", MULTIPLEX, "after"),
            ("hear", "b"),
            ("edit", "b", "v2", None),
            ("reload", "b"),
            ("wait", 61.0),
            ("reload", "b"),
            ("switch", SEPARATE, "no"),
            ("hear", "b"),
        ]
    )
    def test_what_is_told_is_served(self, events: list[Any]) -> None:
        """No order of steps, reloads, crashes and late news breaks it."""
        world = World(self)
        try:
            world.check()
            for event in events:
                self.happen(world, *event)
                world.check()
        finally:
            world.migration.stop()

    def happen(self, world: World, what: str, *more: Any) -> None:
        """One thing happens."""
        gateways = {"a": world.a, "b": world.b}
        if what == "wait":
            world.clock.advance(more[0])
        elif what == "switch":
            world.switch(*more)
        elif what == "edit":
            name, version, mode = more
            gateways[name].version = version
            if name == "a":
                gateways[name].mode = mode
        elif what == "reload":
            world.reload(gateways[more[0]])
        elif what == "report":
            world.report(gateways[more[0]])
        elif what == "hear":
            gateways[more[0]].hear(world.migration.mode, world.now)
        else:
            world.restart(gateways[more[0]])

    def test_the_whole_way(self) -> None:
        """There and back again is possible, in the order of the guide."""
        world = World(self)
        self.addCleanup(lambda: world.migration.stop())
        both = (world.a, world.b)

        def every(*whats: str) -> None:
            for what in whats:
                for gateway in both:
                    self.happen(world, what, gateway.name)
                    world.check()

        for _ in range(2):
            world.switch(MULTIPLEX, "no")
            every("hear", "report")
            world.clock.advance(SETTLE + 1)
            world.a.version = world.b.version = "v2"
            every("report", "reload", "report")
            self.assertEqual([one.open for one in both], [("web",), ("web",)])
            world.switch(SEPARATE, "no")
            self.assertEqual(world.migration.mode, MULTIPLEX)
            world.a.version = world.b.version = "v1"
            every("reload", "report")
            world.switch(SEPARATE, "no")
            every("hear", "report")
            self.assertEqual([one.told for one in both], [SEPARATE, SEPARATE])

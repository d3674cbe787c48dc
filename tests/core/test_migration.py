"""Tests for `tlsgate.core.migration`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.core.migrations import NOW, V1, V2, report, snapshot
from tlsgate.core.migration import (
    MULTIPLEX,
    SEPARATE,
    broken,
    contradicts,
    may_reload,
    may_switch,
    mode_in_force,
    separate_listeners,
    unsettled,
)


def reloads(before: Collection[str], after: Collection[str], **more: Any) -> tuple[str, ...]:
    """`may_reload` of a gateway whose mode stays multiplex and has always been so."""
    told: dict[str, Any] = {
        "mode": MULTIPLEX,
        "next_mode": more.get("mode", MULTIPLEX),
        "mode_since": None,
        "now": NOW,
        "settle_seconds": 60.0,
        **more,
    }
    return may_reload(before, after, **told)


class MayReloadTests(SynchronousTestCase):
    """Tests for `may_reload`."""

    def test_settled(self) -> None:
        """Ports close and open as one likes where nobody is told of them any more."""
        self.assertEqual(reloads(V1, V2), ())
        self.assertEqual(reloads(V2, V1), ())
        self.assertEqual(reloads(V1, V2, mode_since=NOW - 60), ())
        self.assertEqual(reloads(V1, V1, mode=SEPARATE), ())

    def test_told_now(self) -> None:
        """What clients are told to use does not close, and the sentence says what to do first."""
        (why,) = reloads(V1, V2, mode=SEPARATE)[:1]
        self.assertIn("the ports ssh, tunnel would close", why)
        self.assertIn("tgctl migration step 2", why)
        self.assertEqual(len(reloads((*V1, "mongo"), V1, mode=SEPARATE)), 1)

    def test_one_reload_for_both(self) -> None:
        """A reload from v1 to v2 that would switch the mode as well is refused."""
        (why,) = reloads(V1, V2, mode=SEPARATE, next_mode=MULTIPLEX)
        self.assertIn("set auth_service.proxy_listener_mode: multiplex alone and reload", why)

    def test_settling(self) -> None:
        """After the switch the ports stay as long as clients may act by what they were told."""
        (why,) = reloads(("web", "ssh"), V2, mode_since=NOW - 20)
        self.assertEqual(
            why,
            "the port ssh would close, and clients were told to use it until 20 s ago: "
            "wait another 40 s",
        )

    def test_web(self) -> None:
        """The web port is told in every mode."""
        (why,) = reloads(V2, ())
        self.assertIn("the web port would close", why)

    def test_both_open_and_told(self) -> None:
        """A reload may open ports and tell of them at once; not tell of what it does not open."""
        self.assertEqual(reloads(V2, V1, next_mode=SEPARATE), ())
        (why,) = reloads(V2, V2, next_mode=SEPARATE)
        self.assertIn("this gateway has the ssh port not open", why)


class MaySwitchTests(SynchronousTestCase):
    """Tests for `may_switch`."""

    def test_every_gateway(self) -> None:
        """Clients may come to any gateway, so each has to serve what they are told; once each."""
        both = snapshot(report("a"), report("b", V2), report("b", V2, worker="1"))
        (why,) = may_switch(both, SEPARATE)
        self.assertIn("gateway b has the ssh port not open", why)
        self.assertEqual(may_switch(both, MULTIPLEX), ())
        (why,) = may_switch(snapshot(report(names=("ssh",))), MULTIPLEX)
        self.assertIn("the web port not open", why)

    def test_away(self) -> None:
        """A gateway that is away, or leaves, is told by nobody."""
        gone = (report("b", V2, heard=NOW - 150), report("c", V2, leaving=True))
        told = snapshot(report("a"), *gone)
        self.assertEqual(may_switch(told, SEPARATE), ())
        self.assertEqual(told.away, ("b",))

    def test_a_worker_is_away(self) -> None:
        """A gateway of which one process is not heard is away: who is connected is not known."""
        told = snapshot(report("a"), report("a", worker="1", heard=NOW - 150))
        self.assertEqual(told.away, ("a",))

    def test_an_auth_service_alone(self) -> None:
        """Whoever has no port for clients tells them nothing."""
        told = snapshot(report("a"), report("auth", ("auth",)), report("b", ("auth",), heard=0))
        self.assertEqual(may_switch(told, SEPARATE), ())
        self.assertEqual([one.gateway for one in told.present], ["a"])
        self.assertEqual([one.gateway for one in told.hosts], ["a", "auth"])
        self.assertEqual(told.away, ())

    def test_refusing_is_closed(self) -> None:
        """A port that only says where to go serves nobody."""
        told = snapshot(report(names=V2, refusing=("ssh",)), mode=MULTIPLEX)
        self.assertEqual(len(may_switch(told, SEPARATE)), 1)


class BrokenTests(SynchronousTestCase):
    """Tests for `broken` and `contradicts`."""

    def test_holds(self) -> None:
        """Nothing is said where all is served."""
        self.assertEqual(broken(snapshot()), ())
        closed = report(names=V2, refusing=("ssh",), mode_in_force=MULTIPLEX)
        self.assertEqual(broken(snapshot(closed, mode=MULTIPLEX, mode_since=NOW - 60)), ())

    def test_not_served(self) -> None:
        """What a gateway tells and does not serve is said, whatever the cluster's mode is."""
        (why,) = broken(snapshot(report(names=V2), mode=MULTIPLEX))
        self.assertIn("gateway gw1 has the ssh port not open, and clients are sent there", why)

    def test_too_early(self) -> None:
        """A port that was closed while clients may still come is said."""
        early = report(names=V2, refusing=("ssh",), mode_in_force=MULTIPLEX)
        (why,) = broken(snapshot(early, mode=MULTIPLEX, mode_since=NOW - 50))
        self.assertEqual(
            why,
            "gateway gw1 has closed ssh (127.0.0.1:3001), and clients were told to use it until "
            "50 s ago",
        )
        again = evolve(early, listeners=(*early.listeners, *report().listeners))
        self.assertEqual(broken(snapshot(again, mode=MULTIPLEX, mode_since=NOW - 50)), ())

    def test_closed_while_it_was_told(self) -> None:
        """A port that was closed by force, before any switch, is said as long as clients come."""
        early = report(names=V2, refusing=("ssh",), mode_in_force=MULTIPLEX)
        for since in (None, NOW - 20, NOW - 900):
            (why,) = broken(snapshot(early, mode_since=since))
            self.assertIn("told to use it until 20 s ago", why)
        self.assertEqual(broken(evolve(snapshot(early), now=NOW + 40)), ())
        (why,) = broken(snapshot(early, mode=MULTIPLEX, mode_since=NOW - 5))
        self.assertIn("told to use it until 20 s ago", why)

    def test_closed_long_before(self) -> None:
        """A switch says nothing of a port that had been closed before it, or was never told."""
        early = report(names=V2, refusing=("ssh",), mode_in_force=MULTIPLEX)
        old = evolve(snapshot(early, mode=MULTIPLEX, mode_since=NOW + 50), now=NOW + 60)
        self.assertEqual(broken(old), ())
        self.assertEqual(broken(snapshot(early, mode=MULTIPLEX)), ())
        self.assertEqual(broken(snapshot(early, mode_since=NOW - 10)), ())

    def test_moved(self) -> None:
        """A listener at another address is closed at the one before; one's own is told by none."""
        moved = report(refusing=("ssh-moved", "web-moved", "mine"))
        said = [why.partition(",")[0] for why in broken(snapshot(moved))]
        self.assertEqual(
            said,
            [
                "gateway gw1 has closed ssh (127.0.0.1:3003)",
                "gateway gw1 has closed web (127.0.0.1:3004)",
            ],
        )
        (why,) = broken(snapshot(evolve(moved, mode_in_force=MULTIPLEX), mode=MULTIPLEX))
        self.assertIn("has closed web", why)

    def test_contradicts(self) -> None:
        """A gateway that tells another mode than the cluster's is named."""
        self.assertEqual(contradicts(snapshot()), ())
        (why,) = contradicts(snapshot(mode=MULTIPLEX))
        self.assertEqual(why, "gateway gw1 tells clients separate, and the cluster is multiplex")


class WordsTests(SynchronousTestCase):
    """Tests for the small rules."""

    def test_mode_in_force(self) -> None:
        """A gateway without the ports of the mode tells of the one that it has."""
        self.assertEqual(mode_in_force(SEPARATE, V1), SEPARATE)
        self.assertEqual(mode_in_force(SEPARATE, V2), MULTIPLEX)
        self.assertEqual(mode_in_force(SEPARATE, ()), SEPARATE)
        self.assertEqual(mode_in_force(MULTIPLEX, V1), MULTIPLEX)

    def test_unsettled(self) -> None:
        """A mode that was always so is settled."""
        self.assertEqual(unsettled(None, NOW, 60), 0)
        self.assertEqual(snapshot(mode_since=NOW - 10).unsettled_seconds, 50)

    def test_separate_listeners(self) -> None:
        """A listener that shares the web port's address is no separate one."""
        told = report(names=("web", "ssh", "tunnel", "mine"), refusing=("kube",))
        web, ssh, tunnel, *rest = told.listeners
        shared = evolve(told, listeners=(web, ssh, evolve(tunnel, address=web.address), *rest))
        self.assertEqual([one.name for one in separate_listeners(shared)], ["ssh"])

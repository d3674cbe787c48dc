"""Tests for `tlsgate.core.moves`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.moves import (
    AGAIN_SECONDS,
    RATE,
    SIZES,
    SOON_SECONDS,
    TRIES,
    WAIT_SECONDS,
    Advice,
    Stray,
    Waves,
    bucket,
)
from tlsgate.errors import BadBytes


def stray(name: str, number: int = 1, **more: Any) -> Stray:
    """One agent's session."""
    return Stray(key=(name, ("node",)), session=f"{name}-{number}", **more)


class AdviceTests(SynchronousTestCase):
    """Tests for `Advice`."""

    def test_percent(self) -> None:
        """It picks by name, about as many as it says, and a larger one takes in a smaller."""
        names = [f"node{n}" for n in range(1000)]
        tenth = {one for one in names if Advice(percent=10).concerns(one, [])}
        half = {one for one in names if Advice(percent=50).concerns(one, [])}
        self.assertTrue(50 < len(tenth) < 150 and 430 < len(half) < 570 and tenth < half)
        self.assertEqual([one for one in names if Advice(percent=0).concerns(one, [])], [])
        self.assertTrue(all(Advice().concerns(one, []) for one in names))
        self.assertEqual({bucket(one) for one in names}, set(range(100)))

    def test_labels(self) -> None:
        """One offer has to have them all."""
        advice = Advice(labels={"env": "prod", "rack": "1"})
        for labels, want in (
            ([], False),
            ([{"env": "prod"}, {"rack": "1"}], False),
            ([{"env": "dev"}, {"env": "prod", "rack": "1", "x": "y"}], True),
        ):
            self.assertEqual(advice.concerns("a", labels), want)

    def test_told_and_read(self) -> None:
        """What is told is read again; what is nothing of the kind is refused."""
        advice = Advice(percent=5, labels={"a": "b"}, paused=True, number=7)
        self.assertEqual(Advice.read(advice.told()), advice)
        for odd in (
            None,
            {**advice.told(), "percent": 101},
            {**advice.told(), "percent": True},
            {**advice.told(), "number": -1},
            {**advice.told(), "labels": {"a": 1}},
            {**advice.told(), "labels": ["a"]},
            {**advice.told(), "paused": 1},
        ):
            self.assertRaises(BadBytes, Advice.read, odd)


class WavesTests(SynchronousTestCase):
    """Tests for `Waves`."""

    def setUp(self) -> None:
        self.waves = Waves()
        self.now = 100.0
        self.waves.begin(self.now)

    def next(self, strays: list[Stray], seconds: float = 1.0) -> list[str]:
        """Who is asked after so many seconds."""
        self.now += seconds
        return self.waves.next(self.now, strays)

    def test_waves_grow(self) -> None:
        """One, then more, each when everybody of the one before has moved, at a bounded rate."""
        strays = [stray(f"node{n}") for n in range(200)]
        self.assertEqual(self.next(strays, SOON_SECONDS / 2), [])
        sizes = []
        while strays:
            asked = self.next(strays)
            sizes.append(len(asked))
            self.assertEqual(self.next(strays), [])
            self.assertTrue(self.waves.waits(strays))
            strays = [one for one in strays if one.session not in asked]
        self.assertEqual(sizes, [1, 5, 25, 50, 50, 50, 19])
        self.assertEqual((self.next(strays), self.waves.waits(strays)), ([], False))
        self.assertEqual(max(SIZES), RATE)

    def test_who_is_next(self) -> None:
        """The same agents for all gateways: by their hundredth."""
        strays = [stray(f"node{n}") for n in range(50)]
        [first] = self.next(strays)
        self.assertEqual(bucket(first.removesuffix("-1")), min(bucket(s.key[0]) for s in strays))

    def test_too_late(self) -> None:
        """Who has no tunnel in time is named, and no wave follows until it has come after all."""
        strays = [stray("a"), stray("b")]
        [asked] = self.next(strays)
        failed, waits = sorted(strays, key=lambda one: one.session != asked)
        self.assertEqual(self.waves.state(failed), ("moving", ""))
        self.assertEqual(self.waves.state(waits), ("old", "it waits for its turn"))
        self.assertEqual(self.next(strays, WAIT_SECONDS), [])
        self.assertEqual((self.waves.stopped, self.waves.waits(strays)), (True, False))
        state, why = self.waves.state(failed)
        self.assertEqual((state, "20 s" in why), ("cannot", True))
        name = failed.key[0]
        self.assertEqual(self.waves.state(waits), ("old", f"it waits: {name} cannot move"))
        self.assertEqual(self.next([waits]), [waits.session])
        self.assertEqual(self.waves.stopped, False)

    def test_it_cannot(self) -> None:
        """An agent that says so twice is believed; another word of the operator's asks anew."""
        one = stray("a")
        self.assertEqual(self.next([one]), ["a-1"])
        self.assertEqual(self.next([evolve(one, tries=1, why="refused")]), [])
        self.assertEqual(self.waves.stopped, False)
        self.assertEqual(self.next([evolve(one, tries=TRIES, why="refused")]), [])
        self.assertEqual(self.waves.state(one), ("cannot", "refused"))
        self.waves.advise(Advice(number=0))
        self.assertEqual(self.waves.stopped, True)
        self.waves.advise(Advice(number=1))
        self.assertEqual(self.next([one]), ["a-1"])
        self.waves.begin(self.now)
        self.assertEqual(self.waves.stopped, False)

    def test_advice(self) -> None:
        """Only whom it is meant for is asked, and nobody while it is paused."""
        strays = [stray("a"), stray("b", labels=({"env": "prod"},))]
        self.waves.advise(Advice(labels={"env": "prod"}, paused=True, number=1))
        self.assertEqual((self.next(strays), self.waves.waits(strays)), ([], False))
        self.assertEqual(self.waves.state(strays[1]), ("old", "the advice is paused"))
        self.waves.advise(Advice(labels={"env": "prod"}, number=2))
        self.assertTrue(self.waves.waits(strays))
        self.assertEqual(self.next(strays), ["b-1"])
        self.assertEqual((self.next(strays[:1]), self.waves.waits(strays[:1])), ([], False))
        self.assertEqual(self.waves.state(strays[0]), ("old", "the advice is not for it"))

    def test_come_back(self) -> None:
        """Who asked for the way too early is asked again, and not for ever."""
        self.assertEqual(self.next([stray("a")]), ["a-1"])
        self.assertEqual(self.next([stray("a", 2)], AGAIN_SECONDS / 2), [])
        self.assertEqual(self.next([stray("a", 2)], AGAIN_SECONDS), ["a-2"])
        self.assertEqual(self.next([stray("a", 3)], WAIT_SECONDS), [])
        self.assertEqual(self.waves.stopped, True)

    def test_a_port_that_closes(self) -> None:
        """Its agents are asked at once, whatever the advice is and whoever cannot."""
        self.waves.advise(Advice(percent=0, paused=True, number=1))
        strays = [stray(f"node{n}", closing=True) for n in range(60)]
        self.assertTrue(self.waves.waits(strays))
        self.assertEqual([len(self.next(strays)) for _ in range(3)], [50, 10, 0])
        failed = [evolve(one, tries=TRIES) for one in strays]
        self.assertEqual((self.next(failed), self.waves.waits(failed)), ([], False))

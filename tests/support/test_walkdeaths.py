"""Tests for `tests.support.walkdeaths`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.walkdeaths import Deaths
from tests.support.walkdials import Attempt
from tests.support.walkways import Way


class DeathsTests(SynchronousTestCase):
    """Tests for `Deaths`."""

    def excused(self, deaths: Deaths, kind: str, began: float, seconds: float = 0.0) -> bool:
        """Whether an attempt of that kind is."""
        made = Attempt(way=Way(kind, 1), began=began, age=0.0, seconds=seconds, wrong="x")
        return not deaths.wrong([made])

    def test_whom_a_death_excuses(self) -> None:
        """Who was under way when it came, or began before it was there again for three seconds."""
        deaths = Deaths([(100.0, 110.0, ())])
        for began, seconds, excused in (
            (90.0, 9.9, False),
            (90.0, 10.1, True),
            (105.0, 0.0, True),
            (112.9, 5.0, True),
            (113.1, 0.0, False),
        ):
            self.assertEqual(self.excused(deaths, "ssh", began, seconds), excused, began)
        self.assertFalse(self.excused(Deaths(), "ssh", 105.0))

    def test_some_kinds(self) -> None:
        """Somebody else's death excuses those only who need it."""
        deaths = Deaths([(100.0, 110.0, ("api",))])
        self.assertTrue(self.excused(deaths, "api", 105.0))
        self.assertFalse(self.excused(deaths, "ssh", 105.0))

    def test_one(self) -> None:
        """A death lasts for as long as its block; a message says how long it is over."""
        deaths = Deaths()
        with deaths.one(("api",)):
            pass
        ((gone, ready, kinds),) = deaths.outages
        self.assertEqual((gone <= ready, kinds), (True, ("api",)))
        late = Attempt(way=Way("ssh", 1), began=ready + 7.0, age=0.0, seconds=0.0, wrong="why")
        (told,) = deaths.wrong([late])
        self.assertIn("why", told)
        self.assertIn("7.0 s after it was there again", told)

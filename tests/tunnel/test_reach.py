"""Tests for `tlsgate.tunnel.reach`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.tunnel.reach import Reach, reach

INPUTS = ("begin", "found", "greeted", "failed", "lost", "moved", "parked", "due", "stop")

#: By state, how to come there.
STATES = {
    "asleep": (),
    "finding": ("begin",),
    "dialling": ("begin", "found"),
    "there": ("begin", "found", "greeted"),
    "waiting": ("begin", "failed"),
    "over": ("stop",),
}
#: What each state asks for on each input; nothing where there is none.
ASKS = {
    "asleep": {"begin": ["find"], "stop": ["forget"]},
    "finding": {
        "found": ["dial"],
        "failed": ["wait"],
        "parked": ["forget"],
        "stop": ["forget"],
    },
    "dialling": {
        "greeted": ["settle"],
        "failed": ["wait"],
        "parked": ["forget"],
        "stop": ["forget"],
    },
    "there": {"lost": ["wait"], "moved": ["find"], "parked": ["forget"], "stop": ["forget"]},
    "waiting": {
        "begin": ["forget", "find"],
        "due": ["find"],
        "parked": ["forget"],
        "stop": ["forget"],
    },
    "over": {},
}


class Effects:
    """Remembers what is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find(self) -> None:
        self.asked.append("find")

    def dial(self) -> None:
        self.asked.append("dial")

    def settle(self) -> None:
        self.asked.append("settle")

    def wait(self) -> None:
        self.asked.append("wait")

    def forget(self) -> None:
        self.asked.append("forget")


class ReachTests(SynchronousTestCase):
    """Tests for `reach`."""

    def at(self, state: str) -> tuple[Reach, Effects]:
        """A machine in *state*."""
        effects = Effects()
        made = reach(effects)
        for one in STATES[state]:
            getattr(made, one)()
        effects.asked.clear()
        return made, effects

    def test_every_pair(self) -> None:
        """Each input in each state asks for what is said above, and for nothing else."""
        for state in STATES:
            for word in INPUTS:
                made, effects = self.at(state)
                getattr(made, word)()
                self.assertEqual(effects.asked, ASKS[state].get(word, []), (state, word))

    def test_a_gateway_that_moves(self) -> None:
        """It is dialled anew while its session goes on; what ends meanwhile changes nothing."""
        made, effects = self.at("there")
        for word in ("moved", "lost", "moved", "found", "lost", "greeted", "lost", "due"):
            getattr(made, word)()
        self.assertEqual(effects.asked, ["find", "dial", "settle", "wait", "find"])

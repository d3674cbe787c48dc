"""Tests for `tlsgate.cli.tgctl.following`."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.faults import NotFollowed
from tlsgate.cli.tgctl.following import wait_for_all


def answer(*behind: tuple[str, str, str], known: int = 9) -> dict[str, Any]:
    """What the API says while *behind* are."""
    rows = [{"kind": kind, "name": name, "worker": worker} for kind, name, worker in behind]
    said = {"type": "user", "phase": "init", "known": known}
    return {**said, "behind_count": len(rows), "behind": rows[:6]}


class WaitTests(SynchronousTestCase):
    """Tests for `wait_for_all`."""

    def wait(self, *answers: dict[str, Any], seconds: int = 60) -> str:
        """Wait; gives what is said meanwhile."""
        clock, left, said = Clock(), list(answers), io.StringIO()

        def ask() -> dict[str, Any]:
            return left.pop(0) if len(left) > 1 else left[0]

        with redirect_stderr(said):
            wait_for_all(ask, seconds, now=clock.seconds, sleep=clock.advance)
        return said.getvalue()

    def test_nobody_is_behind(self) -> None:
        """Then nothing is said."""
        self.assertEqual(self.wait(answer()), "")

    def test_progress(self) -> None:
        """Whom it waits for is said once, and when it is over."""
        two = answer(("gateway", "gw1", "1"), ("agent", "db1", ""))
        one = answer(("agent", "db1", ""))
        self.assertEqual(
            self.wait(two, two, one, answer()),
            "tgctl: 7 of 9 have followed; not yet: gateway gw1 (worker 1), agent db1\n"
            "tgctl: 8 of 9 have followed; not yet: agent db1\n"
            "tgctl: all 9 have followed\n",
        )

    def test_too_long(self) -> None:
        """Who has not followed in time is named, a few of many."""
        many = answer(*(("agent", f"db{number}", "") for number in range(8)))
        with self.assertRaises(NotFollowed) as caught:
            self.wait(many, seconds=5)
        self.assertEqual(
            str(caught.exception),
            "after 5 s init of user is not taken up by agent db0, agent db1, agent db2, "
            "agent db3, agent db4, 3 more: look at their logs before the next phase",
        )

"""`tgctl upgrade` of a whole cluster in one daemon, while clients come by every way there is."""

from __future__ import annotations

from tests.support.child import alive, until
from tests.support.walkdials import Dialler
from tests.support.walkhouse import WalkCase

#: New connections a second.
_RATE = 20.0
#: Before the first upgrade, and after each.
_QUIET = 40
#: Nobody waits longer for an agent; a machine that is busy may add something.
_LONGEST_SECONDS = 6.0


class ClusterUpgradeTests(WalkCase):
    """The auth service, a gateway, and an agent with sshd, a database and an application."""

    def test_nobody_is_turned_away(self) -> None:
        """Every new connection is served: at the port, by the agent, by the auth service."""
        self.start()
        with Dialler(means=self.means, rate=_RATE) as dialler:
            self.come(dialler)
            for _ in range(2):
                old = self.hub.pid
                said = self.hub.admin("POST", "/v1/upgrade")
                self.assertEqual(self.hub.pid, said["pid"])
                until(lambda: not alive(old), "the old one's end")  # noqa: B023
                self.come(dialler)
        failed = "\n".join(map(str, dialler.failed()))
        self.assertEqual(failed, "")
        tried = dialler.tried()
        self.assertGreater(min(tried.values()), 5, tried)
        slow = [str(one) for one in dialler.attempts if one.seconds > _LONGEST_SECONDS]
        self.assertEqual(slow, [])

    def come(self, dialler: Dialler) -> None:
        """Let some more clients come."""
        enough = len(dialler.attempts) + _QUIET
        until(lambda: len(dialler.attempts) >= enough, "more clients")

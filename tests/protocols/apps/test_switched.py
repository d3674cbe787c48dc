"""Tests for `tlsgate.protocols.apps.switched`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tlsgate.interfaces import IKeptToEnd
from tlsgate.protocols.apps.session import Acting
from tlsgate.protocols.apps.switched import Switched


class SwitchedTests(SynchronousTestCase):
    """A relay whose session may end."""

    def setUp(self) -> None:
        self.said: list[object] = []
        self.pair: Any = SimpleNamespace(
            open=True,
            cause="",
            to_target=SimpleNamespace(moved=1),
            to_client=SimpleNamespace(moved=2),
            start=lambda *words: self.said.append(words),
            abort=self.said.append,
        )
        self.kept = Switched(self.pair, lambda *told: self.said.append(told))
        self.ends: list[Any] = []

    def session(self) -> Acting:
        """One that tells of its end."""

        def on_end(callback: object) -> object:
            self.ends.append(callback)
            return lambda: self.ends.remove(callback)

        return cast(Acting, SimpleNamespace(on_end=on_end))

    def test_session_ends(self) -> None:
        """Logged out, it ends at once (S31)."""
        self.assertTrue(verifyObject(IKeptToEnd, self.kept))
        self.kept.start(to_target=b"a", to_client=b"b", acting=self.session())
        self.ends[0]()
        self.kept.lost()
        self.assertEqual(self.said, [(b"a", b"b"), "session_ended", (1, 2)])

    def test_lost(self) -> None:
        """Over before that, nobody waits for the session's end."""
        self.kept.start(to_target=b"", to_client=b"", acting=self.session())
        self.kept.lost()
        self.assertEqual(self.ends, [])

    def test_ended(self) -> None:
        """A lock or a drain ends it; it never rests."""
        self.kept.start(to_target=b"", to_client=b"", acting=None)
        self.kept.end_in_order("locked")
        self.assertEqual(self.said[1:], ["locked"])
        self.assertEqual((self.kept.resting(), self.kept.carried()), (False, (1, 2)))
        self.assertEqual(self.kept.cause, "")

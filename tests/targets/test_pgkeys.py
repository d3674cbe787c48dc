"""Tests for `tlsgate.targets.pgkeys`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.wire.pgmessages import Key
from tlsgate.targets import pgkeys
from tlsgate.targets.pgkeys import Held, Keys


def held(user: str = "alice", name: str = "orders") -> Held:
    """A session of somebody's."""
    return Held(user, name, "app", ("192.0.2.1", 5432), Key(1, b"hush"))


class KeysTests(SynchronousTestCase):
    """Tests for `Keys`."""

    def setUp(self) -> None:
        self.keys = Keys()

    def test_find(self) -> None:
        """S44: a key is good for its own user and database only."""
        mine = held()
        self.keys.put("aa", mine)
        self.assertIs(self.keys.find("aa", "alice", "orders"), mine)
        for key, user, name in (
            ("ab", "alice", "orders"),
            ("aa", "bob", "orders"),
            ("aa", "alice", "hr"),
        ):
            self.assertIs(self.keys.find(key, user, name), None)

    def test_taken(self) -> None:
        """A key that is somebody's stays his, and only he gives it back."""
        mine, other = held(), held("bob")
        self.keys.put("aa", mine)
        self.keys.put("aa", other)
        self.keys.drop("aa", other)
        self.assertIs(self.keys.find("aa", "alice", "orders"), mine)
        self.keys.drop("aa", mine)
        self.keys.drop("aa", mine)
        self.assertEqual(len(self.keys), 0)

    def test_bounded(self) -> None:
        """Where there are too many the oldest goes."""
        self.patch(pgkeys, "_REMEMBERED", 2)
        for key in ("aa", "ab", "ac"):
            self.keys.put(key, held())
        self.assertEqual(len(self.keys), 2)
        self.assertIs(self.keys.find("aa", "alice", "orders"), None)

    def test_secret(self) -> None:
        """The server's key is in no log."""
        self.assertNotIn("hush", repr(held()))

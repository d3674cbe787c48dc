"""What verbs take: bounded, typed, and never quoted back."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth import bodies
from tlsgate.auth.bodies import Login, NewLock, NewToken, Page, Trail, take
from tlsgate.errors import BadResource

WHOLE: dict[str, Any] = {"user": "alice", "password": "canary-4711", "tls_public_key": "x"}


class TakeTests(SynchronousTestCase):
    """Tests for `take`."""

    def problems(self, model: Any, value: Any) -> dict[str, str]:
        error = self.assertRaises(BadResource, take, model, value)
        return dict(error.problems)

    def test_every_problem_at_once(self) -> None:
        """Each fault has its path; nothing of what was sent is in a sentence."""
        found = self.problems(
            Login, {"user": "a b", "password": ["canary-4711"], "otp": 7, "extra": "canary-4711"}
        )
        self.assertEqual(set(found), {"user", "password", "otp", "extra", "tls_public_key"})
        self.assertNotIn("canary", json.dumps(found))

    def test_secrets_are_not_shown(self) -> None:
        """A body that is logged by mistake has no secret in it."""
        self.assertNotIn("canary", repr(take(Login, WHOLE)))

    def test_types_are_as_they_are(self) -> None:
        """In JSON a number is a number and true is true; nothing is guessed."""
        for name, value in (("user", 7), ("otp", 123456), ("ttl_seconds", "60")):
            self.assertEqual(set(self.problems(Login, {**WHOLE, name: value})), {name})
        self.assertEqual(set(self.problems(NewToken, {"types": "node"})), {"types"})
        others: list[Any] = [None, [], "x", 7, True]
        for whole in others:
            self.assertEqual(set(self.problems(Login, whole)), {""})

    def test_names(self) -> None:
        """A name is what certificates and keys carry; no path, no control character."""
        for name in ("a/b", "../x", "a\n", "a b", "", "-x", "é", "x" * 65, "a\0"):
            self.assertIn("user", self.problems(Login, {**WHOLE, "user": name}), repr(name))
        for name in ("a", "alice@example.com", "a.b_c+d-e", "x" * 64):
            take(Login, {**WHOLE, "user": name})

    def test_texts(self) -> None:
        """A message is one printable line."""
        for message in ("a\nb", "\x1b]0;x\x07", "a\u2028b", "x" * 257):
            value = {"target": {"user": "a"}, "message": message}
            self.assertIn("message", self.problems(NewLock, value), repr(message))

    def test_paths_are_short(self) -> None:
        """A name that nobody knows is cut, and shown without its control characters."""
        (path,) = self.problems(bodies.Reset, {"\x1b" + "y" * 1000: 1})
        self.assertLess(len(path), 100)
        self.assertTrue(path.isprintable())

    def test_queries(self) -> None:
        """Texts of a query become numbers and flags; an empty one is no number."""
        self.assertEqual(take(Page, {"limit": "5", "after": ""}), Page(limit=5, after=""))
        self.assertEqual(take(bodies.Put, {"force": "1", "confirm": "0"}).force, True)
        self.assertEqual(take(Trail, {"since": "1.5"}).since, 1.5)
        for query in (
            {"limit": ""},
            {"limit": "0"},
            {"limit": "1e3"},
            {"lim": "1"},
            {"limit": "9" * 5000},
        ):
            self.assertRaises(BadResource, take, Page, query)
        for since in ("nan", "inf", "-1", "1e12"):
            self.assertRaises(BadResource, take, Trail, {"since": since})

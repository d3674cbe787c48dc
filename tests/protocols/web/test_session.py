"""Tests for `tlsgate.protocols.web.session`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.sessions import bearer_of
from tlsgate.protocols.web import session

COOKIE = "0123456789abcdef" + "c" * 43


class SessionTests(SynchronousTestCase):
    """Tests for `read` and `Session`."""

    def test_read(self) -> None:
        """What the auth service says becomes a value, with the bearer of its cookie."""
        said = {
            "user": "alice",
            "roles": ["access"],
            "traits": {"logins": ["root"]},
            "expires": 7,
            "later": "unknown",
        }
        found = session.read(COOKIE, said)
        self.assertEqual(
            found,
            session.Session(
                cookie=COOKIE,
                user="alice",
                roles=("access",),
                traits={"logins": ("root",)},
                expires=7.0,
            ),
        )
        self.assertEqual(found.bearer, bearer_of(COOKIE))

    def test_s24_repr(self) -> None:
        """S24: neither cookie nor bearer is in what a log would show."""
        shown = repr(session.Session(cookie=COOKIE, user="alice"))
        self.assertNotIn(COOKIE, shown)
        self.assertNotIn(bearer_of(COOKIE), shown)

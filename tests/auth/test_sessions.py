"""Tests for `tlsgate.auth.sessions`."""

from __future__ import annotations

from typing import Any

from tests.auth.people import HOME, AuthTestCase
from tlsgate.auth.sessions import PER_USER, Limits, NewSession, Session, Sessions, bearer_of

IDLE, LIFE = 600.0, 3600.0


class SessionsTests(AuthTestCase):
    """Tests for `Sessions`."""

    def setUp(self) -> None:
        super().setUp()
        self.sessions = Sessions(
            self.store, self.now, Limits(idle_seconds=IDLE, lifetime_seconds=LIFE)
        )

    def make(self, user: str = "alice", **more: Any) -> NewSession:
        return self.run_now(self.sessions.make(user, HOME, **more))

    def find(
        self, cookie: str, bearer: str | None = None, address: str | None = HOME
    ) -> Session | None:
        return self.run_now(self.sessions.find(cookie, bearer, address))

    def test_a_cookie_finds_its_session(self) -> None:
        """Who shows the cookie is the user; who shows the bearer too has proved more."""
        made = self.make()
        found = self.find(made.cookie)
        want: dict[str, Any] = {
            "id": made.id,
            "user": "alice",
            "expires": made.expires,
            "created": self.seconds,
            "address": HOME,
        }
        self.assertEqual(found, Session(proved=False, **want))
        self.assertEqual(self.find(made.cookie, made.bearer), Session(proved=True, **want))
        self.assertEqual(made.expires, self.seconds + IDLE)

    def test_a_bearer_belongs_to_one_cookie(self) -> None:
        """Neither another user's bearer nor the same user's other one is taken (S29)."""
        mine, again, other = self.make(), self.make(), self.make("bob")
        for bearer in (again.bearer, other.bearer, "", mine.bearer[:-1], "\ud800", mine.cookie):
            self.assertIsNone(self.find(mine.cookie, bearer))
        self.assertEqual(bearer_of(mine.cookie), mine.bearer)

    def test_nothing_that_lets_in_is_kept(self) -> None:
        """The store has a digest of the cookie, no bearer, and the key shows no name."""
        made = self.make()
        items = self.run_now(self.store.scan("sessions/"))
        text = b"".join(item.key.encode() + item.value for item in items)
        for secret in (made.cookie, made.cookie[16:], made.bearer):
            self.assertNotIn(secret.encode(), text)
        self.assertNotIn("alice", items[0].key)
        self.assertNotIn(made.cookie[16:], repr(made) + repr(self.find(made.cookie)))
        self.assertNotIn(made.bearer, repr(made))

    def test_what_is_no_cookie_finds_nothing(self) -> None:
        """Foreign texts are not looked up."""
        made = self.make()
        texts = ("", "x", made.id, made.cookie[:-1], made.cookie + "a", "/" * 59, "\ud800" * 59)
        for text in (*texts, made.cookie[:-2] + "é-", "a" * 10**6):
            self.assertIsNone(self.find(text))
            self.assertIsNone(self.run_now(self.sessions.end(text)))

    def test_a_session_ends_when_it_is_not_used(self) -> None:
        """Each use moves the end, and the store forgets it by itself."""
        made = self.make()
        for _ in range(3):
            self.seconds += IDLE - 1
            self.assertIsNotNone(self.find(made.cookie))
        self.seconds += IDLE
        self.assertIsNone(self.find(made.cookie))
        self.assertEqual(self.run_now(self.store.scan("sessions/")), [])

    def test_no_use_moves_the_end_of_its_life(self) -> None:
        """After its lifetime a session is over however busy it is."""
        made = self.make()
        for _ in range(11):
            self.seconds += 300
            self.assertIsNotNone(self.find(made.cookie))
        self.seconds += 299
        found = self.find(made.cookie)
        assert found is not None
        self.assertEqual(found.expires, made.expires - IDLE + LIFE)
        self.seconds += 1
        self.assertIsNone(self.find(made.cookie))

    def test_a_busy_page_writes_seldom(self) -> None:
        """Uses within a tenth of the idle limit cost a read, no commit."""
        made = self.make()
        before = self.run_now(self.store.revision())
        for _ in range(60):
            self.seconds += 1
            self.find(made.cookie)
        self.assertEqual(self.run_now(self.store.revision()), before)
        self.seconds += 1
        self.find(made.cookie)
        self.assertEqual(self.run_now(self.store.revision()), before + 1)

    def test_a_clock_put_back_revives_nothing(self) -> None:
        """A session that ended stays ended; one from the future is not believed (R16)."""
        made = self.make()
        self.seconds += IDLE
        self.assertIsNone(self.find(made.cookie))
        self.seconds -= IDLE
        self.assertIsNone(self.find(made.cookie))
        late = self.make()
        self.seconds -= 86400
        self.assertIsNone(self.find(late.cookie))

    def test_a_pinned_session_is_good_from_one_address(self) -> None:
        """Elsewhere the cookie is worth nothing, and the session at home goes on."""
        pinned, free = self.make(pinned=True), self.make()
        for address in ("192.0.2.11", None):
            self.assertIsNone(self.find(pinned.cookie, address=address))
            self.assertIsNotNone(self.find(free.cookie, address=address))
        self.assertIsNotNone(self.find(pinned.cookie))

    def test_logout_ends_one_session(self) -> None:
        """The next hundred requests with its cookie are refused, others go on (S31)."""
        one, two = self.make(), self.make()
        self.assertEqual(self.run_now(self.sessions.end(one.cookie)), "alice")
        self.assertEqual([self.find(one.cookie, one.bearer) for _ in range(100)], [None] * 100)
        self.assertIsNotNone(self.find(two.cookie))
        self.assertIsNone(self.run_now(self.sessions.end(one.cookie)))

    def test_logout_everywhere(self) -> None:
        """All of one user end, in every process, and nobody else's."""
        mine = [self.make() for _ in range(3)]
        other = self.make("bob")
        elsewhere = Sessions(self.store, self.now)
        self.assertEqual(self.run_now(self.sessions.end_all("alice")), 3)
        for each in mine:
            self.assertIsNone(self.find(each.cookie))
            self.assertIsNone(self.run_now(elsewhere.find(each.cookie)))
        self.assertIsNotNone(self.find(other.cookie))
        self.assertEqual(self.run_now(self.sessions.end_all("alice")), 0)

    def test_a_user_has_so_many_sessions(self) -> None:
        """One more ends the oldest."""
        made = []
        for _ in range(PER_USER + 2):
            made.append(self.make())
            self.seconds += 1
        found = [self.find(each.cookie) is not None for each in made]
        self.assertEqual(found, [False] * 2 + [True] * PER_USER)

    def test_who_holds_something_open_hears_of_the_end(self) -> None:
        """Logout, logout everywhere, and the end of time are told once each, by id."""
        heard: list[str] = []
        self.sessions.start()
        end = self.sessions.on_end(heard.append)
        one, two, three = (self.make() for _ in range(3))
        other = self.make("bob")
        self.store.turn()
        self.assertEqual(heard, [])
        self.run_now(self.sessions.end(one.cookie))
        self.store.turn()
        self.assertEqual(heard, [one.id])
        self.run_now(self.sessions.end_all("alice"))
        self.store.turn()
        self.assertEqual(sorted(heard[1:]), sorted([two.id, three.id]))
        self.seconds += IDLE
        self.run_now(self.store.revision())
        self.store.turn()
        self.assertEqual(heard[3:], [other.id])
        end()
        end()
        self.run_now(self.sessions.end(self.make().cookie))
        self.store.turn()
        self.sessions.stop()
        self.sessions.stop()
        self.assertEqual(len(heard), 4)

    def test_a_use_that_crosses_a_logout_does_not_revive_it(self) -> None:
        """The write of a use stands on the session being there."""
        made = self.make()
        self.seconds += IDLE / 2
        commit = self.store.commit

        async def slow(changes: Any) -> int:
            self.store.commit = commit  # type: ignore[method-assign]
            await self.sessions.end(made.cookie)
            return await commit(changes)

        self.store.commit = slow  # type: ignore[method-assign]
        self.assertIsNone(self.find(made.cookie))
        self.assertIsNone(self.find(made.cookie))

"""Tests for `tlsgate.auth.invites`."""

from __future__ import annotations

from tests.auth.people import HOME, PASSWORD, AuthTestCase
from tlsgate.auth.invites import LIVES, Begun, Invite
from tlsgate.auth.opaque import new_secret
from tlsgate.errors import BadAsk, BadToken, LoginFailed, NoSuch, WeakPassword, WrongCode

NEW = "a different password"


class InvitesTests(AuthTestCase):
    """Tests for `Invites`, as users meet them through `Users`."""

    def invite(self, ttl_seconds: float | None = None) -> Invite:
        return self.run_now(self.users.add("alice", ["access"], ttl_seconds=ttl_seconds))

    def begin_link(self, invite: Invite) -> Begun:
        return self.run_now(self.users.begin_invite(invite.token))

    def everything(self) -> bytes:
        items = self.run_now(self.store.scan(""))
        return b"\n".join(item.key.encode() + b" " + item.value for item in items)

    def test_a_new_user_logs_in_with_what_was_chosen(self) -> None:
        """From the link to a login: password, authenticator, code."""
        invite = self.invite()
        begun = self.begin_link(invite)
        assert begun.secret is not None and begun.otpauth is not None
        self.assertEqual((begun.user, begun.kind), ("alice", "invite"))
        self.assertEqual(begun.expires, self.seconds + 3600)
        self.assertIn(begun.secret, begun.otpauth)
        code = self.code(begun.secret)
        accepted = self.run_now(self.users.accept_invite(invite.token, PASSWORD, code))
        self.assertEqual((accepted.user, accepted.kind), ("alice", "invite"))
        self.fails(LoginFailed, self.users.check("alice", PASSWORD, code, HOME))
        self.seconds += 30
        code = self.code(begun.secret)
        self.assertEqual(
            self.run_now(self.users.check("alice", PASSWORD, code, HOME)).name, "alice"
        )
        self.assertEqual(
            [event for event, _ in self.audit.events],
            ["user.password_change", "mfa.add", "user.login", "user.login"],
        )

    def test_nothing_that_lets_in_is_kept(self) -> None:
        """The store holds a digest of the link, and the authenticator's secret sealed."""
        invite = self.invite()
        begun = self.begin_link(invite)
        assert begun.secret is not None
        code = self.code(begun.secret)
        for _ in range(2):
            kept = self.everything()
            for secret in (invite.token, begun.secret, PASSWORD):
                self.assertNotIn(secret.encode(), kept)
            if invite.token:
                self.fails(BadToken, self.users.begin_invite(new_secret()))
            if kept == self.everything() and code:
                self.run_now(self.users.accept_invite(invite.token, PASSWORD, code))
                break
        self.assertNotIn(invite.token, repr(invite) + repr(begun))
        self.assertNotIn(begun.secret, repr(invite) + repr(begun))

    def test_a_page_that_is_loaded_again_shows_the_same(self) -> None:
        """The secret is made once a link, so a scanned picture stays good."""
        invite = self.invite()
        self.assertEqual(self.begin_link(invite), self.begin_link(invite))

    def test_two_pages_at_once_show_the_same(self) -> None:
        """Of two that begin together one makes the secret and both show it."""
        invite = self.invite()
        calls = [self.users.begin_invite(invite.token) for _ in range(2)]
        one, two = [self.run_now(call) for call in calls]
        self.assertEqual(one, two)

    def test_mistakes_leave_the_link_open(self) -> None:
        """A weak password or a wrong code may be tried again, without a hash being made."""
        invite = self.invite()
        accept = self.users.accept_invite
        self.fails(WrongCode, accept(invite.token, PASSWORD, "000000"))
        begun = self.begin_link(invite)
        assert begun.secret is not None
        right = self.code(begun.secret)
        self.fails(WeakPassword, accept(invite.token, "short", right))
        self.fails(WeakPassword, accept(invite.token, "alicealicealice", right))
        for code in (None, "", "123", self.code(begun.secret, 5)):
            self.fails(WrongCode, accept(invite.token, PASSWORD, code))
        self.assertEqual(self.hashes, [])
        self.run_now(accept(invite.token, PASSWORD, right))

    def test_an_accepted_link_is_gone(self) -> None:
        """Neither its page nor its acceptance works a second time."""
        invite = self.invite()
        begun = self.begin_link(invite)
        assert begun.secret is not None
        code = self.code(begun.secret)
        self.run_now(self.users.accept_invite(invite.token, PASSWORD, code))
        self.fails(BadToken, self.users.begin_invite(invite.token))
        self.fails(BadToken, self.users.accept_invite(invite.token, NEW, code))
        self.assertNotIn(b"invites/", self.everything())

    def test_one_link_in_many_hands_is_accepted_once(self) -> None:
        """Of two hundred at the same time one chooses the password (S42)."""
        invite = self.invite()
        begun = self.begin_link(invite)
        assert begun.secret is not None
        code = self.code(begun.secret)
        outcomes = [
            self.begin(self.users.accept_invite(invite.token, f"{PASSWORD} {number}", code))
            for number in range(200)
        ]
        accepted = []
        for number, each in enumerate(outcomes):
            result = self.successResultOf(each.addErrback(lambda f: f.value))
            if isinstance(result, Exception):
                self.assertIsInstance(result, BadToken)
            else:
                accepted.append(number)
        self.assertEqual(len(accepted), 1)
        self.seconds += 30
        code = self.code(begun.secret)
        self.run_now(self.users.check("alice", f"{PASSWORD} {accepted[0]}", code, HOME))

    def test_a_link_ends(self) -> None:
        """After its life it is as unknown as one that never was."""
        invite = self.invite(ttl_seconds=60)
        self.seconds += 60
        error = self.fails(BadToken, self.users.begin_invite(invite.token))
        never = self.fails(BadToken, self.users.begin_invite(new_secret()))
        self.assertEqual(str(error), str(never))

    def test_lives_are_bounded(self) -> None:
        """An hour and at most two days for an invite, eight hours and at most a day for a reset."""
        self.assertEqual(LIVES, {"invite": (3600, 172800), "reset": (28800, 86400)})
        for life in (0.0, -1.0, 172801.0, float("nan"), float("inf")):
            self.fails(BadAsk, self.users.add("bob", ["access"], ttl_seconds=life))
        self.make_user()
        self.fails(BadAsk, self.users.reset("alice", ttl_seconds=86401.0))

    def test_what_is_no_link_is_not_looked_up(self) -> None:
        """Foreign texts of any length and kind are refused in the same words."""
        for token in ("", "x", "../users/alice", "\ud800" * 43, "é" * 43, "a" * 10**6):
            self.fails(BadToken, self.users.begin_invite(token))
            self.fails(BadToken, self.users.accept_invite(token, PASSWORD, "123456"))


class ResetTests(AuthTestCase):
    """Reset links."""

    def test_what_a_user_has_stays_until_the_link_is_accepted(self) -> None:
        """Asking for a reset locks nobody out, and ends no session."""
        secret = self.make_user()
        session = self.run_now(self.sessions.make("alice", HOME))
        reset = self.run_now(self.users.reset("alice"))
        begun = self.run_now(self.users.begin_invite(reset.token))
        self.assertEqual((begun.kind, begun.expires), ("reset", self.seconds + 8 * 3600))
        self.run_now(self.users.check("alice", PASSWORD, self.code(secret), HOME))
        self.assertIsNotNone(self.run_now(self.sessions.find(session.cookie)))

    def test_an_accepted_reset_ends_everything_old(self) -> None:
        """The old password, authenticator and sessions are over together."""
        old = self.make_user()
        session = self.run_now(self.sessions.make("alice", HOME))
        reset = self.run_now(self.users.reset("alice"))
        begun = self.run_now(self.users.begin_invite(reset.token))
        assert begun.secret is not None
        self.assertNotEqual(begun.secret, old)
        self.run_now(self.users.accept_invite(reset.token, NEW, self.code(begun.secret)))
        self.assertIsNone(self.run_now(self.sessions.find(session.cookie)))
        self.seconds += 30
        for password, secret in ((PASSWORD, old), (PASSWORD, begun.secret), (NEW, old)):
            self.fails(LoginFailed, self.users.check("alice", password, self.code(secret), HOME))
        self.run_now(self.users.check("alice", NEW, self.code(begun.secret), HOME))

    def test_a_newer_link_ends_the_older_one(self) -> None:
        """A user has one link at most, the last that was made."""
        invite = self.run_now(self.users.add("alice", ["access"]))
        resets = [self.run_now(self.users.reset("alice")) for _ in range(2)]
        for link in (invite, resets[0]):
            self.fails(BadToken, self.users.begin_invite(link.token))
        self.assertEqual(self.run_now(self.users.begin_invite(resets[1].token)).user, "alice")

    def test_a_link_of_a_removed_user_leads_nowhere(self) -> None:
        """Not to a user of the same name who comes later, either."""
        invite = self.run_now(self.users.add("alice", ["access"]))
        self.run_now(self.users.remove("alice"))
        self.fails(BadToken, self.users.begin_invite(invite.token))
        self.run_now(self.users.add("alice", ["access"]))
        self.fails(BadToken, self.users.begin_invite(invite.token))
        self.fails(NoSuch, self.users.reset("nobody"))


class OneFactorTests(AuthTestCase):
    """`unsafe_no_second_factor`."""

    unsafe_no_second_factor = True

    def test_a_password_alone(self) -> None:
        """No secret is shown, no code is asked for, at the link or at the login."""
        invite = self.run_now(self.users.add("alice", ["access"]))
        begun = self.run_now(self.users.begin_invite(invite.token))
        self.assertEqual((begun.otpauth, begun.secret), (None, None))
        self.run_now(self.users.accept_invite(invite.token, PASSWORD, None))
        self.assertEqual(
            self.run_now(self.users.check("alice", PASSWORD, None, HOME)).name, "alice"
        )
        self.fails(LoginFailed, self.users.check("alice", NEW, None, HOME))
        self.assertEqual(self.run_now(self.users.devices("alice")), [])

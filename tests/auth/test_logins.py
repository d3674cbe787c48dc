"""Tests for `tlsgate.auth.logins`, as `Users.check` has it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.auth.people import HOME, PASSWORD, AuthTestCase
from tlsgate.auth.passwords import Cost, Passwords
from tlsgate.auth.users import Users
from tlsgate.core.keeping import Put
from tlsgate.core.roles import Person
from tlsgate.errors import (
    GateError,
    Locked,
    LockedOut,
    LoginFailed,
)

WRONG = "not the right one"


class CheckTests(AuthTestCase):
    """Logins."""

    def setUp(self) -> None:
        super().setUp()
        self.secret = self.make_user()

    def check(
        self, name: str = "alice", password: str = PASSWORD, code: str | None = "", at: str = HOME
    ) -> Any:
        """Log in, with the right code unless told otherwise; give the person or the error."""
        typed = self.code(self.secret) if code == "" else code
        try:
            return self.run_now(self.users.check(name, password, typed, at))
        except GateError as e:
            return e

    def test_name_password_and_code(self) -> None:
        """All three right give the person, and an event."""
        self.assertEqual(self.check(), Person("alice", ("access",), {}))
        self.assertEqual(
            self.audit.events,
            [
                (
                    "user.login",
                    {"user": "alice", "success": True, "method": "local", "addr.remote": HOME},
                )
            ],
        )

    def test_every_failure_has_the_same_words_and_the_same_work(self) -> None:
        """Unknown, without a password, wrong password, wrong code: nobody can tell (S43)."""
        self.run_now(self.users.add("fresh", ["access"]))
        outcomes: list[tuple[str, tuple[str, ...]]] = []
        for name, password, code in (
            ("nobody", PASSWORD, "123456"),
            ("no such/name", PASSWORD, "123456"),
            ("x" * 10_000, PASSWORD, "123456"),
            ("\ud800", PASSWORD, "123456"),
            ("", "", None),
            ("fresh", PASSWORD, "123456"),
            ("alice", WRONG, ""),
            ("alice", PASSWORD, "000000"),
            ("alice", PASSWORD, None),
            ("alice", WRONG, "000000"),
            ("alice", "x" * 100_000, "0" * 100_000),
        ):
            self.hashes.clear()
            error = self.check(name, password, code, at=f"198.51.100.{len(outcomes)}")
            self.assertIsInstance(error, LoginFailed, (name[:20], password[:20]))
            outcomes.append((str(error), tuple(self.hashes)))
        self.assertEqual(len(set(outcomes)), 1, outcomes)
        self.assertEqual(outcomes[0][1], ("_verify",))

    def test_every_failure_reads_opens_and_writes_as_much(self) -> None:
        """Seals opened, items read and commits made are as many for a name that is not."""
        counts: list[tuple[int, int, int]] = []
        calls = {"get": 0, "commit": 0, "reveal": 0}

        def counting(owner: object, name: str) -> None:
            before = getattr(owner, name)

            def count(*args: Any) -> Any:
                calls[name] += 1
                return before(*args)

            self.patch(owner, name, count)

        counting(self.store, "get")
        counting(self.store, "commit")
        counting(self.seal, "reveal")
        self.run_now(self.users.add("fresh", ["access"]))
        for name, password in (
            ("warm", WRONG),  # the table's key is made
            ("nobody", WRONG),
            ("fresh", WRONG),
            ("alice", WRONG),
            ("alice", PASSWORD),
        ):
            for counter in calls:
                calls[counter] = 0
            self.check(name, password, "000000", at=f"198.51.100.{len(counts)}")
            counts.append((calls["get"], calls["commit"], calls["reveal"]))
        self.assertEqual(len(set(counts[1:])), 1, counts)

    def test_a_code_is_good_once(self) -> None:
        """The same code, and any older one, is wrong after a login."""
        older = self.code(self.secret, -1)
        self.assertIsInstance(self.check(), Person)
        self.assertIsInstance(self.check(), LoginFailed)
        self.assertIsInstance(self.check(code=older), LoginFailed)
        self.seconds += 30
        self.assertIsInstance(self.check(), Person)

    def test_one_code_in_two_logins_at_once_gives_one_success(self) -> None:
        """Both are past the password before either has used the code."""
        waiting: list[Any] = []

        def hold(call: Any, *args: Any) -> Any:
            answer: Deferred[Any] = Deferred()
            waiting.append(lambda: answer.callback(call(*args)))
            return answer

        self.patch(self.passwords._queue, "_in_thread", hold)
        code = self.code(self.secret)
        logins = [self.begin(self.users.check("alice", PASSWORD, code, HOME)) for _ in range(4)]
        self.assertEqual(len(waiting), 4)
        for go_on in waiting:
            go_on()
        results = [self.successResultOf(each.addErrback(lambda f: f.value)) for each in logins]
        self.assertEqual(
            sorted(type(each).__name__ for each in results), [*["LoginFailed"] * 3, "Person"]
        )

    def test_a_user_removed_or_changed_during_the_hash_is_not_let_in(self) -> None:
        """What was read before the hash has to hold after it."""

        def remove() -> None:
            self.run_now(self.users.remove("alice"))

        def demote() -> None:
            self.run_now(self.users.update("alice", roles=["editor"]))

        for change in (demote, remove):
            before = self.in_thread

            def meanwhile(call: Any, *args: Any, change: Any = change, before: Any = before) -> Any:
                change()
                return before(call, *args)

            self.passwords._queue._in_thread = meanwhile
            self.assertIsInstance(self.check(at="198.51.100.1"), LoginFailed)
            self.passwords._queue._in_thread = before
            self.seconds += 30

    def test_guessing_is_slowed_down(self) -> None:
        """After five failures even the right password waits, with the time told."""
        for _ in range(5):
            self.assertIsInstance(self.check(password=WRONG), LoginFailed)
        hashes = len(self.hashes)
        error = self.check()
        self.assertIsInstance(error, LockedOut)
        self.assertEqual(error.seconds, 5)
        self.assertEqual(len(self.hashes), hashes)
        self.seconds += 30
        self.assertIsInstance(self.check(), Person)

    def test_a_name_that_is_not_is_slowed_down_alike(self) -> None:
        """The waits of a name tell nothing of it."""
        for name in ("alice", "nobody"):
            seen = [type(self.check(name, WRONG, at="198.51.100.7")).__name__ for _ in range(7)]
            self.assertEqual(seen, ["LoginFailed"] * 5 + ["LockedOut"] * 2, name)

    def test_a_victim_gets_in_from_where_it_is_known(self) -> None:
        """Failures from elsewhere hold the attacker and new places, not the user's own."""
        self.assertIsInstance(self.check(), Person)
        for number in range(40):
            self.check(password=WRONG, at=f"198.51.100.{number}")
        self.assertIsInstance(self.check(at="203.0.113.1"), LockedOut)
        self.seconds += 1
        self.assertIsInstance(self.check(code=self.code(self.secret, 1)), Person)

    def test_an_operator_frees_a_user(self) -> None:
        """A reset forgets the failures at once, and the old password is still good."""
        for _ in range(5):
            self.check(password=WRONG)
        self.assertIsInstance(self.check(), LockedOut)
        self.run_now(self.users.reset("alice"))
        self.assertIsInstance(self.check(), Person)

    def test_the_trail_tells_what_who_asks_is_not_told(self) -> None:
        """From the fifth failure on the event says how long the next try has to wait."""
        for _ in range(5):
            self.check(password=WRONG)
        waits = [fields.get("wait_seconds") for _, fields in self.audit.events]
        self.assertEqual(waits, [None] * 4 + [5])

    def test_a_login_without_failures_before_it_costs_one_commit(self) -> None:
        """The code's use is kept; there is nothing to forgive."""
        self.check()
        before = self.run_now(self.store.revision())
        self.seconds += 30
        self.assertIsInstance(self.check(), Person)
        self.assertEqual(self.run_now(self.store.revision()), before + 1)

    def test_a_user_whose_resource_has_ended_is_nobody(self) -> None:
        """And one of the same name who comes later does not inherit the password."""
        item = self.run_now(self.store.get("users/alice"))
        assert item is not None
        self.run_now(self.store.commit([Put(item.key, item.value, expires=self.seconds + 60)]))
        self.assertIsInstance(self.check(), Person)
        self.seconds += 60
        self.assertIsInstance(self.check(), LoginFailed)
        self.run_now(self.users.add("alice", ["access"]))
        self.assertIsInstance(self.check(), LoginFailed)

    def test_a_lock_shuts_out_who_has_everything_right(self) -> None:
        """Only who has proven to be the user learns of the lock."""
        self.run_now(self.locks.start())
        self.run_now(self.locks.add({"user": "alice"}, message="call security"))
        self.store.turn()
        error = self.check()
        self.assertIsInstance(error, Locked)
        self.assertEqual(str(error), "alice is locked: call security")
        self.assertIsInstance(self.check(password=WRONG), LoginFailed)

    def test_grown_parameters_are_taken_up_at_the_next_login(self) -> None:
        """The hash is made again when new ones cost more, and only then."""
        dear = Passwords(self.in_thread, Cost(memory_kib=16, passes=1, unsafe_cheap=True))
        self.users._logins._passwords = dear
        self.assertIsInstance(self.check(), Person)
        self.assertEqual(self.hashes, ["_verify", "hash"])
        self.hashes.clear()
        self.seconds += 30
        self.assertIsInstance(self.check(), Person)
        self.assertEqual(self.hashes, ["_verify"])

    def test_an_audit_event_shows_no_secret(self) -> None:
        """No password, no code, and of a name that no user has only its beginning (S24)."""
        canary = "Canary-in-the-name-field"
        self.check("alice", "canary in password", "314159")
        self.check(canary, "canary in password", "314159")
        self.check("/" + canary, "x", "314159")
        text = repr(self.audit.events)
        for secret in (canary, "canary in password", "314159"):
            self.assertNotIn(secret, text)
        words = {
            "success": False,
            "method": "local",
            "error": str(LoginFailed()),
            "addr.remote": HOME,
        }
        self.assertEqual(
            [fields for _, fields in self.audit.events],
            [
                {"user": "alice", **words},
                {"user": "", **words, "tried": "Ca… (24 characters)"},
                {"user": "", **words, "tried": "… (25 characters)"},
            ],
        )

    def test_a_new_process_takes_up_where_the_old_one_was(self) -> None:
        """Everything that counts is in the store."""
        code = self.code(self.secret)
        self.assertIsInstance(self.check(), Person)
        users = Users(
            self.store,
            self.passwords,
            self.seal,
            self.now,
            self.audit,
            invites=self.invites,
            sessions=self.sessions,
            lockout=type(self.lockout)(self.store, self.now),
        )
        self.fails(LoginFailed, users.check("alice", PASSWORD, code, HOME))

    def test_an_authenticator_shows_when_it_was_used(self) -> None:
        """The list has names and times, no secret."""
        (line,) = self.run_now(self.users.devices("alice"))
        self.assertEqual((line.name, line.type), ("otp", "totp"))
        self.assertEqual(line.added, line.last_used)
        self.check()
        (line,) = self.run_now(self.users.devices("alice"))
        self.assertEqual(line.last_used, self.seconds)

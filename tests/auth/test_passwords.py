"""Tests for `tlsgate.auth.passwords`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from argon2 import extract_parameters
from twisted.internet.defer import CancelledError, Deferred

from tests.auth.people import CHEAP, PASSWORD, AuthTestCase
from tlsgate.auth.passwords import Cost, Passwords, check_password
from tlsgate.errors import Unreachable, WeakPassword


class CostTests(AuthTestCase):
    """Tests for `Cost`."""

    def test_no_setting_goes_below_the_floor(self) -> None:
        """19 MiB, two passes, one lane: less is refused unless it is called unsafe."""
        for low in ({"memory_kib": 19 * 1024 - 1}, {"passes": 1}, {"lanes": 0}):
            self.assertRaises(ValueError, Cost, **low)
        self.assertEqual((Cost().memory_kib, Cost().passes, Cost().lanes), (19456, 2, 1))

    def test_the_usual_cost_is_the_one_that_hashes_have(self) -> None:
        """What the daemon makes is argon2id with the floor's parameters."""
        hashed = self.run_now(Passwords(self.in_thread).hash(PASSWORD))
        self.assertTrue(hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$"), hashed[:40])
        self.assertTrue(self.run_now(Passwords(self.in_thread).verify(hashed, PASSWORD)))


class CheckPasswordTests(AuthTestCase):
    """Tests for `check_password`."""

    def test_bad_passwords_are_refused_with_the_reason(self) -> None:
        """Each reason is a sentence that says what would be right, and shows no password."""
        for password, why in (
            ("", "at least 12"),
            ("short", "at least 12"),
            ("x" * 129, "more than 128"),
            ("\ufdfa" * 128, "more than 128"),  # one character that is written as eighteen
            ("canary\tcanary!", "cannot be typed"),
            ("canary canary\ud800", "cannot be typed"),
            ("canary canary\U000e01f0", "cannot be typed"),  # not assigned
            ("aaaaaaaaaaaaaaaa", "different characters"),
            ("some.body@example.com", "is the user name"),
            ("SOME.BODY@EXAMPLE.COM", "is the user name"),
            ("some.body@example.comsome.body@example.com", "is the user name"),
        ):
            error = self.assertRaises(
                WeakPassword, check_password, password, "some.body@example.com"
            )
            self.assertIn(why, str(error))
            self.assertNotIn("canary", str(error))

    def test_good_passwords_are_taken(self) -> None:
        """Twelve to 128 characters of any script, spaces too."""
        for password in (
            "correct horse",
            "abcde" * 25 + "abc",
            "пароль пароль",
            "パスワードをください今すぐ",
        ):
            check_password(password, "alice")


class PasswordsTests(AuthTestCase):
    """Tests for `Passwords`."""

    def hashed(self, password: str = PASSWORD) -> str:
        return self.run_now(self.passwords.hash(password))

    def verify(self, kept: str | None, password: str) -> bool:
        return self.run_now(self.passwords.verify(kept, password))

    def test_the_right_password_and_no_other(self) -> None:
        """A hash takes the password that it was made of."""
        kept = self.hashed()
        self.assertTrue(self.verify(kept, PASSWORD))
        for wrong in ("", PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1]):
            self.assertFalse(self.verify(kept, wrong))

    def test_two_hashes_of_one_password_differ(self) -> None:
        """Each has a salt of its own, and none holds the password."""
        self.assertNotEqual(self.hashed(), self.hashed())
        self.assertNotIn(PASSWORD, self.hashed())

    def test_one_password_typed_in_two_ways(self) -> None:
        """A letter with its accent apart, or in full width, is the same letter."""
        kept = self.hashed("café au lait 12")
        self.assertTrue(self.verify(kept, "cafe\u0301 au lait 12"))
        self.assertTrue(self.verify(kept, "ｃａｆé au lait 12"))

    def test_no_hash_is_the_same_work_and_no(self) -> None:
        """Who has no password costs one hash in a thread like everybody."""
        kept = self.hashed()
        self.hashes.clear()
        self.verify(kept, "wrong password")
        one = list(self.hashes)
        self.hashes.clear()
        self.assertFalse(self.verify(None, PASSWORD))
        self.assertEqual(self.hashes, one)

    def test_the_work_for_nobody_has_the_same_cost(self) -> None:
        """The hash that stands in has the parameters of new ones, and is a real one."""
        nobody = self.passwords._nobody
        self.assertEqual(extract_parameters(nobody), extract_parameters(self.hashed()))

    def test_a_text_too_long_is_cut_before_the_work_and_refused(self) -> None:
        """A megabyte of password costs what a hundred characters cost."""
        kept = self.hashed("x" * 128)
        self.assertTrue(self.verify(kept, "x" * 128))
        self.assertFalse(self.verify(kept, "x" * 129))
        self.assertFalse(self.verify(kept, "x" * 1_000_000))

    def test_a_text_that_is_no_text_is_wrong(self) -> None:
        """A lone surrogate is compared like anything else."""
        self.assertFalse(self.verify(self.hashed(), "\ud800" * 12))

    def test_a_broken_hash_takes_nothing(self) -> None:
        """What is no hash lets nobody in."""
        for kept in ("", "x", "$argon2id$v=19$m=8,t=1,p=1$", self.hashed()[:-4]):
            self.assertFalse(self.verify(kept, PASSWORD), kept)

    def test_a_hash_is_outdated_once_new_ones_cost_more(self) -> None:
        """Grown parameters are caught up with at the next login; smaller ones never."""
        kept = self.hashed()
        dear = Passwords(self.in_thread, Cost(memory_kib=16, passes=1, unsafe_cheap=True))
        slow = Passwords(self.in_thread, Cost(memory_kib=8, passes=2, unsafe_cheap=True))
        self.assertFalse(self.passwords.outdated(kept))
        self.assertTrue(dear.outdated(kept))
        self.assertTrue(slow.outdated(kept))
        self.assertFalse(self.passwords.outdated(self.run_now(dear.hash(PASSWORD))))
        self.assertFalse(dear.outdated(""))
        self.assertFalse(dear.outdated("no hash"))


class QueueTests(AuthTestCase):
    """How many hashes run at once."""

    def setUp(self) -> None:
        super().setUp()
        self.threads: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.passwords = Passwords(self.hold, CHEAP, at_most=2, ahead=0, waiting=3)

    def hold(self, call: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """A thread that goes on when the test says so."""
        answer: Deferred[Any] = Deferred()
        self.threads.append((lambda: call(*args), answer))
        return answer

    def go_on(self) -> None:
        call, answer = self.threads.pop(0)
        answer.callback(call())

    def ask(self) -> Deferred[bool]:
        return self.begin(self.passwords.verify(None, PASSWORD))

    def test_only_so_many_at_once_in_their_order(self) -> None:
        """The third waits for the first to end, and none is lost."""
        asked = [self.ask() for _ in range(5)]
        self.assertEqual(len(self.threads), 2)
        for done in range(5):
            self.go_on()
            self.assertEqual(self.successResultOf(asked[done]), False)
            self.assertEqual(len(self.threads), min(2, 4 - done))
        self.assertEqual(self.ask().called, False)
        self.assertEqual(len(self.threads), 1)

    def test_a_few_wait_in_threads_and_do_not_hash(self) -> None:
        """They begin the moment that another ends, not when the reactor comes to it."""
        self.passwords = Passwords(self.hold, CHEAP, at_most=2, ahead=1, waiting=3)
        for _ in range(4):
            self.ask()
        self.assertEqual(len(self.threads), 3)
        queue = self.passwords._queue
        free: list[bool] = []

        def look() -> None:
            free.append(queue._hashing.acquire(blocking=False))

        queue._in_turn(queue._in_turn, look)
        self.assertEqual(free, [False])
        queue._in_turn(look)
        self.assertEqual(free, [False, True])

    def test_too_many_are_sent_away(self) -> None:
        """A flood takes no memory: who comes when the queue is full may ask again."""
        for _ in range(5):
            self.ask()
        self.failureResultOf(self.ask(), Unreachable)
        self.go_on()
        self.assertNoResult(self.ask())

    def test_who_gives_up_frees_no_place_before_the_thread_ends(self) -> None:
        """A thread cannot be stopped, so its memory is still counted."""
        first, *_ = [self.ask() for _ in range(3)]
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(len(self.threads), 2)
        self.go_on()
        self.assertEqual(len(self.threads), 2)

    def test_who_gives_up_waiting_is_gone(self) -> None:
        """Its place in the queue goes to others, and its hash is never made."""
        asked = [self.ask() for _ in range(5)]
        asked[3].cancel()
        self.failureResultOf(asked[3], CancelledError)
        self.assertNoResult(self.ask())
        for _ in range(5):
            self.go_on()
        self.assertEqual(self.threads, [])

    def test_a_thread_that_fails_frees_its_place(self) -> None:
        """What goes wrong in a thread reaches who asked, and the next one begins."""
        asked = [self.ask() for _ in range(3)]
        self.threads.pop(0)[1].errback(MemoryError())
        self.failureResultOf(asked[0], MemoryError)
        self.assertEqual(len(self.threads), 2)

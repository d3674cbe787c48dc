"""Tests for `tlsgate.service.principals`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.core.test_principals import ACCESS, ALICE, BOB, NO_ROOT, NODE, lock, state
from tlsgate.core.clusterstate import ClusterState
from tlsgate.core.locks import LockTable
from tlsgate.core.roles import Person
from tlsgate.service import principals, sshfiles
from tlsgate.service.principals import TICK_SECONDS, Principals

ALICES = "restrict,pty,port-forwarding alice\n"


class FakeView:
    """A view in the test's hands."""

    stale_limit_seconds = 300.0

    def __init__(self) -> None:
        self.state: ClusterState | None = None
        self.stale_seconds = 0.0
        self.listeners: list[Callable[[frozenset[str]], None]] = []

    def on_change(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Remember *listener*."""
        self.listeners.append(listener)

    def say(self, state: ClusterState, *what: str) -> None:
        """Know *state* from now on."""
        self.state = state
        for listener in self.listeners:
            listener(frozenset(what or ("role",)))


class PrincipalsTests(SynchronousTestCase):
    """Tests for `Principals`."""

    def setUp(self) -> None:
        """A folder, a view, and a clock."""
        self.folder = Path(self.mktemp()) / "principals"
        self.view = FakeView()
        self.clock = Clock()
        self.labels = dict(NODE)
        self.logged: list[str] = []
        observer: Any = self.log
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.principals = Principals(
            self.folder,
            self.view,
            lambda: self.labels,
            self.clock,
            name="db1",
            now=self.clock.seconds,
        )

    def log(self, event: Any) -> None:
        """What the log has of it."""
        if event.get("log_namespace") == "tlsgate.service.principals.Principals":
            self.logged.append(formatEvent(event))

    def files(self) -> dict[str, str]:
        """What the folder has."""
        return {file.name: file.read_text() for file in sorted(self.folder.iterdir())}

    def begin(self, *people: Person, **more: Any) -> None:
        """Start with these people."""
        self.view.say(state(*people, **more))
        self.principals.start()
        self.addCleanup(self.principals.stop)

    def logins(self) -> list[str]:
        """Names of the files that there are."""
        return sorted(self.files())

    def record(self, order: list[str]) -> None:
        """Have the names of files that are written."""

        def put(path: Path, content: bytes, *, durable: bool) -> None:
            order.append(path.name)
            sshfiles.put(path, content, durable=durable)

        self.patch(principals, "put", put)

    def test_written(self) -> None:
        """A file a login; modes that sshd takes, whatever the umask."""
        self.addCleanup(os.umask, os.umask(0o077))
        self.begin(ALICE, BOB)
        own = "restrict,pty,port-forwarding bob\n"
        self.assertEqual(
            self.files(),
            {"bob": own, "deploy": ALICES, "root": ALICES + own},
        )
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o711)
        self.assertEqual((self.folder / "root").stat().st_mode & 0o777, 0o644)

    def test_nothing_known(self) -> None:
        """Until the auth service is heard, what an earlier process wrote stays."""
        self.folder.mkdir(parents=True)
        (self.folder / "root").write_text(ALICES)
        self.principals.start()
        self.addCleanup(self.principals.stop)
        self.clock.pump([TICK_SECONDS] * 4)
        self.assertEqual(self.files(), {"root": ALICES})
        self.view.say(state())
        self.assertEqual(self.files(), {})

    def test_leftovers(self) -> None:
        """What is no login's file is removed at the start; links are not followed."""
        self.folder.mkdir(parents=True)
        elsewhere = Path(self.mktemp())
        elsewhere.write_text("mine")
        (self.folder / ".0123.new").write_text("half")
        (self.folder / "old").write_text(ALICES)
        (self.folder / "root").symlink_to(elsewhere.absolute())
        self.begin(ALICE)
        self.assertEqual(self.files(), {"deploy": ALICES, "root": ALICES})
        self.assertEqual(elsewhere.read_text(), "mine")

    def test_changes(self) -> None:
        """A lock, a role, a user and the labels take effect in the same turn."""
        self.begin(ALICE)
        both = ["deploy", "root"]
        self.assertEqual(self.logins(), both)
        for changed, want in (
            (state(ALICE, locks=[lock(user="alice")]), []),
            (state(ALICE), both),
            (state(evolve(ALICE, roles=("access", "no-root"))), ["deploy"]),
            (evolve(state(ALICE), roles={"access": evolve(ACCESS, deny=NO_ROOT.deny)}), ["deploy"]),
            (state(), []),
            (state(ALICE), both),
        ):
            self.view.say(changed)
            self.assertEqual(self.logins(), want)
        self.labels = {"env": "stage"}
        self.principals.refresh()
        self.assertEqual(self.logins(), [])

    def test_labels_noticed(self) -> None:
        """Labels that change without a word are seen within a tick."""
        self.begin(ALICE)
        self.labels["env"] = "stage"
        self.clock.advance(TICK_SECONDS)
        self.assertEqual(self.logins(), [])

    def test_of_no_concern(self) -> None:
        """What says nothing of logins makes nothing due."""
        self.begin(ALICE)
        self.view.say(state(), "cluster_networking_config")
        self.assertEqual(self.logins(), ["deploy", "root"])

    def test_unchanged(self) -> None:
        """A file that is as before is not written again."""
        self.begin(ALICE, BOB)
        before = {name: (self.folder / name).stat().st_ino for name in self.logins()}
        self.view.say(state(ALICE))
        self.assertEqual((self.folder / "deploy").stat().st_ino, before["deploy"])
        self.assertNotEqual((self.folder / "root").stat().st_ino, before["root"])

    def test_lock_ends(self) -> None:
        """Who was locked is back when the lock has ended."""
        self.begin(ALICE, locks=[lock(user="alice", expires=60.0)])
        self.clock.advance(59.0)
        self.assertEqual(self.logins(), [])
        self.clock.advance(1.0)
        self.assertEqual(self.logins(), ["deploy", "root"])

    def test_strict(self) -> None:
        """Strict: past the limit all files go, and come back with the next word."""
        self.begin(ALICE, strict=True)
        self.view.stale_seconds = 300.0
        self.clock.advance(TICK_SECONDS)
        self.assertEqual(self.logins(), ["deploy", "root"])
        self.view.stale_seconds = 300.1
        self.clock.advance(TICK_SECONDS)
        self.assertEqual(self.logins(), [])
        self.view.stale_seconds = 1.0
        self.clock.advance(TICK_SECONDS)
        self.assertEqual(self.logins(), ["deploy", "root"])

    def test_not_strict(self) -> None:
        """Where locks are not strict, what is known stays good."""
        self.begin(ALICE)
        self.view.stale_seconds = float("inf")
        self.clock.advance(TICK_SECONDS)
        self.assertEqual(self.files(), {"deploy": ALICES, "root": ALICES})

    def test_strict_ends(self) -> None:
        """Strict: lines end by themselves, and get another end while auth is heard."""
        self.begin(ALICE, strict=True)
        line = 'restrict,pty,port-forwarding,expiry-time="{}" alice\n'
        self.assertEqual(self.files()["root"], line.format("19700101000500Z"))
        self.clock.pump([TICK_SECONDS] * 302)
        self.assertEqual(self.files()["root"], line.format("19700101000730Z"))
        self.principals.ends = False
        self.principals.refresh()
        self.assertEqual(self.files()["root"], ALICES)

    def test_stopped(self) -> None:
        """After its end nothing is written and no timer is left."""
        self.begin(ALICE)
        self.principals.start()
        self.principals.stop()
        self.view.say(state())
        self.assertEqual(self.logins(), ["deploy", "root"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slices(self) -> None:
        """Many people are taken in slices; a change meanwhile is taken up after them."""
        self.patch(principals, "LEAST_A_SLICE", 2)
        self.patch(principals, "SLICE_SECONDS", 0.0)
        people = [Person(f"u{n}", ("own",), {"logins": (f"u{n}",)}) for n in range(9)]
        self.begin(*people)
        self.assertEqual(self.folder.exists(), False)
        self.view.say(state(*people[1:]))
        order: list[str] = []
        self.record(order)
        self.clock.advance(0.0)
        self.assertEqual(sorted(order), [f"u{n}" for n in range(9)])
        self.assertEqual(self.logins(), [f"u{n}" for n in range(1, 9)])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_out_before_in(self) -> None:
        """Files that lose a line come before those that gain one."""
        self.begin(ALICE)
        order: list[str] = []
        self.record(order)
        carol = Person("carol", ("own",), {"logins": ("aaa", "deploy")})
        self.view.say(state(carol, ALICE, locks=[lock(login="root")]))
        self.assertEqual(order, ["deploy", "aaa"])
        order.clear()
        dave = Person("dave", ("own",), {"logins": ("aa0", "aaa")})
        self.view.say(state(dave, evolve(carol, traits={"logins": ("deploy",)}), ALICE))
        self.assertEqual(order, ["aaa", "root", "aa0"])

    def test_not_written(self) -> None:
        """A file that cannot be written goes; it is told once, and tried again."""
        self.begin(ALICE)

        def put(path: Path, content: bytes, *, durable: bool) -> None:
            raise OSError(28, "No space left on device")

        self.patch(principals, "put", put)
        self.view.say(state(ALICE, BOB))
        self.clock.pump([TICK_SECONDS] * 3)
        self.assertEqual(self.logins(), ["deploy"])
        self.patch(principals, "put", sshfiles.put)
        self.assertEqual(len(self.logged), 1)
        self.assertIn("No space left on device", self.logged[0])
        self.clock.advance(TICK_SECONDS)
        self.assertEqual(self.logins(), ["bob", "deploy", "root"])
        self.assertIn("can be written again", self.logged[1])

    def test_no_folder(self) -> None:
        """A folder that cannot be made is told, and made when it can."""
        self.folder.parent.write_text("in the way")
        self.begin(ALICE)
        self.assertEqual(len(self.logged), 1)
        self.folder.parent.unlink()
        self.clock.advance(TICK_SECONDS)
        self.assertEqual(self.logins(), ["deploy", "root"])

    def test_a_bug(self) -> None:
        """After a fault of ours the next tick tries again."""
        self.begin(ALICE)
        broken = evolve(state(ALICE), roles={"access": None})  # type: ignore[dict-item]
        with self.assertRaises(AttributeError):
            self.view.say(broken)
        self.view.state = state(locks=[])
        self.clock.advance(TICK_SECONDS)
        self.assertEqual((self.logins(), LockTable()), ([], self.view.state.locks))

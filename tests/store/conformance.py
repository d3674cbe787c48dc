"""What every store has to do, whichever provider it is."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from zope.interface.verify import verifyObject

from tlsgate.core.keeping import (
    ABSENT,
    CHANGES,
    KEY_BYTES,
    VALUE_BYTES,
    Check,
    Delete,
    Event,
    Item,
    Put,
)
from tlsgate.errors import Compacted, Conflict, StoreFailed
from tlsgate.interfaces import IStore, IWatch


class StoreTests:
    """A mixin: `store` is an empty store whose clock shows `seconds`."""

    store: Any
    seconds: float

    def run_now(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of *coroutine*; a provider that needs to wait does so here."""
        raise NotImplementedError

    def turn(self) -> None:
        """Let watchers hear."""
        raise NotImplementedError

    def values(self: Any, prefix: str = "", after: str = "", limit: int = 1000) -> list[Any]:
        """Keys and values of a scan."""
        items = self.run_now(self.store.scan(prefix, after, limit))
        return [(item.key, item.value) for item in items]

    def commit(self: Any, *changes: Any) -> int:
        """Commit, and give the revision."""
        revision: int = self.run_now(self.store.commit(changes))
        return revision

    def refuse(self: Any, error: type[Exception], *changes: Any) -> Any:
        """The error with which a commit of *changes* ends."""
        return self.assertRaises(error, self.commit, *changes)

    def test_interface(self: Any) -> None:
        """It offers what `IStore` asks for."""
        verifyObject(IStore, self.store)
        watch = self.store.watch("", None, lambda events: None)
        verifyObject(IWatch, watch)
        watch.stop()

    def test_put_and_get(self: Any) -> None:
        """A value that was written is read, with the revision of its commit."""
        revision = self.commit(Put("a/1", b"one"))
        self.assertEqual(
            self.run_now(self.store.get("a/1")), Item(key="a/1", value=b"one", revision=revision)
        )
        self.assertIsNone(self.run_now(self.store.get("a/2")))

    def test_revisions_grow(self: Any) -> None:
        """Each commit is one revision, also of several keys."""
        first = self.commit(Put("a", b"1"), Put("b", b"1"))
        second = self.commit(Put("b", b"2"))
        self.assertEqual(second, first + 1)
        self.assertEqual(self.run_now(self.store.revision()), second)
        self.assertEqual(
            [self.run_now(self.store.get(key)).revision for key in ("a", "b")], [first, second]
        )

    def test_scan(self: Any) -> None:
        """Keys come sorted by their bytes, from the prefix alone, page by page."""
        self.commit(*(Put(key, b"") for key in ("a/2", "a/1", "b/1", "a/ä", "a/Z", "a")))
        self.assertEqual([key for key, _ in self.values("a/")], ["a/1", "a/2", "a/Z", "a/ä"])
        self.assertEqual([key for key, _ in self.values("a/", "a/1", 2)], ["a/2", "a/Z"])
        self.assertEqual(len(self.values()), 6)

    def test_a_prefix_is_no_pattern(self: Any) -> None:
        """Signs that a query language knows mean themselves."""
        self.commit(Put("a%b", b""), Put("axb", b""), Put("a_b", b""), Put("A%b", b""))
        self.assertEqual([key for key, _ in self.values("a%")], ["a%b"])
        self.assertEqual([key for key, _ in self.values("a_")], ["a_b"])

    def test_expectations(self: Any) -> None:
        """A change is made only over what it expects."""
        first = self.commit(Put("a", b"1", ABSENT))
        self.assertEqual(self.refuse(Conflict, Put("a", b"2", ABSENT)).key, "a")
        second = self.commit(Put("a", b"2", first))
        self.refuse(Conflict, Put("a", b"3", first))
        self.refuse(Conflict, Delete("a", first))
        self.refuse(Conflict, Delete("b", second))
        self.refuse(Conflict, Check("a", first))
        self.commit(Check("a", second), Put("b", b"1"))
        self.commit(Delete("a", second))
        self.assertEqual(self.values(), [("b", b"1")])

    def test_all_or_nothing(self: Any) -> None:
        """One refused change leaves the others undone, and no revision is spent."""
        before = self.commit(Put("a", b"1"))
        self.refuse(Conflict, Put("b", b"1"), Delete("a"), Put("a/x", b"1", 99))
        self.assertEqual(self.values(), [("a", b"1")])
        self.assertEqual(self.run_now(self.store.revision()), before)

    def test_delete_what_is_not_there(self: Any) -> None:
        """It is no error where nothing was expected."""
        self.commit(Delete("a"))
        self.assertEqual(self.values(), [])

    def test_expiry(self: Any) -> None:
        """An item is gone once its time has come, and its key is free."""
        self.commit(Put("a", b"1", expires=self.seconds + 10))
        self.seconds += 9.9
        self.assertEqual(self.values(), [("a", b"1")])
        self.seconds += 0.2
        self.assertIsNone(self.run_now(self.store.get("a")))
        self.assertEqual(self.values(), [])
        self.commit(Put("a", b"2", ABSENT))

    def test_bounds(self: Any) -> None:
        """What is too long or too much is refused before anything is written."""
        for changes in (
            [Put("", b"")],
            [Put("k" * (KEY_BYTES + 1), b"")],
            [Put("ä" * (KEY_BYTES // 2 + 1), b"")],
            [Put("a", bytes(VALUE_BYTES + 1))],
            [Put(f"a{n}", b"") for n in range(CHANGES + 1)],
            [Put("a", b"1"), Delete("a")],
            [Put("\ud800", b"1")],
            [Put("a", b"1", expires=float("nan"))],
            [Put("a", b"1", expires=float("inf"))],
        ):
            self.refuse(StoreFailed, *changes)
        self.assertEqual(self.values(), [])
        self.commit(Put("k" * KEY_BYTES, bytes(VALUE_BYTES)))

    def heard(self: Any, prefix: str, since: int | None = None) -> list[Event]:
        """What a watch from now on hears."""
        events: list[Event] = []

        def hear(told: Sequence[Event]) -> None:
            events.extend(told)

        watch = self.store.watch(prefix, since, hear)
        self.addCleanup(watch.stop)
        return events

    def test_watch(self: Any) -> None:
        """Changes of the prefix are told in order, with the item as it then stood."""
        events = self.heard("a/")
        one = self.commit(Put("a/1", b"1"), Put("b/1", b"1"))
        two = self.commit(Put("a/1", b"2"))
        three = self.commit(Delete("a/1"))
        self.turn()
        self.assertEqual(
            [(event.key, event.item and event.item.value, event.revision) for event in events],
            [("a/1", b"1", one), ("a/1", b"2", two), ("a/1", None, three)],
        )

    def test_watch_is_not_told_within_a_call(self: Any) -> None:
        """A watcher hears later, so that a writer is never called back while it writes."""
        revision = self.commit(Put("a", b"1"))
        events = self.heard("", revision - 1)
        self.assertEqual(events, [])
        self.turn()
        self.assertEqual([event.key for event in events], ["a"])

    def test_watch_since(self: Any) -> None:
        """A watch picks up after any revision that is still remembered."""
        revisions = [self.commit(Put("a", b"%d" % n)) for n in range(5)]
        for behind in range(5):
            events = self.heard("", revisions[behind])
            self.turn()
            self.assertEqual([event.revision for event in events], revisions[behind + 1 :])

    def test_watch_of_the_forgotten(self: Any) -> None:
        """A watch from before what is remembered is refused, never served with a gap."""
        for n in range(90):
            self.commit(*(Put(f"a{n}/{m}", b"") for m in range(CHANGES)))
        self.assertRaises(Compacted, self.store.watch, "", 1, lambda events: None)

    def test_watch_never_has_a_gap(self: Any) -> None:
        """From each revision on a watch hears all of what came after, or is refused."""
        for n in range(85):
            self.commit(*(Put(f"a{n}/{m}", b"") for m in range(CHANGES)))
        newest = self.run_now(self.store.revision())
        served = 0
        for since in [*range(0, newest, 7), newest - 1, newest]:
            events: list[Event] = []
            try:
                self.store.watch("", since, events.extend)
            except Compacted:
                self.assertEqual(served, 0, "an older watch was served")
                continue
            self.turn()
            served += 1
            revisions = [event.revision for event in events]
            self.assertEqual(len(events), (newest - since) * CHANGES)
            self.assertEqual(revisions, sorted(revisions))
        self.assertGreater(served, 9)

    def test_watch_of_the_future(self: Any) -> None:
        """A revision that was never given out is from another course of things."""
        revision = self.commit(Put("a", b"1"))
        self.assertRaises(Compacted, self.store.watch, "", revision + 1, lambda events: None)
        self.store.watch("", revision, lambda events: None).stop()

    def test_watch_that_fails(self: Any) -> None:
        """One that raises takes nothing from the others."""

        def fail(events: Sequence[Event]) -> None:
            raise ValueError("a watcher's own bug")

        self.addCleanup(self.store.watch("", None, fail).stop)
        events = self.heard("")
        self.commit(Put("a", b"1"))
        self.turn()
        self.assertEqual([event.key for event in events], ["a"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_watch_from_within_a_watch(self: Any) -> None:
        """A watcher may stop itself, stop others and begin new ones."""
        heard: list[str] = []
        watches: list[Any] = []

        def first(events: Sequence[Event]) -> None:
            heard.append("first")
            for watch in watches:
                watch.stop()
            watches.append(self.store.watch("", None, lambda events: heard.append("new")))

        watches.append(self.store.watch("", None, first))
        watches.append(self.store.watch("", None, lambda events: heard.append("second")))
        self.commit(Put("a", b"1"))
        self.turn()
        self.commit(Put("a", b"2"))
        self.turn()
        self.turn()
        self.addCleanup(watches[-1].stop)
        self.assertEqual(heard, ["first", "new"])

    def test_values_of_any_bytes(self: Any) -> None:
        """Keys and values come back as they were, whatever stands in them."""
        for key in ("a\0b", "a b", "\U0001f511", "a'b\"", "a\nb"):
            for value in (b"", b"\0", bytes(range(256))):
                self.commit(Put(key, value))
                self.assertEqual(self.run_now(self.store.get(key)).value, value)
            self.assertEqual([found for found, _ in self.values(key)], [key])

    def test_a_watch_hears_each_value(self: Any) -> None:
        """A late watch is told the items as they stood then, their end included."""
        before = self.commit(Put("a", b"0"))
        for value in (b"1", b"2"):
            self.commit(Put("a", value, expires=self.seconds + 50))
        self.commit(Delete("a"))
        events = self.heard("a", before)
        self.turn()
        self.assertEqual(
            [event.item and (event.item.value, event.item.expires) for event in events],
            [(b"1", self.seconds + 50), (b"2", self.seconds + 50), None],
        )

    def test_new_life(self: Any) -> None:
        """An item that is written again before its end lives as long as it was said then."""
        self.commit(Put("a", b"1", expires=self.seconds + 10))
        self.commit(Put("a", b"2", expires=self.seconds + 30))
        self.commit(Put("b", b"1", expires=self.seconds + 10))
        self.commit(Put("b", b"2"))
        self.seconds += 20
        self.assertEqual(self.values(), [("a", b"2"), ("b", b"2")])
        self.seconds += 20
        self.assertEqual(self.values(), [("b", b"2")])

    def test_asking_for_what_is_no_key(self: Any) -> None:
        """Half a character is in no key; asking for one finds nothing."""
        self.commit(Put("a", b"1"))
        self.assertIsNone(self.run_now(self.store.get("\ud800")))
        self.assertEqual(self.values("\ud800"), [])
        self.assertEqual(self.values("", "", -1), [])

    def test_watch_of_expiry(self: Any) -> None:
        """The end of an item's life is told like a deletion."""
        self.commit(Put("a", b"1", expires=self.seconds + 10))
        events = self.heard("")
        self.seconds += 11
        self.run_now(self.store.get("b"))
        self.turn()
        self.assertEqual([(event.key, event.item) for event in events], [("a", None)])

    def test_stopped_watch(self: Any) -> None:
        """A watch that was stopped hears nothing, not even what was on its way."""
        events: list[Event] = []
        watch = self.store.watch("", None, events.extend)
        self.commit(Put("a", b"1"))
        watch.stop()
        watch.stop()
        self.turn()
        self.assertEqual(events, [])

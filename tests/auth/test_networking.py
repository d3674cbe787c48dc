"""Where a setting of the cluster comes from, and what the configuration file does to it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth import networking
from tlsgate.auth.kinds import Resource, read_resource
from tlsgate.auth.networking import NETWORKING, Change
from tlsgate.errors import BadAsk, BadResource, Conflict, Exists, NeedsConfirm, WouldBreak
from tlsgate.store.memory import MemoryStore


def setting(revision: int = 0, **spec: Any) -> Resource:
    """A networking resource as somebody writes it."""
    return read_resource(
        {"kind": NETWORKING, "version": "v2", "metadata": {"revision": revision}, "spec": spec}
    )


class NetworkingTests(SynchronousTestCase):
    """Tests for `networking`."""

    def setUp(self) -> None:
        self.store = MemoryStore(lambda: 1000.0)
        self.breaks: list[str] = []

    def run_(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def fails(self, coroutine: Any, kind: type[Exception]) -> Exception:
        return self.failureResultOf(Deferred.fromCoroutine(coroutine), kind).value  # type: ignore[no-any-return]

    def current(self) -> tuple[int, str | None]:
        """The mode's number and its origin."""
        found = self.run_(networking.current(self.store, NETWORKING))
        return found.spec["proxy_listener_mode"], found.origin

    def write(self, new: Resource, *, force: bool = False, confirm: bool = False) -> Any:
        return networking.write(
            self.store, new, force=force, confirm=confirm, may_switch=lambda old, new: self.breaks
        )

    def reset(self, force: bool = False) -> Any:
        return networking.reset(
            self.store, NETWORKING, force=force, may_switch=lambda old, new: self.breaks
        )

    def start(self, spec: dict[str, Any] | None) -> tuple[Change, str | None]:
        found: tuple[Change, str | None] = self.run_(networking.start(self.store, NETWORKING, spec))
        return found

    def test_nobody_has_written_it(self) -> None:
        """The default is there with its origin, and nothing is kept."""
        self.assertEqual(self.current(), (0, "defaults"))
        self.assertEqual(self.run_(self.store.scan("")), [])

    def test_dynamic(self) -> None:
        """Written, it is dynamic; another write needs force or the newest revision."""
        change = self.run_(self.write(setting(proxy_listener_mode="multiplex")))
        self.assertEqual((change.changed, self.current()), (True, (1, "dynamic")))
        self.fails(self.write(setting(proxy_listener_mode=0)), Exists)
        self.fails(self.write(setting(99, proxy_listener_mode=0)), Conflict)
        newest = change.new.revision
        self.run_(self.write(setting(newest, proxy_listener_mode=0)))
        self.assertEqual(self.current(), (0, "dynamic"))
        self.run_(self.write(setting(proxy_listener_mode=1), force=True))
        self.assertEqual(self.current(), (1, "dynamic"))

    def test_a_default_that_is_written(self) -> None:
        """Whoever writes the default means it: from then on it is dynamic."""
        change = self.run_(self.write(setting()))
        self.assertEqual((change.changed, self.current()), (True, (0, "dynamic")))

    def test_the_file_wins(self) -> None:
        """At every start the file's value is in force, with a warning when it drops another."""
        change, warning = self.start({"proxy_listener_mode": "multiplex"})
        self.assertEqual((change.changed, warning), (True, None))
        self.assertEqual(self.current(), (1, "config-file"))
        change, warning = self.start({"proxy_listener_mode": 1})
        self.assertEqual((change.changed, warning), (False, None))
        self.run_(self.write(setting(proxy_listener_mode=0), confirm=True))
        self.assertEqual(self.current(), (0, "dynamic"))
        change, warning = self.start({"proxy_listener_mode": "multiplex"})
        self.assertEqual(
            warning,
            "cluster_networking_config: the configuration file overrides what was set "
            "(proxy_listener_mode separate -> multiplex)",
        )
        self.assertEqual(self.current(), (1, "config-file"))

    def test_a_file_without_a_word_of_it(self) -> None:
        """Defaults never override what was set; what an older file said goes with it."""
        self.run_(self.write(setting(proxy_listener_mode=1)))
        self.assertEqual(self.start(None)[0].changed, False)
        self.assertEqual(self.current(), (1, "dynamic"))
        self.start({"proxy_listener_mode": 1})
        change, warning = self.start(None)
        self.assertEqual((change.changed, warning), (True, None))
        self.assertEqual(self.current(), (0, "defaults"))

    def test_a_bad_file(self) -> None:
        """What the file says is read like anything else."""
        self.fails(networking.start(self.store, NETWORKING, {"mode": 1}), BadResource)

    def test_what_the_file_manages(self) -> None:
        """It is changed only with confirm, and never reset."""
        self.start({"proxy_listener_mode": "multiplex"})
        error = self.fails(self.write(setting(proxy_listener_mode=0), force=True), NeedsConfirm)
        self.assertIn("is managed by the configuration file", str(error))
        self.fails(self.reset(force=True), NeedsConfirm)

    def test_reset(self) -> None:
        """Back to the default; again is nothing."""
        self.run_(self.write(setting(proxy_listener_mode=1)))
        self.breaks = ["somebody"]
        self.fails(self.reset(), WouldBreak)
        self.breaks = []
        self.assertTrue(self.run_(self.reset()).changed)
        self.assertEqual(self.current(), (0, "defaults"))
        self.assertFalse(self.run_(self.reset()).changed)

    def test_a_default_of_the_version(self) -> None:
        """What the file's version makes the default is the default, also after a reset."""
        multiplex = {"proxy_listener_mode": "multiplex"}
        start = lambda default: self.run_(  # noqa: E731
            networking.start(self.store, NETWORKING, None, default)
        )
        self.assertEqual((start(multiplex)[0].changed, self.current()), (True, (1, "defaults")))
        self.assertFalse(start(multiplex)[0].changed)
        self.run_(self.write(setting(proxy_listener_mode=0)))
        self.assertEqual((start(multiplex)[0].changed, self.current()), (False, (0, "dynamic")))
        reset = networking.reset(
            self.store, NETWORKING, force=False, may_switch=lambda old, new: [], default=multiplex
        )
        self.assertEqual((self.run_(reset).changed, self.current()), (True, (1, "defaults")))
        self.assertEqual((start({})[0].changed, self.current()), (True, (0, "defaults")))
        self.assertEqual(self.run_(self.store.scan("")), [])

    def test_the_guard_is_asked_of_modes_only(self) -> None:
        """Another setting passes; a mode that would break somebody does not, unless forced."""
        self.breaks = ["listener ssh is closed"]
        self.run_(self.write(setting(client_idle_timeout="5m")))
        error = self.fails(self.write(setting(proxy_listener_mode=1), confirm=True), WouldBreak)
        self.assertIn("from separate to multiplex", str(error))
        self.assertIn("listener ssh is closed", str(error))
        change = self.run_(self.write(setting(proxy_listener_mode=1), force=True))
        self.assertEqual(
            networking.audited(change)["changes"],
            "client_idle_timeout 5m0s -> 0s; proxy_listener_mode separate -> multiplex",
        )

    def test_kinds(self) -> None:
        """Only settings are settings."""
        networking.check_known(NETWORKING)
        self.assertRaises(BadAsk, networking.check_known, "role")

    def test_others_at_the_same_time(self) -> None:
        """Of two starts at once, each ends with what its file says; neither gives up."""
        commit = self.store.commit
        tries = [Conflict("networking")] * 3

        async def busy(changes: Any) -> int:
            if tries:
                raise tries.pop()
            return await commit(changes)

        self.patch(self.store, "commit", busy)
        self.assertTrue(self.start({"proxy_listener_mode": 1})[0].changed)
        tries += [Conflict("networking")] * 20
        self.fails(networking.start(self.store, NETWORKING, {}), Conflict)

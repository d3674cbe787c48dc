"""What a watcher hears."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import Cluster
from tlsgate.auth.principal import Principal, nobody
from tlsgate.auth.watching import ALIVE_SECONDS, StateWatch
from tlsgate.core.clusterstate import ClusterState
from tlsgate.core.keeping import Put
from tlsgate.core.rolevalues import Person
from tlsgate.errors import Compacted

SPEC = {"roles": ["editor"], "traits": {}}


class WatchTests(SynchronousTestCase):
    """Tests for `StateWatch`."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.lines: list[dict[str, Any]] = []

    def watch(self, who: Principal | None = None, since: int | None = None) -> StateWatch:
        watch = self.cluster.api.watch(who or self.cluster.gateway, since, self.hear)
        self.addCleanup(watch.stop)
        self.assertEqual(self.lines, [])  # never from within the call
        self.cluster.turn()
        assert isinstance(watch, StateWatch)
        return watch

    def hear(self, line: Any) -> None:
        self.lines.append(dict(line))

    def take(self) -> list[dict[str, Any]]:
        """What was heard since the last time."""
        found, self.lines = self.lines, []
        return found

    def test_a_snapshot(self) -> None:
        """The first line is everything, as a gateway's view reads it."""
        self.cluster.ask(self.cluster.local, "POST", "/v1/locks", {"target": {"user": "bob"}})
        self.watch()
        (line,) = self.take()
        self.assertEqual(line["kind"], "snapshot")
        state = ClusterState.fresh(line)
        self.assertEqual(state.cluster, "gate.example.com")
        self.assertEqual(set(state.roles), {"access", "auditor", "editor"})
        self.assertEqual([dict(lock.target) for lock in state.locks], [{"user": "bob"}])
        self.assertIsNone(state.mode)  # the default: nobody has said
        self.assertEqual(state.authorities["user"], tuple(self.pems("user")))

    def pems(self, kind: str) -> list[str]:
        return [pem.decode() for pem in self.cluster.parts.authorities.trusted(kind)]

    def test_changes(self) -> None:
        """Roles, locks, users, authorities and settings are told as they change."""
        self.watch()
        state = ClusterState.fresh(self.take()[0])
        local = self.cluster.local
        body: dict[str, Any] = {"kind": "role", "version": "v7", "metadata": {"name": "dev"}}
        self.cluster.ask(local, "PUT", "/v1/resources/role/dev", {**body, "spec": {}})
        lock = self.cluster.ask(
            local, "POST", "/v1/locks", {"target": {"role": "dev"}, "ttl_seconds": 60}
        ).body["metadata"]["name"]
        self.cluster.ask(local, "POST", "/v1/authorities/user/rotate", {"phase": "init"})
        networking = {"kind": "networking", "spec": {"proxy_listener_mode": "multiplex"}}
        path = "/v1/resources/networking/networking"
        self.cluster.ask(local, "PUT", path, networking)
        self.cluster.user("alice", "access")
        self.cluster.ask(local, "DELETE", f"/v1/resources/lock/{lock}")
        self.cluster.ask(local, "DELETE", "/v1/resources/role/dev")
        self.cluster.ask(local, "DELETE", path)
        lines = [line for line in self.take() if line["kind"] == "event"]
        self.assertEqual(
            [(line["resource_kind"], line["name"], line["resource"] is None) for line in lines],
            [
                ("role", "dev", False),
                ("lock", lock, False),
                ("cert_authority", "user", False),
                ("cluster_networking_config", "cluster-networking-config", False),
                ("user", "alice", False),
                ("lock", lock, True),
                ("role", "dev", True),
                ("cluster_networking_config", "cluster-networking-config", False),
            ],
        )
        self.assertEqual([one["revision"] for one in lines], sorted(o["revision"] for o in lines))
        modes = []
        for line in lines:
            state = state.changed(line)
            modes.append(state.mode)
        self.assertEqual(modes[2:5], [None, "multiplex", "multiplex"])
        self.assertIsNone(modes[-1])
        self.assertEqual(state.authorities["user"], tuple(self.pems("user")))
        self.assertEqual(len(state.authorities["user"]), 2)
        self.assertEqual((len(state.locks), "dev" in state.roles), (0, False))

    def test_users(self) -> None:
        """Hosts hear which roles and traits users have, and nothing that proves who they are."""
        self.cluster.user("alice", "access", traits={"logins": ["root"]})
        self.watch()
        (line,) = self.take()
        alice = {"name": "alice", "roles": ["access"], "traits": {"logins": ["root"]}}
        self.assertEqual(line["users"], [alice])
        state = ClusterState.fresh(line)
        path = "/v1/resources/user/alice"
        changed = {"kind": "user", "metadata": {"name": "alice"}, "spec": {"roles": ["editor"]}}
        local = self.cluster.local
        self.assertEqual(self.cluster.ask(local, "PUT", path, changed, force="true").status, 200)
        (line,) = self.take()
        self.assertEqual(
            (line["resource_kind"], line["name"], line["resource"]),
            ("user", "alice", {"metadata": {"name": "alice"}, "spec": SPEC}),
        )
        state = state.changed(line)
        self.assertEqual(state.people, {"alice": Person("alice", ("editor",))})
        self.cluster.ask(local, "DELETE", path, force="true")
        gone = [one for one in self.take() if one["kind"] == "event"]
        self.assertEqual([(one["name"], one["resource"]) for one in gone], [("alice", None)])
        self.assertEqual(state.changed(gone[0]).people, {})

    def test_users_are_for_hosts(self) -> None:
        """Who watches through the admin socket decides nothing, and hears nothing of users."""
        self.cluster.user("alice", "access")
        self.watch(self.cluster.local)
        self.assertNotIn("users", self.take()[0])
        self.cluster.user("bob", "access")
        self.assertEqual({line["kind"] for line in self.take()}, {"alive"})

    def test_an_authority_of_another_version(self) -> None:
        """What a newer process keeps of authorities is nobody's business, and not waited for."""
        self.watch()
        self.take()
        self.cluster.run(self.cluster.store.commit([Put("authorities/odd", b"{}")]))
        before = len(self.cluster.clock.getDelayedCalls())
        self.cluster.turn()
        for _ in range(60):
            self.cluster.clock.advance(0.02)
        self.assertLessEqual(len(self.cluster.clock.getDelayedCalls()), before)
        self.assertEqual(self.take(), [])

    def test_a_snapshot_that_an_authority_overtakes(self) -> None:
        """Who begins while an authority's owner has not read a change yet is not told the old."""
        real = self.cluster.parts.authorities.public()
        item = self.cluster.run(self.cluster.store.get("authorities/user"))
        change = Put(item.key, item.value, item.revision)
        revision = self.cluster.run(self.cluster.store.commit([change]))
        known = {**real["user"], "revision": item.revision}
        self.patch(self.cluster.parts.authorities, "public", lambda: {**real, "user": dict(known)})
        self.watch()
        self.assertEqual(self.take(), [])
        known["revision"] = revision
        self.cluster.clock.advance(0.02)
        (line,) = self.take()
        self.assertEqual(line["authorities"]["user"]["revision"], revision)

    def test_what_comes_while_a_snapshot_is_made(self) -> None:
        """It is told after the snapshot, and nothing before it is told again."""
        watches = []
        for _ in range(2):
            watches.append(self.watch())
            self.lines.clear()
        real = self.cluster.parts.authorities.public
        self.cluster.ask(self.cluster.local, "POST", "/v1/locks", {"target": {"user": "bob"}})
        self.assertEqual([line["kind"] for line in self.take()], ["event"] * 2)
        stale = {**real(), "user": {**real()["user"], "revision": 0}}
        self.patch(self.cluster.parts.authorities, "public", lambda: stale)
        self.watch()
        self.cluster.ask(self.cluster.local, "POST", "/v1/locks", {"target": {"user": "eve"}})
        self.assertEqual(len(self.take()), 2)  # the others hear it at once
        self.patch(self.cluster.parts.authorities, "public", real)
        self.cluster.clock.advance(0.02)
        lines = self.take()
        self.assertEqual([line["kind"] for line in lines], ["snapshot", "event"])
        self.assertEqual(lines[1]["resource"]["spec"]["target"], {"user": "eve"})

    def test_a_lock_that_ends(self) -> None:
        """A lock's end is a number in a line; when it has come the lock is told to be gone."""
        self.watch()
        self.take()
        body = {"target": {"user": "bob"}, "ttl_seconds": 5}
        self.cluster.ask(self.cluster.local, "POST", "/v1/locks", body)
        (line,) = self.take()
        self.assertEqual(line["resource"]["spec"]["expires"], self.cluster.clock.seconds() + 5)
        self.cluster.clock.advance(6)
        self.cluster.run(self.cluster.store.revision())
        self.cluster.turn()
        gone = [line for line in self.take() if line["kind"] == "event"]
        self.assertEqual([line["resource"] for line in gone], [None])

    def test_alive(self) -> None:
        """Silence is never longer than so many seconds, and stopped is silent."""
        others = len(self.cluster.store.watches)
        watch = self.watch()
        self.take()
        for _ in range(3):
            self.cluster.clock.advance(ALIVE_SECONDS)
            self.cluster.turn()
        lines = self.take()
        self.assertEqual([line["kind"] for line in lines], ["alive"] * 3)
        self.assertEqual(lines[0]["revision"], self.cluster.run(self.cluster.store.revision()))
        watch.stop()
        watch.stop()
        self.cluster.clock.advance(ALIVE_SECONDS * 3)
        self.cluster.ask(self.cluster.local, "POST", "/v1/locks", {"target": {"user": "bob"}})
        self.assertEqual(self.take(), [])
        self.assertEqual(len(self.cluster.store.watches), others)

    def test_going_on(self) -> None:
        """Who knows a revision hears what came after it, and no snapshot."""
        since = self.cluster.run(self.cluster.store.revision())
        self.cluster.ask(self.cluster.local, "POST", "/v1/locks", {"target": {"user": "bob"}})
        self.watch(since=since)
        kinds = [line["kind"] for line in self.take()]
        self.assertEqual(sorted(kinds), ["alive", "event"])

    def test_too_long_ago(self) -> None:
        """Who knows a revision that is forgotten, or none of ours, begins anew."""
        for since in (0, 10**12):
            real = self.cluster.store.watch

            def forgot(prefix: str, known: int | None, heard: Any, real: Any = real) -> Any:
                if known == 0:
                    raise Compacted(0)
                return real(prefix, known, heard)

            self.patch(self.cluster.store, "watch", forgot)
            self.watch(since=since).stop()
            self.assertEqual([line["kind"] for line in self.take()], ["snapshot"])

    def test_locked_out(self) -> None:
        """A lock on the watcher ends its watch with the reason, at once."""
        self.watch()
        self.take()
        body = {"target": {"agent": "gw1"}, "message": "taken"}
        self.cluster.ask(self.cluster.local, "POST", "/v1/locks", body)
        self.cluster.turn()
        last = self.take()[-1]
        self.assertEqual((last["kind"], last["reason"]), ("end", "locked"))
        self.cluster.clock.advance(ALIVE_SECONDS)
        self.assertEqual(self.take(), [])

    def test_a_certificate_that_ends(self) -> None:
        """The watch ends with the certificate."""
        ends = self.cluster.clock.seconds() + 20
        self.watch(evolve(self.cluster.gateway, not_after=ends))
        for _ in range(3):
            self.cluster.clock.advance(ALIVE_SECONDS)
            self.cluster.turn()
        self.assertEqual(
            [line["kind"] for line in self.take()], ["snapshot", "alive", "alive", "end"]
        )

    def test_not_for_everybody(self) -> None:
        """Who is neither a host nor local hears the last line only."""
        for who in (nobody(), self.cluster.user("alice", "editor")):
            self.watch(who)
            (line,) = self.take()
            self.assertEqual((line["kind"], line["reason"]), ("end", "access_denied"))

    def test_stopped_before_it_began(self) -> None:
        """Stopped in the same turn, nothing is heard."""
        watch = self.cluster.api.watch(self.cluster.gateway, None, self.hear)
        watch.stop()
        self.cluster.turn()
        self.assertEqual(self.take(), [])

    def test_what_cannot_be_read(self) -> None:
        """A role that cannot be read ends the watch: nobody goes on as if it were not there."""
        self.watch()
        self.take()
        self.cluster.run(self.cluster.store.commit([Put("roles/bad", b"no json")]))
        self.cluster.turn()
        (line,) = self.take()
        self.assertEqual((line["kind"], line["reason"]), ("end", "store_failed"))

    def test_a_failure_of_ours(self) -> None:
        """A bug ends the watch with constant words, and is logged."""
        self.watch()
        self.take()
        self.patch(self.cluster.parts.locks, "matches", _fails)
        self.cluster.clock.advance(ALIVE_SECONDS)
        self.cluster.turn()
        lines = self.take()
        self.assertEqual(lines[-1]["message"], "a bug of tlsgate")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


def _fails(*_: object, **__: object) -> None:
    raise RuntimeError("secret")

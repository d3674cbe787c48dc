"""Tests for `tlsgate.service.auth`: the service on a store on disk, in this thread."""

from __future__ import annotations

import json
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import new_pem
from tlsgate.auth.calls import Ask, Reply
from tlsgate.auth.principal import local, nobody
from tlsgate.config.settings import AuthSettings, Settings
from tlsgate.errors import BadResource, BadSeal, StoreFailed, Unreachable
from tlsgate.service import auth
from tlsgate.service.audit import AuditLog
from tlsgate.service.auth import AuthService
from tlsgate.service.door import LocalDoor
from tlsgate.store.sqlite import SqliteStore
from tlsgate.testing import listener, settings

CLUSTER = "gate.example.com"
EPOCH = 1_800_000_000.0


class FakeReactor(Clock):
    """A clock, and the thread that everything is in."""

    def callFromThread(self, call: Any, *args: Any) -> None:
        self.callLater(0, call, *args)


class AuthServiceCase(SynchronousTestCase):
    """One data directory, and processes that use it one after the other."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.reactor = FakeReactor()
        self.stores: list[SqliteStore] = []
        self.patch(auth, "SqliteStore", self.open)
        self.settings: Settings = settings(
            data_dir=self.folder,
            cluster_name=CLUSTER,
            listeners=(listener("web", "tcp:1"),),
        )
        self.service = self.make()

    def open(self, folder: Path, *, now: Any, from_thread: Any) -> SqliteStore:
        """The store without its thread."""
        self.stores.append(SqliteStore(folder, now=now))
        return self.stores[-1]

    def now(self) -> float:
        return EPOCH + self.reactor.seconds()

    def make(self) -> AuthService:
        """The service of a new process."""
        self.door = LocalDoor(CLUSTER, "gw1")
        audit = AuditLog(self.folder)
        service = AuthService(
            lambda: self.settings, self.reactor, self.door, audit, execute, self.now
        )
        self.addCleanup(service.stop)
        return service

    def start(self, service: AuthService | None = None) -> Deferred[Any]:
        return Deferred.fromCoroutine((service or self.service).start())

    def again(self, **fields: Any) -> None:
        """End the process, and start another with other settings."""
        self.service.stop()
        self.settings = evolve(self.settings, **fields)
        self.service = self.make()
        self.successResultOf(self.start())

    def ask(self, method: str, path: str, body: Any = None, who: Any = None, **query: str) -> Reply:
        assert self.service.api is not None
        asked = Ask(method=method, path=path, query=query, body=body)
        reply: Reply = self.successResultOf(
            Deferred.fromCoroutine(self.service.api.call(who or local(0), asked))
        )
        return reply

    def names(self, kind: str) -> list[str]:
        items = self.ask("GET", f"/v1/resources/{kind}").body["items"]
        return [one["metadata"]["name"] for one in items]

    def mode(self) -> Any:
        found = self.ask("GET", "/v1/resources/networking").body["items"][0]
        return found["spec"]["proxy_listener_mode"], found["metadata"]["labels"]

    def events(self) -> list[str]:
        """What the trail has."""
        lines = (self.folder / "log" / "events.log").read_text().splitlines()
        return [json.loads(line)["event"] for line in lines]


class StartTests(AuthServiceCase):
    """A cluster's first start, and later ones."""

    def test_a_new_cluster(self) -> None:
        """It has authorities, the preset roles, and a seal that is the owner's alone."""
        self.successResultOf(self.start())
        self.assertEqual(self.names("role"), ["access", "auditor", "editor"])
        self.assertEqual(self.names("user"), [])
        cluster = self.ask("GET", "/v1/cluster").body
        self.assertEqual(cluster["cluster_name"], CLUSTER)
        self.assertLessEqual({"user", "host"}, set(cluster["authorities"]))
        key = self.folder / "auth.key"
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        self.assertEqual(self.ask("GET", "/v1/cas", who=nobody()).status, 200)
        self.assertEqual(self.service.remarks, ())

    def test_what_was_stays(self) -> None:
        """Authorities and whatever was written are the same after a restart; so is a lack."""
        self.successResultOf(self.start())
        before = self.ask("GET", "/v1/cas").body
        made = self.ask("POST", "/v1/locks", {"target": {"user": "eve"}}).body
        self.assertEqual(self.ask("DELETE", "/v1/resources/role/auditor").status, 200)
        self.again()
        self.assertEqual(self.ask("GET", "/v1/cas").body, before)
        self.assertEqual(self.names("lock"), [made["metadata"]["name"]])
        self.assertEqual(self.names("role"), ["access", "editor"])  # a preset is made once

    def test_s24_nothing_readable(self) -> None:
        """A copy of the store has no private key, and is of no use without the key file."""
        self.successResultOf(self.start())
        self.service.stop()
        wire = b"".join(
            file.read_bytes() for file in (self.folder / "store").rglob("*") if file.is_file()
        )
        self.assertIn(b"BEGIN CERTIFICATE", wire)
        self.assertNotIn(b"PRIVATE KEY", wire)
        (self.folder / "auth.key").unlink()
        self.failureResultOf(self.start(self.make()), BadSeal)
        self.assertFalse((self.folder / "auth.key").exists())

    def test_one_at_a_time(self) -> None:
        """Of two processes with one store the second one is told so, and harms nothing."""
        self.successResultOf(self.start())
        second = self.make()
        door, self.door = self.door, LocalDoor(CLUSTER, "gw1")
        self.failureResultOf(self.start(second), StoreFailed)
        self.assertIsNone(second.api)
        self.assertIsNone(door.api)
        self.assertEqual(self.names("role"), ["access", "auditor", "editor"])

    def test_after_another(self) -> None:
        """A successor starts as soon as the store is free, or gives up in its time."""
        self.successResultOf(self.start())
        second = self.make()
        waiting = Deferred.fromCoroutine(second.start_after(10))
        self.reactor.pump([0.1] * 50)
        self.assertNoResult(waiting)
        self.service.stop()
        self.reactor.advance(0.1)
        self.successResultOf(waiting)
        third = self.make()
        late = Deferred.fromCoroutine(third.start_after(10))
        self.reactor.pump([0.1] * 102)
        self.failureResultOf(late, StoreFailed)

    def test_finish(self) -> None:
        """What has been asked is answered before the store is left; nothing new is taken."""
        Deferred.fromCoroutine(self.service.finish()).addErrback(self.fail)
        api = self.successResultOf(self.start())
        ended: list[str] = []
        api.on_end(lambda: ended.append("told"))
        for answered in (True, False):
            if not answered:
                api = self.successResultOf(self.start())
            api.running = 1
            finishing = Deferred.fromCoroutine(self.service.finish())
            self.assertEqual((ended, self.door.api), (["told"], None))
            self.reactor.pump([0.1] * 5)
            self.assertNoResult(finishing)
            self.assertIsNotNone(self.service._store)
            api.running = 0 if answered else 1
            self.reactor.pump([0.1] if answered else [0.1] * 20)
            self.successResultOf(finishing)
            self.assertIsNone(self.service._store)

    def test_a_start_that_fails_leaves_nothing(self) -> None:
        """What was opened is closed again, so that the next try finds it free."""
        self.settings = evolve(
            self.settings,
            auth=evolve(self.settings.auth, tokens=(f"node:{self.folder}/missing",)),
        )
        error = self.failureResultOf(self.start(), BadResource).value
        self.assertIn("missing", str(error))
        self.assertIsNone(self.service.api)
        (self.folder / "missing").write_text("x" * 40 + "\n")
        self.successResultOf(self.start())

    def test_a_store_that_cannot_be_looked_at(self) -> None:
        """A store that is no folder stops the start, and no other key is made for it."""
        (self.folder / "store").write_text("")
        self.failureResultOf(self.start(), StoreFailed)
        self.assertFalse((self.folder / "auth.key").exists())


class StaticTokenTests(AuthServiceCase):
    """auth_service.tokens, and auth_service.authentication.locking_mode."""

    def join(self, token: str, name: str, kind: str = "node") -> int:
        """Join; the status."""
        body = {"token": token, "type": kind, "name": name, "tls_public_key": new_pem()}
        return self.ask("POST", "/v1/join", body, nobody()).status

    def test_where_they_stand(self) -> None:
        """In the file, in a file of their own, or only the secret there; each with a warning."""
        (self.folder / "whole").write_text("app:whole-secret-0123456789\n")
        (self.folder / "secret").write_text("only-secret-0123456789\n")
        tokens = (
            "node:here-secret-0123456789",
            str(self.folder / "whole"),
            f"db,node:{self.folder / 'secret'}",
        )
        self.settings = evolve(self.settings, auth=AuthSettings(tokens=tokens))
        self.successResultOf(self.start())
        self.assertIn("3 static join tokens", self.service.remarks[0])
        self.assertEqual(self.join("here-secret-0123456789", "n1"), 200)
        self.assertEqual(self.join("whole-secret-0123456789", "a1", "app"), 200)
        self.assertEqual(self.join("only-secret-0123456789", "d1", "db"), 200)
        self.assertEqual(self.join("whole-secret-0123456789", "n2"), 401)

    def test_a_file_that_is_not_there(self) -> None:
        """A start that cannot read one fails, and says which."""
        gone = str(self.folder / "gone")
        self.settings = evolve(self.settings, auth=AuthSettings(tokens=(gone,)))
        error = self.failureResultOf(self.start(), BadResource)
        self.assertIn(gone, str(error.value))

    def test_locking_mode(self) -> None:
        """What the file says is the cluster's; without it the preference is the operator's."""
        self.settings = evolve(self.settings, auth=AuthSettings(locking_mode="strict"))
        self.successResultOf(self.start())

        def mode() -> tuple[str, str]:
            one = self.ask("GET", "/v1/resources/cluster_auth_preference").body["items"][0]
            return one["spec"]["locking_mode"], one["metadata"]["labels"]["teleport.dev/origin"]

        self.assertEqual(mode(), ("strict", "config-file"))
        self.again(auth=AuthSettings())
        self.assertEqual(mode(), ("best_effort", "defaults"))


class PreferenceTests(AuthServiceCase):
    """cluster_auth_preference, from the file and while it runs."""

    def factor(self) -> bool:
        """Whether a new user is asked for a second factor."""
        made = self.ask("POST", "/v1/users", {"name": f"u{self.number}", "roles": ["access"]})
        self.number += 1
        begun = self.ask("POST", "/v1/invites/begin", {"token": made.body["invite"]["token"]})
        return begun.body["secret"] is not None

    def put(self, **spec: object) -> None:
        """Change it."""
        body = {"kind": "cluster_auth_preference", "version": "v2", "spec": spec}
        path = "/v1/resources/cluster_auth_preference/cluster-auth-preference"
        reply = self.ask("PUT", path, body, force="1", confirm="1")
        self.assertEqual(reply.status, 200, reply.body)
        self.stores[-1].turn()

    def test_at_run_time(self) -> None:
        """What is changed counts for the next login, without a restart."""
        self.number = 1
        self.successResultOf(self.start())
        self.assertTrue(self.factor())
        self.put(second_factor="off", unsafe_second_factor_off=True)
        self.assertFalse(self.factor())
        self.put(second_factor="otp")
        self.assertTrue(self.factor())

    def test_of_the_file(self) -> None:
        """What the file says is the cluster's; another word than off is a one-time code."""
        self.number = 1
        self.settings = evolve(self.settings, authentication={"second_factor": "off"})
        self.successResultOf(self.start())
        self.assertFalse(self.factor())
        self.again(authentication={"second_factor": "webauthn"})
        self.assertTrue(self.factor())
        self.again(authentication={})
        self.assertTrue(self.factor())


class DoorTests(AuthServiceCase):
    """The door of the gateway beside it."""

    def test_open_and_shut(self) -> None:
        """It opens when all is there, with its watches, and shuts before anything goes."""
        heard: list[Any] = []
        self.door.watch(heard.append)
        self.successResultOf(self.start())
        self.reactor.pump([0.0] * 5)
        self.assertEqual([line["kind"] for line in heard], ["snapshot"])
        self.service.stop()
        asked = Deferred.fromCoroutine(self.door.ask("GET", "/v1/cas"))
        self.failureResultOf(asked, Unreachable)
        self.assertIsNone(self.service.api)
        self.service.stop()

    def test_stopped_is_silent(self) -> None:
        """After the stop no timer of it is left to touch the store."""
        self.door.watch(lambda line: None)
        self.successResultOf(self.start())
        self.reactor.pump([0.0] * 5)
        self.service.stop()
        self.reactor.advance(3600)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class SettingsTests(AuthServiceCase):
    """What the configuration file says of the cluster."""

    def test_the_default(self) -> None:
        """Where nobody says anything the mode follows the file's version."""
        self.successResultOf(self.start())
        mode, labels = self.mode()
        self.assertEqual(labels["teleport.dev/origin"], "defaults")
        self.assertIn(mode, (1, "multiplex"))

    def test_the_file_wins(self) -> None:
        """A mode in the file is taken up at the start and at a reload, and audited."""
        self.successResultOf(self.start())
        before = self.events().count("networking.update")
        self.again(networking={"proxy_listener_mode": "multiplex"})
        self.assertEqual(self.mode()[1]["teleport.dev/origin"], "config-file")
        self.settings = evolve(self.settings, networking={"proxy_listener_mode": "separate"})
        self.successResultOf(Deferred.fromCoroutine(self.service.follow()))
        self.assertIn(self.mode()[0], (0, "separate"))
        self.assertEqual(self.events().count("networking.update"), before + 2)
        self.successResultOf(Deferred.fromCoroutine(self.service.follow()))
        self.assertEqual(self.events().count("networking.update"), before + 2)

    def test_nobody_is_sent_where_nothing_is(self) -> None:
        """To a separate port only whoever has it may switch; agents need none of their own."""
        self.successResultOf(self.start())
        body = {
            "kind": "cluster_networking_config",
            "version": "v2",
            "spec": {"proxy_listener_mode": "separate"},
        }
        path = "/v1/resources/networking/networking"
        refused = self.ask("PUT", path, body)
        self.assertEqual(refused.status, 409)
        self.assertIn("listen_addr", refused.body["error"]["message"])
        both = (listener("web", "tcp:1"), listener("ssh", "tcp:2", "ssh"))
        self.settings = evolve(self.settings, listeners=both)
        self.assertEqual(self.ask("PUT", path, body).status, 200)

    def test_before_the_start(self) -> None:
        """A reload before there is a store changes nothing."""
        self.successResultOf(Deferred.fromCoroutine(self.service.follow()))
        self.assertEqual(self.stores, [])
        asked = Deferred.fromCoroutine(self.service.foresee(self.settings))
        self.assertIsNone(self.successResultOf(asked))

    def test_foresee(self) -> None:
        """What a file would make of the mode is known before, and what speaks against it."""
        self.successResultOf(self.start())
        both = (listener("web", "tcp:1"), listener("ssh", "tcp:2", "ssh"))
        spec = {"proxy_listener_mode": "separate"}
        for listeners, why in ((self.settings.listeners, 1), (both, 0)):
            new = evolve(self.settings, listeners=listeners, networking=spec)
            told = self.foresee(new)
            self.assertEqual((told["next_mode"], told["mode_age_seconds"]), ("separate", None))
            self.assertEqual(len(told["why"]), why)
        told = self.foresee(self.settings)
        self.assertEqual((told["next_mode"], told["why"]), ("multiplex", []))

    def foresee(self, new: Settings) -> dict[str, Any]:
        """What the service says of *new*."""
        told = self.successResultOf(Deferred.fromCoroutine(self.service.foresee(new)))
        assert told is not None
        return told

    def test_backup(self) -> None:
        """The operator gets a copy of the store that opens."""
        self.successResultOf(self.start())
        file = self.folder / "copy"
        made = self.ask("POST", "/v1/backup", {"file": str(file)})
        self.assertEqual(made.status, 200, made.body)
        self.assertEqual(made.body["bytes"], file.stat().st_size)

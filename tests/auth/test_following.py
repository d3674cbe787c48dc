"""Tests for `tlsgate.auth.following`, and what an operator is told of it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.auth.test_verbs_agents import BEAT, AgentCase
from tlsgate.auth import following
from tlsgate.auth.following import EXPIRE_SECONDS, Following

PATH = "/v1/authorities/user/followers"


class FollowingTests(SynchronousTestCase):
    """Tests for `Following`."""

    def setUp(self) -> None:
        self.following = Following()

    def names(self, now: float) -> list[tuple[str, int | None]]:
        """Who is there, and what of the user authority each has said."""
        return [(row["name"], row["revision"]) for row in self.following.rows("user", now)]

    def test_the_last_word(self) -> None:
        """The last word of each host counts, until it is too old."""
        self.following.take("agent", "db1", {"user": 3}, 100.0)
        self.following.take("gateway", "gw1", {"host": 3}, 200.0)
        self.following.take("agent", "db1", {"user": 4, "host": 3}, 150.0)
        self.assertEqual(self.names(200.0), [("db1", 4), ("gw1", None)])
        self.assertEqual(self.names(150.0 + EXPIRE_SECONDS), [("gw1", None)])

    def test_workers(self) -> None:
        """Each worker of a gateway speaks for itself; a host that is removed is forgotten."""
        self.following.take("gateway", "gw1", {"user": 3}, 1.0, worker="0")
        self.following.take("gateway", "gw1", {"user": 4}, 1.0, worker="1")
        self.assertEqual(self.names(1.0), [("gw1", 3), ("gw1", 4)])
        self.following.drop("agent", "gw1")
        self.assertEqual(len(self.names(1.0)), 2)
        self.following.drop("gateway", "gw1")
        self.assertEqual(self.names(1.0), [])

    def test_no_end(self) -> None:
        """More than can be are not remembered; those that are gone make room."""
        self.patch(following, "MOST", 1)
        self.following.take("agent", "db1", {}, 1.0)
        self.following.take("agent", "db2", {}, 2.0)
        self.assertEqual(self.names(2.0), [("db1", None)])
        self.following.take("agent", "db2", {}, 2.0 + EXPIRE_SECONDS)
        self.assertEqual(self.names(2.0 + EXPIRE_SECONDS), [("db2", None)])


class FollowersTests(AgentCase):
    """Tests for `/v1/authorities/{type}/followers`."""

    def followers(self) -> tuple[str, int, list[str]]:
        """The phase, how many are known, and who is behind."""
        said = self.ask(self.edgar, "GET", PATH)
        self.assertEqual(said["behind_count"], len(said["behind"]))
        return said["phase"], said["known"], [one["name"] for one in said["behind"]]

    def revision(self) -> int:
        """That of the user authority."""
        return int(self.ask(self.edgar, "GET", PATH)["revision"])

    def say(self, kind: str, name: str, **authorities: int) -> None:
        """Have a host say what it follows."""
        if kind == "agent":
            body: dict[str, Any] = {**self.body(name), "authorities": authorities}
            self.ask(self.agent(name), "POST", BEAT, body)
            return
        for worker in ("0", "0.1"):  # a second report of the same worker
            body = {"worker": worker, "agents": [], "authorities": authorities}
            self.ask(self.agent(name, "gateway"), "POST", "/v1/gateway/agents", body)

    def test_a_step(self) -> None:
        """Who has not said the newest revision is behind, until it does."""
        before = self.revision()
        self.say("agent", "db1", user=before)
        self.say("gateway", "gw1", user=before)
        self.say("agent", "old")
        self.assertEqual(self.followers(), ("standby", 3, ["old"]))
        self.ask(self.cluster.local, "POST", "/v1/authorities/user/rotate", {"phase": "init"})
        self.assertEqual(self.followers(), ("init", 3, ["db1", "old", "gw1"]))
        self.assertGreater(self.revision(), before)
        self.say("gateway", "gw1", user=self.revision())
        self.say("agent", "db1", user=self.revision())
        self.assertEqual(self.followers(), ("init", 3, ["old"]))
        self.ask(self.cluster.local, "DELETE", "/v1/resources/node/old")
        self.assertEqual(self.followers(), ("init", 2, []))

    def test_nodes_of_another_process(self) -> None:
        """A node that was heard before this process was there counts as one that has not said."""
        self.say("agent", "db1", user=self.revision())
        self.cluster.parts.following.drop("agent", "db1")
        self.assertEqual(self.followers(), ("standby", 1, ["db1"]))

    def test_refusals(self) -> None:
        """Not everybody may ask, and not of everything."""
        self.assertEqual(self.refused(self.alice, "GET", PATH)[0], 403)
        other = PATH.replace("user", "other")
        self.assertEqual(self.refused(self.edgar, "GET", other)[0], 404)

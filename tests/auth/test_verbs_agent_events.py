"""Tests for what nodes tell the audit trail."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from tests.auth.test_verbs_agents import AgentCase
from tests.auth.test_verbs_targets import TargetCase, offer
from tests.core.test_sshdlines import ALICE
from tlsgate.auth import verbs_agent_events
from tlsgate.auth.principal import Principal, nobody
from tlsgate.core.sshdlines import digest_of

PATH = "/v1/agent/events"
QUERIES = "/v1/agent/queries"


class EventsTests(AgentCase):
    """Tests for POST /v1/agent/events."""

    def setUp(self) -> None:
        """The digest of the authority for users' OpenSSH certificates."""
        super().setUp()
        (line,) = self.cluster.parts.authorities.cas()["ssh_user"]
        self.ca = digest_of(line)

    def event(self, **more: Any) -> dict[str, Any]:
        """One login."""
        return {
            "at": 1000.5,
            "login": "root",
            "name": "alice",
            "serial": "42",
            "key": ALICE.key,
            "ca": self.ca,
            "address": "127.0.0.1",
            "port": 4711,
            **more,
        }

    def tell(self, count: int = 1, who: Principal | None = None, **more: Any) -> Any:
        """Tell of *count* logins."""
        body = {"sshd_accepts": [self.event()] * count, **more}
        return self.ask(who or self.agent("db1"), "POST", PATH, body)

    def test_told(self) -> None:
        """A login is in the trail under its user's name, with the node that told of it."""
        who = evolve(self.agent("db1"), address="192.0.2.7")
        self.assertEqual(self.tell(who=who), {"taken": 1, "wait_seconds": 0.0})
        ((event, fields),) = self.cluster.audit.events
        self.assertEqual(event, "sshd.accept")
        self.assertEqual(
            fields,
            {
                "cluster_name": self.cluster.parts.cluster,
                "user": "alice",
                "success": True,
                "login": "root",
                "server_hostname": "db1",
                "reported_by": "node:db1",
                "at": 1000.5,
                "key": ALICE.key,
                "addr.remote": "127.0.0.1",
                "addr.port": 4711,
                "cert.serial": "42",
            },
        )

    def test_another_authority(self) -> None:
        """A login by a certificate of another authority is none of ours."""
        body = {"sshd_accepts": [self.event(ca=ALICE.ca)]}
        self.assertEqual(self.ask(self.agent("db1"), "POST", PATH, body)["taken"], 1)
        self.assertEqual(self.cluster.audit.take(), [])

    def test_bounded(self) -> None:
        """A node that tells a lot waits; others do not."""
        for _ in range(5):
            self.assertEqual(self.tell(100)["taken"], 100)
        wait = verbs_agent_events.WAIT_SECONDS
        self.assertEqual(self.tell(100, lost=1), {"taken": 0, "wait_seconds": wait})
        self.assertEqual(self.tell(1, self.agent("db2"))["taken"], 1)
        self.assertEqual(len(self.cluster.audit.take()), 501)
        self.assertEqual(self.refused_body(sshd_accepts=[self.event()] * 101), 400)

    def test_lost(self) -> None:
        """What the agent could not keep is in the trail as a number."""
        self.tell(0, lost=7)
        ((event, fields),) = self.cluster.audit.events
        self.assertEqual((event, fields["events"], fields["success"]), ("audit.lost", 7, False))
        self.assertEqual(fields["reported_by"], "node:db1")

    def refused_body(self, **body: Any) -> int:
        """The status of what is refused."""
        return self.refused(self.agent("db1"), "POST", PATH, body)[0]

    def test_who(self) -> None:
        """Nodes only: no user, no other host, nobody."""
        body = {"sshd_accepts": [self.event()]}
        for who in (self.alice, self.edgar, self.agent("gw1", "gateway"), nobody()):
            status, _ = self.refused(who, "POST", PATH, body)
            self.assertIn(status, (401, 403))
        self.assertNotIn("sshd.accept", self.cluster.audit.take())

    def test_bad(self) -> None:
        """What is no such event is refused whole."""
        for more in (
            {"at": -1},
            {"login": ""},
            {"login": "x" * 257},
            {"name": "a\nb"},
            {"serial": "x"},
            {"key": "MD5:00"},
            {"port": 65536},
            {"user": "root"},
        ):
            self.assertEqual(self.refused_body(sshd_accepts=[self.event(**more)]), 400, more)
        self.assertEqual(self.refused_body(sshd_accepts=[], lost=-1), 400)


class QueriesTests(TargetCase):
    """Tests for POST /v1/agent/queries."""

    def setUp(self) -> None:
        super().setUp()
        self.offers(offer("db", "orders", env="prod"))
        self.cluster.audit.take()

    def query(self, **more: Any) -> dict[str, Any]:
        """One that bob has sent."""
        return {
            "at": 1000.5,
            "user": "bob",
            "client": "192.0.2.9:4711",
            "trace": "1234",
            "db_service": "orders",
            "db_protocol": "postgres",
            "db_user": "app",
            "db_name": "shop",
            "db_query": "select 1\nfrom t",
            "db_query_cut": False,
            "db_query_kind": "extended",
            "db_query_statement": "s1",
            "db_query_parameters_count": 2,
            **more,
        }

    def tell(self, *queries: Any, who: Principal | None = None, **more: Any) -> Any:
        """Tell of them."""
        return self.ask(who or self.pg, "POST", QUERIES, {"queries": list(queries), **more})

    def test_told(self) -> None:
        """A query is in the trail under its user's name, with the agent that told of it."""
        self.assertEqual(self.tell(self.query()), {"taken": 1, "wait_seconds": 0.0})
        ((event, fields),) = self.cluster.audit.events
        self.assertEqual(event, "db.session.query")
        wanted = {**self.query(), "addr.remote": "192.0.2.9", "reported_by": "db,app:pg"}
        del wanted["client"]
        said = {name: value for name, value in fields.items() if name in wanted}
        self.assertEqual({**said, "reported_by": ""}, {**wanted, "reported_by": ""})
        self.assertIn("pg", str(fields["reported_by"]))

    def test_no_address(self) -> None:
        """A client without an address has none."""
        self.tell(self.query(client=""))
        ((_, fields),) = self.cluster.audit.events
        self.assertNotEqual(fields.get("addr.remote"), "")

    def test_of_others(self) -> None:
        """Of a database that it does not offer, an agent has nothing to tell."""
        self.assertEqual(self.tell(self.query(db_service="payroll"))["taken"], 1)
        self.assertEqual(self.cluster.audit.take(), [])

    def test_bounded(self) -> None:
        """An agent that tells a lot waits, and what it lost is a number."""
        for _ in range(10):
            self.assertEqual(self.tell(*[self.query()] * 100)["taken"], 100)
        wait = verbs_agent_events.WAIT_SECONDS
        self.assertEqual(self.tell(self.query(), lost=1), {"taken": 0, "wait_seconds": wait})
        self.assertEqual(len(self.cluster.audit.take()), 1000)
        self.tell(lost=7)
        ((event, fields),) = self.cluster.audit.events
        self.assertEqual((event, fields["events"]), ("audit.lost", 7))

    def test_who(self) -> None:
        """Agents of databases only."""
        body = {"queries": [self.query()]}
        for who in (self.bob, self.edgar, self.agent("node", "node"), nobody()):
            status, _ = self.refused(who, "POST", QUERIES, body)
            self.assertIn(status, (401, 403))

    def test_bad(self) -> None:
        """What is no such event is refused whole."""
        for more in ({"at": -1}, {"user": ""}, {"db_query": "x" * 1025}, {"db_query": "a\0"}):
            body = {"queries": [self.query(**more)]}
            self.assertEqual(self.refused(self.pg, "POST", QUERIES, body)[0], 400, more)

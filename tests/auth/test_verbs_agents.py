"""Heartbeats, the nodes that one may reach, what gateways have, and how an agent is shut out.

One file, though a long one: all of it goes by what the agents of one rig have said.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import ADDRESS, NAME, PEM, SSH, Cluster, new_pem
from tlsgate.auth import agentbodies, inventory, kind_node, nodes, verbs_agents
from tlsgate.auth.principal import Principal, nobody
from tlsgate.core.claims import Claims
from tlsgate.core.keeping import Delete
from tlsgate.core.wire.sshcert import parse_line

BEAT = "/v1/agent/heartbeat"


class AgentCase(SynchronousTestCase):
    """A cluster with an operator, a user and agents."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.edgar = self.cluster.user("edgar", "editor")
        self.alice = self.cluster.user("alice", "access", traits={"logins": ["alice", "root"]})
        self.cluster.audit.take()

    def agent(self, name: str, *roles: str, **more: Any) -> Principal:
        """Who shows an agent's certificate."""
        claims = Claims(cluster=NAME, kind="host", name=name, system_roles=roles or ("node",))
        ends = self.cluster.clock.seconds() + 86400
        return Principal(kind="host", name=name, claims=claims, serial=9, not_after=ends, **more)

    def ask(self, who: Principal, method: str, path: str, body: Any = None, **query: str) -> Any:
        """Ask, and expect an answer."""
        reply = self.cluster.ask(who, method, path, body, **query)
        self.assertEqual(reply.status, 200, reply.body)
        return reply.body

    def refused(self, who: Principal, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Ask, and expect a refusal."""
        reply = self.cluster.ask(who, method, path, body)
        return reply.status, reply.body["error"]["reason"]

    def body(self, name: str, **labels: str) -> dict[str, Any]:
        """A heartbeat of a node."""
        offer = {"kind": "node", "name": name, "labels": labels, "addresses": ["127.0.0.1:22"]}
        return {"version": "1.0", "hostname": f"{name}.local", "offers": [offer]}

    def beat(self, name: str, **labels: str) -> Any:
        """Send one."""
        return self.ask(self.agent(name), "POST", BEAT, self.body(name, **labels))

    def nodes(self, who: Principal | None = None, **query: str) -> dict[str, list[str]]:
        """The names and logins that somebody sees."""
        found = self.ask(who or self.alice, "GET", "/v1/me/nodes", **query)["nodes"]
        return {one["name"]: one["logins"] for one in found}

    def join(self, name: str = "db1", key: str = PEM, **token: Any) -> Any:
        """Join as a node; gives the whole reply."""
        asked = {"types": ["node"], **token}
        made = self.ask(self.cluster.local, "POST", "/v1/tokens", asked)
        body = {"token": made["secret"], "type": "node", "name": name, "tls_public_key": key}
        return self.cluster.ask(nobody(ADDRESS), "POST", "/v1/join", body)


class HeartbeatTests(AgentCase):
    """Tests for `nodes.beat`."""

    def test_a_node(self) -> None:
        """What an agent says is a resource that can be read."""
        answer = self.beat("db1", env="prod")
        now = self.cluster.clock.seconds()
        self.assertEqual(
            answer,
            {
                "next_seconds": 60.0,
                "expires": now + nodes.LIFE_SECONDS,
                "labels": {},
                "gateways": ["gate.example.com:443"],
            },
        )
        found = self.ask(self.edgar, "GET", "/v1/resources/nodes/db1")
        self.assertEqual(found["metadata"]["labels"], {"env": "prod"})
        self.assertEqual(found["metadata"]["expires"][:11], "2027-01-15T")
        self.assertEqual(
            found["spec"],
            {
                "hostname": "db1.local",
                "version": "1.0",
                "addresses": ["127.0.0.1:22"],
                "offers": [],
                "sshd": {},
            },
        )
        kind_node.NodeSpec.model_validate(found["spec"])
        self.assertEqual(self.cluster.audit.take(), [])

    def test_it_goes(self) -> None:
        """Two minutes after the last word the node is gone."""
        self.beat("db1")
        self.cluster.clock.advance(nodes.LIFE_SECONDS - 1)
        self.assertEqual(list(self.nodes()), ["db1"])
        self.cluster.clock.advance(1)
        self.assertEqual(self.nodes(), {})

    def test_r07_writes(self) -> None:
        """One write a minute for what stays as it is; at once for what does not."""

        def revision() -> int:
            found: int = self.cluster.run(self.cluster.store.revision())
            return found

        self.beat("db1", env="prod")
        first = revision()
        for _ in range(5):  # a storm
            self.beat("db1", env="prod")
            self.cluster.clock.advance(10)
        self.assertEqual(revision(), first)
        self.cluster.clock.advance(10)
        self.beat("db1", env="prod")
        self.assertEqual(revision(), first + 1)
        self.beat("db1", env="dev")
        self.assertEqual(revision(), first + 2)

    def test_s41_only_its_own(self) -> None:
        """Nobody says anything under another's name or role, and whoever tries is told of."""
        gateway = self.cluster.gateway
        for who, body in (
            (self.agent("db1"), self.body("db2")),
            (self.agent("db1", "db"), self.body("db1")),
            (gateway, {"version": "1"}),
            (self.cluster.local, {"version": "1"}),
            (self.alice, {"version": "1"}),
            (self.agent("db1"), {"version": "1", "offers": [{"kind": "app", "name": "wiki"}]}),
        ):
            self.cluster.audit.take()
            self.assertEqual(self.refused(who, "POST", BEAT, body), (403, "access_denied"))
        self.assertEqual(self.nodes(), {})
        self.cluster.audit.take()
        self.refused(self.agent("db1"), "POST", BEAT, self.body("db2"))
        ((event, fields),) = self.cluster.audit.events
        self.assertEqual((event, fields["user"]), ("api.denied", "node:db1"))
        self.assertIn("the name of its agent's certificate", fields["error"])

    def test_bounded(self) -> None:
        """S56: what is too much, twice, or not readable, is refused whole."""
        who = self.agent("db1")
        good = self.body("db1")
        offer = good["offers"][0]
        many = {f"k{number}": "x" for number in range(65)}
        for bad in (
            {**good, "offers": [offer, offer]},
            {**good, "offers": [{**offer, "labels": many}]},
            {**good, "offers": [{**offer, "labels": {"a": "x" * 1025}}]},
            {**good, "offers": [{**offer, "labels": {"a": "\x1b[2J"}}]},
            {**good, "offers": [{**offer, "addresses": ["x:1"] * 65}]},
            {**good, "hostname": "x" * 257},
            {**good, "more": 1},
            {**good, "sshd": {f"k{number}": "x" for number in range(17)}},
        ):
            status, _ = self.refused(who, "POST", BEAT, bad)
            self.assertEqual(status, 400)
        wide = {f"{number:0256d}": "é" * 1024 for number in range(64)}
        body = {**good, "offers": [{**offer, "labels": wide}]}
        self.assertEqual(self.refused(who, "POST", BEAT, body), (400, "bad_resource"))
        self.assertEqual(agentbodies.Heartbeat.model_config["extra"], "forbid")

    def test_other_offers(self) -> None:
        """An agent of another kind is heard and is no node; of a node all is kept by name."""
        body = {"version": "1", "offers": [{"kind": "db", "name": "orders"}]}
        self.ask(self.agent("pg", "db"), "POST", BEAT, body)
        self.assertEqual(self.nodes(), {})
        both = self.body("db1")
        both["offers"] += body["offers"]
        both["sshd"] = {"installed": True, "port": 22}
        self.ask(self.agent("db1", "node", "db"), "POST", BEAT, both)
        found = self.ask(self.edgar, "GET", "/v1/resources/node/db1")
        self.assertEqual(found["spec"]["offers"], ["db/orders"])
        self.assertEqual(found["spec"]["sshd"], {"installed": True, "port": 22})

    def test_labels_of_the_token(self) -> None:
        """Labels of the token by which an agent has joined are its node's, whatever it says."""
        joined = self.join(labels={"env": "prod"})
        self.assertEqual((joined.status, joined.body["labels"]), (200, {"env": "prod"}))
        self.assertEqual(self.beat("db1", env="dev", disk="ssd")["labels"], {"env": "prod"})
        found = self.ask(self.edgar, "GET", "/v1/resources/node/db1")
        self.assertEqual(found["metadata"]["labels"], {"disk": "ssd", "env": "prod"})
        renewed = self.ask(
            self.agent("db1"), "POST", "/v1/me/certificates", {"tls_public_key": new_pem()}
        )
        self.assertEqual(renewed["labels"], {"env": "prod"})
        self.assertEqual(self.beat("db1")["labels"], {"env": "prod"})

    def test_removed_meanwhile(self) -> None:
        """A heartbeat that crosses the node's removal does not bring it back."""
        self.beat("db1")
        real = self.cluster.store.commit
        who, body = self.agent("db1"), self.body("db1", new="label")

        async def crossed(changes: Any) -> int:
            self.patch(self.cluster.store, "commit", real)
            await self.cluster.parts.locks.add({"agent": "db1"})
            await real([Delete("nodes/db1")])
            self.cluster.turn()
            return await real(changes)

        self.patch(self.cluster.store, "commit", crossed)
        self.assertEqual(self.refused(who, "POST", BEAT, body), (403, "locked"))
        self.assertEqual(self.nodes(self.cluster.local), {})


class MineTests(AgentCase):
    """Tests for `me.nodes`."""

    def test_by_role(self) -> None:
        """One sees what roles let one reach, and as whom."""
        self.beat("db1", env="prod")
        self.beat("web1", env="dev")
        body: dict[str, Any] = {"kind": "role", "version": "v7", "metadata": {"name": "ops"}}
        allow = {"node_labels": {"env": "prod"}, "logins": ["root"]}
        self.ask(self.edgar, "PUT", "/v1/resources/role/ops", {**body, "spec": {"allow": allow}})
        bob = self.cluster.user("bob", "ops")
        self.beat("db1", env="prod")
        self.beat("web1", env="dev")
        self.assertEqual(self.nodes(bob), {"db1": ["root"]})
        self.assertEqual(self.nodes(), {"db1": ["alice", "root"], "web1": ["alice", "root"]})
        self.assertEqual(self.nodes(self.edgar), {})
        self.assertEqual(self.nodes(self.cluster.local), {"db1": [], "web1": []})

    def test_what_would_be_refused(self) -> None:
        """A deny that is newer than the certificate, and a lock, hide a node or a login."""
        self.beat("db1", env="prod")
        self.beat("web1", env="dev")
        spec = {"deny": {"node_labels": {"env": "dev"}}}
        role = {"kind": "role", "version": "v7", "metadata": {"name": "nodev"}, "spec": spec}
        self.ask(self.edgar, "PUT", "/v1/resources/role/nodev", role)
        logins = {"logins": ["alice", "root"]}
        alice = {"roles": ["access", "nodev"], "traits": logins}
        user = {"kind": "user", "version": "v2", "metadata": {"name": "alice"}, "spec": alice}
        self.ask(self.edgar, "PUT", "/v1/resources/user/alice", user, force="1")
        self.beat("db1", env="prod")
        self.beat("web1", env="dev")
        self.assertEqual(self.nodes(), {"db1": ["alice", "root"]})
        lock = self.ask(self.edgar, "POST", "/v1/locks", {"target": {"login": "root"}})
        self.assertEqual(self.nodes(), {"db1": ["alice"]})
        self.ask(self.edgar, "DELETE", f"/v1/resources/lock/{lock['metadata']['name']}")
        self.ask(self.edgar, "POST", "/v1/locks", {"target": {"agent": f"db1.node.{NAME}"}})
        self.assertEqual(self.nodes(), {})
        self.beat("db2")
        self.assertEqual(self.nodes(), {"db2": ["alice", "root"]})
        self.ask(self.edgar, "POST", "/v1/locks", {"target": {"role": "nodev"}})
        self.assertEqual(self.nodes(), {})

    def test_search(self) -> None:
        """By words of any case, and by labels, all of which have to be there."""
        self.beat("db1", env="prod", disk="SSD")
        self.beat("web1", env="prod")
        query: Any
        for query, names in (
            ({"search": "DB"}, ["db1"]),
            ({"search": "ssd"}, ["db1"]),
            ({"search": "web1.loc"}, ["web1"]),
            ({"search": "nothing"}, []),
            ({"labels": "env=prod"}, ["db1", "web1"]),
            ({"labels": "env=prod, disk=SSD"}, ["db1"]),
            ({"labels": "env=dev"}, []),
        ):
            self.assertEqual(list(self.nodes(**query)), names, query)
        reply = self.cluster.ask(self.alice, "GET", "/v1/me/nodes", labels="env")
        self.assertEqual((reply.status, reply.body["error"]["reason"]), (400, "bad_ask"))

    def test_many(self) -> None:
        """A long list lets others have their turn, and is whole."""
        for number in range(250):
            self.beat(f"n{number:03d}")
        self.patch(verbs_agents, "deferLater", _at_once)
        self.assertEqual(len(self.nodes()), 250)


async def _at_once(clock: object, seconds: float) -> None:
    assert seconds == 0


def row(name: str, **more: Any) -> dict[str, Any]:
    """An agent as a gateway tells of it."""
    return {
        "name": name,
        "roles": ["node"],
        "version": "1.0",
        "hostname": name,
        "listener": "web",
        "transport": "alpn",
        "address": "192.0.2.9:4000",
        "worker": "0",
        "since": 5.0,
        "streams": 2,
        "should": "web",
        "move": "moved",
        "why": "",
        **more,
    }


class InventoryTests(AgentCase):
    """Tests for `gateway.agents` and `inventory.list`."""

    def report(self, *rows: dict[str, Any], who: Principal | None = None, **more: Any) -> None:
        """A gateway tells."""
        body = {"agents": list(rows), **more}
        answer = self.ask(who or self.cluster.gateway, "POST", "/v1/gateway/agents", body)
        self.assertEqual(answer, {"taken": len(rows), "gateways": ["gate.example.com:443"]})

    def items(self, **query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(self.edgar, "GET", "/v1/inventory", **query)["items"]
        return found

    def names(self) -> list[tuple[str, str | None, str]]:
        return [(one["name"], one["gateway"], one["worker"]) for one in self.items()]

    def test_rows(self) -> None:
        """Each agent with its gateway, listener and transport; a node without a tunnel too."""
        self.report(row("db1"))
        self.beat("web1")
        self.beat("db1")
        held, unheld = self.items()
        now = self.cluster.clock.seconds()
        self.assertEqual(held, {**row("db1"), "gateway": "gw1", "last_seen": now})
        self.assertEqual(
            (unheld["name"], unheld["gateway"], unheld["last_seen"]), ("web1", None, now)
        )

    def test_instead(self) -> None:
        """A report takes the place of the one before, a worker's that of its own."""
        gw2 = evolve(
            self.cluster.gateway,
            name="gw2",
            claims=Claims(cluster=NAME, kind="host", name="gw2", system_roles=("gateway",)),
        )
        self.report(row("a"), row("b", worker="1"))
        self.report(row("a"), who=gw2)
        self.report(row("c", worker="1"))
        self.assertEqual(self.names(), [("a", "gw1", "0"), ("a", "gw2", "0"), ("c", "gw1", "1")])
        self.report(worker="1")
        self.assertEqual(self.names(), [("a", "gw1", "0"), ("a", "gw2", "0")])
        self.report(row("d", worker="9"), worker="0")
        self.assertEqual(self.names(), [("a", "gw2", "0"), ("d", "gw1", "0")])
        self.report()
        self.assertEqual(self.names(), [("a", "gw2", "0")])

    def test_rows_expire(self) -> None:
        """What a gateway has said is forgotten when it says nothing more."""
        self.report(row("db1"))
        self.cluster.clock.advance(inventory.EXPIRE_SECONDS)
        self.assertEqual(self.names(), [])

    def test_pages(self) -> None:
        """A page has so many, and says where the next begins."""
        self.report(*(row(name) for name in "abc"))
        first = self.ask(self.edgar, "GET", "/v1/inventory", limit="2")
        rest = self.ask(self.edgar, "GET", "/v1/inventory", limit="2", after=first["next"])
        listed = [one["name"] for page in (first, rest) for one in page["items"]]
        self.assertEqual((listed, rest["next"]), (["a", "b", "c"], None))

    def test_who_may(self) -> None:
        """Gateways tell, and who may read nodes reads."""
        body = {"agents": [row("db1")]}
        for who in (self.agent("db1"), self.cluster.local, self.alice):
            self.assertEqual(self.refused(who, "POST", "/v1/gateway/agents", body)[0], 403)
        self.assertEqual(self.refused(self.alice, "GET", "/v1/inventory")[0], 403)
        self.assertEqual(self.refused(self.agent("db1"), "GET", "/v1/inventory")[0], 403)

    def test_bounded(self) -> None:
        """So many gateways and workers are heard, and no more."""
        self.patch(inventory, "REPORTERS", 2)
        self.report(row("a"), row("b", worker="1"))
        reply = self.cluster.ask(
            self.cluster.gateway, "POST", "/v1/gateway/agents", {"agents": [row("c", worker="2")]}
        )
        self.assertEqual((reply.status, reply.body["error"]["reason"]), (400, "bad_ask"))


class RemovalTests(AgentCase):
    """`tgctl rm node/NAME`."""

    def test_removed(self) -> None:
        """The node goes, and its agent gets nothing more: no verb, no watch, no certificate."""
        self.assertEqual(self.join().status, 200)
        self.beat("db1")
        lines: list[Any] = []
        watch = self.cluster.api.watch(self.agent("db1"), None, lines.append)
        self.addCleanup(watch.stop)
        self.cluster.turn()
        self.cluster.audit.take()
        gone = self.ask(self.edgar, "DELETE", "/v1/resources/node/db1")
        self.assertEqual((gone["kind"], gone["name"]), ("node", "db1"))
        self.assertEqual(self.cluster.audit.take(), ["lock.created", "node.delete"])
        self.assertEqual(self.nodes(), {})
        self.cluster.turn()
        self.assertEqual((lines[-1]["kind"], lines[-1]["reason"]), ("end", "locked"))
        who = self.agent("db1")
        renewal = {"tls_public_key": new_pem()}
        for path, body in ((BEAT, self.body("db1")), ("/v1/me/certificates", renewal)):
            self.assertEqual(self.refused(who, "POST", path, body), (403, "locked"))
        again = self.join()
        self.assertEqual((again.status, again.body["error"]["reason"]), (403, "locked"))
        event, fields = self.cluster.audit.events[-1]
        self.assertEqual((event, fields["success"]), ("instance.join", False))
        # Neither a gateway nor an agent of another kind that is called the same.
        self.ask(self.agent("db1", "db"), "POST", BEAT, {"version": "1"})
        # Once more is no second lock; the lock's end brings the agent back.
        self.assertEqual(
            self.ask(self.edgar, "DELETE", "/v1/resources/node/db1")["lock"], gone["lock"]
        )
        self.ask(self.edgar, "DELETE", f"/v1/resources/lock/{gone['lock']}")
        self.beat("db1")
        self.assertEqual(list(self.nodes()), ["db1"])

    def test_who_may(self) -> None:
        """A role has to allow it; and there has to be such a node."""
        self.beat("db1")
        self.assertEqual(self.refused(self.alice, "DELETE", "/v1/resources/node/db1")[0], 403)
        self.assertEqual(self.refused(self.edgar, "DELETE", "/v1/resources/node/db2")[0], 404)
        self.assertEqual(len(self.cluster.parts.locks.all()), 0)

    def test_not_written(self) -> None:
        """Nodes come with heartbeats, and are written by nobody."""
        body = {"kind": "node", "metadata": {"name": "db1"}, "spec": {}}
        self.assertEqual(self.refused(self.edgar, "PUT", "/v1/resources/node/db1", body)[0], 403)
        local = self.cluster.local
        self.assertEqual(self.refused(local, "PUT", "/v1/resources/node/db1", body)[0], 400)


class NamesTests(AgentCase):
    """What an agent may be called, by certificates of both kinds."""

    def principals(self, name: str = "db1") -> tuple[str, ...]:
        """Of the OpenSSH certificate of a node that has joined."""
        body = {"tls_public_key": PEM, "ssh_public_key": SSH}
        answer = self.ask(self.agent(name), "POST", "/v1/me/certificates", body)
        return parse_line(answer["ssh_certificate"]).principals

    def test_principals(self) -> None:
        """All by which clients may call a node, and nothing that is a gateway's."""
        self.assertEqual(self.principals(), (f"db1.node.{NAME}", "db1", f"db1.{NAME}"))
        public = ("gate.test:443", "eu.gate.test:443", "127.0.0.1:3080")
        self.cluster = Cluster(self, public_addresses=lambda: public)
        self.assertEqual(
            set(self.principals("eu")),
            {f"eu.node.{NAME}", "eu", f"eu.{NAME}", "eu.eu.gate.test"},
        )
        self.assertNotIn("12", self.principals("12"))

    def test_names_of_others(self) -> None:
        """No name is taken that would be another's in an OpenSSH certificate."""
        for name in (f"db1.{NAME}", NAME, "db1.node", "x.gateway", "x.AUTH"):
            reply = self.join(name)
            self.assertEqual((reply.status, reply.body["error"]["reason"]), (400, "bad_name"), name)
        # A gateway has no such principals: it may be called like what it serves.
        made = self.ask(self.cluster.local, "POST", "/v1/tokens", {"types": ["gateway"]})
        body = {"token": made["secret"], "type": "gateway", "name": NAME, "tls_public_key": PEM}
        reply = self.cluster.ask(nobody(ADDRESS), "POST", "/v1/join", body)
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual(self.join("db1.corp.test").status, 200)
        self.assertEqual(self.join("db1").status, 200)
        for other in ("db1", "DB1"):
            reply = self.join(other, new_pem())
            self.assertEqual((reply.status, reply.body["error"]["reason"]), (409, "exists"), other)
            event, fields = self.cluster.audit.events[-1]
            self.assertEqual(
                (event, fields["success"], fields["error"]), ("instance.join", False, "exists")
            )

    def test_a_narrow_certificate_has_no_ssh(self) -> None:
        """S55: who may use one service gets no OpenSSH certificate, which opens every node."""
        body = {"tls_public_key": PEM, "ssh_public_key": SSH}
        path = "/v1/me/certificates"
        whole = self.ask(self.alice, "POST", path, body)
        self.assertIsNotNone(whole["ssh_certificate"])
        self.cluster.offer("db", "orders")
        narrow = self.ask(self.alice, "POST", path, {**body, "routes": {"db": "orders"}})
        self.assertIsNone(narrow["ssh_certificate"])

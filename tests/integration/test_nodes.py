"""A node of a real cluster: it joins, is heard, hears of users, and is removed for good."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any

from tests.support.cluster import Answer, ClusterCase, Holder, new_key, request
from tests.support.harness import CLIENT_SECONDS
from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.core.clusterstate import ClusterState
from tlsgate.core.rolevalues import Target
from tlsgate.core.wire.sshcert import parse_line

#: Within which everything that is changed is known everywhere.
SOON_SECONDS = 1.0
TARGET = Target(kind="node", name="db1", labels={"env": "prod"}, login="root")


def role(name: str, **node_labels: str) -> dict[str, Any]:
    """A role for root on nodes with these labels."""
    allow = {"node_labels": node_labels, "logins": ["{{internal.logins}}"]}
    return {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": {"allow": allow}}


class NodeTests(ClusterCase):
    """One daemon that is auth service and gateway, and agents that the test plays."""

    def setUp(self) -> None:
        super().setUp()
        self.daemon = self.cluster()
        self.ann = self.add_user(self.daemon, "ann", ["access"], logins=["root"])

    def join(self, name: str, **more: object) -> tuple[Answer, bytes]:
        """Ask to be let in as a node, by a token, over the token of joining."""
        made = self.daemon.admin("POST", "/v1/tokens", {"types": ["node"], **more})
        private, tls, line = new_key()
        body = {"token": made["secret"], "type": "node", "name": name, "tls_public_key": tls}
        trusted = self.daemon.admin("GET", "/v1/cas")["cas"]["host"]
        context = ssl.create_default_context(cadata="".join(trusted))
        context.set_alpn_protocols(["tlsgate-join"])
        connection = context.wrap_socket(self.daemon.connect(), server_hostname="gw.test")
        answer = request(connection, "POST", "/v1/join", {**body, "ssh_public_key": line})
        return answer, private

    def node(self, name: str, **more: object) -> Holder:
        """A node that has joined."""
        answer, private = self.join(name, **more)
        self.assertEqual(answer.status, 200, answer.text)
        return self.holder(name, private, answer.body)

    def beat(self, who: Holder, name: str | None = None, **labels: str) -> Answer:
        """A heartbeat of *who*, for the node *name*."""
        offer = {"kind": "node", "name": name or who.name, "labels": labels, "addresses": ["h:22"]}
        body = {"version": "1.0", "hostname": "here", "offers": [offer]}
        return self.ask(self.daemon, who, "POST", "/v1/agent/heartbeat", body)

    def events(self, event: str) -> list[dict[str, Any]]:
        """What the trail has of them."""
        found: list[dict[str, Any]] = self.daemon.admin("GET", f"/v1/audit?event={event}")["events"]
        return found

    def test_joined_and_heard(self) -> None:
        """A node is seen by whose role allows it, as whom; its certificate has its names."""
        db1 = self.node("db1", labels={"env": "prod"})
        self.assertEqual(db1.issued["labels"], {"env": "prod"})
        found = parse_line(db1.issued["ssh_certificate"])
        self.assertEqual(found.kind.name, "HOST")
        self.assertEqual(found.principals, ("db1.node.gw.test", "db1", "db1.gw.test"))
        self.assertEqual(self.beat(db1, disk="ssd").status, 200)
        self.assertEqual(self.beat(self.node("web1"), env="dev").status, 200)
        self.daemon.admin("PUT", "/v1/resources/role/prod", role("prod", env="prod"))
        bob = self.add_user(self.daemon, "bob", ["prod"], logins=["root"])
        seen = {}
        for user in (self.ann, bob):
            answer = self.ask(self.daemon, self.login(self.daemon, user), "GET", "/v1/me/nodes")
            seen[user.name] = {one["name"]: one["logins"] for one in answer.body["nodes"]}
        self.assertEqual(
            seen, {"ann": {"db1": ["root"], "web1": ["root"]}, "bob": {"db1": ["root"]}}
        )
        listed = self.daemon.admin("GET", "/v1/inventory")["items"]
        self.assertEqual([(one["name"], one["gateway"]) for one in listed][:1], [("db1", None)])

    def test_s41_another_name(self) -> None:
        """Nobody joins or is heard under another's name, and the trail has who tried."""
        db1 = self.node("db1")
        again, _ = self.join("db1")
        self.assertEqual((again.status, again.body["error"]["reason"]), (409, "exists"))
        taken = self.beat(db1, "web1")
        self.assertEqual((taken.status, taken.body["error"]["reason"]), (403, "access_denied"))
        joins = [(one["host_id"], one["success"]) for one in self.events("instance.join")]
        self.assertEqual(joins, [("db1", True), ("db1", False)])
        (denied,) = self.events("api.denied")
        self.assertEqual((denied["user"], denied["verb"]), ("node:db1", "agent.heartbeat"))
        self.assertEqual(self.daemon.admin("GET", "/v1/resources/node")["items"], [])

    def test_removed(self) -> None:
        """Removed, a node hears nothing more within a second, and gets nothing more."""
        db1 = self.node("db1")
        self.assertEqual(self.beat(db1).status, 200)
        with self.watch(db1) as lines:
            next(lines)
            began = time.monotonic()
            gone = self.daemon.admin("DELETE", "/v1/resources/node/db1")
            # The gateway cuts the connection, or the auth service ends the watch: who is first.
            with contextlib.suppress(OSError, http.client.HTTPException):
                for line in lines:
                    self.assertIn(line["kind"], ("event", "end"))
            self.assertLess(time.monotonic() - began, SOON_SECONDS)
        renewal = {"tls_public_key": new_key()[1]}
        for answer in (
            self.beat(db1),
            self.ask(self.daemon, db1, "POST", "/v1/me/certificates", renewal),
        ):
            self.assertEqual((answer.status, answer.body["error"]["reason"]), (403, "locked"))
        self.assertEqual(self.daemon.admin("GET", "/v1/resources/node")["items"], [])
        self.daemon.admin("DELETE", f"/v1/resources/lock/{gone['lock']}")
        self.assertEqual(self.beat(db1).status, 200)

    def test_what_a_node_decides_by(self) -> None:
        """A lost role, a lock, a removed user: within a second the node lets nobody in by it."""
        db1 = self.node("db1")
        ann = self.sign(self.daemon, "ann")
        ssh = parse_line(ann.issued["ssh_certificate"])
        with self.watch(db1) as lines:
            state = ClusterState.fresh(next(lines))
            claims = Claims(
                cluster="gw.test", kind="user", name="ann", roles=("access",), traits={}
            )
            anchor = next(iter(state.anchors["user"] - state.anchors["ssh_user"]))
            shown = (
                Identity(common_names=("ann",), claims=claims, anchor=anchor),
                state.ssh_identity(ssh, time.time()),
            )

            def after(method: str, path: str, body: object = None) -> set[bool]:
                nonlocal state
                began = time.monotonic()
                self.daemon.admin(method, path, body)
                line = next(one for one in lines if one["kind"] == "event")
                state = state.changed(line)
                self.assertLess(time.monotonic() - began, SOON_SECONDS)
                return self.decided(state, *shown)

            user = "/v1/resources/user/ann?force=true"
            written = {"kind": "user", "metadata": {"name": "ann"}}
            traits = {"logins": ["root"]}
            other = {**written, "spec": {"roles": ["auditor"], "traits": traits}}
            good = {**written, "spec": {"roles": ["access"], "traits": traits}}
            self.assertEqual(self.decided(state, *shown), {True})
            self.assertEqual(after("PUT", user, other), {False})
            self.assertEqual(after("PUT", user, good), {True})
            prod = role("access", env="other")
            self.assertEqual(after("PUT", "/v1/resources/role/access?force=true", prod), {False})
            prod = role("access", env="prod")
            self.assertEqual(after("PUT", "/v1/resources/role/access?force=true", prod), {True})
            lock = {"target": {"user": "ann"}, "ttl_seconds": 3600}
            self.assertEqual(after("POST", "/v1/locks", lock), {False})
            name = self.daemon.admin("GET", "/v1/resources/lock")["items"][0]["metadata"]["name"]
            self.assertEqual(after("DELETE", f"/v1/resources/lock/{name}"), {True})
            self.assertEqual(after("DELETE", user), {False})

    def decided(self, state: ClusterState, *shown: Identity) -> set[bool]:
        """What a node decides about each certificate."""
        return {state.decide_target(one, TARGET, None, time.time()).allowed for one in shown}

    @contextlib.contextmanager
    def watch(self, who: Holder) -> Iterator[Iterator[dict[str, Any]]]:
        """The lines of a watch, as they come."""
        connection = who.context("tlsgate-auth").wrap_socket(
            self.daemon.connect(), server_hostname="gw.test"
        )
        spoken = http.client.HTTPConnection("gw.test", timeout=CLIENT_SECONDS)
        spoken.sock = connection
        try:
            spoken.request("GET", "/v1/watch")
            answer = spoken.getresponse()
            self.assertEqual(answer.status, 200)
            yield (json.loads(line) for line in iter(answer.readline, b""))
        finally:
            spoken.close()

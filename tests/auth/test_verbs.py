"""Logins, joins, certificates, links, sessions, locks and the rest, through the API.

One file for all verbs, as one cluster in memory serves them all.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from cryptography import x509
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import ADDRESS, NAME, PASSWORD, PEM, SSH, Cluster, new_pem
from tlsgate.auth import (
    calls,
    parts,
    verbs_gateway,
    verbs_me,
    verbs_open,
    verbs_operator,
)
from tlsgate.auth.calls import Ask
from tlsgate.auth.principal import Principal, nobody, of_certificate
from tlsgate.core.access import Identity
from tlsgate.core.claims import CLAIMS_OID, Claims, decode
from tlsgate.core.rolevalues import Person
from tlsgate.core.sshidentity import PINNED, identity_of
from tlsgate.core.wire.sshcert import parse_line


def claims_in(pem: str) -> Claims:
    """What a certificate says."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    found = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(CLAIMS_OID))
    assert isinstance(found.value, x509.UnrecognizedExtension)
    return decode(found.value.value)


class VerbsTestCase(SynchronousTestCase):
    """A cluster with a user and an operator."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.edgar = self.cluster.user("edgar", "editor")
        self.alice = self.cluster.user("alice", "access", traits={"logins": ["alice", "root"]})
        self.nobody = nobody(ADDRESS)
        self.cluster.audit.take()

    def ask(self, who: Principal, method: str, path: str, body: Any = None, **query: str) -> Any:
        """Ask, and expect an answer."""
        reply = self.cluster.ask(who, method, path, body, **query)
        self.assertEqual(reply.status, 200, reply.body)
        return reply.body

    def refused(self, who: Principal, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Ask, and expect a refusal."""
        reply = self.cluster.ask(who, method, path, body)
        return reply.status, reply.body["error"]["reason"]

    def login(self, **more: Any) -> dict[str, Any]:
        """A login's body."""
        body = {"user": "alice", "password": PASSWORD, "otp": self.cluster.code("alice")}
        return {**body, "tls_public_key": PEM, **more}

    def role(self, name: str, **spec: Any) -> None:
        """Write a role, over another one too."""
        body = {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": spec}
        self.ask(self.cluster.local, "PUT", f"/v1/resources/role/{name}", body, force="1")
        self.cluster.audit.take()


class OpenTests(VerbsTestCase):
    """Tests for `verbs_open`."""

    def test_login(self) -> None:
        """Password and code become certificates for both kinds of clients."""
        answer = self.ask(self.nobody, "POST", "/v1/login", self.login(ssh_public_key=SSH))
        claims = claims_in(answer["certificate"])
        self.assertEqual(
            (claims.name, claims.roles, dict(claims.traits), claims.pinned_address),
            ("alice", ("access",), {"logins": ("alice", "root")}, None),
        )
        self.assertTrue(answer["ssh_certificate"].startswith("ecdsa-sha2-nistp256-cert-v01"))
        self.assertEqual(set(answer["cas"]), {"user", "host", "db", "ssh_user", "ssh_host"})
        self.assertEqual(answer["not_after"] - self.cluster.clock.seconds(), 12 * 3600)
        self.assertEqual(self.cluster.audit.take(), ["user.login", "cert.create"])

    def test_a_login_that_fails(self) -> None:
        """Wrong is 401 in the same words whatever is wrong, and is in the trail."""
        answers = []
        for body in (
            self.login(password="wrong password"),
            self.login(otp="000000"),
            self.login(user="nobody"),
        ):
            reply = self.cluster.ask(self.nobody, "POST", "/v1/login", body)
            answers.append((reply.status, reply.body))
            self.cluster.clock.advance(300)
        self.assertEqual([status for status, _ in answers], [401] * 3)
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0], answers[2])

    def test_a_bad_key_costs_no_code(self) -> None:
        """A key that cannot be certified is refused before the one-time code is used up."""
        body = self.login(tls_public_key="-----BEGIN PUBLIC KEY-----\nx")
        self.assertEqual(self.refused(self.nobody, "POST", "/v1/login", body)[0], 400)
        body = self.login(ssh_public_key="ssh-ed25519 AAAA")
        self.assertEqual(self.refused(self.nobody, "POST", "/v1/login", body)[0], 400)
        self.ask(self.nobody, "POST", "/v1/login", self.login())

    def test_waiting(self) -> None:
        """Whoever guesses has to wait, and is told for how long."""
        status, reply = 0, None
        for _ in range(30):
            reply = self.cluster.ask(
                self.nobody, "POST", "/v1/login", self.login(password="wrong password")
            )
            status = reply.status
            if status == 429:
                break
        assert reply is not None
        self.assertEqual(status, 429)
        self.assertGreaterEqual(int(reply.headers["retry-after"]), 1)

    def test_roles_bound_a_certificate(self) -> None:
        """The strictest life, the address where a role pins it, and what SSH may forward."""
        options = {"max_session_ttl": "1h", "pin_source_ip": True, "port_forwarding": False}
        self.role("access", options=options)
        answer = self.ask(
            self.nobody, "POST", "/v1/login", self.login(ssh_public_key=SSH, ttl_seconds=86400)
        )
        self.assertEqual(answer["not_after"] - self.cluster.clock.seconds(), 3600)
        self.assertEqual(claims_in(answer["certificate"]).pinned_address, ADDRESS)
        # sshd sees the agent's address, so that is no critical option of its own.
        ssh = parse_line(answer["ssh_certificate"])
        self.assertEqual((ssh.critical_options, set(ssh.extensions)), ({}, {"permit-pty", PINNED}))
        person = Person("alice", ("access",))
        found = identity_of(
            ssh,
            {ssh.authority},
            cluster=NAME,
            people={"alice": person},
            now=self.cluster.clock.seconds(),
        )
        assert found.claims is not None
        self.assertEqual(found.claims.pinned_address, ADDRESS)

    def test_a_gateway_asks_for_a_client(self) -> None:
        """The address that counts is the client's, as the gateway says it."""
        self.role("access", options={"pin_source_ip": True})
        reply = self.cluster.ask(
            nobody("10.0.0.1"), "POST", "/v1/login", self.login(), address="198.51.100.4"
        )
        self.assertEqual(claims_in(reply.body["certificate"]).pinned_address, "198.51.100.4")

    def test_links(self) -> None:
        """An invite is opened, then used up; a wrong one is 401."""
        body = {"name": "bob", "roles": ["access"]}
        made = self.ask(self.edgar, "POST", "/v1/users", body)
        token = made["invite"]["token"]
        self.assertEqual(made["invite"]["url"], f"https://gate.example.com/web/invite/{token}")
        self.assertEqual(made["proxy"], "gate.example.com:443")
        begun = self.ask(self.nobody, "POST", "/v1/invites/begin", {"token": token})
        self.assertEqual((begun["user"], begun["kind"]), ("bob", "invite"))
        self.assertTrue(begun["otpauth"].startswith("otpauth://totp/"))
        self.cluster.secrets["bob"] = begun["secret"]
        body = {"token": token, "password": PASSWORD, "otp": self.cluster.code("bob")}
        self.assertEqual(self.ask(self.nobody, "POST", "/v1/invites/accept", body), {"user": "bob"})
        self.assertEqual(
            self.refused(self.nobody, "POST", "/v1/invites/accept", body), (401, "bad_token")
        )
        self.assertEqual(
            self.cluster.audit.take(), ["user.create", "user.password_change", "mfa.add"]
        )

    def test_join(self) -> None:
        """A token lets a host in once, under a name below its role and the cluster."""
        token = self.ask(self.edgar, "POST", "/v1/tokens", {"types": ["node"]})
        self.cluster.audit.take()
        body = {"token": token["secret"], "type": "node", "name": "db1", "tls_public_key": PEM}
        answer = self.ask(self.nobody, "POST", "/v1/join", {**body, "ssh_public_key": SSH})
        self.assertEqual(answer["names"], [f"db1.node.{NAME}"])
        self.assertEqual(claims_in(answer["certificate"]).system_roles, ("node",))
        self.ask(self.nobody, "POST", "/v1/join", body)  # the same key: an answer was lost
        other = {**body, "tls_public_key": new_pem()}
        self.assertEqual(self.refused(self.nobody, "POST", "/v1/join", other), (401, "bad_token"))
        self.assertEqual(
            self.cluster.audit.take(), ["cert.create", "instance.join"] * 2 + ["instance.join"]
        )

    def test_join_with_several_roles(self) -> None:
        """An agent with several services joins once; its token is for all of them."""
        token = self.ask(self.edgar, "POST", "/v1/tokens", {"types": ["node", "db", "gateway"]})
        body = {"token": token["secret"], "type": "node", "name": "in1", "tls_public_key": PEM}
        more = {**body, "also": ["db", "app"]}
        self.assertEqual(self.refused(self.nobody, "POST", "/v1/join", more), (401, "bad_token"))
        gateway = {**body, "type": "gateway", "also": ["db"]}
        self.assertEqual(self.refused(self.nobody, "POST", "/v1/join", gateway)[0], 400)
        answer = self.ask(self.nobody, "POST", "/v1/join", {**body, "also": ["db", "node"]})
        self.assertEqual(claims_in(answer["certificate"]).system_roles, ("node", "db"))
        self.assertEqual(answer["names"], [f"in1.node.{NAME}", f"in1.db.{NAME}"])

    def test_a_name_that_another_has(self) -> None:
        """Joining never gives a name that another host holds, or that is the gateway's."""
        made = self.ask(self.edgar, "POST", "/v1/tokens", {"types": ["node"], "uses": 9})
        body = {"token": made["secret"], "type": "node", "name": "db1", "tls_public_key": PEM}
        self.ask(self.nobody, "POST", "/v1/join", body)
        body["tls_public_key"] = new_pem()
        self.assertEqual(self.refused(self.nobody, "POST", "/v1/join", body), (409, "exists"))
        self.cluster.clock.advance(8 * 86400)
        made = self.ask(self.edgar_again(), "POST", "/v1/tokens", {"types": ["node"]})
        self.ask(self.nobody, "POST", "/v1/join", {**body, "token": made["secret"]})

    def edgar_again(self) -> Principal:
        return self.cluster.holder("edgar", "editor")

    def test_names_of_the_gateway(self) -> None:
        """A cluster named like a public address gives hosts no name below it."""
        cluster = Cluster(self, public_addresses=lambda: ("node.gate.example.com:443",))
        made = cluster.ask(cluster.local, "POST", "/v1/tokens", {"types": ["node"]}).body
        body = {"token": made["secret"], "type": "node", "name": "db1", "tls_public_key": PEM}
        reply = cluster.ask(self.nobody, "POST", "/v1/join", body)
        self.assertEqual((reply.status, reply.body["error"]["reason"]), (400, "bad_name"))
        self.assertEqual(len(cluster.run(cluster.store.scan("hosts/"))), 0)

    def test_what_to_trust(self) -> None:
        """Anybody may ask which authorities there are, and how the API looks."""
        answer = self.ask(self.nobody, "GET", "/v1/cas")
        self.assertEqual(answer["cluster"], NAME)
        self.assertTrue(answer["pins"][0].startswith("sha256:"))
        self.assertEqual(self.ask(self.nobody, "GET", "/v1/openapi")["openapi"], "3.1.0")
        self.assertEqual(len(verbs_open.VERBS), 6)


class MeTests(VerbsTestCase):
    """Tests for `verbs_me`."""

    def test_me(self) -> None:
        """Each kind of asker is told who it is."""
        alice = self.ask(self.alice, "GET", "/v1/me")
        self.assertEqual((alice["kind"], alice["name"]), ("user", "alice"))
        self.assertEqual(alice["logins"], ["alice", "root"])
        gw = self.ask(self.cluster.gateway, "GET", "/v1/me")
        self.assertEqual((gw["kind"], gw["system_roles"]), ("host", ["gateway"]))
        self.assertEqual(self.ask(self.cluster.local, "GET", "/v1/me")["name"], "local:0")
        self.assertEqual(len(verbs_me.VERBS), 5)

    def test_passwords(self) -> None:
        """The old password and a code change the password; sessions end."""
        new = "another horse battery"
        body = {"old": PASSWORD, "new": new, "otp": self.cluster.code("alice")}
        self.assertEqual(self.ask(self.alice, "POST", "/v1/me/password", body), {"user": "alice"})
        self.cluster.clock.advance(60)
        self.ask(self.nobody, "POST", "/v1/login", self.login(password=new))
        body = {**body, "old": new, "new": "x", "otp": "1"}
        self.assertEqual(
            self.refused(self.alice, "POST", "/v1/me/password", body), (400, "weak_password")
        )
        self.assertEqual(self.refused(self.cluster.local, "POST", "/v1/me/password", body)[0], 403)

    def test_second_factors(self) -> None:
        """A user sees the own ones."""
        (device,) = self.ask(self.alice, "GET", "/v1/me/mfa")["devices"]
        self.assertEqual((device["name"], device["type"]), ("otp", "totp"))

    def test_the_next_certificate(self) -> None:
        """It never outlives the one shown, keeps its address, and may be narrower (S55)."""
        self.cluster.offer("db", "orders")
        pinned = self.cluster.holder("alice", "access", pinned_address=ADDRESS, generation=3)
        body = {"tls_public_key": PEM, "ttl_seconds": 86400, "routes": {"db": "orders"}}
        answer = self.ask(pinned, "POST", "/v1/me/certificates", body)
        claims = claims_in(answer["certificate"])
        self.assertEqual(answer["not_after"], pinned.not_after)
        self.assertEqual(
            (claims.pinned_address, dict(claims.routes), claims.generation),
            (ADDRESS, {"db": "orders"}, 4),
        )
        narrow = of_certificate(Identity(claims=claims, not_after=answer["not_after"]), ADDRESS)
        self.assertEqual(self.refused(narrow, "POST", "/v1/me/certificates", body)[0], 403)

    def test_a_hosts_next_certificate(self) -> None:
        """A host renews under its name with a fresh key; another cannot take it."""
        answer = self.ask(
            self.cluster.gateway, "POST", "/v1/me/certificates", {"tls_public_key": new_pem()}
        )
        self.assertEqual(answer["names"], [f"gw1.gateway.{NAME}"])
        body = {"tls_public_key": PEM, "routes": {"db": "x"}}
        self.assertEqual(
            self.refused(self.cluster.gateway, "POST", "/v1/me/certificates", body)[0], 400
        )
        self.assertEqual(
            self.refused(self.cluster.local, "POST", "/v1/me/certificates", body)[0], 400
        )

    def test_logout(self) -> None:
        """All web sessions of the user end."""
        session = self.cluster.run(self.cluster.parts.sessions.make("alice", None))
        self.assertEqual(
            self.ask(self.alice, "POST", "/v1/me/logout", {}), {"user": "alice", "ended": 1}
        )
        self.assertIsNone(self.cluster.run(self.cluster.parts.sessions.find(session.cookie)))


class OperatorTests(VerbsTestCase):
    """Tests for `verbs_operator`."""

    def test_who_may(self) -> None:
        """Alice may none of it; each answer names the rule that is missing."""
        for method, path, body in (
            ("POST", "/v1/users", {"name": "x", "roles": ["access"]}),
            ("POST", "/v1/users/edgar/reset", {}),
            ("POST", "/v1/tokens", {"types": ["node"]}),
            ("POST", "/v1/locks", {"target": {"user": "edgar"}}),
            ("GET", "/v1/authorities", None),
            ("POST", "/v1/authorities/user/rotate", {"phase": "init"}),
            ("POST", "/v1/sign", {"user": "edgar", "tls_public_key": PEM}),
            ("GET", "/v1/audit", None),
            ("POST", "/v1/explain", {"user": "edgar", "target": "ssh://x@y"}),
            ("POST", "/v1/backup", {"file": "/x"}),
        ):
            self.assertEqual(
                self.refused(self.alice, method, path, body), (403, "access_denied"), path
            )
        self.assertEqual(set(self.cluster.audit.take()), {"api.denied"})
        self.assertEqual(len(verbs_operator.VERBS), 11)

    def test_reset(self) -> None:
        """A reset is a link; what the user has stays good until it is used."""
        made = self.ask(self.edgar, "POST", "/v1/users/alice/reset", {"ttl_seconds": 60})
        self.assertIn("/web/reset/", made["invite"]["url"])
        self.assertEqual(made["invite"]["expires"], self.cluster.clock.seconds() + 60)
        self.ask(self.nobody, "POST", "/v1/login", self.login())
        self.assertEqual(
            self.refused(self.edgar, "POST", "/v1/users/nobody/reset", {}), (404, "not_found")
        )
        self.assertEqual(self.cluster.audit.take()[0], "reset_password_token.create")

    def test_without_a_public_address(self) -> None:
        """Where no address is configured there is a token and no link."""
        cluster = Cluster(self, public_addresses=tuple)
        body = {"name": "bob", "roles": ["access"]}
        made = cluster.ask(cluster.local, "POST", "/v1/users", body).body
        self.assertEqual((made["invite"]["url"], made["proxy"]), (None, None))

    def test_users_are_made_once(self) -> None:
        """The same name again is 409."""
        body = {"name": "alice", "roles": ["access"]}
        self.assertEqual(self.refused(self.edgar, "POST", "/v1/users", body), (409, "exists"))

    def test_a_lock(self) -> None:
        """A lock is on one thing; it is listed, in force, and in the trail with its target."""
        body = {"target": {"user": "alice"}, "ttl_seconds": 60, "message": "holiday"}
        made = self.ask(self.edgar, "POST", "/v1/locks", body)
        self.assertEqual(made["spec"]["target"], {"user": "alice"})
        self.assertEqual(self.cluster.audit.events[0][1]["target"], "user alice")
        self.assertEqual(
            self.refused(self.nobody, "POST", "/v1/login", self.login()), (403, "locked")
        )
        self.cluster.clock.advance(61)
        self.ask(self.nobody, "POST", "/v1/login", self.login())
        for target in ({}, {"user": ""}, {"node": "x"}, {"certificate": "xyz"}):
            self.assertEqual(
                self.refused(self.edgar, "POST", "/v1/locks", {"target": target})[0], 400
            )

    def test_a_lock_on_several_things(self) -> None:
        """Where a lock names several things, only who is all of them is shut out."""
        body = {"target": {"user": "alice", "login": "root", "certificate": "00:1F"}}
        made = self.ask(self.edgar, "POST", "/v1/locks", body)
        target = {"user": "alice", "login": "root", "certificate": "1f"}
        self.assertEqual(made["spec"]["target"], target)
        self.ask(self.nobody, "POST", "/v1/login", self.login())

    def test_a_lock_on_a_fingerprint(self) -> None:
        """One certificate of a user may be locked by its digest; another one is good."""
        body = {"target": {"certificate": "SHA256:" + "AB" * 32}}
        self.ask(self.edgar, "POST", "/v1/locks", body)
        shown = evolve(self.alice, fingerprint="ab" * 32)
        self.assertEqual(self.refused(shown, "GET", "/v1/me"), (403, "locked"))
        self.ask(self.alice, "GET", "/v1/me")

    def test_authorities(self) -> None:
        """All, or one; rotated step by step, with an event for each."""
        found = self.ask(self.edgar, "GET", "/v1/authorities")["authorities"]
        self.assertEqual(set(found), {"user", "host", "db", "ssh_user", "ssh_host", "jwt"})
        one = self.ask(self.edgar, "GET", "/v1/authorities", type="user")["authorities"]
        self.assertEqual(set(one), {"user"})
        reply = self.cluster.ask(self.edgar, "GET", "/v1/authorities", type="x")
        self.assertEqual(reply.status, 404)
        path = "/v1/authorities/user/rotate"
        moved = self.ask(self.edgar, "POST", path, {"phase": "init"})
        self.assertEqual((moved["phase"], len(moved["keys"])), ("init", 2))
        self.assertEqual(self.refused(self.edgar, "POST", path, {"phase": "standby"})[0], 400)
        self.assertEqual(self.cluster.audit.take(), ["authority.rotate"])

    def test_sign(self) -> None:
        """An operator gets certificates for a script's keys; a pinned user has to log in."""
        body = {"user": "alice", "ttl_seconds": 600, "tls_public_key": PEM}
        answer = self.ask(self.edgar, "POST", "/v1/sign", body)
        self.assertEqual(claims_in(answer["certificate"]).name, "alice")
        self.assertEqual(self.cluster.audit.events[-1][1]["user"], "edgar")
        self.assertEqual(
            self.refused(self.edgar, "POST", "/v1/sign", {**body, "user": "x"})[0], 404
        )
        self.role("access", options={"pin_source_ip": True})
        self.assertEqual(self.refused(self.edgar, "POST", "/v1/sign", body), (400, "bad_ask"))
        self.ask(self.edgar, "POST", "/v1/locks", {"target": {"user": "alice"}})
        self.assertEqual(self.refused(self.edgar, "POST", "/v1/sign", body), (403, "locked"))

    def test_the_trail(self) -> None:
        """The question reaches the trail as it was asked."""
        answer = self.ask(
            self.edgar, "GET", "/v1/audit", since="1.5", event="user.*", limit="3", after="1-2"
        )
        self.assertEqual(answer, {"events": [{"event": "user.login"}], "next": None})
        self.assertEqual(
            self.cluster.trail.asked,
            [{"since": 1.5, "until": None, "event": "user.*", "limit": 3, "after": "1-2"}],
        )
        for query in ({"since": "-1"}, {"since": "nan"}, {"limit": "1001"}, {"x": "1"}):
            reply = self.cluster.ask(self.edgar, "GET", "/v1/audit", **query)
            self.assertEqual(reply.status, 400, query)
        bare = Cluster(self, trail=None)
        self.assertEqual(bare.ask(bare.local, "GET", "/v1/audit").status, 404)

    def test_the_cluster(self) -> None:
        """What the cluster is; how many users, for who may list them."""
        found = self.ask(self.edgar, "GET", "/v1/cluster")
        self.assertEqual(
            (found["cluster_name"], found["version"], found["users"]), (NAME, "1.2.3", 2)
        )
        self.assertEqual(found["authorities"]["user"]["phase"], "standby")
        self.assertIsNone(self.ask(self.alice, "GET", "/v1/cluster")["users"])

    def test_explain(self) -> None:
        """The decision and its rule; of oneself anybody may ask."""
        body = {"user": "alice", "target": "ssh://root@db1", "labels": {"env": "prod"}}
        found = self.ask(self.alice, "POST", "/v1/explain", body)
        self.assertTrue(found["allowed"])
        self.assertIn("role access", found["why"])
        body["target"] = "ssh://other@db1"
        self.assertFalse(self.ask(self.edgar, "POST", "/v1/explain", body)["allowed"])
        for target in ("db://alice@orders/public", "app://wiki", "kube://prod"):
            self.ask(self.edgar, "POST", "/v1/explain", {**body, "target": target})
        for target in ("ssh:db1", "ftp://x", "ssh://", "ssh://a b@c"):
            status, _ = self.refused(self.edgar, "POST", "/v1/explain", {**body, "target": target})
            self.assertEqual(status, 400, target)
        self.ask(self.edgar, "POST", "/v1/locks", {"target": {"user": "alice"}})
        found = self.ask(self.edgar, "POST", "/v1/explain", body)
        self.assertIn("lock", found["why"])

    def test_backup(self) -> None:
        """Only the admin socket copies the store, to an absolute path."""
        files: list[str] = []

        async def backup(file: str) -> tuple[int, int]:
            files.append(file)
            return 7, 4096

        cluster = Cluster(self, backup=backup)
        reply = cluster.ask(cluster.local, "POST", "/v1/backup", {"file": "/tmp/copy"})
        self.assertEqual(reply.body, {"file": "/tmp/copy", "revision": 7, "bytes": 4096})
        self.assertEqual(cluster.audit.take(), ["backup.create"])
        reply = cluster.ask(cluster.local, "POST", "/v1/backup", {"file": "copy"})
        self.assertEqual((reply.status, files), (400, ["/tmp/copy"]))
        body = {"file": "/tmp/copy"}
        self.assertEqual(self.refused(self.cluster.local, "POST", "/v1/backup", body)[0], 404)


class CanaryTests(VerbsTestCase):
    """S24: secrets, wrong ones too, are in no answer, no event and no log."""

    def test_secrets_leave_no_trace(self) -> None:
        """Whatever verb takes a secret, and however it fails, nothing repeats it."""
        canary = "canary-" + "4711" * 9
        seen: list[str] = []

        def heard(event: Any) -> None:
            seen.append(repr(event))
            seen.append(formatEvent(event))

        observer: Any = heard
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for who, path, body in (
            (self.nobody, "/v1/login", self.login(password=canary)),
            (self.nobody, "/v1/login", self.login(otp=canary)),
            (self.nobody, "/v1/login", self.login(user=canary, password=[canary])),
            (self.nobody, "/v1/invites/begin", {"token": canary}),
            (self.nobody, "/v1/invites/accept", {"token": canary, "password": canary}),
            (self.nobody, "/v1/join", {"token": canary, "type": "node", "name": "n"}),
            (
                self.nobody,
                "/v1/join",
                {"token": canary, "type": "node", "name": "n", "tls_public_key": PEM},
            ),
            (self.alice, "/v1/me/password", {"old": canary, "new": canary + "x", "otp": canary}),
            (self.alice, "/v1/me/password", {"old": canary, "new": "\t" + canary}),
            (self.cluster.gateway, "/v1/web/check", {"cookie": canary, "address": ADDRESS}),
            (self.cluster.gateway, "/v1/web/logout", {"cookie": canary}),
            (self.cluster.local, "/v1/tokens", {canary: canary, "types": []}),
        ):
            reply = self.cluster.ask(who, "POST", path, body)
            if path != "/v1/tokens":  # there it is a name that nobody knows, and is told
                seen.append(repr(reply.body))
            seen.append(repr(Ask(method="POST", path=path, body=body)))
            self.cluster.clock.advance(600)
        seen.append(repr(self.cluster.audit.events))
        self.assertGreater(len(seen), 20)
        self.assertEqual([text for text in seen if "canary" in text], [])


class GatewayTests(VerbsTestCase):
    """Tests for `verbs_gateway`."""

    def test_certificates_for_names(self) -> None:
        """Names under the public address, and no others."""
        body = {"names": ["auth.gate.example.com"], "tls_public_key": PEM}
        path = "/v1/gateway/certificates"
        answer = self.ask(self.cluster.gateway, "POST", path, body)
        self.assertTrue(answer["chain"].startswith(answer["certificate"]))
        self.assertEqual(answer["certificate"].count("BEGIN CERTIFICATE"), 1)
        self.assertEqual(answer["chain"].count("BEGIN CERTIFICATE"), 2)
        self.assertEqual(self.cluster.audit.take(), ["cert.create"])
        for name in ("example.com", "auth.gate.example.org", "*.com", ""):
            bad = {**body, "names": [name]}
            self.assertEqual(self.refused(self.cluster.gateway, "POST", path, bad)[0], 400, name)
        self.assertEqual(len(verbs_gateway.VERBS), 5)

    def web_login(self) -> dict[str, Any]:
        body = {
            "user": "alice",
            "password": PASSWORD,
            "otp": self.cluster.code("alice"),
            "address": "198.51.100.4",
        }
        found: dict[str, Any] = self.ask(self.cluster.gateway, "POST", "/v1/web/login", body)
        return found

    def test_a_web_session(self) -> None:
        """Begun, found by its cookie, proved by its bearer, ended."""
        session = self.web_login()
        self.assertEqual(self.cluster.audit.take(), ["user.login", "session.web.start"])
        body = {"cookie": session["cookie"], "bearer": None, "address": "198.51.100.4"}
        path = "/v1/web/check"
        found = self.ask(self.cluster.gateway, "POST", path, body)
        self.assertEqual(
            (found["user"], found["roles"], found["proved"]), ("alice", ["access"], False)
        )
        body["bearer"] = session["bearer"]
        self.assertTrue(self.ask(self.cluster.gateway, "POST", path, body)["proved"])
        ended = self.ask(
            self.cluster.gateway, "POST", "/v1/web/logout", {"cookie": session["cookie"]}
        )
        self.assertEqual(ended, {"user": "alice", "ended": 1})
        self.assertEqual(self.refused(self.cluster.gateway, "POST", path, body)[0], 401)
        again = self.ask(
            self.cluster.gateway, "POST", "/v1/web/logout", {"cookie": session["cookie"]}
        )
        self.assertEqual(again, {"user": None, "ended": 0})

    def test_another_sessions_bearer(self) -> None:
        """S29: the bearer of one session with the cookie of another is 403."""
        first = self.web_login()
        self.cluster.clock.advance(60)
        second = self.web_login()
        body = {
            "cookie": first["cookie"],
            "bearer": second["bearer"],
            "address": "198.51.100.4",
        }
        self.assertEqual(
            self.refused(self.cluster.gateway, "POST", "/v1/web/check", body),
            (403, "access_denied"),
        )

    def test_a_session_of_somebody_who_is_gone(self) -> None:
        """A lock ends it; so does the removal of the user."""
        session = self.web_login()
        body = {"cookie": session["cookie"], "address": "198.51.100.4"}
        lock = self.ask(self.edgar, "POST", "/v1/locks", {"target": {"user": "alice"}})
        self.assertEqual(
            self.refused(self.cluster.gateway, "POST", "/v1/web/check", body), (403, "locked")
        )
        name = lock["metadata"]["name"]
        self.ask(self.edgar, "DELETE", f"/v1/resources/lock/{name}")
        self.ask(self.edgar, "DELETE", "/v1/resources/user/alice")
        self.assertEqual(
            self.refused(self.cluster.gateway, "POST", "/v1/web/check", body), (401, "bad_token")
        )

    def test_who_changes_is_named(self) -> None:
        """An event names who asked, how it went, and from where."""
        self.assertEqual(calls.JSON, "application/json")
        self.assertIsNone(parts.Parts.__attrs_attrs__.trail.default)
        self.web_login()
        fields = self.cluster.audit.events[-1][1]
        self.assertEqual((fields["user"], fields["name"]), ("gateway:gw1", "alice"))

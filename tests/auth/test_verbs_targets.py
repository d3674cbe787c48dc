"""Databases and applications: what is offered, who sees it, and an agent's certificates."""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.auth.cluster import ADDRESS, NAME, PEM, new_pem
from tests.auth.test_verbs import claims_in
from tests.auth.test_verbs_agents import BEAT, AgentCase
from tlsgate.auth import nodes, offered, reaching, verbs_targets
from tlsgate.auth.principal import Principal
from tlsgate.core.claims import Claims

DB = "/v1/agent/db-certificates"


def offer(kind: str, name: str, facts: dict[str, str] | None = None, **labels: str) -> Any:
    """What an agent says of one thing."""
    told = {"protocol": "postgres" if kind == "db" else "http", **(facts or {})}
    where = ["pg.internal:5432"]
    return {"kind": kind, "name": name, "labels": labels, "addresses": where, "facts": told}


class TargetCase(AgentCase):
    """Agents with databases and applications; bob has a role for some."""

    def setUp(self) -> None:
        super().setUp()
        allow = {
            "db_labels": {"env": "prod"},
            "db_users": ["app", "read_*"],
            "db_names": ["shop"],
            "app_labels": {"env": "prod"},
        }
        self.role("ops", allow=allow)
        self.bob = self.cluster.user("bob", "ops")
        self.pg = self.agent("pg", "db", "app")

    def role(self, name: str, **spec: Any) -> None:
        """Write a role."""
        role = {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": spec}
        self.ask(self.cluster.local, "PUT", f"/v1/resources/role/{name}", role, force="1")

    def offers(self, *offers: Any, who: Principal | None = None) -> Any:
        """Send a heartbeat."""
        body = {"version": "1.0", "hostname": "pg.local", "offers": list(offers)}
        return self.ask(who or self.pg, "POST", BEAT, body)

    def usual(self) -> None:
        """Two of each kind, of which bob may reach one."""
        self.offers(
            offer("db", "orders", env="prod"),
            offer("db", "tests", env="dev"),
            offer("app", "grafana", {"rewrite_headers": '["X-Key: s3cret"]'}, env="prod"),
            offer("app", "wiki", {"public_addr": "wiki.example.org"}, env="dev"),
        )

    def der(self, name: str, *roles: str, **more: Any) -> str:
        """A user's certificate, as an agent sends it."""
        claims = Claims(cluster=NAME, kind="user", name=name, roles=roles, **more)
        pem = self.cluster.parts.issuer.user_certificates(claims, PEM).tls_pem
        certificate = x509.load_pem_x509_certificate(pem.encode())
        return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()

    def wanted(self, **more: Any) -> dict[str, Any]:
        """A question for a certificate that is answered."""
        return {
            "database": "orders",
            "db_user": "app",
            "user_certificate": self.der("bob", "ops"),
            "public_key": new_pem(),
            **more,
        }


class OfferedTests(TargetCase):
    """Tests for what is kept of offers."""

    def test_who_sees_what(self) -> None:
        """One sees what roles let one reach, and as whom; an operator sees which agent has it."""
        self.usual()
        row = {
            "name": "orders",
            "protocol": "postgres",
            "description": "",
            "labels": {"env": "prod"},
            "addresses": ["pg.internal:5432"],
            "facts": {"protocol": "postgres"},
            "hostname": "pg.local",
        }
        mine = {**row, "db_users": ["app", "read_*"], "db_names": ["shop"]}
        found = self.ask(self.bob, "GET", "/v1/me/databases")
        self.assertEqual(found, {"databases": [mine]})
        items = self.ask(self.edgar, "GET", "/v1/databases")["items"]
        now = self.cluster.clock.seconds()
        held = {"agent": "pg", "version": "1.0", "last_seen": now}
        self.assertEqual(items[0], {**row, **held})
        self.assertEqual([one["name"] for one in items], ["orders", "tests"])
        for path in ("/v1/databases", "/v1/apps"):
            self.assertEqual(self.refused(self.bob, "GET", path), (403, "access_denied"))
        self.assertEqual(self.ask(self.edgar, "GET", "/v1/me/databases"), {"databases": []})
        everything = self.ask(self.cluster.local, "GET", "/v1/me/databases")["databases"]
        self.assertEqual([one["db_users"] for one in everything], [[], []])

    def test_applications(self) -> None:
        """Of an application the address is said, and no secret of its rewriting (S53)."""
        self.usual()
        (found,) = self.ask(self.bob, "GET", "/v1/me/apps")["apps"]
        self.assertEqual(found["facts"], {"protocol": "http"})
        self.assertEqual(
            (found["name"], found["host"], found["url"]),
            ("grafana", f"grafana.{NAME}", f"https://grafana.{NAME}"),
        )
        _, wiki = self.ask(self.edgar, "GET", "/v1/apps")["items"]
        self.assertEqual((wiki["url"], wiki["agent"]), ("https://wiki.example.org", "pg"))
        self.assertNotIn("s3cret", repr(self.ask(self.edgar, "GET", "/v1/apps")))
        search = self.ask(self.edgar, "GET", "/v1/apps", search="GRAF")["items"]
        self.assertEqual([one["name"] for one in search], ["grafana"])

    def test_they_go(self) -> None:
        """What an agent says no more is gone at once, and all of it two minutes after."""
        self.usual()
        self.offers(offer("db", "orders", env="prod"))
        self.assertEqual(self.ask(self.edgar, "GET", "/v1/apps")["items"], [])
        self.cluster.clock.advance(nodes.LIFE_SECONDS)
        self.assertEqual(self.ask(self.edgar, "GET", "/v1/databases")["items"], [])

    def test_several_agents(self) -> None:
        """One name at several agents is one thing for its users; a locked agent has none."""
        two = self.agent("pg2", "db")
        self.offers(offer("db", "orders", env="dev"))
        self.offers(offer("db", "orders", env="prod"), who=two)
        (found,) = self.ask(self.bob, "GET", "/v1/me/databases")["databases"]
        self.assertEqual(found["labels"], {"env": "prod"})
        self.assertEqual(len(self.ask(self.edgar, "GET", "/v1/databases")["items"]), 2)
        lock = {"target": {"agent": f"pg2.db.{NAME}"}}
        self.ask(self.cluster.local, "POST", "/v1/locks", lock)
        self.assertEqual(self.ask(self.bob, "GET", "/v1/me/databases"), {"databases": []})

    def test_labels_of_the_token(self) -> None:
        """Labels of the token are above what the agent says, as of nodes."""
        asked = {"types": ["db"], "labels": {"env": "dev"}}
        made = self.ask(self.cluster.local, "POST", "/v1/tokens", asked)
        body = {"token": made["secret"], "type": "db", "name": "pg3", "tls_public_key": PEM}
        self.ask(self.alice, "POST", "/v1/join", body)
        self.offers(offer("db", "orders", env="prod"), who=self.agent("pg3", "db"))
        self.assertEqual(self.ask(self.bob, "GET", "/v1/me/databases"), {"databases": []})

    def test_bad_offers(self) -> None:
        """S41: no other kind's, no name that is none, and nothing of the gateway's."""
        for bad in (
            offer("app", "a b"),
            offer("app", "wiki", {"public_addr": "gate.example.com"}),
            offer("app", "wiki", {"public_addr": "GATE.example.com"}),
            offer("app", "wiki", {"public_addr": "no name"}),
            offer("db", "x", {"protocol": "x" * 4097}),
        ):
            body = {"version": "1", "offers": [bad]}
            self.assertEqual(self.refused(self.pg, "POST", BEAT, body)[0], 400, bad)
        body = {"version": "1", "offers": [offer("app", "wiki")]}
        refused = self.refused(self.agent("pg", "db"), "POST", BEAT, body)
        self.assertEqual(refused, (403, "access_denied"))

    def test_many(self) -> None:
        """A long list lets others have their turn, and is whole."""
        for number in range(4):
            who = self.agent(f"pg{number}", "db")
            self.offers(*(offer("db", f"d{number}-{n:02d}") for n in range(64)), who=who)

        async def at_once(clock: object, seconds: float) -> None:
            return None

        self.patch(verbs_targets, "deferLater", at_once)
        found = self.ask(self.alice, "GET", "/v1/me/databases")["databases"]
        self.assertEqual(len(found), 256)

    def test_shut(self) -> None:
        """A lock on the name alone shuts an agent too; what is kept is by kind and agent."""
        parts = self.cluster.parts
        self.usual()
        self.assertFalse(reaching.is_shut(parts, "pg", "db"))
        self.assertIsNotNone(self.cluster.run(self.cluster.store.get(offered.key_of("db", "pg"))))
        self.ask(self.cluster.local, "POST", "/v1/locks", {"target": {"agent": "pg"}})
        self.assertTrue(reaching.is_shut(parts, "pg", "db"))


class CertificateTests(TargetCase):
    """Tests for `agent.db_certificates`."""

    def test_issued(self) -> None:
        """It is of the database authority, for the database's user, for clients, for an hour."""
        self.usual()
        self.cluster.audit.take()
        found = self.ask(self.pg, "POST", DB, self.wanted())
        certificate = x509.load_pem_x509_certificate(found["certificate"].encode())
        self.assertEqual(certificate.subject.rfc4514_string(), "CN=app")
        (ca,) = found["cas"]
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.encode()))
        self.assertEqual(found["cas"], self.cluster.parts.authorities.cas()["db"])
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(list(usage), [ExtendedKeyUsageOID.CLIENT_AUTH])
        now = self.cluster.clock.seconds()
        self.assertEqual(found["not_after"], now + 3600)
        ((event, fields),) = self.cluster.audit.events
        self.assertEqual((event, fields["success"]), ("cert.create", True))
        self.assertEqual((fields["db_user"], fields["identity.user"]), ("app", "bob"))

    def test_s43_only_as_roles_allow(self) -> None:
        """Another user, database, agent or person gets a sentence, and it is audited."""
        self.usual()
        other = {"database": "tests"}
        narrow = {"db": "orders", "db_user": "read_x"}
        for who, more in (
            (self.pg, {"db_user": "postgres"}),
            (self.pg, {"db_name": "postgres"}),
            (self.pg, other),
            (self.pg, {"database": "nothing"}),
            (self.agent("pg2", "db"), {}),
            (self.agent("pg", "app"), {}),
            (self.cluster.gateway, {}),
            (self.cluster.local, {}),
            (self.pg, {"user_certificate": self.der("eve", "ops")}),
            (self.pg, {"user_certificate": self.der("bob", "access")}),
            (self.pg, {"user_certificate": self.der("bob", "ops", routes=narrow)}),
            (self.pg, {"user_certificate": self.der("bob", "ops", routes={"app": "wiki"})}),
            (self.pg, {"user_certificate": "AAAA"}),
        ):
            self.cluster.audit.take()
            refused = self.refused(who, "POST", DB, self.wanted(**more))
            self.assertEqual(refused, (403, "access_denied"), more)
            self.assertFalse(all(fields["success"] for _, fields in self.cluster.audit.events))
        for more in ({"user_certificate": "AAA"}, {"public_key": "x"}, {"db_user": "a\nb"}):
            self.assertEqual(self.refused(self.pg, "POST", DB, self.wanted(**more))[0], 400)

    def test_names_that_servers_would_cut(self) -> None:
        """A user of more than 63 bytes would be another one for PostgreSQL."""
        self.usual()
        body = self.wanted(db_user="read_" + "é" * 30)
        self.assertEqual(self.refused(self.pg, "POST", DB, body)[0], 400)

    def test_locked_and_pinned(self) -> None:
        """A lock on the user holds here too; who is pinned has to be at that address (S55)."""
        self.usual()
        pinned = self.wanted(user_certificate=self.der("bob", "ops", pinned_address=ADDRESS))
        self.assertEqual(self.refused(self.pg, "POST", DB, pinned), (403, "access_denied"))
        self.ask(self.pg, "POST", DB, {**pinned, "address": ADDRESS})
        self.ask(self.cluster.local, "POST", "/v1/locks", {"target": {"user": "bob"}})
        self.assertEqual(self.refused(self.pg, "POST", DB, self.wanted()), (403, "locked"))

    def test_a_newer_deny(self) -> None:
        """A deny that the user has since the certificate counts at once."""
        self.usual()
        body = self.wanted()
        self.role("nodb", deny={"db_labels": {"*": "*"}})
        user: dict[str, Any] = {"kind": "user", "version": "v2", "metadata": {"name": "bob"}}
        user["spec"] = {"roles": ["ops", "nodb"]}
        self.ask(self.cluster.local, "PUT", "/v1/resources/user/bob", user, force="1")
        self.assertEqual(self.refused(self.pg, "POST", DB, body), (403, "access_denied"))

    def test_no_longer_than_the_users(self) -> None:
        """It ends with the certificate of the person behind it."""
        self.usual()
        body = self.wanted()
        self.cluster.clock.advance(12 * 3600 - 60)
        self.usual()
        found = self.ask(self.pg, "POST", DB, body)
        self.assertEqual(found["not_after"], self.cluster.clock.seconds() + 60)


class NarrowTests(TargetCase):
    """Tests for certificates that are for one thing only."""

    def narrow(self, who: Principal, **routes: str) -> Any:
        """Ask for one."""
        body = {"tls_public_key": new_pem(), "routes": routes}
        return self.cluster.ask(who, "POST", "/v1/me/certificates", body)

    def test_for_what_roles_allow(self) -> None:
        """S43: a database, with its user and name or without, or an application."""
        self.usual()
        for routes in (
            {"db": "orders"},
            {"db": "orders", "db_user": "read_all", "db_name": "shop"},
            {"app": "grafana", "cluster": NAME},
        ):
            reply = self.narrow(self.bob, **routes)
            self.assertEqual(reply.status, 200, reply.body)
            claims = claims_in(reply.body["certificate"])
            self.assertEqual(dict(claims.routes), routes)

    def test_s43_for_nothing_else(self) -> None:
        """What no role allows, nobody offers or nothing knows is refused with a sentence."""
        self.usual()
        for status, routes in (
            (403, {"db": "tests"}),
            (403, {"db": "orders", "db_user": "postgres"}),
            (403, {"db": "orders", "db_user": "app", "db_name": "other"}),
            (403, {"app": "wiki"}),
            (404, {"db": "grafana"}),
            (404, {"app": "nothing"}),
            (400, {"node": "db1"}),
            (400, {"db": "orders", "app": "grafana"}),
            (400, {"db_user": "app"}),
            (400, {"app": "grafana", "db_user": "app"}),
            (400, {"db": "orders", "cluster": "elsewhere"}),
        ):
            reply = self.narrow(self.bob, **routes)
            self.assertEqual(reply.status, status, (routes, reply.body))
        self.ask(self.cluster.local, "POST", "/v1/locks", {"target": {"agent": "pg"}})
        self.assertEqual(self.narrow(self.bob, db="orders").status, 404)

    def test_s55_it_stays_narrow(self) -> None:
        """Nobody makes a narrow certificate another one, or asks the API with it."""
        self.usual()
        narrow = self.cluster.holder("bob", "ops", routes={"db": "orders"})
        self.assertEqual(self.narrow(narrow).status, 403)
        self.assertEqual(self.narrow(narrow, db="orders").status, 403)
        self.assertEqual(self.refused(narrow, "GET", "/v1/me/databases"), (403, "access_denied"))


class ExplainTests(TargetCase):
    """Tests for `explain` of what agents offer."""

    def explain(self, target: str, **more: Any) -> dict[str, Any]:
        body = {"user": "bob", "target": target, **more}
        found: dict[str, Any] = self.ask(self.edgar, "POST", "/v1/explain", body)
        return found

    def test_labels_of_the_inventory(self) -> None:
        """Without labels a target has those that its agent says; audited queries are told."""
        self.usual()
        self.assertTrue(self.explain("db://app@orders/shop")["allowed"])
        self.assertFalse(self.explain("db://app@orders/shop", labels={"env": "dev"})["allowed"])
        self.assertFalse(self.explain("db://root@orders/shop")["allowed"])
        self.assertFalse(self.explain("db://app@tests/shop")["allowed"])
        self.assertFalse(self.explain("app://nothing")["allowed"])
        self.assertFalse(self.explain("kube://nothing")["allowed"])
        self.assertTrue(self.explain("app://grafana")["allowed"])
        self.assertFalse(self.explain("app://grafana")["audit_queries"])
        allow = {"db_labels": {"env": "prod"}, "db_users": ["app"], "db_names": ["*"]}
        self.role("ops", allow=allow, options={"audit_queries": True})
        self.assertTrue(self.explain("db://app@orders/shop")["audit_queries"])
        allow = {"logins": ["root"], "node_labels": {"disk": "ssd"}}
        self.role("ops", allow=allow)
        self.beat("db1", disk="ssd")
        self.assertTrue(self.explain("ssh://root@db1")["allowed"])

    def test_offered_by_nobody(self) -> None:
        """An operator hears that no agent offers it, and not what roles lack; others do not."""
        for target, words in (
            ("db://app@orders/shop", "no agent offers the database orders: `tgctl db ls`"),
            ("app://wiki", "no agent offers the application wiki: `tgctl apps ls`"),
        ):
            found = self.explain(target)
            self.assertEqual((found["allowed"], found["audit_queries"]), (False, False))
            self.assertIn(words, found["why"])
            # Bob's own question does not tell whether it is there.
            body = {"user": "bob", "target": target}
            self.assertNotIn("agent", self.ask(self.bob, "POST", "/v1/explain", body)["why"])


class SignTests(TargetCase):
    """Tests for `sign.database`."""

    def test_signed(self) -> None:
        """Who may use the authorities gets a server's certificate, and an event says so."""
        body = {"hosts": ["pg.internal"], "tls_public_key": new_pem(), "ttl_seconds": 600}
        self.cluster.audit.take()
        found = self.ask(self.edgar, "POST", "/v1/sign/database", body)
        self.assertEqual(found["not_after"], self.cluster.clock.seconds() + 600)
        self.assertEqual(found["cas"], self.cluster.parts.authorities.cas()["db"])
        ((event, fields),) = self.cluster.audit.events
        self.assertEqual((event, fields["identity.names"]), ("cert.create", ["pg.internal"]))
        for who in (self.bob, self.pg):
            self.assertEqual(self.refused(who, "POST", "/v1/sign/database", body)[0], 403)
        bad = {**body, "hosts": ["no name"]}
        self.assertEqual(self.refused(self.edgar, "POST", "/v1/sign/database", bad)[0], 400)

"""Tests for `tlsgate.service.judging`: what differs by the kind of a target."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cluster.states import event, role
from tests.service.test_requests import DENIED, RequestsCase
from tests.support.authorities import p256, spki
from tlsgate.core.offers import Offer

INSIDE = {"db_user": "app", "db_name": "shop", "key": "00" * 36}


class KindTests(RequestsCase):
    """Databases and applications, whose roles name other things."""

    def setUp(self) -> None:
        super().setUp()
        for kind, name in (("db", "orders"), ("app", "wiki"), ("app", "feed")):
            offer = Offer(
                kind=kind,  # type: ignore[arg-type]
                name=name,
                labels={"env": "prod"},
                addresses=("127.0.0.1:1",),
            )
            self.offers[kind, name] = offer
        self.allow()

    def allow(self, **more: Any) -> None:
        """Say what the role lets its holders do."""
        options = {
            "db_labels": {"env": "prod"},
            "db_users": ["app"],
            "db_names": ["shop"],
            "app_labels": {"env": "prod"},
            **more,
        }
        self.door.live.say(event("role", "access", role("access", **options)))

    def narrow(self, **routes: str) -> bytes:
        """A certificate that is good for one target."""
        claims = self.cluster.user(roles=("access",), routes=routes)
        issued = self.cluster.issuer.user_certificates(claims, spki(p256()))
        first = x509.load_pem_x509_certificates(issued.tls_pem.encode())[0]
        return first.public_bytes(Encoding.DER)

    def passes(self, **more: Any) -> bool:
        """Whether the agent would dial."""
        (answered,) = self.ask(**more).answered
        self.assertIn(answered.reason, (DENIED, "target_refused"))
        return answered.reason != DENIED

    def test_users_and_databases(self) -> None:
        """The role names the database users and the databases inside."""
        orders: dict[str, Any] = {"kind": "db", "name": "orders"}
        self.assertTrue(self.passes(**orders, details=INSIDE))
        for change in ({"db_user": "postgres"}, {"db_name": "salaries"}):
            self.assertFalse(self.passes(**orders, details={**INSIDE, **change}))
        self.allow(db_labels={"env": "dev"})
        self.assertFalse(self.passes(**orders, details=INSIDE))

    def test_what_is_told(self) -> None:
        """Log and audit say as which database user somebody came, and no key."""
        self.ask(kind="db", name="orders", details=INSIDE)
        _, fields = self.audit.events[-1]
        self.assertEqual((fields["db_user"], fields["db_name"]), ("app", "shop"))
        self.assertNotIn(INSIDE["key"], str(fields))

    def test_details_are_whole(self) -> None:
        """Who does not say as whom is not let in as anybody; what is not known may be a limit."""
        for details, said in (
            ({}, "does not say db_name and db_user"),
            ({"db_user": "app"}, "does not say db_name"),
            ({**INSIDE, "db_user": ""}, "does not say db_user"),
            ({"cancel": "00" * 36}, "does not say db_name and db_user"),
            ({**INSIDE, "readonly": "yes"}, "says readonly, which the agent does not know"),
        ):
            self.assertIn(said, self.refused(kind="db", name="orders", details=details))
        said = self.refused(kind="app", name="wiki", details={"path": "/public"})
        self.assertIn("says path, which the agent does not know", said)
        self.assertIn("says db_user", self.refused(details={"db_user": "app"}))

    def test_applications(self) -> None:
        """Labels decide, as for nodes; node labels open none."""
        self.assertTrue(self.passes(kind="app", name="wiki"))
        self.allow(app_labels={"env": "dev"})
        self.assertFalse(self.passes(kind="app", name="wiki"))

    def test_narrow_certificates(self) -> None:
        """One for an application is for that one, and for no node or database."""
        app = self.narrow(app="wiki")
        self.assertTrue(self.passes(kind="app", name="wiki", certificate=app))
        self.assertFalse(self.passes(kind="app", name="feed", certificate=app))
        self.assertFalse(self.passes(kind="db", name="orders", certificate=app, details=INSIDE))
        self.assertFalse(self.passes(certificate=app))
        db = self.narrow(db="orders", db_user="app")
        self.assertTrue(self.passes(kind="db", name="orders", certificate=db, details=INSIDE))
        db = self.narrow(db="orders", db_user="other")
        self.assertFalse(self.passes(kind="db", name="orders", certificate=db, details=INSIDE))

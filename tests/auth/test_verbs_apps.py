"""Web sessions at applications, from the login to the last logout (S31).

One file, though a long one: each test crosses several verbs of the one life that it tells.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any, get_args

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet
from twisted.internet.defer import Deferred

from tests.auth.cluster import ADDRESS, NAME, PASSWORD, new_pem
from tests.auth.test_verbs import claims_in
from tests.auth.test_verbs_agents import AgentCase
from tests.cluster.states import FakeDoor
from tlsgate.auth import appbodies, appsessions, apptokens, cookies, verbs_apps
from tlsgate.auth.bodies import Body
from tlsgate.cluster.view import ClusterView
from tlsgate.errors import BadToken

BEGIN, REDEEM = "/v1/web/app-session", "/v1/gateway/app-session"
CHECK, CERTIFY = "/v1/gateway/app-check", "/v1/gateway/app-certificate"
ROLES = {"roles", "traits"}
LOGOUT = "/v1/gateway/app-logout"
STATE = "s" * 43
CERTIFICATE = hashlib.sha256(b"alice's").hexdigest()
OTHER = hashlib.sha256(b"another").hexdigest()


class AppCase(AgentCase):
    """alice is logged in at the console, and may reach two applications."""

    def setUp(self) -> None:
        super().setUp()
        for app in ("grafana", "wiki"):
            self.cluster.offer("app", app, agent=f"at-{app}", env="prod")
        self.gw = self.cluster.gateway
        self.login = self.log_in()
        self.cluster.audit.take()

    def log_in(self, name: str = "alice") -> dict[str, Any]:
        """A login at the console."""
        self.cluster.clock.advance(60)
        body = {"user": name, "password": PASSWORD, "otp": self.cluster.code(name)}
        found: dict[str, Any] = self.ask(
            self.gw, "POST", "/v1/web/login", {**body, "address": ADDRESS}
        )
        for app in ("grafana", "wiki"):
            self.cluster.offer("app", app, agent=f"at-{app}", env="prod")
        return found

    def code(self, app: str = "grafana", **more: Any) -> dict[str, Any]:
        """What begins a session at an application."""
        shown = {"cookie": self.login["cookie"], "bearer": self.login["bearer"]}
        body = {**shown, "app": app, "state": STATE, "address": ADDRESS, **more}
        found = self.ask(self.gw, "POST", BEGIN, body)
        self.assertEqual(found["app"], app)
        rest = {"app": app, "state": STATE, "address": ADDRESS, "certificate": None}
        return {"code": found["code"], **rest}

    def begin(self, app: str = "grafana", **more: Any) -> dict[str, Any]:
        """A session at an application, and what shows it."""
        made = self.ask(self.gw, "POST", REDEEM, {**self.code(app), **more})
        shown = {"cookie": made["cookie"], "app": app, "address": ADDRESS, "certificate": None}
        shown |= {key: one for key, one in more.items() if key in shown}
        self.sid = made["sid"]
        return shown

    def status(self, path: str, body: Any) -> int:
        """The status of an answer."""
        found: int = self.cluster.ask(self.gw, "POST", path, body).status
        return found

    def locks(self, **target: str) -> None:
        self.ask(self.cluster.local, "POST", "/v1/locks", {"target": target})


class BeginTests(AppCase):
    """Tests for the way from the console to an application."""

    def test_a_session(self) -> None:
        """The code becomes a cookie, by which the user is found."""
        shown = self.begin()
        found = self.ask(self.gw, "POST", CHECK, shown)
        now = self.cluster.clock.seconds()
        self.assertEqual(found, {"sid": self.sid, "user": "alice", "expires": now + 1800})
        ((event, fields),) = self.cluster.audit.events
        self.assertEqual(event, "app.session.login")
        self.assertEqual((fields["app"], fields["addr.remote"]), ("grafana", ADDRESS))
        self.assertNotIn(shown["cookie"], repr(self.cluster.audit.events))
        for prefix in (appsessions.PREFIX, "appcodes/"):
            for item in self.cluster.run(self.cluster.store.scan(prefix)):
                self.assertNotIn(shown["cookie"].encode(), item.key.encode() + item.value)

    def test_s31_a_code_is_good_once(self) -> None:
        """A second use, another state or application, or a late one, is refused."""
        body = self.code()
        self.ask(self.gw, "POST", REDEEM, body)
        self.assertEqual(self.status(REDEEM, body), 401)
        for more in ({"state": "t" * 43}, {"app": "wiki"}):
            body = self.code()
            self.assertEqual(self.status(REDEEM, {**body, **more}), 401)
            self.assertEqual(self.status(REDEEM, body), 401)
        body = self.code()
        self.cluster.clock.advance(appsessions.CODE_SECONDS)
        self.assertEqual(self.status(REDEEM, body), 401)
        self.assertEqual(self.status(REDEEM, {**body, "code": "x"}), 401)

    def test_s29_only_by_the_consoles_own_page(self) -> None:
        """The login's cookie alone begins nothing, nor does another login's bearer."""
        other = self.log_in()
        shown = {"cookie": self.login["cookie"], "app": "grafana", "state": STATE}
        body = {**shown, "address": ADDRESS, "bearer": other["bearer"]}
        self.assertEqual(self.status(BEGIN, body), 403)
        self.assertEqual(self.status(BEGIN, {**body, "bearer": None}), 400)
        own = {**body, "bearer": self.login["bearer"]}
        self.assertEqual(self.status(BEGIN, {**own, "cookie": "c" * 59}), 401)
        self.assertEqual(self.status(BEGIN, {**own, "cookie": "c"}), 401)

    def test_only_where_roles_allow(self) -> None:
        """What no role allows is refused with a sentence, and what nobody offers."""
        spec = {"deny": {"app_labels": {"*": "*"}}}
        role = {"kind": "role", "version": "v7", "metadata": {"name": "access"}, "spec": spec}
        shown = {"cookie": self.login["cookie"], "bearer": self.login["bearer"], "state": STATE}
        body = {**shown, "address": ADDRESS, "app": "nothing"}
        self.assertEqual(self.status(BEGIN, body), 404)
        self.ask(self.cluster.local, "PUT", "/v1/resources/role/access", role, force="1")
        self.assertEqual(self.status(BEGIN, {**body, "app": "grafana"}), 403)

    def test_logged_out_or_locked_meanwhile(self) -> None:
        """A code of a login that is over begins nothing, and no locked user begins anything."""
        body = self.code()
        self.ask(self.gw, "POST", "/v1/web/logout", {"cookie": self.login["cookie"]})
        self.assertEqual(self.status(REDEEM, body), 401)
        self.login = self.log_in()
        body = self.code()
        self.locks(user="alice")
        self.assertEqual(self.status(REDEEM, body), 403)
        self.assertEqual(self.cluster.run(self.cluster.store.scan(appsessions.PREFIX)), [])

    def test_who_may_ask(self) -> None:
        """Gateways alone."""
        for verb in verbs_apps.VERBS:
            for who in (self.alice, self.agent("at-wiki", "app")):
                reply = self.cluster.ask(who, "POST", verb.path, {})
                self.assertEqual(reply.status, 403)
        self.assertTrue(issubclass(appbodies.AppBegin, Body))


class UseTests(AppCase):
    """Tests for what shows the cookie."""

    def test_s31_bound(self) -> None:
        """Another application, certificate, or none instead of one, finds nothing."""
        for certificate, others in ((None, (CERTIFICATE,)), (CERTIFICATE, (None, OTHER))):
            shown = self.begin(certificate=certificate)
            self.assertEqual(self.status(CHECK, shown), 200)
            self.assertEqual(self.status(CHECK, {**shown, "app": "wiki"}), 401)
            self.assertEqual(self.status(CHECK, {**shown, "address": "192.0.2.99"}), 200)
            for other in others:
                self.assertEqual(self.status(CHECK, {**shown, "certificate": other}), 401)
        self.assertEqual(self.status(CHECK, {**shown, "cookie": self.login["cookie"]}), 401)
        self.assertEqual(self.status(CHECK, {**shown, "cookie": "x"}), 401)

    def test_s31_pinned(self) -> None:
        """Where roles pin, the code and the cookie are good from one address only."""
        spec = {"options": {"pin_source_ip": True}}
        role = {"kind": "role", "version": "v7", "metadata": {"name": "pin"}, "spec": spec}
        self.ask(self.cluster.local, "PUT", "/v1/resources/role/pin", role)
        user: dict[str, Any] = {"kind": "user", "version": "v2", "metadata": {"name": "alice"}}
        user["spec"] = {"roles": ["access", "pin"]}
        self.ask(self.cluster.local, "PUT", "/v1/resources/user/alice", user, force="1")
        self.login = self.log_in()
        elsewhere = {"address": "192.0.2.99"}
        self.assertEqual(self.status(REDEEM, {**self.code(), **elsewhere}), 401)
        shown = self.begin()
        self.assertEqual(self.status(CHECK, shown), 200)
        self.assertEqual(self.status(CHECK, {**shown, **elsewhere}), 401)
        made = self.ask(self.gw, "POST", CERTIFY, {**shown, "public_key": new_pem()})
        self.assertEqual(claims_in(made["certificate"]).pinned_address, ADDRESS)

    def test_the_certificate(self) -> None:
        """It is the user's, for this application alone, and ends with the login at last."""
        shown = self.begin()
        self.cluster.audit.take()
        made = self.ask(self.gw, "POST", CERTIFY, {**shown, "public_key": new_pem()})
        claims = claims_in(made["certificate"])
        self.assertEqual((claims.name, dict(claims.routes)), ("alice", {"app": "grafana"}))
        self.assertEqual((claims.roles, claims.cluster), (("access",), NAME))
        now = self.cluster.clock.seconds()
        self.assertEqual((made["sid"], made["expires"]), (self.sid, now + 3600))
        self.assertEqual(self.cluster.audit.take(), ["cert.create"])
        for _ in range(42):
            self.cluster.clock.advance(1000)
            self.assertEqual(self.status(CHECK, shown), 200)
        made = self.ask(self.gw, "POST", CERTIFY, {**shown, "public_key": new_pem()})
        self.assertLess(made["expires"], self.cluster.clock.seconds() + 1300)
        self.cluster.clock.advance(1300)
        self.assertEqual(self.status(CHECK, shown), 401)

    def test_unused(self) -> None:
        """Half an hour without a use ends it; the login may have ended so before."""
        shown = self.begin()
        for _ in range(4):
            self.cluster.clock.advance(1000)
            self.assertEqual(self.status(CHECK, shown), 200)
        self.cluster.clock.advance(1800)
        self.assertEqual(self.status(CHECK, shown), 401)

    def test_locked(self) -> None:
        """A lock refuses at once, and a user that is gone has none."""
        shown = self.begin()
        self.locks(user="alice")
        self.assertEqual(self.status(CHECK, shown), 403)
        self.assertEqual(self.status(CERTIFY, {**shown, "public_key": new_pem()}), 403)
        self.ask(self.cluster.local, "DELETE", "/v1/resources/user/alice")
        self.assertEqual(self.status(CHECK, shown), 401)

    def test_many(self) -> None:
        """One more than a user may have ends the oldest."""
        self.patch(appsessions, "PER_USER", 3)
        first, *others = [self.begin() for _ in range(4)]
        self.assertEqual(self.status(CHECK, first), 401)
        self.assertEqual([self.status(CHECK, one) for one in others], [200, 200, 200])


class EndTests(AppCase):
    """Tests for S31: a logout ends everything, and whoever has it open hears of it."""

    def heard(self) -> list[Any]:
        """What a gateway hears from now on."""
        lines: list[Any] = []
        watch = self.cluster.api.watch(self.gw, None, lines.append)
        self.addCleanup(watch.stop)
        self.cluster.turn()
        lines.clear()
        return lines

    def test_s31_logout_at_the_application(self) -> None:
        """The login and all that was begun from it end, and no other login."""
        one, two = self.begin(), self.begin("wiki")
        first = self.login
        self.login = self.log_in()
        other = self.begin()
        self.cluster.audit.take()
        lines = self.heard()
        answer = self.ask(self.gw, "POST", LOGOUT, {"cookie": one["cookie"]})
        self.assertEqual(answer, {"user": "alice", "ended": 3})
        self.assertEqual([self.status(CHECK, one), self.status(CHECK, two)], [401, 401])
        self.assertEqual(self.status(CHECK, other), 200)
        check = {"cookie": first["cookie"], "address": ADDRESS}
        self.assertEqual(self.status("/v1/web/check", check), 401)
        self.assertEqual(len(lines), 2)
        for line in lines:
            self.assertEqual((line["resource_kind"], line["resource"]), ("app_session", None))
            self.assertEqual(len(line["name"]), 24)
        self.assertEqual(self.cluster.audit.take()[0], "app.session.logout")
        answer = self.ask(self.gw, "POST", LOGOUT, {"cookie": one["cookie"]})
        self.assertEqual(answer, {"user": None, "ended": 0})

    def test_s31_logout_at_the_console(self) -> None:
        """It ends what was begun from it, also where the login was idle for too long."""
        shown = self.begin()
        for _ in range(4):
            self.cluster.clock.advance(1000)
            self.assertEqual(self.status(CHECK, shown), 200)
        lines = self.heard()
        self.ask(self.gw, "POST", "/v1/web/logout", {"cookie": self.login["cookie"]})
        self.assertEqual(self.status(CHECK, shown), 401)
        self.assertEqual([line["name"] for line in lines], [self.sid])
        self.ask(self.gw, "POST", "/v1/web/logout", {"cookie": "x"})

    def test_all_at_once(self) -> None:
        """Logging out everywhere ends them, and so does a new password."""
        shown = self.begin()
        lines = self.heard()
        self.ask(self.alice, "POST", "/v1/me/logout", {})
        self.assertEqual(self.status(CHECK, shown), 401)
        self.assertEqual([line["name"] for line in lines], [self.sid])

    def test_agents_do_not_hear(self) -> None:
        """Whose session ends is told to gateways alone, and no use of one to anybody."""
        lines: list[Any] = []
        for who in (self.agent("at-wiki", "app"), self.gw):
            watch = self.cluster.api.watch(who, None, lines.append)
            self.addCleanup(watch.stop)
        self.cluster.turn()
        lines.clear()
        shown = self.begin()
        self.cluster.clock.advance(300)
        self.ask(self.gw, "POST", CHECK, shown)
        self.assertEqual([line for line in lines if line["kind"] != "alive"], [])
        self.ask(self.gw, "POST", LOGOUT, {"cookie": shown["cookie"]})
        self.assertEqual(len([line for line in lines if line["kind"] != "alive"]), 1)
        self.assertIsNone(cookies.place_of("x/", "no cookie"))


class LauncherTests(AppCase):
    """Tests for `web.targets`."""

    def test_what_may_be_reached(self) -> None:
        """What the same user sees by certificate, by the login's cookie."""
        self.beat("db1")
        self.cluster.offer("db", "orders")
        body = {"cookie": self.login["cookie"], "bearer": None, "address": ADDRESS}
        found = self.ask(self.gw, "POST", "/v1/web/targets", body)
        for path, what in (("databases", "databases"), ("apps", "apps"), ("nodes", "nodes")):
            mine = self.ask(self.alice, "GET", f"/v1/me/{path}")
            self.assertEqual(found[what], mine[what])
            self.assertTrue(mine[what])
        self.assertEqual(self.status("/v1/web/targets", {**body, "cookie": "x"}), 401)


class TokenTests(AppCase):
    """Tests for `gateway.app_token`."""

    def setUp(self) -> None:
        super().setUp()
        made = self.ask(self.gw, "POST", CERTIFY, {**self.begin(), "public_key": new_pem()})
        certificate = x509.load_pem_x509_certificate(made["certificate"].encode())
        der = certificate.public_bytes(Encoding.DER)
        self.shown = {
            "certificate": base64.b64encode(der).decode(),
            "app": "grafana",
            "audience": "https://grafana.gate.example.com",
        }

    def keys(self) -> KeySet:
        """What an application reads, by way of a gateway's state."""
        door = FakeDoor()
        view = ClusterView(NAME, door, self.cluster.clock, lambda: 0.0, mode="multiplex")
        view.start()
        watch = self.cluster.api.watch(self.gw, None, door.live.say)
        self.addCleanup(watch.stop)
        self.cluster.turn()
        self.assertNotIn('"d"', json.dumps(dict(view.jwks)))
        return KeySet.import_key_set(dict(view.jwks))  # type: ignore[arg-type]

    def claims(self, token: str) -> dict[str, Any]:
        """What a token says, verified as an application does."""
        return dict(jwt.decode(token, self.keys(), algorithms=["ES256"]).claims)

    def test_signed(self) -> None:
        """It says who, to whom, until when, and verifies by the keys of the snapshot."""
        made = self.ask(self.gw, "POST", "/v1/gateway/app-token", self.shown)
        now = int(self.cluster.clock.seconds())
        whole = {
            "iss": NAME,
            "sub": "alice",
            "aud": ["https://grafana.gate.example.com"],
            "iat": now,
            "nbf": now - 60,
            "exp": now + 900,
            "username": "alice",
            "app": "grafana",
            "roles": ["access"],
            "traits": {"logins": ["alice", "root"]},
        }
        self.assertEqual(self.claims(made["token"]), whole)
        self.assertEqual(made["expires"], now + 900)
        for claims, gone in (("roles", {"traits"}), ("traits", {"roles"}), ("none", ROLES)):
            facts = {"jwt_claims": claims}
            self.cluster.offer("app", "grafana", "at-grafana", facts=facts, env="prod")
            made = self.ask(self.gw, "POST", "/v1/gateway/app-token", self.shown)
            self.assertEqual(self.claims(made["token"]).keys(), whole.keys() - gone)
        self.assertNotIn(made["token"], repr(self.cluster.audit.events))

    def test_rotation(self) -> None:
        """A new key is published before it signs; a token of the old one is good until it goes."""
        old = self.ask(self.gw, "POST", "/v1/gateway/app-token", self.shown)["token"]
        for phase, keys in (("init", 2), ("update_clients", 2), ("update_servers", 2)):
            self.ask(self.edgar, "POST", "/v1/authorities/jwt/rotate", {"phase": phase})
            self.assertEqual(len(self.keys().keys), keys)
            new = self.ask(self.gw, "POST", "/v1/gateway/app-token", self.shown)["token"]
            for token in (old, new):
                self.assertEqual(self.claims(token)["sub"], "alice")
        step = {"phase": "standby", "grace_seconds": 0}
        self.ask(self.edgar, "POST", "/v1/authorities/jwt/rotate", step)
        self.assertEqual(self.claims(new)["sub"], "alice")
        self.assertRaises(InvalidKeyIdError, self.claims, old)
        self.assertNotIn("jwt", self.ask(self.gw, "GET", "/v1/cas")["cas"])

    def test_who_gets_none(self) -> None:
        """Another application's session, a locked user, what no role allows, no gateway."""
        for more, status in (
            ({"app": "wiki"}, 403),
            ({"certificate": "AAAA"}, 403),
            ({"certificate": "AAAAA"}, 400),
            ({"claims": "none"}, 400),
        ):
            self.assertEqual(self.status("/v1/gateway/app-token", {**self.shown, **more}), status)
        reply = self.cluster.ask(self.alice, "POST", "/v1/gateway/app-token", self.shown)
        self.assertEqual(reply.status, 403)
        self.locks(user="alice")
        self.assertEqual(self.status("/v1/gateway/app-token", self.shown), 403)
        self.assertIn("none", get_args(apptokens.Claims))


class CrossingTests(AppCase):
    """Two things that happen to one session at the same moment."""

    def crossing(self, meanwhile: Callable[[], Any]) -> None:
        """Do *meanwhile* right before the next commit."""
        store, real = self.cluster.store, self.cluster.store.commit

        async def commit(changes: Any) -> int:
            self.patch(store, "commit", real)
            await meanwhile()
            revision: int = await real(changes)
            return revision

        self.patch(store, "commit", commit)

    def stale(self) -> dict[str, Any]:
        """A session whose next use is written down."""
        shown = self.begin()
        self.cluster.clock.advance(300)
        return shown

    def test_a_use_and_another(self) -> None:
        """Both are answered; one of them is written."""
        shown = self.stale()
        apps = self.cluster.parts.sessions.apps
        self.crossing(lambda: apps.find(shown["cookie"], "grafana", ADDRESS, None))
        self.assertEqual(self.status(CHECK, shown), 200)

    def test_a_use_and_the_end(self) -> None:
        """S31: a use does not bring back what has just ended."""
        shown = self.stale()
        apps = self.cluster.parts.sessions.apps
        self.crossing(lambda: apps.end(shown["cookie"]))
        self.assertEqual(self.status(CHECK, shown), 401)
        self.assertEqual(self.status(CHECK, shown), 401)

    def test_one_code_twice(self) -> None:
        """Of two that show one code at the same moment, one gets the session."""
        body = self.code()
        apps = self.cluster.parts.sessions.apps
        asked = (body["code"], body["app"], STATE, ADDRESS, None)
        self.crossing(lambda: apps.redeem(*asked))
        self.assertEqual(self.status(REDEEM, body), 401)
        self.assertEqual(len(self.cluster.run(self.cluster.store.scan(appsessions.PREFIX))), 1)

    def test_a_login_that_ends(self) -> None:
        """S31: a logout between a code and its session leaves no session; nor does one before."""
        apps, sessions = self.cluster.parts.sessions.apps, self.cluster.parts.sessions
        key = sessions.key_of(self.login["cookie"])
        assert key is not None
        body = self.code()
        real = self.cluster.store.get

        async def get(asked: str) -> Any:
            found = await real(asked)
            if asked == key:
                self.patch(self.cluster.store, "get", real)
                await sessions.end(self.login["cookie"])
            return found

        self.patch(self.cluster.store, "get", get)
        self.assertEqual(self.status(REDEEM, body), 401)
        self.assertEqual(self.cluster.run(self.cluster.store.scan(appsessions.PREFIX)), [])
        beginning = Deferred.fromCoroutine(apps.begin(key, "grafana", STATE))
        self.failureResultOf(beginning, BadToken)

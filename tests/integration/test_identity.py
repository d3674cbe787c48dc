"""A cluster as people use it: invited, logged in, and let through by role."""

from __future__ import annotations

import contextlib
import ssl
import time
from typing import Any

from tests.support.certs import pki
from tests.support.cluster import ClusterCase, Holder, new_key
from tests.support.common import common, no_bugs
from tests.support.echo import Echo
from tests.support.harness import Gate, drain, receive


class LoginTests(ClusterCase):
    """From an invite to a certificate, and what the certificate opens."""

    def setUp(self) -> None:
        super().setUp()
        self.shared = common(self, type(self).cluster)
        no_bugs(self, self.shared)

    def test_the_three_doors(self) -> None:
        """Who has logged in asks the API by token and by name; the operator by the socket."""
        gate = self.shared
        alice = self.login(gate, self.add_user(gate, "alice", ["access", "editor"]))
        for alpn, name in (
            ("tlsgate-auth", "gw.test"),
            ("http/1.1", "auth.gw.test"),
            (None, "auth.gw.test"),
        ):
            answer = self.ask(gate, alice, "GET", "/v1/me", alpn=alpn, name=name)
            self.assertEqual((answer.status, answer.body["name"]), (200, "alice"), answer.text)
        roles = gate.admin("GET", "/v1/resources/role")["items"]
        self.assertEqual(
            [role["metadata"]["name"] for role in roles], ["access", "auditor", "editor"]
        )

    def test_wrong_words(self) -> None:
        """A wrong password, a used code and an unknown user get one and the same answer."""
        gate = self.shared
        user = self.add_user(gate, "anna")
        used = user.code(time.time())
        body: dict[str, Any] = {"tls_public_key": new_key()[1], "ssh_public_key": None}
        answers = []
        for name, password, code in (
            ("anna", "wrong" * 4, used),
            ("nobody", user.password, used),
            ("anna", user.password, "000000"),
        ):
            asked = {**body, "user": name, "password": password, "otp": code}
            answer = self.web(gate, "POST", "/v1/login", asked)
            answers.append((answer.status, answer.body["error"]["message"]))
        self.assertEqual(len(set(answers)), 1, answers)
        self.assertEqual(answers[0][0], 401)

    def test_no_certificate_and_a_foreign_one(self) -> None:
        """The API's doors take the cluster's certificates alone, whatever is offered."""
        gate = self.shared
        alice = self.login(gate, self.add_user(gate, "ada"))
        context = ssl.create_default_context(cafile=str(alice.cas))
        context.set_alpn_protocols(["tlsgate-auth"])
        with self.assertRaises(ssl.SSLError):
            drain(context.wrap_socket(gate.connect(), server_hostname="gw.test"))
        foreign = gate_holder(self, alice)
        with self.assertRaises(ssl.SSLError):
            drain(
                foreign.context("tlsgate-auth").wrap_socket(
                    gate.connect(), server_hostname="gw.test"
                )
            )


class RouteCase(ClusterCase):
    """A static route that roles decide about."""

    def gated(self, **proxy: object) -> Gate:
        """A cluster with an echo behind a role."""
        echo = self.serve(Echo())
        one = {
            "name": "echo",
            "alpn": ["echo"],
            "target": echo.endpoint,
            "client_cert": "required",
            "require_role": ["access"],
        }
        return self.cluster(proxy={"routes": [one], **proxy})

    def says(self, connection: ssl.SSLSocket) -> bytes:
        """What comes back of some bytes."""
        connection.sendall(b"hello")
        return receive(connection, 5)


class RouteTests(RouteCase):
    """Static routes that roles decide about."""

    def setUp(self) -> None:
        super().setUp()
        self.shared = common(self, type(self).gated)
        no_bugs(self, self.shared)

    def test_a_role_opens_a_route(self) -> None:
        """Who has the role gets through; who has not is refused, and the log says why."""
        gate = self.shared
        self.add_user(gate, "alice", ["access"])
        self.add_user(gate, "eve", ["auditor"])
        alice, eve = self.sign(gate, "alice"), self.sign(gate, "eve")
        with self.reach(gate, alice, "echo") as connection:
            self.assertEqual(self.says(connection), b"hello")
        with self.reach(gate, eve, "echo") as connection:
            self.assertEqual(self.says(connection), b"")
        event = gate.event(route="echo", cause="denied")
        self.assertEqual(event["error"], "'eve' may not use route echo: none of the roles access")

    def test_s52_a_lock_ends_what_is_open(self) -> None:
        """Within a second of the lock the user's connections are gone, and no others."""
        gate = self.shared
        self.add_user(gate, "anna")
        self.add_user(gate, "bob")
        anna, bob = self.sign(gate, "anna"), self.sign(gate, "bob")
        open_ones = [self.reach(gate, anna, "echo") for _ in range(20)]
        other = self.reach(gate, bob, "echo")
        for one in (*open_ones, other):
            self.addCleanup(one.close)
            self.assertEqual(self.says(one), b"hello")
        gate.admin("POST", "/v1/locks", {"target": {"user": "anna"}, "message": "gone"})
        since = time.monotonic()
        for one in open_ones:
            with contextlib.suppress(OSError):  # a reset is an end too
                self.assertEqual(drain(one), b"")
        self.assertLess(time.monotonic() - since, 1.0)
        self.assertEqual(self.says(other), b"hello")
        with self.reach(gate, anna, "echo") as again:
            self.assertEqual(self.says(again), b"")


NETWORKING = "/v1/resources/cluster_networking_config/cluster-networking-config"


def mode(word: str) -> dict[str, Any]:
    """The resource that sets it."""
    spec = {"proxy_listener_mode": word}
    return {"kind": "cluster_networking_config", "version": "v2", "spec": spec}


class ModeTests(ClusterCase):
    """cluster_networking_config, and what clients are told."""

    def test_ping_follows(self) -> None:
        """A changed mode is in the ping document within a second, without a reload."""
        legacy = {"listen_addr": "127.0.0.1:0", "tunnel_listen_addr": "127.0.0.1:0"}
        gate = self.cluster(proxy=legacy)
        said = self.web(gate, "GET", "/webapi/ping").body["proxy"]
        self.assertTrue(said["tls_routing_enabled"])
        before = gate.admin("GET", NETWORKING)
        self.assertEqual(before["spec"]["proxy_listener_mode"], 1)
        self.assertEqual(before["metadata"]["labels"]["teleport.dev/origin"], "defaults")
        gate.admin("PUT", NETWORKING, mode("separate"))
        end = time.monotonic() + 1.0
        while self.web(gate, "GET", "/webapi/ping").body["proxy"]["tls_routing_enabled"]:
            self.assertLess(time.monotonic(), end)
        self.assertEqual(gate.admin("DELETE", NETWORKING)["name"], "cluster-networking-config")
        self.assertEqual(gate.admin("GET", NETWORKING)["spec"], before["spec"])

    def test_nobody_is_sent_where_nobody_serves(self) -> None:
        """Without separate ports the mode is not separate, and the answer says what lacks."""
        gate = self.cluster()
        said = gate.admin("PUT", NETWORKING, mode("separate"), status=409)
        self.assertIn("proxy_service.listen_addr", said["error"]["message"])
        gate.admin("PUT", f"{NETWORKING}?force=1", mode("separate"))


def gate_holder(case: ClusterCase, other: Holder) -> Holder:
    """Somebody with a certificate of another authority, who trusts what *other* trusts."""
    pair = pki().keypair("alice")
    made = Holder(name="foreign", folder=case.folder(), issued={})
    made.key.write_bytes(pair.key_file.read_bytes())
    made.cert.write_bytes(pair.cert_file.read_bytes())
    made.cas.write_text(other.cas.read_text())
    return made


class _TwoWorkers:
    """Two workers, with the auth service in a process of its own."""

    def cluster(self: Any, **keys: Any) -> Gate:
        """Start a daemon with workers."""
        proxy = {**keys.pop("proxy", {}), "workers": 2}
        gate: Gate = super().cluster(proxy=proxy, **keys)  # type: ignore[misc]
        return gate


class WorkersLoginTests(_TwoWorkers, LoginTests):
    """The same with workers: TLS of the API's doors passes through them untouched."""


class WorkersRouteTests(_TwoWorkers, RouteTests):
    """The same with workers: each of them follows the cluster."""


class WorkersModeTests(_TwoWorkers, ModeTests):
    """The same with workers."""

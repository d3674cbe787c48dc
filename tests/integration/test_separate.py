"""An auth service and gateways in processes of their own: joining, and serving without it (R14)."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.certs import pki
from tests.support.child import until
from tests.support.cluster import AUTH, Answer, ClusterCase, Holder, User, new_key, request
from tests.support.common import common, no_bugs
from tests.support.echo import Echo
from tests.support.harness import CLIENT_SECONDS, Gate, drain, receive
from tests.support.ports import free_port

#: How long R14 gives a gateway to be as before.
BACK_SECONDS = 5.0
#: How long anybody waits for an answer that cannot come.
RETRY_SECONDS = 2.0


class SeparateCase(ClusterCase):
    """Tests with an auth service alone, and gateways that join it."""

    workers = 1

    def auth(self, folder: Path | None = None, **auth: object) -> Gate:
        """Start an auth service alone; in *folder* it is the same as before."""
        self.auth_port = getattr(self, "auth_port", None) or free_port()
        keys = {**AUTH, "listen_addr": f"127.0.0.1:{self.auth_port}", **auth}
        return self.gate(auth=keys, proxy={"enabled": "no", "public_addr": None})

    def again(self, gate: Gate) -> Gate:
        """The same daemon once more, in the folder of *gate*, which has ended."""
        made = Gate(gate.folder, gate.file.read_text())
        self.addCleanup(made.stop)
        made.until_ready()
        return made

    def token(self, auth: Gate, uses: int = 1) -> str:
        """A join token for gateways."""
        made = auth.admin("POST", "/v1/tokens", {"types": ["gateway"], "uses": uses})
        return str(made["secret"])

    def pin(self, auth: Gate) -> str:
        """The pin of the host authority."""
        return str(auth.admin("GET", "/v1/cas")["pins"][0])

    def joins(
        self,
        token: str | None,
        pin: str | None,
        *,
        name: str = "gw1",
        proxy: Mapping[str, object] | None = None,
        ready: bool = True,
        **teleport: object,
    ) -> Gate:
        """Start a gateway that joins with *token* and *pin*."""
        echo = self.serve(Echo())
        one = {
            "name": "echo",
            "alpn": ["echo"],
            "target": echo.endpoint,
            "client_cert": "required",
            "require_role": ["access"],
        }
        keys: dict[str, object] = {"auth_servers": [f"127.0.0.1:{self.auth_port}"], **teleport}
        if token is not None:
            file = self.folder() / "token"
            file.write_text(token + "\n")
            keys["auth_token"] = str(file)
        if pin is not None:
            keys["ca_pin"] = pin
        self.diag = free_port()
        keys |= {"nodename": name, "diag_addr": f"127.0.0.1:{self.diag}"}
        more = {"routes": [one], "workers": self.workers, **(proxy or {})}
        return self.gate(proxy=more, teleport=keys, ready=ready, may_log=["Traceback"])

    def refused(self, token: str | None, pin: str | None, **more: Any) -> str:
        """What a gateway says that cannot join; it ends with code 2."""
        gate = self.joins(token, pin, ready=False, **more)
        self.assertEqual(gate.child.wait(30), 2, gate.child.tail())
        return gate.text()

    def ask_diag(self, path: str) -> tuple[int, str]:
        """What the diagnostic port of the gateway says."""
        spoken = http.client.HTTPConnection("127.0.0.1", self.diag, timeout=CLIENT_SECONDS)
        try:
            spoken.request("GET", path)
            answer = spoken.getresponse()
            return answer.status, answer.read().decode()
        finally:
            spoken.close()

    def until(self, gate: Gate, what: str, seconds: float, right: Any) -> float:
        """Wait until *right* holds; how long that took."""
        since = time.monotonic()
        gate.child.until(right, what, seconds)
        return time.monotonic() - since

    def works(self, gate: Gate, who: Holder) -> bool:
        """Whether a new connection to the route behind a role is served."""
        try:
            with self.reach(gate, who, "echo") as connection:
                connection.sendall(b"hello")
                return receive(connection, 5) == b"hello"
        except (OSError, ssl.SSLError):
            return False

    def kill(self, gate: Gate) -> None:
        """End a daemon without a word."""
        os.kill(gate.child.pid, signal.SIGKILL)
        gate.child.wait(CLIENT_SECONDS)


class JoinTests(SeparateCase):
    """Becoming a member of a cluster."""

    def test_a_cluster_of_two_processes(self) -> None:
        """People are invited, log in and are let through by role as in one process."""
        auth = self.auth()
        gate = self.joins(self.token(auth), self.pin(auth))
        made = auth.admin("POST", "/v1/users", {"name": "alice", "roles": ["access"], "traits": {}})
        self.assertIn("gw.test", made["invite"]["url"])  # the gateway has told its address
        begun = self.web(gate, "POST", "/v1/invites/begin", {"token": made["invite"]["token"]})
        self.assertEqual(begun.status, 200, begun.text)
        self.add_user_by(auth, gate, "bob")
        alice = self.sign(auth, "bob")
        self.assertTrue(self.works(gate, alice))
        # The API's own doors pass through the gateway untouched: bob sees the auth service.
        answer = self.ask(gate, alice, "GET", "/v1/me", name="auth.gw.test")
        self.assertEqual((answer.status, answer.body["name"]), (200, "bob"), answer.text)
        # And a lock reaches connections that are open.
        with self.reach(gate, alice, "echo") as connection:
            connection.sendall(b"hello")
            self.assertEqual(receive(connection, 5), b"hello")
            auth.admin("POST", "/v1/locks", {"target": {"user": "bob"}, "message": "gone"})
            since = time.monotonic()
            self.assertEqual(drain(connection), b"")
            self.assertLess(time.monotonic() - since, 1.0)
        self.assertFalse(self.works(gate, alice))
        cluster = gate.admin("GET", "/v1/status")["cluster"]
        self.assertEqual((cluster["name"], cluster["away"]), ("gw.test", False))

    def test_the_name_of_another_gateway(self) -> None:
        """The auth service shows a certificate for each name by which a gateway is reached."""
        auth = self.auth()
        gate = self.joins(
            self.token(auth), self.pin(auth), proxy={"public_addr": ["edge.example:443"]}
        )
        auth.admin("POST", "/v1/users", {"name": "alice", "roles": ["access"], "traits": {}})
        alice = self.sign(auth, "alice")

        def answers(alpn: str, name: str) -> bool:
            try:
                return self.ask(gate, alice, "GET", "/v1/me", alpn=alpn, name=name).status == 200
            except (OSError, ssl.SSLError):
                return False

        for alpn, name in (("http/1.1", "auth.edge.example"), ("tlsgate-auth", "edge.example")):
            self.until(gate, f"{name} answers", 10, lambda a=alpn, n=name: answers(a, n))

    def add_user_by(self, auth: Gate, gate: Gate, name: str) -> None:
        """Invite somebody at *auth*, who accepts at *gate*, whose address the trail has."""
        made = auth.admin("POST", "/v1/users", {"name": name, "roles": ["access"], "traits": {}})
        token = made["invite"]["token"]
        begun = self.web(gate, "POST", "/v1/invites/begin", {"token": token})
        user = User(name=name, secret=begun.body["secret"])
        body = {"token": token, "password": user.password, "otp": user.code(time.time())}
        accepted = self.web(gate, "POST", "/v1/invites/accept", body)
        self.assertEqual(accepted.status, 200, accepted.text)
        answer = self.log_in(gate, user.name, user.password, user.code(time.time()))
        self.assertEqual(answer.status, 200, answer.text)

    def log_in(self, gate: Gate, name: str, password: str, code: str) -> Answer:
        """One try to log in on the web port."""
        body = {
            "user": name,
            "password": password,
            "otp": code,
            "tls_public_key": new_key()[1],
            "ssh_public_key": None,
        }
        return self.web(gate, "POST", "/v1/login", body)

    def test_the_client_is_who_is_counted(self) -> None:
        """A login's address is the client's; which web certificate is right the gateway says."""
        auth = self.auth()
        gate = self.joins(self.token(auth), self.pin(auth), proxy={"proxy_protocol": "on"})
        own = ssl.create_default_context(
            cadata="".join(auth.admin("GET", "/v1/cas")["cas"]["host"])
        )
        own.set_alpn_protocols(["tlsgate-webcert"])
        raw = gate.connect()
        raw.sendall(b"PROXY TCP4 203.0.113.9 127.0.0.1 1234 443\r\n")
        shown = own.wrap_socket(raw, server_hostname="gw.test")
        (one,) = request(shown, "GET", "/webapi/certificates").body["certificates"]
        self.assertEqual(one["chain"].strip(), pki().file("server.pem").read_text().strip())
        raw = gate.connect()
        raw.sendall(b"PROXY TCP4 203.0.113.9 127.0.0.1 1234 443\r\n")
        context = ssl.create_default_context(cafile=str(pki().file("ca.pem")))
        secured = context.wrap_socket(raw, server_hostname="gw.test")
        body = {
            "user": "nobody",
            "password": "x" * 16,
            "otp": "000000",
            "tls_public_key": new_key()[1],
            "ssh_public_key": None,
        }
        self.assertEqual(request(secured, "POST", "/v1/login", body).status, 401)
        found = auth.admin("GET", "/v1/audit?event=user.login")["events"]
        self.assertEqual(found[-1]["addr.remote"], "203.0.113.9")

    def test_a_static_token(self) -> None:
        """A token of the auth service's file lets in as many gateways as come."""
        auth = self.auth(tokens=["proxy:0123456789abcdef0123"])
        pin = self.pin(auth)
        for name in ("gw1", "gw2"):
            self.joins("0123456789abcdef0123", pin, name=name)

    def test_nobody_answers(self) -> None:
        """A first start without an auth service says so, and ends."""
        self.auth_port = free_port()
        said = self.refused("x" * 20, "sha256:" + "0" * 64)
        self.assertIn("the auth service at 127.0.0.1", said)


class TokenTests(SeparateCase):
    """Tokens and pins, at one auth service."""

    def setUp(self) -> None:
        super().setUp()
        self.house, self.auth_port = common(self, type(self).begin)
        no_bugs(self, self.house)

    def begin(self) -> tuple[Gate, int]:
        """Start it."""
        return self.auth(), self.auth_port

    def test_a_used_token(self) -> None:
        """A token lets in one gateway; that one needs it no more."""
        auth = self.house
        token, pin = self.token(auth), self.pin(auth)
        first = self.joins(token, pin)
        said = self.refused(token, pin, name="gw2")
        self.assertIn("this host cannot join its cluster", said)
        self.assertIn("tgctl tokens add", said)
        self.assertNotIn(token, said)
        first.stop()
        self.again(first)
        mode = (first.data_dir / "gateway" / "host.key").stat().st_mode
        self.assertEqual(mode & 0o777, 0o600)

    def test_a_wrong_pin(self) -> None:
        """Who does not show the pinned authority is not asked; see `tests.tls.test_dialing`."""
        auth = self.house
        token = self.token(auth)
        before = auth.admin("GET", "/v1/audit?event=instance.join")["events"]
        said = self.refused(token, "sha256:" + "0" * 64)
        self.assertIn("no authority with the pin", said)
        found = auth.admin("GET", "/v1/audit?event=instance.join")["events"]
        self.assertEqual(found, before)

    def test_without_a_pin(self) -> None:
        """Nobody is believed unseen, unless the file says how unsafe that is."""
        auth = self.house
        token = self.token(auth)
        self.assertIn("teleport.ca_pin is missing", self.refused(token, None))
        gate = self.joins(token, None, name="gw3", unsafe_no_ca_pin="yes")
        self.assertEqual(gate.admin("GET", "/v1/status")["cluster"]["name"], "gw.test")

    def test_a_node_s_token(self) -> None:
        """A token for nodes lets in no gateway."""
        auth = self.house
        made = auth.admin("POST", "/v1/tokens", {"types": ["node"], "uses": 1})
        self.assertIn("cannot join", self.refused(made["secret"], self.pin(auth)))


class AwayTests(SeparateCase):
    """R14: the auth service is away, and comes back."""

    def test_r14_best_effort(self) -> None:
        """Connections stay, new ones work, logins hear at once, and all is well again soon."""
        auth = self.auth()
        gate = self.joins(self.token(auth), self.pin(auth))
        self.add_user_at(auth, "alice")
        alice = self.sign(auth, "alice")
        stays = self.reach(gate, alice, "echo")
        self.addCleanup(stays.close)
        self.kill(auth)
        self.until(gate, "it notices", 5, lambda: self.ask_diag("/readyz")[0] == 400)
        code, body = self.ask_diag("/readyz")
        said = json.loads(body)
        self.assertEqual((code, said["status"]), (400, "degraded"))
        self.assertIn("the auth service is not heard", said["why"][0])
        metrics = self.ask_diag("/metrics")[1]
        self.assertIn("tlsgate_auth_away 1.0", metrics)
        self.assertIn("tlsgate_cluster_state_age_seconds", metrics)
        stays.sendall(b"still")
        self.assertEqual(receive(stays, 5), b"still")
        self.assertTrue(self.works(gate, alice))
        since = time.monotonic()
        answer = self.web(gate, "POST", "/v1/login", {"user": "alice", "password": "x"})
        self.assertLess(time.monotonic() - since, RETRY_SECONDS)
        self.assertEqual((answer.status, answer.body["error"]["reason"]), (503, "unreachable"))
        # A restart meanwhile starts from what is kept.
        stays.close()
        gate.stop()
        gate = self.again(gate)
        self.assertTrue(self.works(gate, alice))
        self.assertEqual(self.ask_diag("/readyz")[0], 400)
        self.again(auth)
        took = self.until(gate, "it is back", 30, lambda: self.ask_diag("/readyz")[0] == 200)
        self.assertLess(took, BACK_SECONDS)
        self.assertEqual(self.web(gate, "GET", "/v1/cas").status, 200)

    def test_r14_a_silent_auth_service(self) -> None:
        """One that has stopped without closing anything is noticed by whoever asks, in time."""
        auth = self.auth()
        gate = self.joins(self.token(auth), self.pin(auth))
        self.assertEqual(self.web(gate, "GET", "/v1/cas").status, 200)
        os.kill(auth.child.pid, signal.SIGSTOP)
        try:
            since = time.monotonic()
            answer = self.web(gate, "POST", "/v1/login", {"user": "alice", "password": "x"})
            self.assertLess(time.monotonic() - since, RETRY_SECONDS)
            self.assertEqual((answer.status, answer.body["error"]["reason"]), (503, "unreachable"))
        finally:
            os.kill(auth.child.pid, signal.SIGCONT)
        took = self.until(
            gate, "it is back", 30, lambda: self.web(gate, "GET", "/v1/cas").status == 200
        )
        self.assertLess(took, BACK_SECONDS)

    def test_r14_strict(self) -> None:
        """Where locks are strict, nobody comes in on what is known too long ago."""
        auth = self.auth(authentication={"locking_mode": "strict"})
        gate = self.joins(self.token(auth), self.pin(auth), proxy={"strict_stale_seconds": "3"})
        self.add_user_at(auth, "alice")
        alice = self.sign(auth, "alice")
        stays = self.reach(gate, alice, "echo")
        self.addCleanup(stays.close)
        self.assertTrue(self.works(gate, alice))
        self.kill(auth)
        took = self.until(gate, "users are refused", 20, lambda: not self.works(gate, alice))
        self.assertLess(took, 10)
        event = gate.event(route="echo", cause="denied")
        self.assertIn("the auth service has not been heard for more than 3 s", event["error"])
        self.assertIn("too old for strict locks", self.ask_diag("/readyz")[1])
        stays.sendall(b"still")
        self.assertEqual(receive(stays, 5), b"still")
        self.again(auth)
        took = self.until(gate, "it is back", 30, lambda: self.works(gate, alice))
        self.assertLess(took, BACK_SECONDS)

    def add_user_at(self, auth: Gate, name: str) -> None:
        """A user who need not log in, since the operator signs."""
        auth.admin("POST", "/v1/users", {"name": name, "roles": ["access"], "traits": {}})


class WorkersAwayTests(AwayTests):
    """The same with a gateway of two workers, each of which asks the auth service itself."""

    workers = 2


class AuthWorkersTests(SeparateCase):
    """An auth service whose port two workers share, with the store in a third process."""

    def test_joining(self) -> None:
        """Gateways join through it as through one process."""
        self.auth_port = free_port()
        keys = {**AUTH, "listen_addr": f"127.0.0.1:{self.auth_port}"}
        off = {"enabled": "no", "public_addr": None, "workers": 2}
        auth = self.gate(auth=keys, proxy=off)
        gate = self.joins(self.token(auth), self.pin(auth))
        auth.admin("POST", "/v1/users", {"name": "alice", "roles": ["access"], "traits": {}})
        self.assertTrue(self.works(gate, self.sign(auth, "alice")))


class RotationTests(SeparateCase):
    """New authorities, while a gateway is elsewhere."""

    def test_the_host_authority(self) -> None:
        """Through every phase the gateway stays a member, and shows what is trusted."""
        auth = self.auth()
        gate = self.joins(self.token(auth), self.pin(auth))
        before = (gate.data_dir / "gateway" / "host.crt").read_bytes()
        auth.admin("POST", "/v1/users", {"name": "alice", "roles": ["access"], "traits": {}})
        for phase in ("init", "update_clients", "update_servers", "standby"):
            body = {"phase": phase, "grace_seconds": 0 if phase == "standby" else None}
            auth.admin("POST", "/v1/authorities/host/rotate", body)
            # A phase is long enough for everybody to follow.
            until(lambda: self.follows(gate, auth), f"the gateway follows {phase}", 10)
            self.assertEqual(self.web(gate, "GET", "/v1/cas").status, 200, phase)
        after = (gate.data_dir / "gateway" / "host.crt").read_bytes()
        self.assertNotEqual(before, after)
        pems = auth.admin("GET", "/v1/cas")["cas"]["host"]
        self.assertEqual((gate.data_dir / "gateway" / "host.cas").read_text(), "".join(pems))
        # New connections with it are good, and what it knows is what it knew.
        gate.stop()
        gate = self.again(gate)
        self.assertTrue(self.works(gate, self.sign(auth, "alice")))
        self.assertEqual(self.ask_diag("/readyz")[0], 200)

    def follows(self, gate: Gate, auth: Gate) -> bool:
        """Whether the gateway trusts what is trusted now, and shows what signs now."""
        host = auth.admin("GET", "/v1/authorities")["authorities"]["host"]
        folder = gate.data_dir / "gateway"
        trusted = {key["certificate"] for key in host["keys"]}
        text = (folder / "host.cas").read_text()
        signing = json.loads((folder / "state.json").read_text())["signing"]
        if signing.split()[0] != host["signing"]:  # that of SSH stands beside it
            return False
        return all(pem in text for pem in trusted) and len(text) == sum(map(len, trusted))


class WorkersJoinTests(SeparateCase):
    """Joining with two workers."""

    workers = 2

    def test_one_join(self) -> None:
        """A single use of a token is enough for all workers."""
        auth = self.auth()
        gate = self.joins(self.token(auth), self.pin(auth))
        self.assertEqual(len(gate.admin("GET", "/v1/status")["members"]), 2)
        found = auth.admin("GET", "/v1/audit?event=instance.join")["events"]
        self.assertEqual([one["success"] for one in found], [True])

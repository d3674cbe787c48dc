"""Who is shut out, or whose certificate has ended, and what is open then (S08, S52)."""

from __future__ import annotations

import contextlib
import http.client
import select
import sqlite3
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography import x509

from tests.support.authorities import now_of
from tests.support.child import during
from tests.support.cluster import AUTH, ClusterCase, Holder, new_key
from tests.support.common import common, no_bugs
from tests.support.echo import Echo
from tests.support.harness import CLIENT_SECONDS, Gate, receive
from tlsgate.auth.authorities import Authorities
from tlsgate.auth.issue import FLOOR_SECONDS, Issuer
from tlsgate.auth.seal import Seal
from tlsgate.core.claims import Claims
from tlsgate.core.keeping import Put
from tlsgate.store.memory import MemoryStore

#: Of the one who is locked.
MANY = 200
#: Of each of the others.
FEW = 10
#: From the lock, or the end of a certificate, to the last connection's end (S08, S52).
CUT_SECONDS = 1.0
#: What is left of the short certificates.
LEFT_SECONDS = 5.0
IDLE_SECONDS = 2.0

LIMITS = {"handshakes_per_second_per_address": 10_000, "unauthenticated_per_address": 1000}


class LocksTests(ClusterCase):
    """One process."""

    workers = 1

    def setUp(self) -> None:
        super().setUp()
        self.daemon = common(self, type(self).begin)
        no_bugs(self, self.daemon)

    def begin(self) -> Gate:
        """One daemon for all tests: each has its own people."""
        route = {
            "name": "echo",
            "alpn": ["echo"],
            "target": self.serve(Echo()).endpoint,
            "client_cert": "required",
            "require_role": ["access", "other", "strict", "lenient", "quiet"],
        }
        return self.cluster(proxy={"routes": [route], "workers": self.workers, "limits": LIMITS})

    def role(self, name: str, **options: object) -> None:
        role = {"kind": "role", "version": "v7", "metadata": {"name": name}}
        spec = {"allow": {"logins": ["root"]}, "options": options}
        self.daemon.admin("PUT", f"/v1/resources/role/{name}", {**role, "spec": spec})

    def crowd(self, who: Holder, count: int) -> list[ssl.SSLSocket]:
        """Connections of somebody, each of which has been heard through the route."""
        made = []
        for _ in range(count):
            one = self.reach(self.daemon, who, "echo")
            self.addCleanup(one.close)
            one.sendall(b"hello")
            self.assertEqual(receive(one, 5), b"hello")
            made.append(one)
        return made

    def live(self, connections: Sequence[ssl.SSLSocket]) -> bool:
        """Whether all of them still carry bytes."""
        for one in connections:
            one.sendall(b"still")
        return all(receive(one, 5) == b"still" for one in connections)

    def end_of(self, connections: Sequence[ssl.SSLSocket], seconds: float) -> list[float]:
        """When each of them ended, in seconds of the wall clock; fewer where not all did."""
        poll = select.poll()
        left = {}
        for one in connections:
            poll.register(one, select.POLLIN)
            left[one.fileno()] = one
        ends = []
        over = time.monotonic() + seconds
        while left and (wait := over - time.monotonic()) > 0:
            for number, _ in poll.poll(wait * 1000):
                with contextlib.suppress(OSError):  # a reset is an end too
                    if left[number].recv(100):
                        continue
                ends.append(time.time())
                poll.unregister(number)
                del left[number]
        return ends

    def refused(self, who: Holder) -> None:
        """Whoever is shut out gets nothing through the route."""
        try:
            with self.reach(self.daemon, who, "echo") as connection:
                connection.sendall(b"hello")
                got = receive(connection, 5)
        except OSError:
            got = b""
        self.assertEqual(got, b"")

    def test_s52_a_lock_ends_what_is_open(self) -> None:
        """S52: a lock on a user, a role or a certificate ends 200 connections within a second."""
        self.role("other")
        people = {"alice": "access", "bob": "other", "carol": "access"}
        for name, role in people.items():
            self.add_user(self.daemon, name, [role])
        alice, bob, carol = (self.sign(self.daemon, name) for name in people)
        again = self.sign(self.daemon, "carol")
        locks: list[tuple[Mapping[str, str], Holder, Holder]] = [
            ({"user": "alice"}, alice, bob),
            ({"role": "other"}, bob, carol),
            ({"certificate": serial_of(carol)}, carol, again),
        ]
        for target, who, other in locks:
            theirs, others = self.crowd(who, MANY), self.crowd(other, FEW)
            since = time.time()
            self.daemon.admin("POST", "/v1/locks", {"target": target, "message": "gone"})
            ends = self.end_of(theirs, 5)
            self.assertEqual((target, len(ends)), (target, MANY))
            self.assertLess(max(ends) - since, CUT_SECONDS, target)
            self.refused(who)
            self.assertTrue(self.live(others), target)
            for one in others:
                one.close()

    def test_s52_a_lock_that_ends(self) -> None:
        """A lock with a life lets in again by itself; one that is removed does so at once."""
        self.add_user(self.daemon, "anna")
        anna = self.sign(self.daemon, "anna")
        lock = {"target": {"user": "anna"}, "ttl_seconds": 2}
        self.daemon.admin("POST", "/v1/locks", lock)
        until = time.monotonic() + 2
        self.refused(anna)
        for _ in during(until - time.monotonic() + 1):
            pass
        self.crowd(anna, self.workers * 4)
        made = self.daemon.admin("POST", "/v1/locks", {"target": {"user": "anna"}})
        self.refused(anna)
        name = made["metadata"]["name"]
        self.daemon.admin("DELETE", f"/v1/resources/lock/{name}")
        for _ in during(0.5):
            pass
        self.crowd(anna, self.workers * 4)

    def test_s52_the_api_too(self) -> None:
        """A connection to the API that was open before the lock answers nothing after it."""
        self.add_user(self.daemon, "erin", ["access", "editor"])
        asking = self.kept_open(self.sign(self.daemon, "erin"))
        self.assertEqual(self.asks(asking), 200)
        self.daemon.admin("POST", "/v1/locks", {"target": {"user": "erin"}})
        self.assertIn(self.asks(asking), (None, 403))

    def kept_open(self, who: Holder) -> http.client.HTTPConnection:
        """A connection to the API for more than one question."""
        raw = self.daemon.connect()
        connection = http.client.HTTPConnection("gw.test", timeout=CLIENT_SECONDS)
        connection.auto_open = 0
        context = who.context("tlsgate-auth")
        connection.sock = context.wrap_socket(raw, server_hostname="gw.test")
        self.addCleanup(connection.close)
        return connection

    def asks(self, connection: http.client.HTTPConnection) -> int | None:
        """The status of a question; None: the connection has ended."""
        try:
            connection.request("GET", "/v1/resources/role")
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return None
        return answer.status

    # -- time --

    def short(self, name: str, roles: Sequence[str]) -> Holder:
        """Somebody whose certificate ends in a few seconds: the API gives a minute at least."""
        copy = self.folder() / "copy.db"
        self.daemon.admin("POST", "/v1/backup", {"file": str(copy)})
        store = MemoryStore()
        with contextlib.closing(sqlite3.connect(copy)) as database:
            for key, value in database.execute("select key, value from items"):
                if b"authorities/" in key:
                    now_of(store.commit([Put(key.decode(), value)]))
        seal = Seal.open(self.daemon.data_dir, fresh=False)
        cluster = str(AUTH["cluster_name"])

        def then() -> float:
            return time.time() - FLOOR_SECONDS + LEFT_SECONDS

        authorities = Authorities(store, seal, then, cluster)
        now_of(authorities.start())
        private, tls, _ = new_key()
        claims = Claims(cluster=cluster, kind="user", name=name, roles=tuple(roles))
        issued = Issuer(authorities, cluster, then).user_certificates(
            claims, tls, None, FLOOR_SECONDS
        )
        cas: dict[str, Any] = {kind: list(texts) for kind, texts in issued.cas.items()}
        body = {"certificate": issued.tls_pem, "cas": cas, "not_after": issued.not_after}
        return self.holder(name, private, body)

    def test_s08_the_end_of_a_certificate(self) -> None:
        """S08: it ends connections where a role says so, within a second, and no others."""
        self.role("strict", disconnect_expired_cert=True)
        self.role("lenient", disconnect_expired_cert=False)
        people = {"strict": ["strict"], "both": ["lenient", "strict"], "lenient": ["lenient"]}
        for name, roles in people.items():
            self.add_user(self.daemon, name, roles)
        short = {name: self.short(name, roles) for name, roles in people.items()}
        ends = {name: float(who.issued["not_after"]) for name, who in short.items()}
        open_ones = {name: self.crowd(who, FEW) for name, who in short.items()}
        asking = self.kept_open(self.short("lenient", ["lenient"]))
        self.assertIn(self.asks(asking), (200, 403))
        for name in ("strict", "both"):
            found = self.end_of(open_ones[name], LEFT_SECONDS + 5)
            self.assertEqual((name, len(found)), (name, FEW))
            self.assertGreaterEqual(min(found), ends[name] - 0.1, name)
            self.assertLess(max(found), ends[name] + CUT_SECONDS, name)
        for _ in during(max(ends.values()) + 1.5 - time.time()):
            pass
        self.assertTrue(self.live(open_ones["lenient"]))
        for who in short.values():
            self.refused(who)
        self.assertIn(self.asks(asking), (None, 401, 403))

    def test_who_is_silent(self) -> None:
        """A role's client_idle_timeout ends who says nothing, and nobody else."""
        self.role("quiet", client_idle_timeout=f"{IDLE_SECONDS:g}s")
        self.add_user(self.daemon, "quinn", ["quiet"])
        self.add_user(self.daemon, "olga")
        quinn, olga = self.sign(self.daemon, "quinn"), self.sign(self.daemon, "olga")
        silent, talking = self.crowd(quinn, FEW), self.crowd(quinn, FEW)
        since, others = time.time(), self.crowd(olga, FEW)
        ends: list[float] = []
        for _ in during(IDLE_SECONDS + 2, 0.25):
            self.assertTrue(self.live(talking))
            ends += self.end_of(silent[len(ends) :], 0.1) if len(ends) < FEW else []
        self.assertEqual(len(ends), FEW)
        self.assertGreater(min(ends), since + IDLE_SECONDS - 1)
        self.assertLess(max(ends), since + IDLE_SECONDS + 1.5)
        self.assertTrue(self.live(others))


class WorkersLocksTests(LocksTests):
    """Two workers, and the auth service beside them."""

    workers = 2


def serial_of(who: Holder) -> str:
    """The serial number of somebody's certificate, in hex."""
    return f"{x509.load_pem_x509_certificate(who.cert.read_bytes()).serial_number:x}"

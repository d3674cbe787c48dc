"""Every combination of name, tokens, certificate, version, resumption and Host.

The expected outcomes are the tables below, written by hand; nothing of them is computed by
the code under test. A cell in which a check is lowered is a cell with another outcome.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from typing import Final

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Client, Rig
from tests.support.certs import pki
from tlsgate.tls.binding import resumed

ROUTES = """
    - {name: echo, alpn: [echo], target: "{unix}", allow: [{cn: alice}]}
    - {name: open, alpn: [open], target: "{unix}", client_cert: none, unsafe_anyone: yes}
    - {name: db, sni: [db.test], target: "{unix}", allow: [{cn: alice}]}
    - {name: ops, sni: ["*.ops.test"], alpn: [pg], target: "{unix}", allow: [{cn: alice}]}
    - {name: sql, sni: [sql.test], protocol: postgres, target: "{unix}", allow: [{cn: alice}]}
    - {name: pass, sni: [pass.test], passthrough: yes, target: "{unix}"}
"""

#: What a client may call the gateway by; None sends no name.
NAMES: Final[Mapping[str, str | None]] = {
    "public": "gw.test",
    "none": None,
    "unknown": "nobody.test",
    "odd spelling": "Gw.TEST",
    "exact": "db.test",
    "wildcard": "x.ops.test",
    "passed": "pass.test",
}

OFFERS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "-": (),
    "h1": (b"http/1.1",),
    "h2,h1": (b"h2", b"http/1.1"),
    "echo": (b"echo",),
    "echo,h2": (b"echo", b"h2"),
    "h2,echo": (b"h2", b"echo"),
    "open": (b"open",),
    "what": (b"what",),
    "pg": (b"pg",),
}

#: Where a name and its offers lead; 120 is the alert no_application_protocol.
WHERE: Final = """
              -        h1       h2,h1    echo  echo,h2  h2,echo  open  what  pg
public        console  console  console  echo  echo     echo     open  120   120
none          console  console  console  echo  echo     echo     open  120   120
unknown       console  console  console  echo  echo     echo     open  120   120
odd spelling  console  console  console  echo  echo     echo     open  120   120
exact         db       120      120      echo  echo     echo     open  120   120
wildcard      120      120      120      echo  echo     echo     open  120   ops
passed        pass     pass     pass     pass  pass     pass     pass  pass  pass
"""

#: The same on a port of its own for SSH, where there is no console.
WHERE_ON_SSH: Final = """
              -        h1       h2,h1    echo  echo,h2  h2,echo  open  what  pg
public        unserved 120      120      echo  echo     echo     open  120   120
none          unserved 120      120      echo  echo     echo     open  120   120
unknown       unserved 120      120      echo  echo     echo     open  120   120
odd spelling  unserved 120      120      echo  echo     echo     open  120   120
exact         db       120      120      echo  echo     echo     open  120   120
wildcard      unserved 120      120      echo  echo     echo     open  120   ops
passed        pass     pass     pass     pass  pass     pass     pass  pass  pass
"""

#: Client certificates, and what they are worth where one is required.
CERTS: Final[Mapping[str | None, str]] = {
    None: "certificate required",
    "alice": "reached",
    "mallory": "unknown ca",
    "expired": "certificate expired",
    "bob": "denied",
    "host": "unsupported certificate",
}

#: In TLS 1.2 a missing certificate has no alert of its own.
OLD_WORDS: Final = {"certificate required": "handshake failure"}

#: Hosts of requests to the console, and the status: 421 where another rule claims the name.
HOSTS: Final = {"gw.test": b"200", "db.test": b"421", "other.test": b"200"}

GUARDED: Final = frozenset({"echo", "db", "ops"})

VERSIONS: Final = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}

#: What session is offered for resumption: none, the cell's own, or one of the console's.
SESSIONS: Final = ("fresh", "own", "console's")


def table(text: str) -> dict[tuple[str, str], str]:
    """Read one of the tables above."""
    head, *rows = text.strip("\n").splitlines()
    offers = head.split()
    read = {}
    for row in rows:
        name, cells = row[:14].strip(), row[14:].split()
        read.update({(name, offer): cell for offer, cell in zip(offers, cells, strict=True)})
    assert {name for name, _ in read} == set(NAMES)
    assert {offer for _, offer in read} == set(OFFERS)
    return read


class MatrixCase(SynchronousTestCase):
    """A gateway with the routes, and one cell's connection."""

    version = "v2"
    extra = ""

    def setUp(self) -> None:
        """Build the gateway."""
        wide = "unauthenticated_per_address: 1000, handshakes_per_second_per_address: 1000000"
        extra = f"  limits: {{{wide}}}\n{self.extra}"
        self.rig = Rig(ROUTES, extra=extra, version=self.version)
        self.addCleanup(self.rig.close)

    def outcome(self, client: Client, hosts: tuple[str, ...] = ()) -> str:
        """What becomes of *client*, read off both sides' sockets."""
        try:
            target = self._reached(client)
            if target is not None:
                return target
            if hosts:
                return " ".join(self._ask(client, host) for host in hosts)
            client.read_end()
        except SSL.Error as error:
            return self._alert(error)
        cause = self._last_cause()
        return {"not_served": "unserved"}.get(cause, cause)

    def _reached(self, client: Client) -> str | None:
        """Say "reached" when the target is dialled, "pass" when it gets the hello; or None."""
        found: list[str] = []

        def step() -> bool:
            with contextlib.suppress(BlockingIOError):
                target, _ = self.rig.listening.accept()
                with target:
                    target.setblocking(False)
                    self.rig.settle()
                    with contextlib.suppress(BlockingIOError):
                        found.append("pass" if target.recv(1) == b"\x16" else "odd bytes")
                found.append("reached")
                return True
            try:
                client.tls.do_handshake()
            except (SSL.WantReadError, SSL.WantWriteError):
                return False
            return True

        self.rig.until(step)
        if not found:
            # The handshake is done for the client; the gateway may still refuse, or dial.
            self.rig.settle()
            with contextlib.suppress(BlockingIOError):
                target, _ = self.rig.listening.accept()
                target.close()
                found.append("reached")
        return found[0] if found else None

    def _ask(self, client: Client, host: str) -> str:
        request = f"GET /webapi/ping HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        client.write(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += client._receive(65_536)
        status = answer.split(b" ", 2)[1].decode()
        length = int(answer.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        rest = length - len(answer.split(b"\r\n\r\n", 1)[1])
        if rest > 0:
            client.read(rest)
        return status

    def _alert(self, error: SSL.Error) -> str:
        reasons = error.args[0] if error.args else ""
        text = reasons[0][2] if isinstance(reasons, list) and reasons else repr(error)
        return "120" if "no application protocol" in text else text.rpartition("alert ")[2]

    def _last_cause(self) -> str:
        self.rig.settle()
        self.rig.advance(2.5)
        return str(self.rig.journal[-1]["cause"])

    def clean(self, client: Client) -> None:
        """End what is left of a cell."""
        client.sock.close()
        self.rig.settle()
        self.rig.journal.clear()
        self.rig.witness.events.clear()
        self.rig.witness.seen.clear()

    def expected(self, where: str, cert: str | None, version: str) -> str:
        """The outcome of a cell that leads to *where*."""
        if where in GUARDED:
            words = CERTS[cert]
            return OLD_WORDS.get(words, words) if version == "1.2" else words
        return {"open": "reached"}.get(where, where)


class WebMatrixTests(MatrixCase):
    """The web port, with every dimension."""

    def test_no_check_is_lowered(self) -> None:
        """All cells have the outcome that the table gives them, and none is resumed."""
        where = table(WHERE)
        wrong: list[str] = []
        cells = 0
        for version in VERSIONS:
            console = self.session(version)
            for name, offer, cert in itertools.product(NAMES, OFFERS, CERTS):
                own: SSL.Session | None = None
                for state in SESSIONS:
                    leads = where[name, offer]
                    hosts = tuple(HOSTS) if leads == "console" and "h2" not in offer else ()
                    client = self.rig.secure(
                        alpn=OFFERS[offer],
                        name=NAMES[name],
                        cert=cert,
                        version=VERSIONS[version],
                    )
                    offered = {"fresh": None, "own": own, "console's": console}[state]
                    if offered is not None:
                        client.tls.set_session(offered)
                    wanted = self.expected(leads, cert, version)
                    if leads == "console":
                        wanted = b" ".join(HOSTS.values()).decode() if hosts else "console"
                    if leads == "console" and not hosts:
                        got = self.negotiated(client)
                    else:
                        got = self.outcome(client, hosts)
                    cells += max(len(hosts), 1)
                    if got != wanted or (offered is not None and resumed(client.tls)):
                        wrong.append(
                            f"{name} {offer} {cert} TLS {version} {state}: {got}, not {wanted}"
                        )
                    if state == "fresh":
                        own = client.tls.get_session()
                    self.clean(client)
        self.assertEqual(wrong, [])
        self.assertGreaterEqual(cells, 7 * 9 * 6 * 2 * 3)

    def session(self, version: str) -> SSL.Session | None:
        """A session of the console, made without a certificate."""
        client = self.rig.secure(alpn=(b"http/1.1",), cert=None, version=VERSIONS[version]).shake()
        self._ask(client, "gw.test")
        session = client.tls.get_session()
        self.clean(client)
        return session

    def negotiated(self, client: Client) -> str:
        """Say "console" when the handshake ends with h2, whose Hosts other tests cover."""
        try:
            client.shake()
        except SSL.Error as error:
            return self._alert(error)
        return "console" if client.tls.get_alpn_proto_negotiated() in (b"h2", b"") else "?"


class SshPortMatrixTests(MatrixCase):
    """A legacy port: the same routes and certificates, and no console."""

    version = "v1"
    listener = "ssh"

    def test_no_check_is_lowered(self) -> None:
        """All cells have the outcome that the table gives them."""
        where = table(WHERE_ON_SSH)
        wrong: list[str] = []
        for version, name, offer, cert in itertools.product(VERSIONS, NAMES, OFFERS, CERTS):
            client = self.rig.secure(
                alpn=OFFERS[offer],
                name=NAMES[name],
                cert=cert,
                version=VERSIONS[version],
                listener=self.listener,
            )
            wanted = self.expected(where[name, offer], cert, version)
            got = self.outcome(client)
            if got != wanted:
                wrong.append(f"{name} {offer} {cert} TLS {version}: {got}, not {wanted}")
            self.clean(client)
        self.assertEqual(wrong, [])


class OpeningMatrixTests(MatrixCase):
    """Behind SSLRequest only postgres routes count, and they demand what they always do."""

    def test_ssl_request(self) -> None:
        """No other route's name or token leads anywhere from there."""
        wrong: list[str] = []
        names = {**NAMES, "sql": "sql.test"}
        for name, offer, cert in itertools.product(names, OFFERS, CERTS):
            sock = self.rig.connect()
            sock.send(bytes.fromhex("0000000804d2162f"))
            self.rig.settle()
            if sock.recv(2) != b"S":
                wrong.append(f"{name}: not answered")
            client = Client(
                self.rig,
                sock,
                alpn=OFFERS[offer],
                name=names[name],
                cert=cert,
                version=SSL.TLS1_3_VERSION,
            )
            leads = name == "sql" and offer == "-"
            wanted = CERTS[cert] if leads else "120"
            got = self.outcome(client)
            if got != wanted:
                wrong.append(f"{name} {offer} {cert}: {got}, not {wanted}")
            self.clean(client)
        self.assertEqual(wrong, [])


class PkiTests(SynchronousTestCase):
    """The certificates of the matrix are what it says."""

    def test_six(self) -> None:
        """Five pairs and none."""
        for cert in CERTS:
            if cert is not None:
                self.assertTrue(pki().file(f"{cert}.pem").exists())
        self.assertEqual(len(CERTS), 6)

"""A cluster for tests of the command lines: it issues certificates and answers in memory."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.api import Way
from tlsgate.cli.certfile import read_certificate
from tlsgate.cli.door import Asks
from tlsgate.cli.tgsh.call import Call
from tlsgate.cli.tgsh.main import tgsh
from tlsgate.core.claims import CLAIMS_OID, Claims, encode
from tlsgate.errors import DaemonSaid, Fault, GateError

#: When everything in these tests happens: 2026-01-02 03:04:05 UTC.
NOW = 1767323045.0
#: A line that is shaped as OpenSSH's are; nobody reads it here.
SSH_LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"

PING: dict[str, Any] = {
    "auth": {"type": "local", "second_factor": "otp", "private_key_policy": "none"},
    "proxy": {
        "kube": {"enabled": True, "listen_addr": "0.0.0.0:443"},
        "ssh": {"listen_addr": "0.0.0.0:443", "ssh_public_addr": "gate.test:443"},
        "db": {"postgres_listen_addr": "[::]:443"},
        "tls_routing_enabled": True,
    },
    "server_version": "1.0.0",
    "min_client_version": "1.0.0",
    "cluster_name": "example",
}


def _at(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


class Authority:
    """A CA that signs what claims ask for."""

    def __init__(self, name: str = "host ca", now: float = NOW) -> None:
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self._name, self._key.public_key(), ca=True)
        self.pem = self.certificate.public_bytes(Encoding.PEM).decode()
        self.der = self.certificate.public_bytes(Encoding.DER)
        self.pin = read_certificate(self.der).pin

    def issue(
        self,
        claims: Claims | None,
        public: Any = None,
        *,
        names: tuple[str, ...] = (),
        start: float | None = None,
        end: float | None = None,
    ) -> x509.Certificate:
        """A certificate with *claims*; without *start* and *end* as a user's of 12 h."""
        public = public or ec.generate_private_key(ec.SECP256R1()).public_key()
        common = "x" if claims is None else claims.name
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        return self._signed(subject, public, claims=claims, names=names, start=start, end=end)

    def _signed(
        self,
        subject: x509.Name,
        public: Any,
        *,
        claims: Claims | None = None,
        names: tuple[str, ...] = (),
        start: float | None = None,
        end: float | None = None,
        ca: bool = False,
    ) -> x509.Certificate:
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_at(self._now - 60 if start is None else start))
            .not_valid_after(_at(self._now + 43200 if end is None else end))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        if names:
            listed = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            made = made.add_extension(listed, critical=False)
        if claims is not None:
            oid = x509.ObjectIdentifier(CLAIMS_OID)
            made = made.add_extension(x509.UnrecognizedExtension(oid, encode(claims)), False)
        return made.sign(self._key, hashes.SHA256())


@define
class Cluster:
    """Answers "METHOD path" as auth does; tests change `answers`, and read what was asked."""

    ca: Authority = field(factory=Authority)
    #: What the gateway shows at its web port: it signed that itself.
    web: Authority = field(factory=lambda: Authority("gate.test"))
    password: str = "right horse"
    roles: tuple[str, ...] = ("access", "editor")
    logins: tuple[str, ...] = ("alice", "root")
    #: Seconds by which the cluster's clock is ahead.
    ahead: float = 0.0
    answers: dict[str, Any] = field(factory=dict)
    #: By address, or by whether the way believes anybody: an error instead of an answer.
    refuses: Callable[[Way], GateError | None] = field(default=lambda way: None)
    ping: dict[str, Any] = field(factory=lambda: copy.deepcopy(PING))
    asked: list[tuple[str, str, Any]] = field(factory=list)  #: door, "METHOD path", body
    ways: list[Way] = field(factory=list)

    def open(self, way: Way) -> Asks:
        """The API at the end of *way*."""
        self.ways.append(way)
        return _Api(self, way)

    def issued(self, body: Mapping[str, Any], user: str | None = None) -> dict[str, Any]:
        """An answer of /v1/login and its like."""
        now = NOW + self.ahead
        name = user or body["user"]
        life = body.get("ttl_seconds") or 43200
        claims = Claims(
            cluster="example",
            kind="user",
            name=name,
            roles=self.roles,
            traits={"logins": self.logins} if self.logins else {},
            routes=body.get("routes") or {},
        )
        public = load_pem_public_key(body["tls_public_key"].encode())
        made = self.ca.issue(claims, public, start=now - 60, end=now + life)
        return {
            "user": name,
            "cluster": "example",
            "roles": list(self.roles),
            "traits": {"logins": list(self.logins)},
            "certificate": made.public_bytes(Encoding.PEM).decode(),
            "ssh_certificate": f"{SSH_LINE}user",
            "not_before": now - 60,
            "not_after": now + life,
            "cas": {
                "host": [self.ca.pem],
                "user": [self.ca.pem],
                "ssh_host": [f"{SSH_LINE}host comment"],
                "ssh_user": [f"{SSH_LINE}users"],
            },
            "revision": 7,
        }

    def answer(self, door: str, ask: str, query: Any, body: Any) -> Any:
        """The answer of one question."""
        self.asked.append((door, ask, body))
        answer = self.answers.get(ask)
        if answer is None and ask == "GET /webapi/ping":
            answer = self.ping
        if answer is None and ask == "GET /webapi/certificates":
            answer = {"certificates": [{"names": ["gate.test"], "chain": self.web.pem}]}
        if answer is None and ask == "POST /v1/login":
            if body["password"] != self.password:
                words = "the user name, the password or the one-time code is wrong"
                raise DaemonSaid("login_failed", Fault.CLIENT, words)
            answer = self.issued(body)
        if answer is None and ask == "POST /v1/me/certificates":
            answer = self.issued(body, "alice")
        if callable(answer):
            answer = answer(query, body)
        if isinstance(answer, GateError):
            raise answer
        assert answer is not None, ask
        return answer


@define
class _Api:
    cluster: Cluster
    way: Way
    presented: list[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.presented = [self.cluster.ca.der]

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        seconds: float = 15.0,
        body: Any = None,
    ) -> Any:
        refusal = self.cluster.refuses(self.way)
        if refusal is not None:
            raise refusal
        return self.cluster.answer(self.way.door, f"{method} {path}", query, body)


@define
class Terminal:
    """A user at a terminal: a home, what is typed next, and the time."""

    home: Path
    cluster: Cluster = field(factory=Cluster)
    types: list[str] = field(factory=list)
    now: float = NOW
    questions: list[str] = field(factory=list)
    ran: list[list[str]] = field(factory=list)  #: programs that took tgsh's place

    def run(self, *words: str, env: dict[str, str] | None = None, stdin: str = "") -> Result:
        """Run `tgsh *words*`; the result has exit_code, stdout and stderr."""
        call = Call(
            home=self.home,
            open_way=self.cluster.open,
            ask_secret=self._type,
            now=lambda: self.now,
            ask_ping=lambda place: json.dumps(self.cluster.ping).encode(),
            execute=lambda program, words: self.ran.append([program, *words]),
        )
        names = ("PROXY", "USER", "HOME", "IDENTITY_FILE")
        none: dict[str, str | None] = {
            f"{program}_{name}": None for program in ("TGSH", "TELEPORT") for name in names
        }
        none |= dict.fromkeys(("SSL_CERT_FILE", "SSH_AUTH_SOCK", "TGSH_ADD_KEYS_TO_AGENT"))
        return CliRunner().invoke(tgsh, words, obj=call, env={**none, **(env or {})}, input=stdin)

    def _type(self, question: str) -> str:
        self.questions.append(question)
        return self.types.pop(0)

    def login(self, *words: str, proxy: str = "gate.test:443", user: str = "alice") -> Result:
        """Log in with the right password."""
        self.types = [self.cluster.password, "123456"]
        return self.run("login", f"--proxy={proxy}", f"--user={user}", *words)


class CommandCase(SynchronousTestCase):
    """A terminal with a login."""

    def setUp(self) -> None:
        self.terminal = Terminal(Path(self.mktemp()).absolute())
        self.cluster = self.terminal.cluster
        self.terminal.login()
        self.cluster.asked.clear()
        self.terminal.questions.clear()

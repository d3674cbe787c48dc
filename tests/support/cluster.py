"""A daemon that is a whole cluster, and people who log in to it."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyotp
from attrs import define, field
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.certs import pki
from tests.support.harness import CLIENT_SECONDS, Gate, GateCase

#: What a cluster of these tests has below auth_service.
AUTH: Mapping[str, object] = {"enabled": "yes", "cluster_name": "gw.test"}
PASSWORD = "correct horse battery staple"


@define(kw_only=True)
class Holder:
    """Somebody with a key, and with the certificates that the cluster issued for it."""

    name: str
    folder: Path
    issued: dict[str, Any] = field(repr=False)

    @property
    def cert(self) -> Path:
        """The X.509 certificate, PEM."""
        return self.folder / f"{self.name}.crt"

    @property
    def key(self) -> Path:
        """The private key, PEM."""
        return self.folder / f"{self.name}.key"

    @property
    def cas(self) -> Path:
        """The host authorities, PEM."""
        return self.folder / f"{self.name}.cas"

    def context(self, *alpn: str) -> ssl.SSLContext:
        """TLS as this holder, to what shows the cluster's certificate."""
        made = ssl.create_default_context(cafile=str(self.cas))
        made.load_cert_chain(self.cert, self.key)
        if alpn:
            made.set_alpn_protocols(list(alpn))
        return made


@define(kw_only=True)
class User:
    """A person with a password and an authenticator whose clock the test moves."""

    name: str
    secret: str = field(repr=False)
    password: str = field(default=PASSWORD, repr=False)
    _last: int = 0

    @property
    def last_step(self) -> int:
        """Of the code that was given out last; a step is 30 seconds since the epoch."""
        return self._last

    def code(self, now: float) -> str:
        """A code that has not been used: of the present step, or of the next one."""
        step = max(int(now) // 30, self._last + 1)
        self._last = step
        return pyotp.TOTP(self.secret).generate_otp(step)


def new_key() -> tuple[bytes, str, str]:
    """A private key in PEM, and its public half in PEM and as OpenSSH has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, pem.decode(), line.decode()


class Answer:
    """Status and JSON of one request."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        raw = answer.read()
        self.text = raw.decode()
        self.body: Any = json.loads(raw) if raw else None


def request(
    connection: ssl.SSLSocket, method: str, path: str, body: object = None, host: str = "gw.test"
) -> Answer:
    """One request of HTTP/1.1 over *connection*, which is closed afterwards."""
    spoken = http.client.HTTPConnection(host, timeout=CLIENT_SECONDS)
    spoken.sock = connection
    headers = {"Connection": "close"}
    try:
        if body is None:
            spoken.request(method, path, headers=headers)
        else:
            headers["Content-Type"] = "application/json"
            spoken.request(method, path, json.dumps(body), headers)
        return Answer(spoken.getresponse())
    finally:
        spoken.close()


class ClusterCase(GateCase):
    """Tests with a cluster and its people."""

    def cluster(self, *, auth: Mapping[str, object] = AUTH, **keys: Any) -> Gate:
        """Start a daemon with an auth service and a gateway."""
        return self.gate(auth=auth, **keys)

    def web(self, gate: Gate, method: str, path: str, body: object = None) -> Answer:
        """Ask on the web port, as anybody."""
        return request(gate.dial(), method, path, body)

    def add_user(
        self,
        gate: Gate,
        name: str,
        roles: Sequence[str] = ("access",),
        **traits: Sequence[str],
    ) -> User:
        """Invite somebody, and have them accept."""
        made = gate.admin(
            "POST",
            "/v1/users",
            {
                "name": name,
                "roles": list(roles),
                "traits": {key: list(values) for key, values in traits.items()},
            },
        )
        token = made["invite"]["token"]
        begun = self.web(gate, "POST", "/v1/invites/begin", {"token": token})
        self.assertEqual(begun.status, 200, begun.text)
        user = User(name=name, secret=begun.body["secret"])
        accepted = self.web(
            gate,
            "POST",
            "/v1/invites/accept",
            {"token": token, "password": user.password, "otp": user.code(time.time())},
        )
        self.assertEqual(accepted.status, 200, accepted.text)
        return user

    def login(self, gate: Gate, user: User, **more: object) -> Holder:
        """Log in on the web port, and keep what was issued in files."""
        private, tls, ssh = new_key()
        answer = self.web(
            gate,
            "POST",
            "/v1/login",
            {
                "user": user.name,
                "password": user.password,
                "otp": user.code(time.time()),
                "tls_public_key": tls,
                "ssh_public_key": ssh,
                **more,
            },
        )
        self.assertEqual(answer.status, 200, answer.text)
        return self.holder(user.name, private, answer.body)

    def holder(self, name: str, private: bytes, issued: dict[str, Any]) -> Holder:
        """Keep a key and what was issued for it in files."""
        made = Holder(name=name, folder=self.folder(), issued=issued)
        made.key.write_bytes(private)
        made.cert.write_text(issued["certificate"])
        made.cas.write_text("".join(issued["cas"]["host"]))
        return made

    def sign(self, gate: Gate, name: str, seconds: float | None = None) -> Holder:
        """Have the operator sign for a user, who need not log in."""
        private, tls, ssh = new_key()
        asked = {
            "user": name,
            "ttl_seconds": seconds,
            "tls_public_key": tls,
            "ssh_public_key": ssh,
        }
        return self.holder(name, private, gate.admin("POST", "/v1/sign", asked))

    def ask(
        self,
        gate: Gate,
        who: Holder,
        method: str,
        path: str,
        body: object = None,
        *,
        alpn: str | None = "tlsgate-auth",
        name: str = "gw.test",
    ) -> Answer:
        """Ask the auth API with a certificate, by its token or by its name."""
        context = who.context(*([alpn] if alpn else ()))
        connection = context.wrap_socket(gate.connect(), server_hostname=name)
        return request(connection, method, path, body, name)

    def reach(self, gate: Gate, who: Holder, alpn: str, name: str = "gw.test") -> ssl.SSLSocket:
        """A connection to a static route, which shows the web certificate."""
        context = ssl.create_default_context(cafile=str(pki().file("ca.pem")))
        context.load_cert_chain(who.cert, who.key)
        context.set_alpn_protocols([alpn])
        return context.wrap_socket(gate.connect(), server_hostname=name)

"""The cluster's API over TLS, blocking: what `tgsh` asks, and `tgctl` from afar.

1. A `Way` says whom to dial, which of the API's doors to take, and whom to believe.
2. `Remote.ask` dials, and looks at the certificate before a byte of the question is sent:
   the web certificate by its name and the machine's authorities, a cluster certificate by
   the cluster's host CA, or by that CA's pin, and by the role that it carries.
3. The answer's JSON is given; refusals and failed handshakes are errors of ours.

`http.client` and `ssl` do it without a reactor. The doors are in docs/alpn.md.
"""

from __future__ import annotations

import http.client
import ipaddress
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from tlsgate.cli.alerts import explained, translate
from tlsgate.cli.certfile import Certificate, pem_blocks, read_certificate, to_pem
from tlsgate.cli.door import exchange, question, read_answer
from tlsgate.cli.outward import connect
from tlsgate.core.addresses import host_port
from tlsgate.errors import BadAsk, DaemonAway, Unreachable, Untrusted

#: ALPN tokens of the doors (docs/alpn.md).
WEB, AUTH, JOIN, WEBCERT = "http/1.1", "tlsgate-auth", "tlsgate-join", "tlsgate-webcert"

#: System roles whose holders answer for a cluster.
_ANSWERS = {"auth", "gateway"}
_ROLE_ZONES = ("gateway", "auth")


@frozen
class Address:
    """A gateway's host and port; str() is how people write it."""

    host: str
    port: int

    def __str__(self) -> str:
        return host_port(self.host, self.port)

    @property
    def is_name(self) -> bool:
        """Whether the host is a name: SNI carries no addresses (RFC 6066 section 3)."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return True
        return False


@frozen
class Way:
    """How to reach a door of a cluster's API, and whom to believe there.

    Attributes:
        address: where to dial.
        door: `WEB`, `AUTH`, `JOIN` or `WEBCERT`.
        roots: PEM of the only authorities that count; None: the machine's own.
        pins: "sha256:<hex>" of a CA's public key; one has to be in the chain.
        anyone: nobody is checked. Only for what may be public and may be wrong.
        cluster: whose host certificate it has to be; None: any that the roots signed.
        certificate: the file with the client's certificate.
        key: the file with its key; None: it is in the same one.
    """

    address: Address
    door: str = WEB
    roots: str | None = field(default=None, repr=False)
    pins: tuple[str, ...] = ()
    anyone: bool = False
    cluster: str | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def server_name(self) -> str | None:
        """The name in the hello: the API's own for the certificate door."""
        if not self.address.is_name:
            return None
        return f"auth.{self.address.host}" if self.door == AUTH else self.address.host


class Remote:
    """The API at the end of a `Way`."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.presented: list[bytes] = []  #: DER of the chain that was shown last
        self.date: str | None = None

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        seconds: float = 15.0,
        body: Any = None,
    ) -> Any:
        """Ask once.

        Raises:
            Unreachable: nobody answers there, or somebody else.
            Untrusted: who answers is not whom it should be; nothing was sent.
            ClockWrong: a certificate is not valid yet or any more.
            GatewayRefused: the gateway ended the handshake.
            DaemonSaid: the cluster refused, in its own words.
        """
        line = question(path, query)
        where = str(self.way.address)
        connection = _OverTls(self, seconds)
        try:
            status, answer = exchange(connection, method, line, body)
            return read_answer(where, status, answer)
        except DaemonAway as e:
            raise Unreachable(where, e.why) from e
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError) as e:
            raise translate(_last_word(connection, e), where) from e
        except OSError as e:
            raise explained(e, where, seconds) from e
        except http.client.HTTPException as e:
            raise Unreachable(where, str(e) or type(e).__name__) from e
        finally:
            connection.close()

    def dial(self, seconds: float) -> ssl.SSLSocket:
        """Connect, shake hands and check; nothing is sent yet."""
        way = self.way
        roots = way.roots
        if way.pins:
            # Who is pinned is not known by certificate before a first look.
            with self._shake(_blind(way), seconds) as looked:
                roots = to_pem(pinned(chain_of(looked), way.pins, str(way.address)).der)
        secured = self._shake(context_of(way, roots), seconds)
        try:
            self.presented = chain_of(secured)
            self._check(secured)
        except BaseException:
            secured.close()
            raise
        return secured

    def _shake(self, context: ssl.SSLContext, seconds: float) -> ssl.SSLSocket:
        plain = connect(self.way.address.host, self.way.address.port, seconds)
        try:
            name = self.way.server_name or self.way.address.host
            return context.wrap_socket(
                plain,
                server_hostname=name if self.way.server_name or context.check_hostname else None,
            )
        except BaseException:
            plain.close()
            raise

    def _check(self, secured: ssl.SSLSocket) -> None:
        way = self.way
        if way.door == WEB:
            return
        token = secured.selected_alpn_protocol()
        if token != way.door:
            raise Unreachable(str(way.address), f"it does not speak {way.door}")
        if not way.anyone:
            check_gateway(read_certificate(self.presented[0]), secured.getpeercert() or {}, way)


class _OverTls(http.client.HTTPConnection):
    """HTTP through a door; the connection is made and checked by `Remote`.

    `HTTPSConnection` would make a context of its own first, which nobody uses, and read all
    of the machine's authorities into it: 60 ms each time.
    """

    default_port = http.client.HTTPS_PORT

    def __init__(self, remote: Remote, seconds: float) -> None:
        way = remote.way
        # The host has to be of the class of the hello's name, or it is refused (421).
        super().__init__(way.server_name or way.address.host, way.address.port, timeout=seconds)
        self._remote = remote
        self._seconds = seconds

    def connect(self) -> None:
        self.sock = self._remote.dial(self._seconds)


def _last_word(connection: http.client.HTTPConnection, error: OSError) -> ssl.SSLError:
    """The alert behind *error*, where there is one.

    In TLS 1.3 a client is through before its certificate is looked at: a refusal may come
    while it writes its question, and the broken connection is noticed first.
    """
    lost = not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError)
    if lost and connection.sock is not None:
        try:
            connection.sock.recv(1)
        except ssl.SSLError as e:
            return e
        except OSError:
            pass
    return error if isinstance(error, ssl.SSLError) else ssl.SSLEOFError(str(error))


def chain_of(secured: ssl.SSLSocket) -> list[bytes]:
    """The DER of the certificates that the peer showed, its own first."""
    public = getattr(secured, "get_unverified_chain", None)
    if public is not None:  # Python 3.13 made it public
        return list(public())
    from _ssl import ENCODING_DER  # hidden from 3.10 to 3.12

    shown = secured._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
    return [one.public_bytes(ENCODING_DER) for one in shown]


def context_of(way: Way, roots: str | None) -> ssl.SSLContext:
    """The finished context for *way*, with *roots* (PEM) as the only authorities.

    Raises:
        BadAsk: the client's certificate or its key cannot be used.
        Untrusted: there is no authority to believe.
    """
    if way.anyone:
        context = _blind(way)
    elif roots is None:
        context = ssl.create_default_context()
        context.set_alpn_protocols([way.door])
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=roots)
        except (ssl.SSLError, ValueError) as e:
            raise Untrusted(str(way.address), "the file with its authorities is empty") from e
        context.set_alpn_protocols([way.door])
        # A gateway that signed its own web certificate shows no authority but that one.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        # Cluster certificates are checked by `check_gateway`: their names are the cluster's.
        context.check_hostname = way.door == WEB
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if way.certificate is not None:
        try:
            context.load_cert_chain(way.certificate, way.key, password=_no_password)
        except (OSError, ssl.SSLError) as e:
            raise BadAsk(f"{way.certificate} cannot be used: {_why(e)}") from e
    return context


def _blind(way: Way) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([way.door])
    return context


def _no_password() -> str:
    """Refuse to ask in the middle of a handshake: keys of ours have no password."""
    raise ssl.SSLError("its key has a password")


def _why(error: OSError) -> str:
    return error.strerror or str(error).partition("] ")[2].partition(" (_ssl")[0] or str(error)


def pinned(chain: Iterable[bytes], pins: Iterable[str], gateway: str) -> Certificate:
    """The certificate of *chain* whose public key is pinned.

    Args:
        chain: DER of what the peer showed.
        pins: "sha256:<hex>", in any case.
        gateway: the address that was dialled, for the message.

    Raises:
        Untrusted: there is none.
    """
    wanted = {pin.lower() for pin in pins}
    for der in chain:
        shown = read_certificate(der)
        if shown.pin in wanted:
            return shown
    raise Untrusted(
        gateway,
        "no authority in its chain has the pinned key; nothing was sent. Ask the operator for "
        "the pin that `tgctl status` shows, and whether --proxy is right",
    )


def check_gateway(certificate: Certificate, told: Mapping[str, Any], way: Way) -> None:
    """See that a verified host certificate is of a gateway or auth service, and the cluster's.

    Args:
        certificate: what the peer showed first; OpenSSL has verified its chain.
        told: what `SSLSocket.getpeercert` says of it.
        way: where it was found.

    Raises:
        Untrusted: it is a user's, a node's, another cluster's, or it names another host.
    """
    from tlsgate.core.claims import CLAIMS_OID, decode

    gateway = str(way.address)
    extension = certificate.extensions.get(CLAIMS_OID)
    if extension is None:
        raise Untrusted(gateway, "its certificate is none of a tlsgate cluster")
    claims = decode(extension)
    if claims.kind != "host" or not _ANSWERS & set(claims.system_roles):
        raise Untrusted(gateway, "its certificate is not one of a gateway")
    if way.cluster is not None and claims.cluster != way.cluster:
        raise Untrusted(gateway, f"it belongs to {claims.cluster}, not to {way.cluster}")
    if not way.address.is_name:
        # A gateway's certificate names no addresses: the authority, the role and the cluster
        # have to do, and do: nobody else gets a certificate that says gateway.
        return
    names = {value for kind, value in told.get("subjectAltName", ()) if kind == "DNS"}
    host = way.address.host
    wanted = {host, f"auth.{host}"}
    zones = tuple(f".{role}.{claims.cluster}" for role in _ROLE_ZONES)
    if not any(name in wanted or name.endswith(zones) for name in names):
        raise Untrusted(gateway, f"its certificate does not name {host}")


def roots_in(file: Path) -> str | None:
    """The authorities in *file* as PEM; None where it says `system`.

    Raises:
        OSError: it cannot be read.
        BadBytes: it holds what is no certificate.
    """
    text = file.read_text("ascii", "replace")
    if text.strip() == "system":
        return None
    return "".join(map(to_pem, pem_blocks(text)))

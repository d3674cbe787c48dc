"""Who the client is: an OpenSSH certificate of a user of the cluster, and nothing else.

Nothing is kept between two requests (S37, CVE-2024-45337): a question whether a key would do
is answered and forgotten, and who logs in is whoever's certificate is in the request that is
signed, by the key that has signed it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final

from attrs import define

from tlsgate.core.access import Identity
from tlsgate.core.wire.sshcert import SshCertificate, parse
from tlsgate.core.wire.sshmessages import (
    Login,
    Message,
    read_login,
    read_signature,
    sentence,
    string,
)
from tlsgate.errors import BadBytes, BadCertificate, GateError
from tlsgate.interfaces import ICluster
from tlsgate.protocols.jump.algorithms import LOGINS
from tlsgate.protocols.jump.transport import NO_MORE_LOGINS, JumpTransport
from tlsgate.tls.sshtrust import check_signature

#: An agent may hold some keys, and each is asked about; a signature that fails is another thing.
REQUESTS: Final = 24
FAILURES: Final = 6

_CONNECTION: Final = b"ssh-connection"
_METHODS: Final = string(b"publickey") + b"\0"


@define(frozen=True, kw_only=True)
class Bearer:
    """Somebody who has logged in.

    Attributes:
        line: the certificate as files have it, for agents that look at it again.
        login: the name that the client has said; it counts for nothing.
    """

    identity: Identity
    certificate: SshCertificate
    line: str
    login: str


class Logins:
    """The requests of one connection, until one is good.

    Args:
        transport: to answer on.
        cluster: whose users may come in.
        welcome: called once, with who has logged in.
    """

    def __init__(
        self,
        transport: JumpTransport,
        cluster: ICluster,
        welcome: Callable[[Bearer], None],
    ) -> None:
        self._transport = transport
        self._cluster = cluster
        self._welcome = welcome
        self._requests = 0
        self._told = False
        #: Signed requests that were refused.
        self.failures = 0

    def take(self, content: bytes) -> None:
        """Take one USERAUTH_REQUEST.

        Raises:
            BadBytes: it cannot be read.
        """
        asked = read_login(content)
        self._requests += 1
        if asked.service != _CONNECTION:
            raise BadBytes("SSH login", "for another service than ssh-connection")
        if asked.algorithm not in LOGINS:
            # Another method, or a plain key: they come out of every ssh-agent, and mean nothing.
            self._fail(None)
            return
        try:
            bearer = self._bearer(asked)
        except GateError as error:
            if asked.signature is not None:
                self.failures += 1
            self._fail(error)
            return
        if asked.signature is None:
            known = string(asked.algorithm) + string(asked.blob)
            self._transport.sendPacket(Message.USERAUTH_PK_OK, known)
            self._bound()
            return
        self._transport.sendPacket(Message.USERAUTH_SUCCESS, b"")
        self._welcome(bearer)

    def _bearer(self, asked: Login) -> Bearer:
        """Who *asked* says, and, where it is signed, has proved to be.

        Raises:
            GateError: nobody who may come in.
        """
        certificate = parse(asked.blob, asked.algorithm)
        identity = self._cluster.ssh_identity(certificate)
        if asked.signature is not None:
            algorithm, own = read_signature(asked.signature)
            if algorithm != LOGINS[asked.algorithm]:
                raise BadCertificate("the signature is of another kind than was said")
            session = self._transport.sessionID
            assert session is not None
            check_signature(certificate.key, algorithm, own, string(session) + asked.signed)
        encoded = base64.b64encode(asked.blob).decode("ascii")
        kind = asked.blob[4 : 4 + int.from_bytes(asked.blob[:4], "big")].decode("ascii")
        return Bearer(
            identity=identity,
            certificate=certificate,
            line=f"{kind} {encoded}",
            login=asked.user,
        )

    def _fail(self, error: GateError | None) -> None:
        """Refuse; whose certificate is refused hears once why."""
        transport = self._transport
        if error is not None and not self._told:
            self._told = True
            transport.sendPacket(Message.USERAUTH_BANNER, sentence(f"{error}\r\n"))
        transport.sendPacket(Message.USERAUTH_FAILURE, _METHODS)
        self._bound()

    def _bound(self) -> None:
        if self._requests >= REQUESTS or self.failures >= FAILURES:
            text = "too many keys; log in with the certificate of `tgsh login` alone"
            self._transport.end(NO_MORE_LOGINS, text)

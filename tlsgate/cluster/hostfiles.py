"""What a joined host keeps below DATA/gateway (or DATA/agent): key, certificate, authorities.

    host.key    the private key; made before the first join, and there for its life
    host.crt    the certificate of the host authority, which says who this host is
    host.cas    the host authorities that were trusted when that was issued

The key is written first: a join that was answered into a broken connection is asked again
with the same key, and costs no second use of the token. Of several workers one writes; the
others see by the files' times that there is something new.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from twisted.logger import Logger

from tlsgate.config.settings import KeyPair
from tlsgate.core.access import Identity
from tlsgate.core.offers import KINDS
from tlsgate.errors import BadKeyPair, NotJoined
from tlsgate.tls.keypair import LoadedPair, Stamp, load_pair, stamp
from tlsgate.tls.peer import load_cas
from tlsgate.tls.secretfile import replace_secret
from tlsgate.tls.verify import judge_leaf

#: Of which an agent has one or several.
_AGENTS: Final = frozenset(KINDS)
#: From which part of its life on the certificate is renewed.
RENEW_AT: Final = 2 / 3


@frozen(eq=False, kw_only=True)
class Joined:
    """One state of the files.

    Attributes:
        pair: what the host shows.
        cluster, name, roles: what its certificate says.
        cas: the host authorities.
    """

    pair: LoadedPair
    cluster: str
    name: str
    roles: tuple[str, ...]
    cas: tuple[x509.Certificate, ...]

    @property
    def not_after(self) -> float:
        """The certificate's end, seconds since the epoch."""
        return self.pair.chain[0].not_valid_after_utc.timestamp()

    @property
    def renew_at(self) -> float:
        """When the next certificate is due."""
        begins = self.pair.chain[0].not_valid_before_utc.timestamp()
        return begins + (self.not_after - begins) * RENEW_AT


class HostFiles:
    """See the module.

    Args:
        folder: DATA/gateway, made with mode 0700; or DATA/agent, with 0711.
        roles: the system roles that this host has. Of an agent the certificate may have others
            of agents, until it joins anew.
    """

    log = Logger()

    def __init__(self, folder: Path, *roles: str) -> None:
        self.folder = folder
        self.roles = roles or ("gateway",)
        self._pair = KeyPair(cert_file=folder / "host.crt", key_file=folder / "host.key")
        self._cas = folder / "host.cas"
        self._seen: Stamp | None = None
        self._known: Joined | None = None

    def joined(self) -> Joined | None:
        """What is kept, read again where it has changed; None: nothing yet.

        Files that have become unreadable change nothing for a process that has read them.

        Raises:
            BadKeyPair: what is there cannot be used.
            NotJoined: the certificate is none of the role.
        """
        if self._known is None and not self._pair.cert_file.exists():
            return None
        try:
            seen = stamp(self._pair)
            if self._known is None or seen != self._seen:
                self._known = self._read()
                self._seen = seen
        except (BadKeyPair, NotJoined) as error:
            if self._known is None:
                raise
            self.log.error("what is kept of the join is left alone: {why}", why=str(error))
        return self._known

    def public_key(self) -> str:
        """The public half of the key, PEM; the key is made where there is none.

        Raises:
            OSError: it cannot be written.
            BadKeyPair: what is there is no key of ours.
        """
        file = self._pair.key_file
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, mode=0o700)
            if "gateway" not in self.roles:  # sshd reads below it as whoever logs in
                self.folder.chmod(0o711)
        if not file.exists():
            made = ec.generate_private_key(ec.SECP256R1())
            pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            replace_secret(file, pem)
        try:
            key = load_pem_private_key(file.read_bytes(), None)
        except (ValueError, TypeError) as error:
            raise BadKeyPair(str(file), "holds no private key without a password") from error
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return public.decode()

    def keep(self, certificate: str, cas: str) -> Joined:
        """Keep what the auth service has issued for the key.

        Raises:
            OSError: it cannot be written; what was there stays.
            BadKeyPair: it is not for our key, or no certificate.
            NotJoined: it is none of the role.
        """
        replace_secret(self._cas, cas.encode())
        replace_secret(self._pair.cert_file, certificate.encode())
        seen = stamp(self._pair)
        self._known = self._read()
        self._seen = seen
        return self._known

    def _read(self) -> Joined:
        pair = load_pair(self._pair)
        leaf = judge_leaf(pair.chain[0].public_bytes(Encoding.DER))
        claims = leaf.claims if isinstance(leaf, Identity) else None
        roles = frozenset() if claims is None else frozenset(claims.system_roles)
        fitting = frozenset(self.roles) if "gateway" in self.roles else _AGENTS
        if claims is None or claims.kind != "host" or not roles & fitting:
            what = " or ".join(self.roles)
            raise NotJoined(f"{self._pair.cert_file} is not the certificate of a {what}")
        try:
            cas = load_cas([self._cas.read_bytes()], str(self._cas))
        except OSError as error:
            raise BadKeyPair(str(self._cas), error.strerror or "cannot be read") from error
        return Joined(
            pair=pair,
            cluster=claims.cluster,
            name=claims.name,
            roles=claims.system_roles,
            cas=cas,
        )

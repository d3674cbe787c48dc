"""A certificate and where its files are: of a profile, or in one identity file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from tlsgate.cli.certfile import Certificate, pem_blocks, read_certificate, to_pem
from tlsgate.cli.faults import ClockWrong, NotLoggedIn
from tlsgate.errors import BadAsk, BadBytes

#: An identity file holds a key, two certificates and a few authorities.
LIMIT_BYTES = 1 << 20


@frozen
class Credential:
    """Somebody's certificate, as its holder sees it."""

    certificate: Certificate
    file: Path  #: with the certificate; the key too where `key` is None
    key: Path | None
    user: str
    cluster: str
    roles: tuple[str, ...]
    traits: Mapping[str, tuple[str, ...]] = field(factory=dict)
    #: What it is for, where it is for one thing only (`core.certroutes`).
    routes: Mapping[str, str] = field(factory=dict)
    #: PEM of the cluster's host CAs, where they come along.
    roots: str | None = field(default=None, repr=False)

    @property
    def not_after(self) -> int:
        """When it ends, in seconds since the epoch."""
        return self.certificate.not_after


def credential_of(der: bytes, file: Path, key: Path | None, roots: str | None = None) -> Credential:
    """What the certificate *der* says about its holder.

    Raises:
        BadBytes: it is no certificate of a cluster.
    """
    from tlsgate.core.claims import CLAIMS_OID, decode

    certificate = read_certificate(der)
    extension = certificate.extensions.get(CLAIMS_OID)
    if extension is None:
        raise BadBytes("certificate", "it is not of a tlsgate cluster")
    claims = decode(extension)
    return Credential(
        certificate=certificate,
        file=file,
        key=key,
        user=claims.name,
        cluster=claims.cluster,
        roles=claims.roles or claims.system_roles,
        traits={name: tuple(values) for name, values in claims.traits.items()},
        routes=dict(claims.routes),
        roots=roots,
    )


def read_identity(file: Path) -> Credential:
    """Read an identity file: the key, the certificate, and the authorities after it.

    Raises:
        BadAsk: it is none.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(LIMIT_BYTES + 1)
        text = content.decode("ascii")
        if len(content) > LIMIT_BYTES:
            raise ValueError(f"more than {LIMIT_BYTES} bytes")
        if "PRIVATE KEY-----" not in text:
            raise ValueError("there is no private key in it")
        first, *authorities = pem_blocks(text) or [b""]
        return credential_of(first, file, None, "".join(map(to_pem, authorities)) or None)
    except OSError as e:
        raise BadAsk(f"{file} cannot be read: {e.strerror}") from e
    except (ValueError, BadBytes) as e:
        why = "it is no text" if isinstance(e, UnicodeDecodeError) else e
        raise BadAsk(f"{file} is no identity file: {why}") from e


def check_time(credential: Credential, login: str, now: float | None = None) -> None:
    """See that *credential* is good now, before it is shown to anybody.

    Raises:
        NotLoggedIn: it has expired.
        ClockWrong: it is not valid yet.
    """
    now = time.time() if now is None else now
    certificate = credential.certificate
    if now >= certificate.not_after:
        raise NotLoggedIn(
            f"the certificate of {credential.user} expired at {moment(certificate.not_after)}",
            login,
        )
    if now < certificate.not_before:
        raise ClockWrong(
            f"the certificate of {credential.user} is valid from "
            f"{moment(certificate.not_before)} on, and here it is {moment(now)}"
        )


def moment(seconds: float) -> str:
    """A time for people, to the second, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def instant(seconds: float) -> str:
    """The same as one word."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def as_json(credential: Credential) -> dict[str, Any]:
    """What is known of *credential*, in JSON types."""
    return {
        "user": credential.user,
        "cluster": credential.cluster,
        "roles": list(credential.roles),
        "traits": {name: list(values) for name, values in credential.traits.items()},
        "valid_until": instant(credential.not_after),
    }

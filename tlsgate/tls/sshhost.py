"""The key that a gateway shows to SSH clients, and what the cluster says of it.

One Ed25519 key for all workers of a gateway, and for good: who has no host certificates has
remembered it. The certificate is fetched anew with the gateway's other one.
"""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import Final

from attrs import field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from tlsgate.core.wire.sshcert import Kind, parse_line
from tlsgate.errors import BadBytes, BadKeyPair
from tlsgate.tls.secretfile import create_secret

_LONGEST: Final = 64 * 1024


@frozen(kw_only=True)
class SshHostFiles:
    """Where the key is, in PEM, and the certificate, a line; "": there is none."""

    key_file: str
    cert_file: str = ""


@frozen(kw_only=True)
class SshHost:
    """See the module.

    Attributes:
        blob: the public key's.
        certificate: the certificate's; b"": there is none.
    """

    key: Ed25519PrivateKey = field(repr=False)
    blob: bytes
    certificate: bytes = b""

    @classmethod
    def load(cls, files: SshHostFiles) -> SshHost:
        """Read both.

        Raises:
            BadKeyPair: one cannot be read, or they do not belong together.
        """
        key = _read_key(files.key_file)
        blob = base64.b64decode(_line(key).split(b" ")[1])
        if not files.cert_file:
            return cls(key=key, blob=blob)
        try:
            line = _read(files.cert_file)
            certificate = parse_line(line)
        except BadBytes as error:
            raise BadKeyPair(files.cert_file, str(error)) from error
        if certificate.key != blob or certificate.kind is not Kind.HOST:
            raise BadKeyPair(files.cert_file, f"it is not of the key in {files.key_file}")
        return cls(key=key, blob=blob, certificate=base64.b64decode(line.split(b" ")[1]))


def keep_key(path: Path) -> str:
    """Give the public line of the key in *path*, which is made where there is none.

    Raises:
        BadKeyPair: what is there cannot be read.
        OSError: it cannot be written.
    """
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with contextlib.suppress(FileExistsError):  # another worker was first
            create_secret(path, pem)
    return _line(_read_key(str(path))).decode()


def _read_key(path: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(_read(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKeyPair(path, "it is no private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKeyPair(path, "it is no Ed25519 key")
    return key


def _line(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(_LONGEST)
    except OSError as error:
        raise BadKeyPair(path, error.strerror or str(error)) from error

"""An identity in files: a key, its certificates, and whom its holder trusts.

Four formats, for `tgctl auth sign` and `tgsh login --out`; NAME is a path:

- file: all in NAME, for `tgsh -i NAME`: the key, the OpenSSH certificate as a line, the
  certificate, then "@cert-authority" lines and the authorities' certificates;
- openssh: NAME and NAME-cert.pub, for `ssh -i NAME`;
- tls: NAME.key, NAME.crt and NAME.cas, for curl, psql and whatever takes PEM;
- pkcs12: NAME.p12 under a password, for browsers.

Every file is its owner's alone (0600), whole from its first moment, and replaces nothing
unless that is asked for.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from tlsgate.core.wire.sshcert import key_blob, parse_line
from tlsgate.errors import BadAsk, BadBytes, BadKeyPair
from tlsgate.tls.keypair import read_file
from tlsgate.tls.secretfile import create_secret, replace_secret

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_KNOWN_HOST: Final = "@cert-authority "
_PEM: Final = re.compile(r"-----BEGIN ([A-Z ]+)-----\n.*?\n-----END \1-----\n?", re.S)


@frozen(kw_only=True)
class IdentityFiles:
    """What the files of an identity hold.

    Attributes:
        key: of the certificates.
        tls_pem: the X.509 certificate, perhaps with a chain.
        ssh: the OpenSSH certificate as a line.
        tls_cas: certificates of the host authority, PEM.
        ssh_cas: keys of the OpenSSH host authority, as lines.
    """

    key: PrivateKey = field(repr=False)
    tls_pem: str
    ssh: str | None = None
    tls_cas: tuple[str, ...] = ()
    ssh_cas: tuple[str, ...] = ()

    @property
    def key_pem(self) -> bytes:
        """The key as PKCS #8."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate itself."""
        return x509.load_pem_x509_certificate(self.tls_pem.encode())


def write_identity(
    form: str,
    name: Path,
    identity: IdentityFiles,
    *,
    overwrite: bool = False,
    password: bytes | None = None,
) -> tuple[Path, ...]:
    """Write *identity*; give the files.

    Args:
        form: one of `FORMATS`.
        password: of pkcs12; the caller has asked for it or read it from a file.

    Raises:
        BadAsk: there is no such format, the identity lacks what it needs, a file is there
            already, or one cannot be written; of those that are new nothing is left then.
    """
    make = _FORMATS.get(form)
    if make is None:
        raise BadAsk(f"there is no format {form[:64]!r}, only {', '.join(FORMATS)}")
    if (password is not None) != (form == "pkcs12"):
        raise BadAsk("a password is for the format pkcs12, which needs one")
    contents = make(name, identity, password or b"")
    if not overwrite:
        for path in contents:
            if os.path.lexists(path):
                raise _taken(path)
    written: list[Path] = []
    for path, content in contents.items():
        try:
            (replace_secret if overwrite else create_secret)(path, content)
        except OSError as error:
            if not overwrite:
                for other in written:
                    other.unlink(missing_ok=True)
            if isinstance(error, FileExistsError):
                raise _taken(path) from error
            raise BadAsk(f"{path}: {error.strerror or 'cannot be written'}") from error
        written.append(path)
    return tuple(written)


def read_identity(path: Path) -> IdentityFiles:
    """Read what the format "file" has written.

    Raises:
        BadKeyPair: it cannot be read, is open to others, or its parts do not belong together.
    """
    file = os.fspath(path)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise BadKeyPair(file, error.strerror or "cannot be read") from error
    if stat.S_IMODE(mode) & 0o077:
        raise BadKeyPair(file, "is open to others; chmod it to 0600")
    try:
        text = read_file(file).decode()
    except UnicodeDecodeError as error:
        raise BadKeyPair(file, "is no identity file") from error
    blocks = [(found[1], found[0].strip() + "\n") for found in _PEM.finditer(text)]
    keys = [pem for label, pem in blocks if label.endswith("PRIVATE KEY")]
    certificates = [pem for label, pem in blocks if label == "CERTIFICATE"]
    if len(keys) != 1 or not certificates or len(blocks) != text.count("-----BEGIN "):
        raise BadKeyPair(file, "is no identity file, or was cut short")
    lines = [line.strip() for line in _PEM.sub("", text).splitlines() if line.strip()]
    authorities = [line for line in lines if line.startswith(_KNOWN_HOST)]
    others = [line for line in lines if line not in authorities]
    if len(others) > 1:
        raise BadKeyPair(file, "holds more than one OpenSSH certificate")
    try:
        key = load_pem_private_key(keys[0].encode(), None)
        loaded = [x509.load_pem_x509_certificate(pem.encode()) for pem in certificates]
        ssh = others[0] if others else None
        ssh_key = parse_line(ssh).key if ssh is not None else None
    except (ValueError, TypeError, UnsupportedAlgorithm, BadBytes) as error:
        raise BadKeyPair(file, "holds a part that cannot be read") from error
    if not isinstance(key, PrivateKey) or loaded[0].public_key() != key.public_key():
        raise BadKeyPair(file, "holds a key and a certificate that do not belong together")
    if ssh_key is not None and ssh_key != key_blob(_public_line(key)):
        raise BadKeyPair(file, "holds an OpenSSH certificate of another key")
    return IdentityFiles(
        key=key,
        tls_pem=certificates[0],
        ssh=ssh,
        tls_cas=tuple(certificates[1:]),
        ssh_cas=tuple(line.removeprefix(_KNOWN_HOST).partition(" ")[2] for line in authorities),
    )


def _as_file(name: Path, identity: IdentityFiles, _password: bytes) -> Mapping[Path, bytes]:
    parts = [identity.key_pem]
    if identity.ssh is not None:
        parts.append(identity.ssh.strip().encode() + b"\n")
    parts.append(identity.certificate.public_bytes(Encoding.PEM))
    parts += [f"{_KNOWN_HOST}* {line.strip()}\n".encode() for line in identity.ssh_cas]
    parts += [pem.strip().encode() + b"\n" for pem in identity.tls_cas]
    return {name: b"".join(parts)}


def _as_openssh(name: Path, identity: IdentityFiles, _password: bytes) -> Mapping[Path, bytes]:
    if identity.ssh is None:
        raise BadAsk("this identity has no OpenSSH certificate")
    key = identity.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return {
        name: key,
        _beside(name, "-cert.pub"): identity.ssh.strip().encode() + b"\n",
    }


def _as_tls(name: Path, identity: IdentityFiles, _password: bytes) -> Mapping[Path, bytes]:
    return {
        _beside(name, ".key"): identity.key_pem,
        _beside(name, ".crt"): identity.tls_pem.strip().encode() + b"\n",
        _beside(name, ".cas"): b"".join(pem.strip().encode() + b"\n" for pem in identity.tls_cas),
    }


def _as_pkcs12(name: Path, identity: IdentityFiles, password: bytes) -> Mapping[Path, bytes]:
    if not password:
        raise BadAsk("an empty password protects nothing")
    certificate = identity.certificate
    authorities = [x509.load_pem_x509_certificate(pem.encode()) for pem in identity.tls_cas]
    content = serialize_key_and_certificates(
        certificate.subject.rfc4514_string().encode(),
        identity.key,
        certificate,
        authorities,
        BestAvailableEncryption(password),
    )
    return {_beside(name, ".p12"): content}


_FORMATS: Final[Mapping[str, Callable[[Path, IdentityFiles, bytes], Mapping[Path, bytes]]]] = {
    "file": _as_file,
    "openssh": _as_openssh,
    "tls": _as_tls,
    "pkcs12": _as_pkcs12,
}

#: Names of the formats.
FORMATS: Final = tuple(_FORMATS)


def _beside(name: Path, ending: str) -> Path:
    return name.with_name(name.name + ending)


def _public_line(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def _taken(path: Path) -> BadAsk:
    return BadAsk(f"{path} is there already; name another, or say that it may be replaced")

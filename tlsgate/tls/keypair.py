"""One certificate chain and its key, read from two files and checked.

Everything that could make OpenSSL refuse the pair later is said here, at load.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from tlsgate.config.settings import KeyPair
from tlsgate.errors import BadKeyPair

ServerKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

#: Below this, OpenSSL's security level 2 would refuse the pair at the first handshake.
_RSA_BITS = 2048

#: What a certificate file may weigh; longer ones are some other file.
_FILE_BYTES = 1 << 20

#: How a file's state is told apart: (modified, size, inode) of certificate and key.
Stamp = tuple[tuple[int, int, int], tuple[int, int, int]]


@frozen(eq=False)
class LoadedPair:
    """A pair that OpenSSL will take.

    Attributes:
        files: where it came from.
        stamp: the state of the files when they were read.
        chain: leaf first.
        chain_pem: the same, as it is given to OpenSSL.
        kind: "ec", "rsa" or "ed"; a context takes one pair of each.
        names: DNS names of the leaf, lower case; exact or "*.x".
        addresses: address literals of the leaf.
        notes: what is odd about it and not wrong, as sentences.
    """

    files: KeyPair
    stamp: Stamp
    chain: tuple[x509.Certificate, ...]
    chain_pem: bytes = field(repr=False)
    key: ServerKey = field(repr=False)
    kind: str
    names: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def not_before(self) -> float:
        """When the leaf begins to be valid, seconds since the epoch."""
        return self.chain[0].not_valid_before_utc.timestamp()

    @property
    def not_after(self) -> float:
        """When the first certificate of the chain ends, seconds since the epoch."""
        return min(one.not_valid_after_utc.timestamp() for one in self.chain)


def stamp(files: KeyPair) -> Stamp:
    """The state of both files now; symbolic links are followed.

    Raises:
        BadKeyPair: one is not there.
    """
    return _stamp_one(files.cert_file), _stamp_one(files.key_file)


def load_pair(files: KeyPair) -> LoadedPair:
    """Read and check one pair.

    Raises:
        BadKeyPair: with the file that has to change, and why.
    """
    # Stamped before they are read: a change in between is seen at the next look.
    stamped = stamp(files)
    chain = read_certificates(os.fspath(files.cert_file))
    key = _read_key(os.fspath(files.key_file))
    leaf = chain[0]
    names, addresses = _names(leaf, os.fspath(files.cert_file))
    if _public_der(key) != _public_der_of(leaf, os.fspath(files.cert_file)):
        raise BadKeyPair(os.fspath(files.key_file), f"is not the key of {files.cert_file}")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < _RSA_BITS:
        raise BadKeyPair(
            os.fspath(files.key_file),
            f"is RSA with {key.key_size} bits; clients demand at least {_RSA_BITS}",
        )
    return LoadedPair(
        files=files,
        stamp=stamped,
        chain=chain,
        chain_pem=b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain),
        key=key,
        kind=_kind(key),
        names=names,
        addresses=addresses,
        notes=tuple(_oddities(chain, names, os.fspath(files.cert_file))),
    )


def read_file(file: str) -> bytes:
    """The content of a small file.

    Raises:
        BadKeyPair: it is missing, unreadable, empty or far too big.
    """
    try:
        with open(file, "rb") as stream:
            content = stream.read(_FILE_BYTES + 1)
    except OSError as error:
        raise BadKeyPair(file, error.strerror or "cannot be read") from error
    if not content.strip():
        raise BadKeyPair(file, "is empty")
    if len(content) > _FILE_BYTES:
        raise BadKeyPair(file, f"is longer than {_FILE_BYTES} bytes")
    return content


def read_certificates(file: str) -> tuple[x509.Certificate, ...]:
    """All certificates of a PEM file, in its order.

    Raises:
        BadKeyPair: it cannot be read, holds none, or one that is broken or cut short.
    """
    pem = read_file(file)
    begun = pem.count(b"-----BEGIN CERTIFICATE-----")
    if not begun:
        raise BadKeyPair(file, "holds no PEM certificate")
    try:
        found = tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKeyPair(file, "holds a certificate that is broken or cut short") from error
    if len(found) != begun:  # a last one that is cut short is passed over in silence otherwise
        raise BadKeyPair(file, "holds a certificate that is broken or cut short")
    return found


def _stamp_one(path: os.PathLike[str]) -> tuple[int, int, int]:
    try:
        now = os.stat(path)
    except OSError as error:
        raise BadKeyPair(os.fspath(path), error.strerror or "cannot be read") from error
    return now.st_mtime_ns, now.st_size, now.st_ino


def _read_key(file: str) -> ServerKey:
    pem = read_file(file)
    try:
        # The checks of RSA numbers cost 50 ms a key; the comparison with the
        # certificate's public half finds a wrong file, and who can write the file
        # needs no odd numbers to do harm.
        key = serialization.load_pem_private_key(
            pem, password=None, unsafe_skip_rsa_key_validation=True
        )
    except TypeError as error:
        raise BadKeyPair(file, "is encrypted; store the key without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKeyPair(file, "holds no PEM private key that OpenSSL knows") from error
    if not isinstance(key, ServerKey):
        raise BadKeyPair(file, "is of a kind that TLS does not use; take ECDSA, Ed25519 or RSA")
    return key


def _public_der(key: ServerKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _public_der_of(leaf: x509.Certificate, file: str) -> bytes:
    try:
        return leaf.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKeyPair(file, "has a public key that cannot be read") from error


def _kind(key: ServerKey) -> str:
    match key:
        case ec.EllipticCurvePrivateKey():
            return "ec"
        case rsa.RSAPrivateKey():
            return "rsa"
        case _:
            return "ed"


def _names(leaf: x509.Certificate, file: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """DNS names and addresses of *leaf*; no client looks at the common name any more."""
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    except (ValueError, x509.DuplicateExtension) as error:
        raise BadKeyPair(file, "has extensions that cannot be read") from error
    names = dict.fromkeys(name.lower() for name in san.get_values_for_type(x509.DNSName))
    return tuple(names), tuple(str(one) for one in san.get_values_for_type(x509.IPAddress))


def _oddities(chain: Sequence[x509.Certificate], names: Sequence[str], file: str) -> list[str]:
    found = []
    for below, above in itertools.pairwise(chain):
        if below.issuer != above.subject:
            found.append(f"{file}: the chain is out of order; many clients will refuse it")
            break
    if not names:
        found.append(f"{file}: names no host; clients look at the subject alternative name only")
    # A root may be signed as it likes; nobody looks at its signature.
    if any(_is_weak(one) for one in chain if one.issuer != one.subject):
        found.append(f"{file}: is signed with SHA-1 or MD5; clients will refuse it")
    return found


def _is_weak(certificate: x509.Certificate) -> bool:
    try:
        return isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5)
    except UnsupportedAlgorithm:  # newer than this library: not ours to judge
        return False

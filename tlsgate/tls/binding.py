"""What pyOpenSSL's public interface cannot do, and nothing else does.

Each function has a fallback on the public interface, for a pyOpenSSL whose private
binding (`OpenSSL._util`) has changed: slower or vaguer, never weaker. The relay's
own use of the binding is in `fast`, for the same reason in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, X509, dump_certificate
from twisted.logger import Logger

_log = Logger()

try:
    from OpenSSL._util import ffi, lib

    #: Whether the private binding is there with all that is used of it.
    PRIVATE: Final[bool] = all(
        hasattr(lib, name)
        for name in (
            "SSL_CTX_set1_curves_list",
            "SSL_CTX_set_verify",
            "SSL_get0_verified_chain",
            "SSL_get_ex_data_X509_STORE_CTX_idx",
            "SSL_get_peer_cert_chain",
            "SSL_get_verify_result",
            "SSL_session_reused",
            "X509_STORE_CTX_get_current_cert",
            "X509_STORE_CTX_get_error_depth",
            "X509_STORE_CTX_get_ex_data",
            "X509_STORE_CTX_set_error",
            "BIO_free",
            "BIO_get_mem_data",
            "BIO_new",
            "BIO_s_mem",
            "EVP_PKEY_bits",
            "EVP_PKEY_free",
            "EVP_PKEY_id",
            "X509_get_pubkey",
            "i2d_X509_bio",
            "sk_X509_num",
            "sk_X509_value",
        )
    )
except (ImportError, AttributeError):  # pragma: no cover - a pyOpenSSL of another make
    PRIVATE = False  # type: ignore[misc]

#: Looks at a client's own certificate (DER), whose chain OpenSSL has verified. A str refuses
#: it; anything else is kept for `finding`.
Leaf = Callable[[bytes], object]

#: Looks at the key of a certificate above it: OpenSSL's number for its kind, and its bits.
#: A str refuses the chain.
Issuer = Callable[[int, int], str | None]

#: X509_V_ERR_CERT_REJECTED; OpenSSL sends alert 42 (bad_certificate) for it.
_REJECTED: Final = 28

_UNREADABLE: Final = "the key of an issuer in its chain cannot be read"

#: Where a connection keeps what was found; pyOpenSSL's objects have room for it, and it is
#: as cheap to reach as an attribute and goes when they go.
_FINDING: Final = "tlsgate finding"

#: One C function for each pair of judges; contexts keep no reference to theirs.
_c_verifiers: dict[tuple[Leaf, Issuer], Any] = {}


def set_groups(context: SSL.Context, groups: bytes) -> bool:
    """Set the key exchange groups of *context*; False where OpenSSL knows none of that."""
    if not PRIVATE:
        return False
    done: bool = lib.SSL_CTX_set1_curves_list(context._context, groups) == 1
    lib.ERR_clear_error()
    return done


def set_verify(context: SSL.Context, mode: int, leaf: Leaf, issuer: Issuer) -> None:
    """Verify clients by OpenSSL's rules, and then by *leaf* and *issuer*.

    Both are kept for ever: give a module's functions, no closures.

    Args:
        context: not used yet.
        mode: `SSL.VERIFY_PEER`, perhaps with `SSL.VERIFY_FAIL_IF_NO_PEER_CERT`.
        leaf: called once a handshake, last, for the client's own certificate.
        issuer: called for each certificate above it.
    """
    if not PRIVATE:
        context.set_verify(mode, _public_verifier(leaf, issuer))
        return
    if (verifier := _c_verifiers.get((leaf, issuer))) is None:
        verifier = _c_verifiers[leaf, issuer] = ffi.callback(
            "int (*)(int, X509_STORE_CTX *)", _private_verifier(leaf, issuer)
        )
    lib.SSL_CTX_set_verify(context._context, mode, verifier)


def finding(connection: SSL.Connection) -> object:
    """What *leaf* made of the certificate in this handshake; None when it saw none."""
    return connection.__dict__.get(_FINDING)


def verify_result(connection: SSL.Connection) -> int:
    """OpenSSL's X509_V_ERR number for the peer's chain; 0 is fine, -1 is not known."""
    if not PRIVATE:
        return -1
    result: int = lib.SSL_get_verify_result(connection._ssl)
    return result


def peer_certificates(connection: SSL.Connection) -> int:
    """How many certificates the client sent, its own included; for the server's side."""
    if not PRIVATE:
        chain = connection.get_peer_cert_chain(as_cryptography=True)
        return 1 if chain is None else len(chain) + 1
    # On the server's side the stack is without the leaf (SSL_get_peer_cert_chain(3)).
    stack = lib.SSL_get_peer_cert_chain(connection._ssl)
    return 1 if stack == ffi.NULL else int(lib.sk_X509_num(stack)) + 1


def anchor_der(connection: SSL.Connection) -> bytes | None:
    """The DER of the last certificate of the chain that was verified; None when none was."""
    if not PRIVATE:
        chain = connection.get_verified_chain(as_cryptography=True)
        return chain[-1].public_bytes(Encoding.DER) if chain else None
    stack = lib.SSL_get0_verified_chain(connection._ssl)
    if stack == ffi.NULL or (count := lib.sk_X509_num(stack)) < 1:
        return None
    return _der(lib.sk_X509_value(stack, count - 1))


def leaf_der(connection: SSL.Connection) -> bytes:
    """The DER of the peer's own certificate; b"" where it has shown none."""
    stack = lib.SSL_get0_verified_chain(connection._ssl) if PRIVATE else None
    # The public call's way through other objects costs five times as much.
    if stack and lib.sk_X509_num(stack) > 0:
        return _der(lib.sk_X509_value(stack, 0))
    shown = connection.get_peer_certificate(as_cryptography=True)
    return b"" if shown is None else shown.public_bytes(Encoding.DER)


def resumed(connection: SSL.Connection) -> bool:
    """Whether the handshake took up an earlier session; the fallback cannot tell."""
    return PRIVATE and lib.SSL_session_reused(connection._ssl) == 1


def _private_verifier(leaf: Leaf, issuer: Issuer) -> Callable[[int, Any], int]:
    # Local names: this runs twice a handshake, just after the caches were swept by it.
    current, depth_of = lib.X509_STORE_CTX_get_current_cert, lib.X509_STORE_CTX_get_error_depth
    key_of, kind_of, bits_of = lib.X509_get_pubkey, lib.EVP_PKEY_id, lib.EVP_PKEY_bits
    free_key, ex_data = lib.EVP_PKEY_free, lib.X509_STORE_CTX_get_ex_data
    ssl_index = lib.SSL_get_ex_data_X509_STORE_CTX_idx()
    connections = SSL.Connection._reverse_mapping

    def verify(ok: int, store: Any) -> int:
        if not ok:
            return 0  # OpenSSL's own reason stays, and with it the right alert
        found: object
        try:
            certificate = current(store)
            if not certificate:
                return 0  # a notice that is about no certificate: we asked for none
            if depth_of(store) != 0:
                key = key_of(certificate)
                # NULL for a key that OpenSSL cannot read; to ask for its kind would crash.
                found = issuer(kind_of(key), bits_of(key)) if key else _UNREADABLE
                free_key(key)
                if found is None:
                    return 1
            else:
                found = leaf(_der(certificate))
            connections[ex_data(store, ssl_index)].__dict__[_FINDING] = found
        except Exception:  # what leaves here is lost in C, and would count as a refusal too
            _log.failure("a client certificate could not be examined, and is refused")
            found = ""
        if isinstance(found, str):
            lib.X509_STORE_CTX_set_error(store, _REJECTED)
            return 0
        return 1

    return verify


def _der(certificate: Any) -> bytes:
    """The DER of an X509 pointer; a third faster than its digest."""
    memory = lib.BIO_new(lib.BIO_s_mem())
    try:
        if lib.i2d_X509_bio(memory, certificate) != 1:
            raise ValueError("no DER")
        place = ffi.new("char **")
        length = lib.BIO_get_mem_data(memory, place)
        return bytes(ffi.buffer(place[0], length))
    finally:
        lib.BIO_free(memory)


def _public_verifier(
    leaf: Leaf, issuer: Issuer
) -> Callable[[SSL.Connection, X509, int, int, int], bool]:
    def verify(connection: SSL.Connection, cert: X509, _error: int, depth: int, ok: int) -> bool:
        if not ok:
            return False
        found: object
        try:
            if depth != 0:
                key = cert.get_pubkey()
                found = issuer(key.type(), key.bits())
                if found is None:
                    return True
            else:
                found = leaf(dump_certificate(FILETYPE_ASN1, cert))
            connection.__dict__[_FINDING] = found
        except Exception:  # as above
            _log.failure("a client certificate could not be examined, and is refused")
            found = ""
        return not isinstance(found, str)

    return verify

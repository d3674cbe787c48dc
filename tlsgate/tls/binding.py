"""What pyOpenSSL's public interface cannot do, and nothing else does.

Each function has a fallback on the public interface, for a pyOpenSSL whose private
binding (`OpenSSL._util`) has changed: slower or vaguer, never weaker. The relay's
own use of the binding is in `fast`, for the same reason in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from OpenSSL.crypto import X509

try:
    from OpenSSL._util import ffi, lib

    _SHA256 = lib.EVP_get_digestbyname(b"sha256")
    #: Whether the private binding is there with all that is used of it.
    PRIVATE: Final[bool] = _SHA256 != ffi.NULL and all(
        hasattr(lib, name)
        for name in (
            "SSL_CTX_set1_curves_list",
            "SSL_CTX_set_verify",
            "SSL_get_ex_data_X509_STORE_CTX_idx",
            "SSL_get_peer_cert_chain",
            "SSL_get_peer_certificate",
            "SSL_get_verify_result",
            "SSL_session_reused",
            "X509_STORE_CTX_get_current_cert",
            "X509_STORE_CTX_get_error_depth",
            "X509_STORE_CTX_get_ex_data",
            "X509_STORE_CTX_set_error",
            "X509_digest",
            "X509_free",
            "X509_up_ref",
            "sk_X509_num",
        )
    )
except (ImportError, AttributeError):  # pragma: no cover - a pyOpenSSL of another make
    PRIVATE = False  # type: ignore[misc]

#: Looks at one certificate of a chain that OpenSSL has verified up to here: digest, depth
#: (0 is the leaf) and a way to the certificate itself. A sentence refuses it; None does not.
Judge = Callable[[bytes, int, Callable[[], x509.Certificate]], str | None]

#: X509_V_ERR_CERT_REJECTED; OpenSSL sends alert 42 (bad_certificate) for it.
_REJECTED: Final = 28

#: What a judge said of a connection; an entry lives as long as its connection.
_verdicts: WeakKeyDictionary[SSL.Connection, str] = WeakKeyDictionary()

#: One C function a judge; contexts hold no reference that would keep it alive.
_c_verifiers: dict[Judge, Any] = {}


def set_groups(context: SSL.Context, groups: bytes) -> bool:
    """Set the key exchange groups of *context*; False where OpenSSL knows none of that."""
    if not PRIVATE:
        return False
    done: bool = lib.SSL_CTX_set1_curves_list(context._context, groups) == 1
    lib.ERR_clear_error()
    return done


def set_verify(context: SSL.Context, mode: int, judge: Judge) -> None:
    """Verify peers by OpenSSL's rules and then by *judge*, certificate by certificate.

    Args:
        context: not used yet.
        mode: `SSL.VERIFY_PEER`, perhaps with `SSL.VERIFY_FAIL_IF_NO_PEER_CERT`.
        judge: a module's function, not a closure: it is kept for ever.
    """
    if not PRIVATE:
        context.set_verify(mode, _public_verifier(judge))
        return
    if (verifier := _c_verifiers.get(judge)) is None:
        verifier = _c_verifiers[judge] = ffi.callback(
            "int (*)(int, X509_STORE_CTX *)", _private_verifier(judge)
        )
    lib.SSL_CTX_set_verify(context._context, mode, verifier)


def verdict(connection: SSL.Connection) -> str | None:
    """What the judge of *connection* refused a certificate for."""
    return _verdicts.get(connection)


def verify_result(connection: SSL.Connection) -> int:
    """OpenSSL's X509_V_ERR number for the peer's chain; 0 is fine, -1 is not known."""
    if not PRIVATE:
        return -1
    result: int = lib.SSL_get_verify_result(connection._ssl)
    return result


def peer_digest(connection: SSL.Connection) -> bytes | None:
    """SHA-256 of the peer's certificate; None when it has shown none."""
    if not PRIVATE:
        certificate = connection.get_peer_certificate(as_cryptography=True)
        return None if certificate is None else certificate.fingerprint(hashes.SHA256())
    pointer = lib.SSL_get_peer_certificate(connection._ssl)
    if pointer == ffi.NULL:
        return None
    try:
        return _digest(pointer)
    finally:
        lib.X509_free(pointer)


def peer_certificates(connection: SSL.Connection) -> int:
    """How many certificates the client sent, its own included; for the server's side."""
    if not PRIVATE:
        chain = connection.get_peer_cert_chain(as_cryptography=True)
        return 1 if chain is None else len(chain) + 1
    # On the server's side the stack is without the leaf (SSL_get_peer_cert_chain(3)).
    stack = lib.SSL_get_peer_cert_chain(connection._ssl)
    return 1 if stack == ffi.NULL else int(lib.sk_X509_num(stack)) + 1


def resumed(connection: SSL.Connection) -> bool:
    """Whether the handshake took up an earlier session; the fallback cannot tell."""
    return PRIVATE and lib.SSL_session_reused(connection._ssl) == 1


def _digest(pointer: Any) -> bytes:
    buffer = ffi.new("unsigned char[32]")
    length = ffi.new("unsigned int *", 32)
    if lib.X509_digest(pointer, _SHA256, buffer, length) != 1:
        raise ValueError("no digest")
    return bytes(ffi.buffer(buffer, 32))


def _private_verifier(judge: Judge) -> Callable[[int, Any], int]:
    def verify(ok: int, store: Any) -> int:
        if not ok:
            return 0  # OpenSSL's own reason stays, and with it the right alert
        try:
            pointer = lib.X509_STORE_CTX_get_current_cert(store)

            def certificate() -> x509.Certificate:
                lib.X509_up_ref(pointer)
                return X509._from_raw_x509_ptr(pointer).to_cryptography()

            depth = lib.X509_STORE_CTX_get_error_depth(store)
            why = judge(_digest(pointer), depth, certificate)
        except Exception as error:  # what leaves here is lost in C: refuse, and say that it was us
            why = f"it could not be examined ({type(error).__name__})"
        if why is None:
            return 1
        lib.X509_STORE_CTX_set_error(store, _REJECTED)
        ssl = lib.X509_STORE_CTX_get_ex_data(store, lib.SSL_get_ex_data_X509_STORE_CTX_idx())
        if (connection := SSL.Connection._reverse_mapping.get(ssl)) is not None:
            _verdicts[connection] = why
        return 0

    return verify


def _public_verifier(
    judge: Judge,
) -> Callable[[SSL.Connection, X509, int, int, int], bool]:
    def verify(connection: SSL.Connection, cert: X509, _error: int, depth: int, ok: int) -> bool:
        if not ok:
            return False
        try:
            certificate = cert.to_cryptography()
            why = judge(certificate.fingerprint(hashes.SHA256()), depth, lambda: certificate)
        except Exception as error:  # as above
            why = f"it could not be examined ({type(error).__name__})"
        if why is not None:
            _verdicts[connection] = why
        return why is None

    return verify

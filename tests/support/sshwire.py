"""OpenSSH certificates written byte by byte, for those that no tool would sign."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519

SUFFIX = b"-cert-v01@openssh.com"
FOREVER = (1 << 64) - 1


def string(*parts: bytes) -> bytes:
    """A string: its length, then all parts."""
    body = b"".join(parts)
    return len(body).to_bytes(4, "big") + body


def number(value: int, size: int = 8) -> bytes:
    """A number of *size* bytes."""
    return value.to_bytes(size, "big")


def mpint(value: int) -> bytes:
    """A positive number in its shortest form."""
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def options(*pairs: tuple[bytes, bytes]) -> bytes:
    """Critical options or extensions."""
    return b"".join(string(name) + string(content) for name, content in pairs)


def blob_of(key: Any) -> bytes:
    """The plain blob of a private or public key of `cryptography`."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = key.public_key() if hasattr(key, "public_key") else key
    line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


#: Keys whose numbers are as long as they have to be; nobody has the private halves.
ED25519 = string(b"ssh-ed25519") + string(b"k" * 32)
P256 = string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"\4" + b"k" * 64)
P384 = string(b"ecdsa-sha2-nistp384") + string(b"nistp384") + string(b"\4" + b"k" * 96)
RSA = string(b"ssh-rsa") + mpint(65537) + mpint((1 << 2047) + 1)
AUTHORITY = string(b"ssh-ed25519") + string(b"a" * 32)


def certificate(
    *,
    key: bytes = P256,
    type_: bytes | None = None,
    nonce: bytes = b"n" * 32,
    serial: int = 7,
    kind: int = 1,
    key_id: bytes = b"alice",
    principals: Sequence[bytes] = (b"alice",),
    valid: tuple[int, int] = (1000, 2000),
    critical: bytes = b"",
    extensions: bytes = b"",
    reserved: bytes = b"",
    authority: bytes = AUTHORITY,
    signature: bytes | Callable[[bytes], bytes] | None = None,
    tail: bytes = b"",
) -> bytes:
    """A user's certificate; the signature is nonsense of the right form unless one is given."""
    length = int.from_bytes(key[:4], "big")
    plain, numbers = key[4 : 4 + length], key[4 + length :]
    signed = b"".join(
        (
            string(plain + SUFFIX if type_ is None else type_),
            string(nonce),
            numbers,
            number(serial),
            number(kind, 4),
            string(key_id),
            string(*map(string, principals)),
            number(valid[0]),
            number(valid[1]),
            string(critical),
            string(extensions),
            string(reserved),
            string(authority),
        )
    )
    if signature is None:
        signature = string(b"ssh-ed25519") + string(b"s" * 64)
    if callable(signature):
        signature = signature(signed)
    return signed + string(signature) + tail


def ed25519_signer(key: ed25519.Ed25519PrivateKey) -> Callable[[bytes], bytes]:
    """Signs with *key*."""
    return lambda signed: string(b"ssh-ed25519") + string(key.sign(signed))


def line(blob: bytes, type_: bytes | None = None) -> str:
    """As files have it."""
    length = int.from_bytes(blob[:4], "big")
    word = blob[4 : 4 + length] if type_ is None else type_
    return f"{word.decode()} {base64.b64encode(blob).decode()} comment"

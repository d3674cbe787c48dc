"""A new key pair for a login: one P-256 key for X.509 and OpenSSH."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class NewKey:
    """A key in the spellings that files and the API take; only the private one is secret."""

    private_pem: bytes = field(repr=False)  #: PKCS #8
    public_pem: str  #: SubjectPublicKeyInfo
    ssh_public: str  #: a line as in authorized_keys


def make_key() -> NewKey:
    """Make a key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    return NewKey(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode(),
        public.public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        ).decode(),
    )

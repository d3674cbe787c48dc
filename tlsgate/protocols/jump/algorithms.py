"""What the jump host offers, in order of preference: short, and without an old weakness.

ssh-audit's policy in etc/ssh-audit-policy.txt says the same, and a test holds both together.
No CBC and no chacha20-poly1305 (CVE-2023-48795 needs one of them), no SHA-1, no group whose
origin nobody can tell.
"""

from __future__ import annotations

from typing import Final

from tlsgate.core.wire.sshmessages import Offer
from tlsgate.protocols.jump.packets import CTR, ETM, GCM

EXCHANGES: Final = (
    b"mlkem768x25519-sha256",
    b"curve25519-sha256",
    b"curve25519-sha256@libssh.org",
)
HOST_CERTIFICATE: Final = b"ssh-ed25519-cert-v01@openssh.com"
HOST_KEY: Final = b"ssh-ed25519"

#: Signatures that users' keys may make (RFC 8308 section 3.1, server-sig-algs).
USER_SIGNATURES: Final = (
    b"ssh-ed25519",
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"rsa-sha2-512",
    b"rsa-sha2-256",
)
_SUFFIX: Final = b"-cert-v01@openssh.com"
#: Algorithm of a certificate in a login, to the one that its signature has to be of.
LOGINS: Final = {name + _SUFFIX: name for name in USER_SIGNATURES}


def offer(*, exchanges: tuple[bytes, ...], certified: bool) -> Offer:
    """Everything that is offered; a host certificate where there is one."""
    return Offer(
        exchanges=exchanges,
        host_keys=(HOST_CERTIFICATE, HOST_KEY) if certified else (HOST_KEY,),
        ciphers=(*GCM, *CTR),
        macs=tuple(ETM),
    )

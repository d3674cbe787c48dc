"""How packets are sealed and opened: in the clear at first, then AES-GCM, or AES-CTR and HMAC.

In all three the length of a packet is readable, so that a packet is opened, and an attacker's
refused, only when all of it is there. RFC 4253 section 6, RFC 4344 section 4, RFC 5647, and
PROTOCOL sections 1.5 and 1.6 of OpenSSH for encrypt-then-mac and AES-GCM:
https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.
"""

from __future__ import annotations

import hmac
import os
from hashlib import sha256, sha512
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsgate.core.wire.sshmessages import PACKET_BYTES
from tlsgate.errors import BadBytes

#: Name to the bytes of the key.
GCM: Final = {b"aes256-gcm@openssh.com": 32, b"aes128-gcm@openssh.com": 16}
CTR: Final = {b"aes256-ctr": 32, b"aes192-ctr": 24, b"aes128-ctr": 16}
ETM: Final[dict[bytes, Any]] = {
    b"hmac-sha2-256-etm@openssh.com": sha256,
    b"hmac-sha2-512-etm@openssh.com": sha512,
}

_LEAST_PADDING: Final = 4
_COUNTER: Final = 1 << 64


class Guard(Protocol):
    """One direction's protection."""

    block: int  #: packets without their length are a multiple of it
    tag: int  #: bytes after each packet

    def seal(self, sequence: int, head: bytes, body: bytes) -> bytes:
        """Give what goes after *head* (the length): the body, sealed, and the tag."""

    def open(self, sequence: int, head: bytes, sealed: bytes) -> bytes:
        """Give the body.

        Raises:
            BadBytes: somebody has changed it.
        """


class Clear:
    """Before the first keys."""

    block = 8
    tag = 0

    def seal(self, sequence: int, head: bytes, body: bytes) -> bytes:
        """See `Guard`."""
        return body

    def open(self, sequence: int, head: bytes, sealed: bytes) -> bytes:
        """See `Guard`."""
        return sealed


class Gcm:
    """AES-GCM: the length is authenticated, and the nonce counts packets."""

    block = 16
    tag = 16

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._aead = AESGCM(key)
        self._fixed = iv[:4]
        self._counter = int.from_bytes(iv[4:12], "big")

    def _nonce(self) -> bytes:
        counter = self._counter
        self._counter = (counter + 1) % _COUNTER
        return self._fixed + counter.to_bytes(8, "big")

    def seal(self, sequence: int, head: bytes, body: bytes) -> bytes:
        """See `Guard`."""
        return self._aead.encrypt(self._nonce(), body, head)

    def open(self, sequence: int, head: bytes, sealed: bytes) -> bytes:
        """See `Guard`."""
        try:
            return self._aead.decrypt(self._nonce(), sealed, head)
        except InvalidTag:
            raise _forged() from None


class CtrEtm:
    """AES-CTR, and an HMAC over what it gives."""

    block = 16

    def __init__(self, key: bytes, iv: bytes, mac: Any, mac_key: bytes) -> None:
        # Counting up is the same in both directions of CTR.
        self._update = Cipher(algorithms.AES(key), modes.CTR(iv[:16])).encryptor().update
        self._mac, self._mac_key = mac, mac_key
        self.tag = mac().digest_size

    def _sum(self, sequence: int, head: bytes, sealed: bytes) -> bytes:
        return hmac.digest(
            self._mac_key, sequence.to_bytes(4, "big") + head + sealed, self._mac().name
        )

    def seal(self, sequence: int, head: bytes, body: bytes) -> bytes:
        """See `Guard`."""
        sealed = self._update(body)
        return sealed + self._sum(sequence, head, sealed)

    def open(self, sequence: int, head: bytes, sealed: bytes) -> bytes:
        """See `Guard`."""
        body, told = sealed[: -self.tag], sealed[-self.tag :]
        if not hmac.compare_digest(told, self._sum(sequence, head, body)):
            raise _forged()
        return self._update(body)


class Guards:
    """Both directions, as Conch's key exchange sets them up.

    Args:
        ciphers, macs: their names; of each pair the first is for what comes from the client.
    """

    def __init__(
        self, ciphers: tuple[bytes, bytes] | None = None, macs: tuple[bytes, bytes] = (b"", b"")
    ) -> None:
        self._ciphers, self._macs = ciphers, macs
        self.into: Guard = Clear()
        self.out: Guard = Clear()

    def setKeys(
        self,
        out_iv: bytes,
        out_key: bytes,
        in_iv: bytes,
        in_key: bytes,
        out_mac: bytes,
        in_mac: bytes,
    ) -> None:
        """Conch calls this: the keys are known."""
        assert self._ciphers is not None
        self.into = _guard(self._ciphers[0], self._macs[0], in_iv, in_key, in_mac)
        self.out = _guard(self._ciphers[1], self._macs[1], out_iv, out_key, out_mac)


def _guard(cipher: bytes, mac: bytes, iv: bytes, key: bytes, mac_key: bytes) -> Guard:
    if cipher in GCM:
        return Gcm(key[: GCM[cipher]], iv)
    hashed = ETM[mac]
    return CtrEtm(key[: CTR[cipher]], iv, hashed, mac_key[: hashed().digest_size])


def seal(guard: Guard, sequence: int, payload: bytes) -> bytes:
    """Give the packet of *payload*, as it goes over the wire."""
    # In the clear the length counts for the block, too (RFC 4253 section 6).
    counted = 1 + len(payload) + (0 if guard.tag else 4)
    padding = -counted % guard.block
    if padding < _LEAST_PADDING:
        padding += guard.block
    head = (1 + len(payload) + padding).to_bytes(4, "big")
    body = bytes((padding,)) + payload + os.urandom(padding)
    return head + guard.seal(sequence, head, body)


def opened(guard: Guard, sequence: int, buffer: bytearray) -> bytes | None:
    """Take the first packet out of *buffer* and give its payload; None: it is not all there.

    Raises:
        BadBytes: it is too long, malformed, or somebody has changed it.
    """
    if len(buffer) < 4:
        return None
    head = bytes(buffer[:4])
    size = int.from_bytes(head, "big")
    in_clear = 0 if guard.tag else 4
    if not guard.block <= size + in_clear <= PACKET_BYTES or (size + in_clear) % guard.block:
        raise BadBytes("SSH packet", f"of {size} bytes")
    end = 4 + size + guard.tag
    if len(buffer) < end:
        return None
    body = guard.open(sequence, head, bytes(buffer[4:end]))
    del buffer[:end]
    padding = body[0]
    if not _LEAST_PADDING <= padding < size - 1:
        raise BadBytes("SSH packet", "with a padding that leaves nothing, or is too short")
    return body[1 : size - padding]


def _forged() -> BadBytes:
    return BadBytes("SSH packet", "changed on its way, or sealed with other keys")

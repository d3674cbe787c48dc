"""A raw SSH client in memory, which sends what no honest client would."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.sshwire import mpint, string
from tlsgate.core.wire.sshmessages import (
    STRICT_CLIENT,
    Message,
    Offer,
    numbers,
    read_kexinit,
    write_kexinit,
)
from tlsgate.protocols.jump.packets import CTR, ETM, GCM, Guards, opened, seal

LINE = b"SSH-2.0-raw"


def sign(key: Any, algorithm: bytes, content: bytes) -> bytes:
    """A signature as it stands in a login."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        own = key.sign(content)
    elif isinstance(key, rsa.RSAPrivateKey):
        kind: hashes.HashAlgorithm = (
            hashes.SHA512() if algorithm == b"rsa-sha2-512" else hashes.SHA256()
        )
        own = key.sign(content, padding.PKCS1v15(), kind)
    else:
        kind = hashes.SHA384() if algorithm.endswith(b"384") else hashes.SHA256()
        own = b"".join(map(mpint, decode_dss_signature(key.sign(content, ec.ECDSA(kind)))))
    return string(algorithm) + string(own)


class RawClient:
    """One connection.

    Args:
        deliver: gives our bytes to the jump host.
        taken: gives, once, the bytes that it has sent since.
    """

    def __init__(
        self,
        deliver: Callable[[bytes], None],
        taken: Callable[[], bytes],
        *,
        strict: bool = True,
        exchanges: Sequence[bytes] = (b"curve25519-sha256",),
        ciphers: Sequence[bytes] = (*GCM, *CTR),
        macs: Sequence[bytes] = tuple(ETM),
        host_keys: Sequence[bytes] = (b"ssh-ed25519-cert-v01@openssh.com", b"ssh-ed25519"),
    ) -> None:
        self._deliver, self._taken = deliver, taken
        self._strict = strict
        self.offer = Offer(
            exchanges=tuple(exchanges),
            host_keys=tuple(host_keys),
            ciphers=tuple(ciphers),
            macs=tuple(macs),
        )
        self._guards = Guards()
        self._next = Guards()
        self._buffer = bytearray()
        self._gone = self._come = 0
        self._server_line = b""
        self.session = b""
        self.host_blob = b""
        self._ours = self._theirs = b""
        self._secret: Any = None
        self.messages: list[tuple[int, bytes]] = []

    # -- packets ------------------------------------------------------------------------------

    def send(self, number: int, content: bytes = b"") -> None:
        """Send one message, whatever it is."""
        self._deliver(self.sealed(number, content))

    def sealed(self, number: int, content: bytes = b"") -> bytes:
        """The packet of one message."""
        packet = seal(self._guards.out, self._gone, bytes((number,)) + content)
        self._gone += 1
        return packet

    def pump(self) -> list[tuple[int, bytes]]:
        """Take what has come; give all messages but those of the key exchange."""
        self._buffer += self._taken()
        if not self._server_line:
            line, _, rest = bytes(self._buffer).partition(b"\r\n")
            self._server_line, self._buffer = line, bytearray(rest)
        found = []
        while (payload := opened(self._guards.into, self._come, self._buffer)) is not None:
            self._come += 1
            number, content = payload[0], payload[1:]
            if number == Message.KEXINIT:
                self._theirs = payload
            elif number == 31:
                self._reply(content)
            elif number == Message.NEWKEYS:
                self._guards.into = self._next.into
                if self._strict:
                    self._come = 0
            else:
                found.append((number, content))
        self.messages += found
        return found

    # -- the key exchange ---------------------------------------------------------------------

    def shake(self) -> RawClient:
        """Exchange keys, as an honest client does."""
        self.begin()
        self.first()
        self.keys()
        self.pump()
        return self

    def begin(self) -> None:
        """Our line, and what we can do."""
        self.pump()
        self._deliver(LINE + b"\r\n")
        self.kexinit()

    def kexinit(self) -> None:
        """What we can do."""
        markers = [b"ext-info-c", *([STRICT_CLIENT] if self._strict else [])]
        content = write_kexinit(self.offer, os.urandom(16), markers)
        self._ours = bytes((Message.KEXINIT,)) + content
        self.send(Message.KEXINIT, content)

    def first(self) -> None:
        """The exchange's own message; the answer gives the keys."""
        self._private = x25519.X25519PrivateKey.generate()
        self._public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._kem = None
        if self.offer.exchanges[0].startswith(b"mlkem"):
            self._kem = mlkem.MLKEM768PrivateKey.generate()
            head = self._kem.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            self._public = head + self._public
        self.send(Message.KEX_INIT, string(self._public))
        self.pump()

    def _reply(self, content: bytes) -> None:
        blob, public, signature = _strings(content)
        if self._kem is None:
            shared = self._private.exchange(x25519.X25519PublicKey.from_public_bytes(public))
            secret = mpint(int.from_bytes(shared, "big"))
        else:
            shared = self._private.exchange(x25519.X25519PublicKey.from_public_bytes(public[1088:]))
            secret = string(hashlib.sha256(self._kem.decapsulate(public[:1088]) + shared).digest())
        parts = (LINE, self._server_line, self._ours, self._theirs, blob, self._public, public)
        digest = hashlib.sha256(b"".join(map(string, parts)) + secret).digest()
        plain = blob
        if b"-cert-" in blob[:40]:
            plain = string(b"ssh-ed25519") + _rest(blob, 2)[:36]
        key = ed25519.Ed25519PublicKey.from_public_bytes(plain[-32:])
        key.verify(_strings(signature)[1], digest)
        self.host_blob = blob
        self.session = self.session or digest

        def derived(letter: bytes) -> bytes:
            first = hashlib.sha256(secret + digest + letter + self.session).digest()
            return first + hashlib.sha256(secret + digest + first).digest()

        offer, theirs = self.offer, read_kexinit(self._theirs[1:])
        cipher = next(one for one in offer.ciphers if one in theirs.ciphers[0])
        mac = b"" if cipher in GCM else next(one for one in offer.macs if one in theirs.macs[0])
        self._next = Guards((cipher, cipher), (mac, mac))
        self._next.setKeys(*(derived(letter) for letter in (b"A", b"C", b"B", b"D", b"E", b"F")))

    def keys(self) -> None:
        """From here on with the new keys."""
        self.send(Message.NEWKEYS)
        self._guards.out = self._next.out
        if self._strict:
            self._gone = 0

    # -- the login ------------------------------------------------------------------------------

    def service(self, name: bytes = b"ssh-userauth") -> None:
        """Ask for the service of logins."""
        self.send(Message.SERVICE_REQUEST, string(name))

    def ask(self, blob: bytes, algorithm: bytes, user: bytes = b"alice") -> None:
        """Ask whether a key would do."""
        self.send(Message.USERAUTH_REQUEST, self.asking(blob, algorithm, user, signs=False))

    def asking(self, blob: bytes, algorithm: bytes, user: bytes, *, signs: bool) -> bytes:
        """A request for a key, before its signature."""
        return b"".join(
            (
                *map(string, (user, b"ssh-connection", b"publickey")),
                bytes((signs,)),
                string(algorithm),
                string(blob),
            )
        )

    def log_in(
        self,
        key: Any,
        blob: bytes,
        algorithm: bytes = b"",
        *,
        signed_as: bytes = b"",
        user: bytes = b"alice",
    ) -> list[tuple[int, bytes]]:
        """Log in with a key and its certificate, and give what comes back."""
        outer = algorithm or blob[4 : 4 + int.from_bytes(blob[:4], "big")]
        plain = signed_as or outer.removesuffix(b"-cert-v01@openssh.com")
        content = self.asking(blob, outer, user, signs=True)
        message = bytes((Message.USERAUTH_REQUEST,)) + content
        signature = sign(key, plain, string(self.session) + message)
        self.send(Message.USERAUTH_REQUEST, content + string(signature))
        return self.pump()

    # -- channels ----------------------------------------------------------------------------------

    def open(
        self, kind: bytes, rest: bytes = b"", *, number: int = 7, window: int = 1 << 20
    ) -> list[tuple[int, bytes]]:
        """Ask for a channel, and give what comes back."""
        self.send(Message.CHANNEL_OPEN, string(kind) + numbers(number, window, 32768) + rest)
        return self.pump()

    def direct(self, host: bytes, port: int = 22, **more: int) -> list[tuple[int, bytes]]:
        """Ask for a channel to a node."""
        rest = string(host) + numbers(port) + string(b"127.0.0.1") + numbers(4711)
        return self.open(b"direct-tcpip", rest, **more)

    def request(
        self, channel: int, name: bytes, rest: bytes = b"", *, wants: bool = True
    ) -> list[tuple[int, bytes]]:
        """Ask something of a channel, and give what comes back."""
        content = numbers(channel) + string(name) + bytes((wants,)) + rest
        self.send(Message.CHANNEL_REQUEST, content)
        return self.pump()

    def data(self, channel: int, content: bytes) -> list[tuple[int, bytes]]:
        """Send data, and give what comes back."""
        self.send(Message.CHANNEL_DATA, numbers(channel) + string(content))
        return self.pump()


def _strings(content: bytes) -> list[bytes]:
    found = []
    while content:
        size = int.from_bytes(content[:4], "big")
        found.append(content[4 : 4 + size])
        content = content[4 + size :]
    return found


def _rest(content: bytes, count: int) -> bytes:
    for _ in range(count):
        content = content[4 + int.from_bytes(content[:4], "big") :]
    return content


def first_string(content: bytes) -> bytes:
    """The first string of a message."""
    return _strings(content[: 4 + int.from_bytes(content[:4], "big")])[0]

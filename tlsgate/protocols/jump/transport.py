"""SSH's transport for one client: the strict part around Conch's key exchange.

1. The line of identification and our KEXINIT leave at once.
2. `Phase.EXCHANGE`: the client's line, then KEXINIT, the exchange's own message and NEWKEYS,
   in this order and with nothing between: not even what RFC 4253 lets pass (Terrapin,
   CVE-2023-48795). Where the client knows the strict exchange, both sides count packets from
   0 after each NEWKEYS.
3. `Phase.LOGIN`: the service, EXT_INFO and requests to log in; every other message ends the
   connection (CVE-2025-32433, CVE-2018-10933).
4. `Phase.OPEN`: channels, and new keys now and then.

Conch computes the exchange and derives keys; the order of messages, the packets, the choice
of algorithms and every limit are ours: Conch takes messages in any order, packets of 1 MiB,
and has neither encrypt-then-mac nor the strict exchange (Twisted 26.10). One file, above the
usual length: what may come when is read as a whole.
"""

from __future__ import annotations

import enum
import os
import struct
from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from cryptography.exceptions import UnsupportedAlgorithm
from twisted.conch.ssh.transport import SSHServerTransport
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

from tlsgate.core.wire.sshmessages import (
    EXT_INFO_CLIENT,
    EXT_INFO_SERVER,
    STRICT_CLIENT,
    STRICT_SERVER,
    Message,
    agree,
    check_extensions,
    numbers,
    read_kexinit,
    read_line,
    read_service,
    sentence,
    string,
    write_kexinit,
)
from tlsgate.errors import BadBytes
from tlsgate.protocols.jump import algorithms
from tlsgate.protocols.jump.packets import Guards, opened, seal

#: RFC 4253 section 11.1.
PROTOCOL_ERROR: Final = 2
EXCHANGE_FAILED: Final = 3
NO_MORE_LOGINS: Final = 14

#: How long a client may take to log in.
GRACE_SECONDS: Final = 10.0
#: After so much in either direction there are new keys (RFC 4253 section 9).
_REKEY_BYTES: Final = 1 << 30
_REKEY_PACKETS: Final = 1 << 28
#: A client may ask for new keys so often in so many bytes; an exchange costs us more than it.
_EXCHANGES: Final = 8
#: Answers that may wait: for new keys, or for a client that asks and does not read.
_ANSWERS: Final = 1024

_USERAUTH: Final = b"ssh-userauth"
#: Conch's own words would be a line for each scan of the port.
_SILENT: Final = Logger(observer=LogPublisher())


class Phase(enum.Enum):
    """How far a connection has come."""

    EXCHANGE = 1
    LOGIN = 2
    OPEN = 3
    OVER = 4


@frozen
class _Shown:
    """Our public key or certificate, as Conch asks for it."""

    content: bytes

    def blob(self) -> bytes:
        """The bytes that the client sees."""
        return self.content


@frozen
class _Signer:
    """Our private key, as Conch asks for it."""

    key: Any

    def sign(self, content: bytes, signatureType: bytes | None = None) -> bytes:
        """A signature of a plain key, whatever of it is shown."""
        return string(algorithms.HOST_KEY) + string(self.key.sign(content))


@frozen(kw_only=True)
class HostKey:
    """The gateway's key.

    Attributes:
        key: an Ed25519 private key.
        blob: its public half.
        certificate: what the cluster says of it; b"": nothing.
    """

    key: Any
    blob: bytes
    certificate: bytes = b""


class JumpTransport(SSHServerTransport):
    """One client's connection; see the module.

    Args:
        host_key: what we show.
        clock: for the login grace.
        log_in: makes what takes requests to log in, when the first keys are there.
        ended: called once at the end with how far it had come, and whether the login took
            too long.

    Attributes:
        writable: False while the client does not take what waits for it.
        resumed: called when it is True again.
    """

    _log = _SILENT
    transport: Any
    currentEncryptions: Any
    nextEncryptions: Any
    ourVersionString = b"SSH-2.0-tlsgate"
    outgoingCompressionType = incomingCompressionType = b"none"

    def __init__(
        self,
        host_key: HostKey,
        clock: IReactorTime,
        log_in: Callable[[JumpTransport], Callable[[bytes], None]],
        ended: Callable[[Phase, bool], None],
        *,
        exchanges: tuple[bytes, ...] = algorithms.EXCHANGES,
    ) -> None:
        self._host_key = host_key
        self._clock = clock
        self._log_in = log_in
        self._ended = ended
        self._offer = algorithms.offer(exchanges=exchanges, certified=bool(host_key.certificate))
        self.phase = Phase.EXCHANGE
        self._reached = Phase.EXCHANGE
        self._buffer = bytearray()
        #: What has to come next of a key exchange; None: none is going on for the client.
        self._awaited: Message | None = Message.KEXINIT
        self._strict = False
        self._exchanges = 0
        self._moved = 0
        self._answers = 0
        self._asked_service = False
        self._told_extensions = False
        self._late = False
        self._login: Callable[[bytes], None] | None = None
        self._grace: Any = None
        self.messages: Callable[[int, bytes], None] | None = None
        self.writable = True
        self.resumed: Callable[[], None] = lambda: None

    # -- Twisted calls these ---------------------------------------------------------------

    def connectionMade(self) -> None:
        """Say who we are, and what we can do."""
        self.transport.registerProducer(self, True)
        self._grace = self._clock.callLater(GRACE_SECONDS, self._too_late)
        self.currentEncryptions = Guards()
        self.transport.write(self.ourVersionString + b"\r\n")
        self.sendKexInit()

    def dataReceived(self, data: bytes) -> None:
        """Take what is whole of *data* and of what came before."""
        if self.phase is Phase.OVER:
            return
        self._buffer += data
        try:
            self._take_all()
        except BadBytes as error:
            self.end(PROTOCOL_ERROR, str(error))

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The client is gone."""
        self._over()
        # What is bound to us is let go, or the collector would have to find it (S57).
        self.messages = self._login = None
        self.resumed = lambda: None
        ended, self._ended = self._ended, lambda phase, late: None
        ended(self._reached, self._late)

    def pauseProducing(self) -> None:
        """The client does not take what waits for it."""
        self.writable = False

    def resumeProducing(self) -> None:
        """It has taken all."""
        if self._answers > _ANSWERS:
            self.transport.resumeProducing()
        self._answers = 0
        if not self.writable:
            self.writable = True
            self.resumed()

    def stopProducing(self) -> None:
        """The connection ends, which we are told of by itself."""
        self.writable = False

    # -- what comes ------------------------------------------------------------------------

    def _take_all(self) -> None:
        if not self.gotVersion:
            found = read_line(bytes(self._buffer[:512]))
            if found is None:
                return
            self.otherVersionString, length = found
            self.gotVersion = True
            del self._buffer[:length]
        while self.phase is not Phase.OVER:
            guard = self.currentEncryptions.into
            payload = opened(guard, self.incomingPacketSequence, self._buffer)
            if payload is None:
                return
            self.incomingPacketSequence = (self.incomingPacketSequence + 1) % (1 << 32)
            self._count(len(payload))
            self._take(payload[0], payload[1:])

    def _take(self, number: int, content: bytes) -> None:
        """Take one message; what may come depends on how far we are."""
        if number == Message.DISCONNECT:
            self._over()
            self.transport.loseConnection()
        elif number in (Message.KEXINIT, Message.KEX_INIT, Message.NEWKEYS):
            self._exchange(number, content)
        elif self.phase is Phase.OPEN:
            self._open(number, content)
        elif self.phase is Phase.LOGIN and self._awaited is None:
            self._before_login(number, content)
        else:
            raise BadBytes("SSH message", f"number {number} during the key exchange")

    def _before_login(self, number: int, content: bytes) -> None:
        if number == Message.SERVICE_REQUEST and not self._asked_service:
            if read_service(content) != _USERAUTH:
                raise BadBytes("SSH service", "another one than ssh-userauth is asked for")
            self._asked_service = True
            self.sendPacket(Message.SERVICE_ACCEPT, string(_USERAUTH))
        elif number == Message.EXT_INFO and not self._told_extensions:
            check_extensions(content)
            self._told_extensions = True
        elif number == Message.USERAUTH_REQUEST and self._login is not None:
            if not self._asked_service:
                raise BadBytes("SSH message", "a login before the service was asked for")
            self._login(content)
        else:
            raise BadBytes("SSH message", f"number {number} before the login")

    def _open(self, number: int, content: bytes) -> None:
        if number in (Message.IGNORE, Message.UNIMPLEMENTED, Message.DEBUG):
            return
        if self._awaited is not None:
            raise BadBytes("SSH message", f"number {number} during the key exchange")
        if number == Message.USERAUTH_REQUEST:
            return  # RFC 4252 section 5.1: silently ignored
        if Message.GLOBAL_REQUEST <= number <= Message.CHANNEL_FAILURE:
            assert self.messages is not None
            self.messages(number, content)
        elif number < Message.GLOBAL_REQUEST:
            raise BadBytes("SSH message", f"number {number} after the login")
        else:
            last = (self.incomingPacketSequence - 1) % (1 << 32)
            self.answer(Message.UNIMPLEMENTED, numbers(last))

    # -- the key exchange --------------------------------------------------------------------

    def _exchange(self, number: int, content: bytes) -> None:
        if self._awaited is None and number == Message.KEXINIT and self.phase is Phase.OPEN:
            self._awaited = Message.KEXINIT  # the client wants new keys, or answers ours
        if number != self._awaited:
            raise BadBytes("SSH key exchange", f"message {number} is out of its order")
        if number == Message.KEXINIT:
            self._begin_exchange(content)
        elif number == Message.NEWKEYS:
            if content:
                raise BadBytes("SSH NEWKEYS", "with bytes after its end")
            self._awaited = None
            self._newKeys()
            if self.phase is Phase.EXCHANGE:
                self.phase = self._reached = Phase.LOGIN
                self._login = self._log_in(self)
        elif self.ignoreNextPacket:
            self.ignoreNextPacket = False
        else:
            self._awaited = Message.NEWKEYS
            try:
                self.ssh_KEX_DH_GEX_REQUEST_OLD(content)
            except (ValueError, IndexError, struct.error, UnsupportedAlgorithm) as error:
                raise BadBytes("SSH key exchange", "with a public key that is none") from error

    def _begin_exchange(self, content: bytes) -> None:
        theirs = read_kexinit(content)
        first = self.sessionID is None
        if first:
            self._strict = STRICT_CLIENT in theirs.exchanges
            self._peerSupportsExtensions = EXT_INFO_CLIENT in theirs.exchanges
        self._exchanges += 1
        if self._exchanges > _EXCHANGES:
            raise BadBytes("SSH key exchange", "asked for too often")
        if self._keyExchangeState == self._KEY_EXCHANGE_NONE:
            self.sendKexInit()
        self._keyExchangeState = self._KEY_EXCHANGE_PROGRESSING
        self.otherKexInitPayload = bytes((Message.KEXINIT,)) + content
        agreed = agree(self._offer, theirs)
        self.kexAlg, self.keyAlg = agreed.exchange, agreed.host_key
        self.nextEncryptions = Guards(agreed.ciphers, agreed.macs)
        self.ignoreNextPacket = agreed.wrong_guess
        self._awaited = Message.KEX_INIT

    def sendKexInit(self) -> None:
        """Say what we can do; Conch's has no strict exchange and more algorithms."""
        markers = (EXT_INFO_SERVER, STRICT_SERVER) if self.sessionID is None else ()
        content = write_kexinit(self._offer, os.urandom(16), markers)
        self.ourKexInitPayload = bytes((Message.KEXINIT,)) + content
        self.sendPacket(Message.KEXINIT, content)
        self._keyExchangeState = self._KEY_EXCHANGE_REQUESTED
        self._blockedByKeyExchange = []

    def sendExtInfo(self, extensions: object) -> None:
        """Say which signatures users' keys may make; Conch would name those of our own key."""
        if self._peerSupportsExtensions:
            names = b",".join(algorithms.USER_SIGNATURES)
            content = numbers(1) + string(b"server-sig-algs") + string(names)
            self.sendPacket(Message.EXT_INFO, content)

    def _getHostKeys(self, algorithm: bytes) -> Any:
        own = self._host_key
        certified = algorithm == algorithms.HOST_CERTIFICATE
        shown = own.certificate if certified else own.blob
        return _Shown(shown), _Signer(own.key)

    def _newKeys(self) -> None:
        """Conch does the rest: the new keys count, and what has waited leaves."""
        if self._strict:
            self.incomingPacketSequence = self.outgoingPacketSequence = 0
        super()._newKeys()
        self.resumed()

    @property
    def ready(self) -> bool:
        """Whether data may be sent now."""
        idle: bool = self._keyExchangeState == self._KEY_EXCHANGE_NONE
        return self.writable and idle and self.phase is Phase.OPEN

    def _count(self, size: int) -> None:
        """New keys in time, whichever direction is the busy one."""
        self._moved += size + 64
        if self._moved < _REKEY_BYTES:
            return
        self._moved = 0
        self._exchanges = 0
        if self.phase is Phase.OPEN and self._keyExchangeState == self._KEY_EXCHANGE_NONE:
            self.sendKexInit()

    # -- what goes ----------------------------------------------------------------------------

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Send a message; during a key exchange what is not part of it waits."""
        if self._keyExchangeState != self._KEY_EXCHANGE_NONE:
            if not self._allowedKeyExchangeMessageType(messageType):
                self._blockedByKeyExchange.append((messageType, payload))
                if len(self._blockedByKeyExchange) > _ANSWERS:
                    self._over()
                    self.transport.abortConnection()
                return
        content = bytes((messageType,)) + payload
        guard = self.currentEncryptions.out
        self.transport.write(seal(guard, self.outgoingPacketSequence, content))
        self.outgoingPacketSequence = (self.outgoingPacketSequence + 1) % (1 << 32)
        self._count(len(content))

    def answer(self, number: int, content: bytes) -> None:
        """Send what a client can ask for without end; one that does not read is not read."""
        self.sendPacket(number, content)
        if not self.writable:
            self._answers += 1
            if self._answers == _ANSWERS + 1:
                self.transport.pauseProducing()

    # -- the end ------------------------------------------------------------------------------

    def logged_in(self, messages: Callable[[int, bytes], None]) -> None:
        """The client is known: *messages* takes those of channels from now on."""
        self._cancel_grace()
        self.phase = self._reached = Phase.OPEN
        self._login = None
        self._exchanges = 0
        self.messages = messages

    def end(self, code: int, text: str) -> None:
        """Tell the client why, and close."""
        if self.phase is Phase.OVER:
            return
        try:
            self.sendPacket(Message.DISCONNECT, numbers(code) + sentence(text))
        finally:
            self._over()
            self.transport.loseConnection()

    def sendDisconnect(self, reason: int, desc: bytes | str) -> None:
        """Conch calls this: the exchange has failed."""
        self.end(reason, desc if isinstance(desc, str) else desc.decode(errors="replace"))

    def _too_late(self) -> None:
        self._grace = None
        self._late = True
        self.end(NO_MORE_LOGINS, f"no login within {GRACE_SECONDS:g} s")

    def _over(self) -> None:
        self._cancel_grace()
        self.phase = Phase.OVER
        self._buffer.clear()

    def _cancel_grace(self) -> None:
        grace, self._grace = self._grace, None
        if grace is not None:
            grace.cancel()

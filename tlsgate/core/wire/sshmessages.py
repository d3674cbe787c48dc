"""SSH messages that a client sends to the jump host, read strictly; and what is said back.

Every function takes the bytes after the message's number. RFC 4253 (transport), RFC 4252
(login), RFC 4254 (channels), RFC 8308 (EXT_INFO); the names of algorithms and the strict key
exchange: https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.
One file, above the usual length: the messages share a reader, and are held side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NoReturn

from attrs import field, frozen

from tlsgate.errors import BadBytes

#: The longest packet that is taken, without its own length; RFC 4253 section 6.1 wants 35000.
PACKET_BYTES: Final = 40_000
#: An identification line, with its end (RFC 4253 section 4.2).
LINE_BYTES: Final = 255

#: In the first key exchange only, instead of an algorithm.
STRICT_CLIENT: Final = b"kex-strict-c-v00@openssh.com"
STRICT_SERVER: Final = b"kex-strict-s-v00@openssh.com"
EXT_INFO_CLIENT: Final = b"ext-info-c"
EXT_INFO_SERVER: Final = b"ext-info-s"

_NAMES_BYTES: Final = 4096
_WORD_BYTES: Final = 256
_HOST_BYTES: Final = 256
_EXTENSIONS: Final = 16


class Message(IntEnum):
    """Numbers of messages."""

    DISCONNECT = 1
    IGNORE = 2
    UNIMPLEMENTED = 3
    DEBUG = 4
    SERVICE_REQUEST = 5
    SERVICE_ACCEPT = 6
    EXT_INFO = 7
    KEXINIT = 20
    NEWKEYS = 21
    KEX_INIT = 30  #: of every exchange that is offered here
    USERAUTH_REQUEST = 50
    USERAUTH_FAILURE = 51
    USERAUTH_SUCCESS = 52
    USERAUTH_BANNER = 53
    USERAUTH_PK_OK = 60
    GLOBAL_REQUEST = 80
    REQUEST_FAILURE = 82
    CHANNEL_OPEN = 90
    CHANNEL_OPEN_CONFIRMATION = 91
    CHANNEL_OPEN_FAILURE = 92
    CHANNEL_WINDOW_ADJUST = 93
    CHANNEL_DATA = 94
    CHANNEL_EXTENDED_DATA = 95
    CHANNEL_EOF = 96
    CHANNEL_CLOSE = 97
    CHANNEL_REQUEST = 98
    CHANNEL_SUCCESS = 99
    CHANNEL_FAILURE = 100


@frozen(kw_only=True)
class Offer:
    """Names of algorithms, in order of preference."""

    exchanges: tuple[bytes, ...]
    host_keys: tuple[bytes, ...]
    ciphers: tuple[bytes, ...]
    macs: tuple[bytes, ...]


@frozen(kw_only=True)
class KexInit:
    """What a client can do; `rest` of a pair is from us to the client.

    Attributes:
        guessed: the packet that follows is of a key exchange that the client guessed.
    """

    exchanges: tuple[bytes, ...]
    host_keys: tuple[bytes, ...]
    ciphers: tuple[tuple[bytes, ...], tuple[bytes, ...]]
    macs: tuple[tuple[bytes, ...], tuple[bytes, ...]]
    compressions: tuple[tuple[bytes, ...], tuple[bytes, ...]]
    guessed: bool


@frozen(kw_only=True)
class Agreed:
    """What both can do; of a pair the first is from the client to us.

    Attributes:
        wrong_guess: the packet that follows has to be dropped.
    """

    exchange: bytes
    host_key: bytes
    ciphers: tuple[bytes, bytes]
    macs: tuple[bytes, bytes]
    wrong_guess: bool


@frozen(kw_only=True)
class Login:
    """A request to log in; without a signature a question whether the key would do.

    Attributes:
        algorithm, blob: of the key; b"" where the method is not "publickey".
        signed: what the signature is over, but for the session's identifier before it.
    """

    user: str
    service: bytes
    method: bytes
    algorithm: bytes = b""
    blob: bytes = field(default=b"", repr=False)
    signature: bytes | None = field(default=None, repr=False)
    signed: bytes = field(default=b"", repr=False)


@frozen(kw_only=True)
class Open:
    """A channel that the client wants.

    Attributes:
        number: the client's.
        window, most: bytes that it takes in all until it says more, and in one message.
    """

    kind: bytes
    number: int
    window: int
    most: int
    rest: bytes = field(repr=False)


@frozen(kw_only=True)
class Request:
    """What the client wants of a channel; of the connection where there is no number."""

    name: bytes
    wants_answer: bool
    rest: bytes = field(repr=False)
    number: int | None = None


class _Reader:
    """Takes a message apart, from the left."""

    def __init__(self, what: str, content: bytes) -> None:
        self._what = what
        self._content = content
        self._at = 0

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def flag(self) -> bool:
        return self.take(1) != b"\0"

    def string(self, limit: int) -> bytes:
        size = self.number()
        if size > limit:
            self.bad(f"with a part of {size} bytes, {limit} are taken")
        return self.take(size)

    def names(self) -> tuple[bytes, ...]:
        text = self.string(_NAMES_BYTES)
        return tuple(text.split(b",")) if text else ()

    def text(self, limit: int) -> str:
        try:
            text = self.string(limit).decode()
        except UnicodeDecodeError:
            self.bad("with a part that is not UTF-8")
        if not text.isprintable():
            self.bad("with a part that cannot be printed")
        return text

    def take(self, size: int) -> bytes:
        piece = self._content[self._at : self._at + size]
        if len(piece) != size:
            self.bad("cut short")
        self._at += size
        return piece

    def rest(self) -> bytes:
        return self._content[self._at :]

    def end(self) -> None:
        if self._at != len(self._content):
            self.bad("with bytes after its end")

    def bad(self, why: str) -> NoReturn:
        raise BadBytes(f"SSH {self._what}", why)


# -- the transport -----------------------------------------------------------------------


def read_kexinit(content: bytes) -> KexInit:
    """Read what a client can do.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("KEXINIT", content)
    reader.take(16)  # the cookie
    exchanges, host_keys = reader.names(), reader.names()
    ciphers = reader.names(), reader.names()
    macs = reader.names(), reader.names()
    compressions = reader.names(), reader.names()
    reader.names(), reader.names()  # languages
    guessed = reader.flag()
    reader.number()
    reader.end()
    return KexInit(
        exchanges=exchanges,
        host_keys=host_keys,
        ciphers=ciphers,
        macs=macs,
        compressions=compressions,
        guessed=guessed,
    )


def write_kexinit(offer: Offer, cookie: bytes, markers: Sequence[bytes]) -> bytes:
    """Say what we can do; *markers* stand among the exchanges and are none."""
    lists = (
        (*offer.exchanges, *markers),
        offer.host_keys,
        *(offer.ciphers, offer.ciphers, offer.macs, offer.macs),
        *((b"none",), (b"none",), (), ()),
    )
    return cookie + b"".join(string(b",".join(names)) for names in lists) + bytes(5)


def agree(ours: Offer, theirs: KexInit) -> Agreed:
    """Choose: the client's first that we have, too (RFC 4253 section 7.1).

    Raises:
        BadBytes: there is none for one of the purposes.
    """

    def common(what: str, mine: Sequence[bytes], wanted: Sequence[bytes]) -> bytes:
        for name in wanted:
            if name in mine:
                return name
        raise BadBytes("SSH key exchange", f"nothing in common for {what}")

    exchange = common("the key exchange", ours.exchanges, theirs.exchanges)
    host_key = common("the host key", ours.host_keys, theirs.host_keys)
    ciphers = tuple(common("encryption", ours.ciphers, names) for names in theirs.ciphers)
    macs = tuple(
        # An AEAD needs no MAC, whatever is listed (PROTOCOL, section 1.6).
        b"" if b"gcm" in cipher else common("integrity", ours.macs, names)
        for cipher, names in zip(ciphers, theirs.macs, strict=True)
    )
    for names in theirs.compressions:
        common("no compression", (b"none",), names)
    right = theirs.exchanges[0] == ours.exchanges[0] and theirs.host_keys[0] == ours.host_keys[0]
    return Agreed(
        exchange=exchange,
        host_key=host_key,
        ciphers=(ciphers[0], ciphers[1]),
        macs=(macs[0], macs[1]),
        wrong_guess=theirs.guessed and not right,
    )


def read_line(content: bytes) -> tuple[bytes, int] | None:
    """Read a client's identification: the line without its end, and how long it is with it.

    None while more has to come.

    Raises:
        BadBytes: it is no SSH 2, or too long.
    """
    end = content.find(b"\n", 0, LINE_BYTES)
    if end < 0:
        if len(content) >= LINE_BYTES:
            raise BadBytes("SSH identification", f"longer than {LINE_BYTES} bytes")
        return None
    line = bytes(content[:end]).removesuffix(b"\r")
    if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")):
        raise BadBytes("SSH identification", "not of version 2")
    if b"\0" in line or b"\r" in line:
        raise BadBytes("SSH identification", "with a character that no line has")
    return line, end + 1


def read_service(content: bytes) -> bytes:
    """Read the name of the service that is asked for.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("SERVICE_REQUEST", content)
    name = reader.string(_WORD_BYTES)
    reader.end()
    return name


def check_extensions(content: bytes) -> None:
    """Read what a client can do besides; nothing of it is of use here.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("EXT_INFO", content)
    count = reader.number()
    if count > _EXTENSIONS:
        reader.bad(f"with more than {_EXTENSIONS} extensions")
    for _ in range(count):
        reader.string(_WORD_BYTES)
        reader.string(_NAMES_BYTES)
    reader.end()


# -- the login -----------------------------------------------------------------------------


def read_login(content: bytes) -> Login:
    """Read a request to log in.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("USERAUTH_REQUEST", content)
    user, service = reader.text(_WORD_BYTES), reader.string(_WORD_BYTES)
    method = reader.string(_WORD_BYTES)
    if method != b"publickey":
        return Login(user=user, service=service, method=method)
    signs = reader.flag()
    algorithm, blob = reader.string(_WORD_BYTES), reader.string(PACKET_BYTES)
    unsigned = len(content) - len(reader.rest())
    signature = reader.string(_NAMES_BYTES) if signs else None
    reader.end()
    return Login(
        user=user,
        service=service,
        method=method,
        algorithm=algorithm,
        blob=blob,
        signature=signature,
        signed=bytes((Message.USERAUTH_REQUEST,)) + content[:unsigned],
    )


def read_signature(content: bytes) -> tuple[bytes, bytes]:
    """Take a signature apart: its algorithm, and its own part.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("signature", content)
    algorithm, own = reader.string(_WORD_BYTES), reader.string(1024)
    reader.end()
    return algorithm, own


# -- channels ------------------------------------------------------------------------------


def read_open(content: bytes) -> Open:
    """Read what kind of channel the client wants.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("CHANNEL_OPEN", content)
    return Open(
        kind=reader.string(_WORD_BYTES),
        number=reader.number(),
        window=reader.number(),
        most=reader.number(),
        rest=reader.rest(),
    )


def read_direct(content: bytes) -> tuple[str, int]:
    """Read host and port of a direct-tcpip channel; where it comes from counts for nothing.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("direct-tcpip", content)
    host, port = reader.text(_HOST_BYTES), reader.number()
    reader.string(_HOST_BYTES)
    reader.number()
    reader.end()
    if not host or port > 65535:
        reader.bad("without a host, or with a port that there is not")
    return host, port


def read_request(content: bytes) -> Request:
    """Read what is wanted of a channel.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("CHANNEL_REQUEST", content)
    number = reader.number()
    name, wants_answer = reader.string(_WORD_BYTES), reader.flag()
    return Request(name=name, wants_answer=wants_answer, rest=reader.rest(), number=number)


def read_global(content: bytes) -> Request:
    """Read what is wanted of the connection.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("GLOBAL_REQUEST", content)
    name, wants_answer = reader.string(_WORD_BYTES), reader.flag()
    return Request(name=name, wants_answer=wants_answer, rest=reader.rest())


def read_subsystem(content: bytes) -> tuple[str, int, str | None] | None:
    """Read host, port and cluster of "proxy:host:port[@cluster]"; None: another subsystem.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("subsystem", content)
    word = reader.text(2 * _HOST_BYTES)
    reader.end()
    if not word.startswith("proxy:"):
        return None
    where, _, cluster = word.removeprefix("proxy:").partition("@")
    # Clients of Teleport may write a namespace in between: "@default@cluster".
    cluster = cluster.rpartition("@")[2]
    host, _, port = where.rpartition(":")
    if not host:
        reader.bad("of the form proxy:, without host:port")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        reader.bad("with a port that there is not")
    return host.strip("[]"), int(port), cluster or None


def read_data(content: bytes) -> tuple[int, bytes]:
    """Read a channel's number, and what is sent on it.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("CHANNEL_DATA", content)
    number, sent = reader.number(), reader.string(PACKET_BYTES)
    reader.end()
    return number, sent


def read_adjust(content: bytes) -> tuple[int, int]:
    """Read a channel's number, and how many more bytes the client takes.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("CHANNEL_WINDOW_ADJUST", content)
    number, more = reader.number(), reader.number()
    reader.end()
    return number, more


def read_number(content: bytes) -> int:
    """Read a channel's number, and nothing else.

    Raises:
        BadBytes: it cannot be read.
    """
    reader = _Reader("channel message", content)
    number = reader.number()
    reader.end()
    return number


# -- what is said --------------------------------------------------------------------------


def string(content: bytes) -> bytes:
    """A string: its length, then itself."""
    return len(content).to_bytes(4, "big") + content


def numbers(*values: int) -> bytes:
    """Numbers of four bytes each."""
    return b"".join(value.to_bytes(4, "big") for value in values)


def sentence(text: str) -> bytes:
    """A text for the user, bounded, and a language tag after it."""
    return string(text[:1000].encode(errors="replace")) + string(b"")

"""PostgreSQL's messages of protocol 3.0 to 3.2 that come before the first query.

A first packet has no type byte: a length, itself included, then a version or a magic number.
Every later message is a type byte, a length that counts itself, and a body.
https://www.postgresql.org/docs/18/protocol-message-formats.html
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack
from typing import Final

from attrs import evolve, field, frozen

from tlsgate.core.outcome import More
from tlsgate.errors import BadBytes

#: MAX_STARTUP_PACKET_LENGTH of the server.
STARTUP_BYTES: Final = 10_000
#: NAMEDATALEN - 1: the server cuts a longer name, and means somebody else then.
NAME_BYTES: Final = 63
#: Bytes of a type and a length.
HEAD: Final = 5

SSL_REQUEST: Final = b"\0\0\0\x08\x04\xd2\x16\x2f"

_MAJOR: Final = 3
_CANCEL: Final = 80877102
#: From this minor version on a key may be as long as the server likes, up to 256 bytes.
_LONG_KEYS: Final = 2
_SECRET: Final = 4
_LONGEST_SECRET: Final = 256

#: A parameter or an option is bounded by its packet; how many there may be is not.
_PARAMETERS: Final = 128

#: What the server takes for "no" (src/backend/utils/adt/bool.c): any beginning of these words.
_NO: Final = tuple(word[:end] for word in (b"false", b"no") for end in range(1, len(word) + 1))

#: What an Authentication message may ask for.
_ASKED: Final[Mapping[int, str]] = {
    2: "Kerberos",
    3: "a password",
    5: "an MD5 password",
    7: "GSSAPI",
    9: "SSPI",
    10: "a SCRAM password",
}


@frozen
class Startup:
    """What a client begins with.

    Attributes:
        minor: of protocol 3.
        parameters: as they came, in their order, without the two below.
        user, database: the database is the user's own where the client named none.
        named: whether the client named a database.
    """

    minor: int
    parameters: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    user: str
    database: str
    named: bool = True

    def with_names(self, user: str, database: str) -> Startup:
        """The same for somebody else, who is said in so many words."""
        return evolve(self, user=user, database=database, named=True)

    @property
    def application(self) -> str:
        """What the client calls its program; "": it does not say."""
        name = dict(self.parameters).get(b"application_name", b"")
        return name[:NAME_BYTES].decode("utf-8", "replace")

    def packet(self) -> bytes:
        """Write it."""
        said = ((b"user", self.user.encode()), (b"database", self.database.encode()))
        body = b"".join(b"%b\0%b\0" % pair for pair in (*said, *self.parameters)) + b"\0"
        return pack(">LHH", 8 + len(body), _MAJOR, self.minor) + body


@frozen
class Key:
    """What a server, or we in its place, call a session by which it can be cancelled."""

    pid: int
    secret: bytes = field(repr=False)

    def bytes(self) -> bytes:
        """Number and secret, as they stand in both messages."""
        return pack(">L", self.pid) + self.secret


@frozen
class Message:
    """One message, or its beginning; the body may be a secret."""

    kind: bytes
    body: bytes = field(repr=False)

    def bytes(self) -> bytes:
        """Write it."""
        return self.kind + pack(">L", 4 + len(self.body)) + self.body


def first_packet(head: bytes) -> int | More:
    """How long the first packet is that *head* begins.

    Raises:
        BadBytes: longer than a server takes, or too short for anything.
    """
    if len(head) < 4:
        return More(4 - len(head))
    size = int.from_bytes(head[:4], "big")
    if not 8 <= size <= STARTUP_BYTES:
        raise BadBytes("start-up message", f"it would have {size} bytes")
    return size if len(head) >= size else More(size - len(head))


def read_startup(packet: bytes) -> Startup:
    """Read a whole StartupMessage.

    Raises:
        BadBytes: it is none, or one whose reader could mean something else than the server
            (S44): a parameter that comes twice, a name that the server would cut, or a
            replication connection, which is in no single database.
    """
    _whole(packet, "start-up message")
    major, minor = int.from_bytes(packet[4:6], "big"), int.from_bytes(packet[6:8], "big")
    if major != _MAJOR:
        raise _bad(f"protocol {major}.{minor} is not spoken")
    if not packet.endswith(b"\0\0" if len(packet) > 9 else b"\0"):
        raise _bad("its list of parameters has no end")
    *words, last = packet[8:-1].split(b"\0") if len(packet) > 9 else [b""]
    if last or len(words) % 2 or not all(words[::2]):
        raise _bad("its parameters are no pairs")
    pairs = tuple(zip(words[::2], words[1::2], strict=True))
    found = dict(pairs)
    if len(pairs) > _PARAMETERS or len(found) != len(pairs):
        raise _bad("a parameter comes twice, or there are too many")
    if found.get(b"replication", b"no").lower() not in (*_NO, b"off", b"of", b"0"):
        raise _bad("replication is not carried: it reaches every database of the server")
    user = _name(found.get(b"user", b""), "user")
    named = bool(found.get(b"database"))
    database = _name(found[b"database"], "database") if named else user
    others = tuple(pair for pair in pairs if pair[0] not in _OURS)
    return Startup(minor, others, user, database, named)


_OURS: Final = (b"user", b"database", b"replication")


def read_cancel(packet: bytes) -> Key:
    """Read a whole CancelRequest.

    Raises:
        BadBytes: it is none.
    """
    _whole(packet, "cancel request")
    if int.from_bytes(packet[4:8], "big") != _CANCEL:
        raise BadBytes("cancel request", "it has another code")
    return _key(packet[8:], "cancel request")


def cancel_request(key: Key) -> bytes:
    """Write a CancelRequest."""
    return pack(">LL", 12 + len(key.secret), _CANCEL) + key.bytes()


def next_message(head: bytes, at: int, limit: int) -> Message | More:
    """Read the message at the place *at*.

    Args:
        limit: the most bytes of a body.

    Raises:
        BadBytes: its length cannot be, or is more than that.
    """
    lacks = at + HEAD - len(head)
    if lacks > 0:
        return More(lacks)
    size = int.from_bytes(head[at + 1 : at + HEAD], "big") - 4
    if not 0 <= size <= limit:
        raise BadBytes("PostgreSQL message", f"its length is {size + 4}")
    end = at + HEAD + size
    if len(head) < end:
        return More(end - len(head))
    return Message(head[at : at + 1], head[at + HEAD : end])


def wanted(body: bytes) -> str:
    """What an Authentication message asks for; "": nothing, the client is let in.

    Raises:
        BadBytes: it is none.
    """
    if len(body) < 4:
        raise BadBytes("PostgreSQL message", "an Authentication without a code")
    code = int.from_bytes(body[:4], "big")
    return "" if code == 0 else _ASKED.get(code, f"authentication of kind {code}")


def agreed_minor(body: bytes) -> int:
    """The minor version that a NegotiateProtocolVersion leaves.

    Raises:
        BadBytes: it is none.
    """
    if len(body) < 8:
        raise BadBytes("PostgreSQL message", "a NegotiateProtocolVersion that is cut short")
    # The number has the major version in it in every server there is, and not in the manual.
    return int.from_bytes(body[2:4], "big")


def read_key(body: bytes) -> Key:
    """Read a BackendKeyData.

    Raises:
        BadBytes: it is none.
    """
    return _key(body, "PostgreSQL message")


def key_message(key: bytes, minor: int) -> bytes:
    """Write a BackendKeyData of *key*, cut to what the protocol's *minor* version can say.

    Args:
        key: 4 bytes of a number, and a secret of 4 bytes at the least.
    """
    size = len(key) if minor >= _LONG_KEYS else 4 + _SECRET
    return Message(b"K", key[:size]).bytes()


def read_error(body: bytes) -> Mapping[str, str]:
    """The fields of an ErrorResponse or a NoticeResponse, for a log; nothing is refused."""
    fields: dict[str, str] = {}
    for part in body[:8192].split(b"\0"):
        if len(part) > 1:
            name, value = part[:1].decode("latin-1"), part[1:].decode("utf-8", "replace")
            fields.setdefault(name, value[:1024])
    return fields


def _whole(packet: bytes, what: str) -> None:
    if len(packet) < 9 or int.from_bytes(packet[:4], "big") != len(packet):
        raise BadBytes(what, "it is cut short")
    if len(packet) > STARTUP_BYTES:
        raise BadBytes(what, f"more than {STARTUP_BYTES} bytes")


def _key(body: bytes, what: str) -> Key:
    if not 4 + _SECRET <= len(body) <= 4 + _LONGEST_SECRET:
        raise BadBytes(what, f"a key of {len(body)} bytes")
    return Key(int.from_bytes(body[:4], "big"), body[4:])


def _name(name: bytes, what: str) -> str:
    if not 0 < len(name) <= NAME_BYTES:
        raise _bad(f"its {what} is empty, or longer than {NAME_BYTES} bytes")
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"its {what} is not UTF-8") from error
    if not text.isprintable():
        raise _bad(f"its {what} has a character that cannot be printed")
    return text


def _bad(why: str) -> BadBytes:
    return BadBytes("start-up message", why)

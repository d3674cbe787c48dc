"""OpenSSH certificates: read strictly, and judged.

1. `parse` reads the bytes of a certificate, all of them, or refuses it.
2. `judge` says whether it is good for a purpose: a trusted authority, its kind, its time,
   a principal, no condition that is not known (S36).
3. The signature is checked elsewhere (`tls.sshtrust`): here is no cryptography.

The authority's key inside must be a plain key of a kind that is listed: a certificate in
that place is refused by its first word, and nothing in it is looked at (CVE-2025-49825).

Source: https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.certkeys, and
RFC 4251 section 5, RFC 5656 section 3.1, RFC 8332, RFC 8709 for the parts.
"""

from __future__ import annotations

import base64
import binascii
import enum
from collections.abc import Collection, Mapping
from typing import Final, NoReturn

from attrs import field, frozen

from tlsgate.errors import BadBytes, Untrusted

#: A certificate on RSA-4096, signed by RSA-4096, with 64 principals has 7 KiB.
CERTIFICATE_BYTES: Final = 32 * 1024

#: OpenSSH's own bound (SSHKEY_CERT_MAX_PRINCIPALS).
_PRINCIPALS: Final = 256
_NAME_BYTES: Final = 256
_OPTIONS: Final = 64
_NONCE_BYTES: Final = range(16, 128 + 1)
_FOREVER: Final = (1 << 64) - 1
_RSA_BITS: Final = range(2048, 4096 + 1)

_SUFFIX: Final = b"-cert-v01@openssh.com"
#: ecdsa-sha2-NAME to the bytes of an uncompressed point.
_CURVES: Final[Mapping[bytes, int]] = {b"nistp256": 65, b"nistp384": 97}
_ED25519: Final = b"ssh-ed25519"
_RSA: Final = b"ssh-rsa"
_ECDSA: Final = b"ecdsa-sha2-"
#: Plain key types, for the certified key and for the authority's.
KEY_TYPES: Final = frozenset((_ED25519, _RSA, *(_ECDSA + curve for curve in _CURVES)))
#: Names of the outside by which a certificate on RSA may be offered (RFC 8332 for certificates).
_OUTER: Final[Mapping[bytes, bytes]] = {
    **{kind + _SUFFIX: kind for kind in KEY_TYPES},
    b"rsa-sha2-256" + _SUFFIX: _RSA,
    b"rsa-sha2-512" + _SUFFIX: _RSA,
}
#: Key type to the signature algorithms that it may use; SHA-1 is none.
_SIGNATURES: Final[Mapping[bytes, frozenset[bytes]]] = {
    _ED25519: frozenset((_ED25519,)),
    _RSA: frozenset((b"rsa-sha2-256", b"rsa-sha2-512")),
    **{_ECDSA + curve: frozenset((_ECDSA + curve,)) for curve in _CURVES},
}


class Kind(enum.IntEnum):
    """Whose certificate it is."""

    USER = 1
    HOST = 2


@frozen(kw_only=True)
class SshCertificate:
    """What a certificate says; nothing of it is true before `judge` and the signature.

    Attributes:
        key: the certified key as a plain blob: a string with its type, then its numbers.
        serial: chosen by the authority.
        valid_after: seconds since the epoch, the first moment.
        valid_before: the same, the moment after the last.
        critical_options: name to content, as it stands.
        extensions: the same.
        authority: the key that signed, as a plain blob.
        signed: the bytes that were signed.
        algorithm: of the signature.
        signature: its own part.
    """

    key: bytes = field(repr=False)
    serial: int
    kind: Kind
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical_options: Mapping[str, bytes] = field(hash=False)
    extensions: Mapping[str, bytes] = field(hash=False)
    authority: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    algorithm: bytes
    signature: bytes = field(repr=False)

    @property
    def key_type(self) -> bytes:
        """The plain type of the certified key: b"ssh-ed25519"."""
        return _first_string(self.key)

    @property
    def authority_type(self) -> bytes:
        """The same of the authority's key."""
        return _first_string(self.authority)


def parse_line(line: str | bytes) -> SshCertificate:
    """Read a certificate as files have it: type, base64, perhaps a comment.

    Raises:
        BadBytes: as `parse`; or the type outside is not the one inside.
    """
    try:
        text = line.encode("ascii") if isinstance(line, str) else line
    except UnicodeEncodeError:
        _bad("the line is not ASCII")
    if len(text) > 2 * CERTIFICATE_BYTES:
        _bad(f"longer than {CERTIFICATE_BYTES} bytes")
    words = text.strip(b" \t\r\n").split(b" ", 2)
    if len(words) < 2 or b"\n" in text.strip():
        _bad("not a type and base64 on one line")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        _bad("not base64")
    return parse(blob, words[0])


def parse(blob: bytes, outer: bytes | None = None) -> SshCertificate:
    """Read a certificate.

    Args:
        blob: all of it.
        outer: the type that was said outside, in a line or in a request to log in (S37).

    Raises:
        BadBytes: anything in it is not as it must be.
    """
    if len(blob) > CERTIFICATE_BYTES:
        _bad(f"longer than {CERTIFICATE_BYTES} bytes")
    reader = _Reader(blob)
    inner = reader.string(64)
    plain = inner.removesuffix(_SUFFIX)
    if not inner.endswith(_SUFFIX) or plain not in KEY_TYPES:
        _bad("not a certificate of a type that is taken here")
    if outer is not None and _OUTER.get(outer) != plain:
        _bad("of another type inside than outside")
    if len(reader.string(256)) not in _NONCE_BYTES:
        _bad("with a nonce that is too short or too long")
    begin = reader.place
    _read_key(reader, plain)
    key = _string(plain) + blob[begin : reader.place]
    serial = reader.number(8)
    kind = reader.number(4)
    if kind not in (Kind.USER, Kind.HOST):
        _bad("neither of a user nor of a host")
    key_id = _text(reader.string(_NAME_BYTES), "a key id", empty=True)
    principals = _read_principals(reader.string(CERTIFICATE_BYTES))
    valid_after, valid_before = reader.number(8), reader.number(8)
    critical = _read_options(reader.string(CERTIFICATE_BYTES))
    extensions = _read_options(reader.string(CERTIFICATE_BYTES))
    if reader.string(1024):
        _bad("with something in the place that is reserved")
    authority = reader.string(2048)
    authority_type = _check_plain(authority)
    signed = blob[: reader.place]
    algorithm, signature = _read_signature(reader.string(2048), authority_type)
    reader.end()
    return SshCertificate(
        key=key,
        serial=serial,
        kind=Kind(kind),
        key_id=key_id,
        principals=principals,
        valid_after=valid_after,
        valid_before=valid_before,
        critical_options=critical,
        extensions=extensions,
        authority=authority,
        signed=signed,
        algorithm=algorithm,
        signature=signature,
    )


def judge(
    certificate: SshCertificate,
    trusted: Collection[bytes],
    kind: Kind,
    now: float,
    principal: str,
    *,
    options: Collection[str] = (),
) -> None:
    """Refuse *certificate* unless it is good for *principal*; its signature is not checked.

    Args:
        trusted: blobs of the authorities' plain keys; compared by bytes.
        now: seconds since the epoch.
        principal: the user, or the name of the host that was dialled.
        options: critical options that the caller will hold the holder to.

    Raises:
        Untrusted: with the reason.
    """
    if certificate.authority not in trusted:
        _refuse("it is signed by no authority that is trusted here")
    if certificate.kind is not kind:
        _refuse(f"it is a {certificate.kind.name.lower()}'s, not a {kind.name.lower()}'s")
    if not certificate.principals:
        _refuse("it names no principal, which would mean all of them")
    if principal not in certificate.principals:
        _refuse(f"it is not for {principal[:64]!a}")
    if certificate.valid_before == _FOREVER:
        _refuse("it never ends")
    if not certificate.valid_after <= now < certificate.valid_before:
        _refuse("it has ended, or has not begun")
    unknown = sorted(set(certificate.critical_options) - set(options))
    if unknown:
        _refuse(f"its critical option {unknown[0][:64]!a} is not known here")


def key_blob(line: str | bytes) -> bytes:
    """The blob of a plain public key in a line, as `judge` wants to be told of authorities.

    Raises:
        BadBytes: it is none, or a certificate.
    """
    words = (line.encode("ascii", "replace") if isinstance(line, str) else line).split()
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, IndexError):
        _bad("an authority's key that is not a type and base64")
    if _check_plain(blob) != words[0]:
        _bad("an authority's key of another type inside than outside")
    return blob


# -- the parts ---------------------------------------------------------------------------


class _Reader:
    """Takes bytes from the front; lengths are looked at before anything is sliced."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def string(self, limit: int) -> bytes:
        length = self.number(4)
        if length > limit:
            _bad("with a part that is longer than it may be")
        return self._take(length)

    def positive(self, limit: int) -> int:
        """An mpint above 0 in its shortest form (RFC 4251 section 5)."""
        raw = self.string(limit)
        value = int.from_bytes(raw, "big")
        if not raw or raw[0] & 0x80 or value.bit_length() // 8 + 1 != len(raw):
            _bad("with a number that is not positive, or not in its shortest form")
        return value

    @property
    def more(self) -> bool:
        return self.place < len(self._data)

    def end(self) -> None:
        if self.more:
            _bad("with bytes after its end")

    def _take(self, size: int) -> bytes:
        end = self.place + size
        if end > len(self._data):
            _bad("cut short")
        piece = self._data[self.place : end]
        self.place = end
        return piece


def _read_key(reader: _Reader, kind: bytes) -> None:
    """Pass over the numbers of a key of the plain type *kind*."""
    if kind == _ED25519:
        if len(reader.string(32)) != 32:
            _bad("with an Ed25519 key of another length")
    elif kind == _RSA:
        exponent, modulus = reader.positive(8), reader.positive(1024)
        if not exponent & 1 or exponent < 65537 or modulus.bit_length() not in _RSA_BITS:
            _bad("with an RSA key that is not of 2048 to 4096 bits")
    else:
        curve = kind.removeprefix(_ECDSA)
        if reader.string(16) != curve:
            _bad("with a key on another curve than its type says")
        point = reader.string(128)
        if len(point) != _CURVES[curve] or point[0] != 4:
            _bad("with a point that is not whole")


def _check_plain(blob: bytes) -> bytes:
    """The type of a plain key that fills *blob*."""
    reader = _Reader(blob)
    kind = reader.string(64)
    if kind.endswith(_SUFFIX):
        _bad("with a certificate in the place of its authority's key")
    if kind not in KEY_TYPES:
        _bad("with an authority's key of a type that is not taken here")
    _read_key(reader, kind)
    reader.end()
    return kind


def _read_signature(blob: bytes, authority_type: bytes) -> tuple[bytes, bytes]:
    reader = _Reader(blob)
    algorithm = reader.string(64)
    if algorithm not in _SIGNATURES[authority_type]:
        _bad("with a signature that its authority's key does not make")
    signature = reader.string(1024)
    reader.end()
    return algorithm, signature


def _read_principals(blob: bytes) -> tuple[str, ...]:
    reader = _Reader(blob)
    found: list[str] = []
    while reader.more:
        if len(found) == _PRINCIPALS:
            _bad(f"with more than {_PRINCIPALS} principals")
        found.append(_text(reader.string(_NAME_BYTES), "a principal"))
    return tuple(found)


def _read_options(blob: bytes) -> dict[str, bytes]:
    """Names and contents; in order, each once, as the specification demands."""
    reader = _Reader(blob)
    found: dict[str, bytes] = {}
    last = b""
    while reader.more:
        if len(found) == _OPTIONS:
            _bad(f"with more than {_OPTIONS} options")
        name = reader.string(_NAME_BYTES)
        if found and name <= last:
            _bad("with options that are not in order, or twice")
        last = name
        found[_text(name, "an option")] = reader.string(4096)
    return found


def _text(raw: bytes, what: str, *, empty: bool = False) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        _bad(f"with {what} that is not UTF-8")
    if not text.isprintable() or not (text or empty):
        _bad(f"with {what} that is empty or cannot be printed")
    return text


def _string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def _first_string(blob: bytes) -> bytes:
    return _Reader(blob).string(64)


def _bad(why: str) -> NoReturn:
    raise BadBytes("OpenSSH certificate", why)


def _refuse(why: str) -> NoReturn:
    raise Untrusted("the OpenSSH certificate", why)

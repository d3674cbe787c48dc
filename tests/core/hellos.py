"""ClientHellos for tests: captured ones, made ones, and ways to cut them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from struct import pack

_VECTORS = Path(__file__).parent.parent / "vectors"

#: What each captured hello asks for: server name, ALPN offers, versions.
CAPTURED: dict[str, tuple[str | None, tuple[bytes, ...], tuple[int, ...]]] = {
    "chromium": ("gw.example.com", (b"h2", b"http/1.1"), (0x4A4A, 0x304, 0x303)),
    "curl": ("gw.example.com", (b"h2", b"http/1.1"), (0x304, 0x303, 0x302, 0x301)),
    "curl-tls12": ("gw.example.com", (b"http/1.1",), (0x303,)),
    "libpq-direct": ("db.example.com", (b"postgresql",), (0x304, 0x303)),
    "psql15": ("db.example.com", (), (0x304, 0x303)),
    "pyopenssl": ("pq.example.com", (), (0x304, 0x303)),
    "redis-cli": ("cache.example.com", (), (0x304, 0x303, 0x302, 0x301)),
    "s_client": ("echo.example.com", (b"demo-echo",), (0x304, 0x303, 0x302, 0x301)),
    "s_client-bare": (None, (), (0x304, 0x303, 0x302, 0x301)),
    "s_client-tls12": ("old.example.com", (), (0x303,)),
}


def read_vector(name: str) -> bytes:
    """Read tests/vectors/NAME.hex: hex digits, and lines of origin that start with "#"."""
    lines = (_VECTORS / f"{name}.hex").read_text().splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


def captured(name: str) -> bytes:
    """The bytes of one hello of `CAPTURED`."""
    return read_vector(f"hello/{name}")


def record(fragment: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    """One TLS record around *fragment*."""
    return pack(">BHH", kind, version, len(fragment)) + fragment


def message(body: bytes, kind: int = 1) -> bytes:
    """One handshake message around *body*."""
    return pack(">L", kind << 24 | len(body)) + body


def recut(wire: bytes, size: int) -> bytes:
    """The message in the one record *wire*, cut into records of *size* bytes."""
    text = wire[5:]
    return b"".join(record(text[at : at + size]) for at in range(0, len(text), size))


def cut_at(wire: bytes, places: Iterable[int]) -> bytes:
    """The message in the one record *wire*, cut into records at *places* of it."""
    text = wire[5:]
    edges = sorted({0, len(text), *(place % len(text) for place in places)})
    return b"".join(record(text[a:b]) for a, b in pairwise(edges))


def extension(kind: int, body: bytes) -> bytes:
    """One extension."""
    return pack(">HH", kind, len(body)) + body


def sni(*names: bytes, kind: int = 0) -> bytes:
    """A server_name extension with *names*."""
    entries = b"".join(pack(">BH", kind, len(name)) + name for name in names)
    return extension(0, pack(">H", len(entries)) + entries)


def alpn(*names: bytes) -> bytes:
    """An ALPN extension with *names*."""
    entries = b"".join(bytes([len(name)]) + name for name in names)
    return extension(16, pack(">H", len(entries)) + entries)


def versions(*numbers: int) -> bytes:
    """A supported_versions extension with *numbers*."""
    return extension(43, bytes([2 * len(numbers)]) + b"".join(pack(">H", n) for n in numbers))


def body(
    extensions: bytes | None = b"",
    *,
    version: int = 0x0303,
    session: bytes = b"",
    suites: bytes = b"\x13\x01\xc0\x2b",
    methods: bytes = b"\0",
) -> bytes:
    """The body of a ClientHello; *extensions* None leaves their length out too."""
    tail = b"" if extensions is None else pack(">H", len(extensions)) + extensions
    return (
        pack(">H", version)
        + bytes(range(32))
        + bytes([len(session)])
        + session
        + pack(">H", len(suites))
        + suites
        + bytes([len(methods)])
        + methods
        + tail
    )


def hello(extensions: bytes | None = b"", **fields: object) -> bytes:
    """A ClientHello in one record; *fields* as in `body`."""
    return record(message(body(extensions, **fields)))  # type: ignore[arg-type]

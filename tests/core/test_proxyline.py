"""Tests for `tlsgate.core.proxyline`."""

from __future__ import annotations

from struct import pack

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.core.hellos import read_vector
from tlsgate.core.outcome import More
from tlsgate.core.proxyline import (
    TLV_ALPN,
    TLV_AUTHORITY,
    TLV_CRC32C,
    TLV_NOOP,
    TLV_UNIQUE_ID,
    ProxyHeader,
    read_proxy,
    write_v1,
    write_v2,
)
from tlsgate.core.sniff import TLS_OPENING, sniff
from tlsgate.errors import BadProxyHeader

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(family: int, tail: bytes, command: int = 0x21, size: int | None = None) -> bytes:
    """A v2 header; *size* where its length field lies."""
    return SIGNATURE + pack(">BBH", command, family, len(tail) if size is None else size) + tail


def inet(source: str = "198.51.100.7", destination: str = "192.0.2.1") -> bytes:
    """The address part of a v2 header for TCP over IPv4."""
    ends = (bytes(map(int, end.split("."))) for end in (source, destination))
    return b"".join(ends) + pack(">HH", 4711, 443)


def tlv(kind: int, value: bytes) -> bytes:
    return pack(">BH", kind, len(value)) + value


def known(
    wire: bytes, source: tuple[str, int], destination: tuple[str, int], *tlvs: tuple[int, bytes]
) -> tuple[bytes, ProxyHeader]:
    return wire, ProxyHeader(
        local=False, source=source, destination=destination, length=len(wire), tlvs=tlvs
    )


def nameless(
    wire: bytes, *tlvs: tuple[int, bytes], local: bool = False
) -> tuple[bytes, ProxyHeader]:
    return wire, ProxyHeader(
        local=local, source=None, destination=None, length=len(wire), tlvs=tlvs
    )


CLIENT = ("198.51.100.7", 4711)
GATE = ("192.0.2.1", 443)

#: Headers that are taken, and what they say.
TAKEN: dict[str, tuple[bytes, ProxyHeader]] = {
    "haproxy v1": known(
        read_vector("proxy/haproxy-v1"), ("127.0.0.1", 51024), ("127.0.0.1", 35021)
    ),
    "haproxy v1 ipv6": known(read_vector("proxy/haproxy-v1-ipv6"), ("::1", 55138), ("::1", 34229)),
    "haproxy v2": known(
        read_vector("proxy/haproxy-v2"), ("127.0.0.1", 50682), ("127.0.0.1", 57779)
    ),
    "haproxy v2 ipv6": known(read_vector("proxy/haproxy-v2-ipv6"), ("::1", 55798), ("::1", 36575)),
    "haproxy v2 with checksum": known(
        read_vector("proxy/haproxy-v2-crc32c"),
        ("127.0.0.1", 36942),
        ("127.0.0.1", 52727),
        (TLV_CRC32C, bytes.fromhex("4f9d4be2")),
        (TLV_UNIQUE_ID, b""),
    ),
    "v1": known(b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n", CLIENT, GATE),
    "v1 ipv6": known(
        b"PROXY TCP6 2001:DB8::7 2001:db8:0:0::1 4711 65535\r\n",
        ("2001:db8::7", 4711),
        ("2001:db8::1", 65535),
    ),
    "v1 mapped": known(
        b"PROXY TCP6 ::ffff:198.51.100.7 ::ffff:c000:201 4711 443\r\n", CLIENT, GATE
    ),
    "v1 longest": known(
        b"PROXY TCP6 " + b"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff " * 2 + b"65535 65535\r\n",
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
    ),
    "v1 unknown": nameless(b"PROXY UNKNOWN\r\n"),
    "v1 unknown with addresses": nameless(b"PROXY UNKNOWN 1.2.3.4 x 0 99999\r\n"),
    "v2": known(v2(0x11, inet()), CLIENT, GATE),
    "v2 with TLVs": known(
        v2(0x11, inet() + tlv(TLV_ALPN, b"h2") + tlv(TLV_AUTHORITY, b"") + tlv(0xE4, b"\0")),
        CLIENT,
        GATE,
        (TLV_ALPN, b"h2"),
        (TLV_AUTHORITY, b""),
        (0xE4, b"\0"),
    ),
    "v2 translated client": known(
        v2(
            0x21,
            bytes.fromhex("0064ff9b0000000000000000c6336407")
            + bytes.fromhex("20010db8000000000000000000000001")
            + pack(">HH", 4711, 443),
        ),
        ("64:ff9b::c633:6407", 4711),
        ("2001:db8::1", 443),
    ),
    "v2 mapped": known(
        v2(
            0x21,
            (bytes(10) + b"\xff\xff\xc6\x33\x64\x07")
            + (bytes(10) + b"\xff\xff\xc0\0\2\1")
            + pack(">HH", 4711, 443),
        ),
        CLIENT,
        GATE,
    ),
    "v2 local": nameless(v2(0x00, b"", command=0x20), local=True),
    "v2 local with addresses": nameless(v2(0x11, inet(), command=0x20), local=True),
    "v2 local with an odd family": nameless(v2(0xFF, b"junk", command=0x20), local=True),
    "v2 unspecified": nameless(v2(0x00, b"")),
    "v2 unspecified with a TLV": nameless(v2(0x00, tlv(TLV_NOOP, b"abc")), (TLV_NOOP, b"abc")),
    "v2 unix": nameless(v2(0x31, bytes(216) + tlv(TLV_NOOP, b"")), (TLV_NOOP, b"")),
}

#: Headers that are refused, and a word of the reason (S17, S18).
REFUSED: dict[str, tuple[bytes, str]] = {
    "none": (b"\x16\x03\x01", "missing"),
    "http": (b"GET / HTTP/1.1\r\n", "missing"),
    "lower case": (b"proxy TCP4 ", "missing"),
    "space first": (b" PROXY TCP4 ", "missing"),
    "cut signature": (SIGNATURE[:11] + b"\r", "missing"),
    "v1 of another kind": (b"PROXY UDP4 198.51.100.7 192.0.2.1 4711 443\r\n", "malformed"),
    "v1 unknown with a tail": (b"PROXY UNKNOWNS\r\n", "malformed"),
    "v1 without return": (b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\n", "malformed"),
    "v1 unknown without return": (b"PROXY UNKNOWN 1.2.3.4\n", "malformed"),
    "v1 two spaces": (b"PROXY TCP4  198.51.100.7 192.0.2.1 4711 443\r\n", "malformed"),
    "v1 space at the end": (b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443 \r\n", "malformed"),
    "v1 tab": (b"PROXY TCP4\t198.51.100.7 192.0.2.1 4711 443\r\n", "malformed"),
    "v1 port missing": (b"PROXY TCP4 198.51.100.7 192.0.2.1 4711\r\n", "malformed"),
    "v1 port signed": (b"PROXY TCP4 198.51.100.7 192.0.2.1 +4711 443\r\n", "malformed"),
    "v1 port with zero": (b"PROXY TCP4 198.51.100.7 192.0.2.1 04711 443\r\n", "malformed"),
    "v1 big port": (b"PROXY TCP4 198.51.100.7 192.0.2.1 65536 443\r\n", "port 65536"),
    "v1 NUL": (b"PROXY TCP4 198.51.100.7\0 192.0.2.1 4711 443\r\n", "malformed"),
    "v1 family mismatch": (b"PROXY TCP4 2001:db8::7 192.0.2.1 4711 443\r\n", "no IPv4"),
    "v1 other mismatch": (b"PROXY TCP6 198.51.100.7 192.0.2.1 4711 443\r\n", "no IPv6"),
    "v1 octal": (b"PROXY TCP4 198.51.100.07 192.0.2.1 4711 443\r\n", "no IPv4"),
    "v1 short address": (b"PROXY TCP4 198.51 192.0.2.1 4711 443\r\n", "no IPv4"),
    "v1 zone": (b"PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n", "malformed"),
    "v1 too long": (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", "longer than 107"),
    "v1 endless": (b"PROXY UNKNOWN " + b"x" * 93, "longer than 107"),
    "v2 version 1": (v2(0x11, inet(), command=0x11), "version and command 0x11"),
    "v2 version 3": (v2(0x11, inet(), command=0x31), "version and command 0x31"),
    "v2 command 2": (v2(0x11, inet(), command=0x22), "version and command 0x22"),
    "v2 datagram": (v2(0x12, inet()), "0x12 on a stream"),
    "v2 datagram ipv6": (v2(0x22, bytes(36)), "0x22 on a stream"),
    "v2 unix datagram": (v2(0x32, bytes(216)), "0x32 on a stream"),
    "v2 transport missing": (v2(0x10, inet()), "0x10 on a stream"),
    "v2 family 4": (v2(0x41, inet()), "0x41 on a stream"),
    "v2 too short": (v2(0x11, inet()[:-1]), "too short"),
    "v2 ipv6 too short": (v2(0x21, bytes(35)), "too short"),
    "v2 unix too short": (v2(0x31, bytes(215)), "too short"),
    "v2 empty": (v2(0x11, b""), "too short"),
    "v2 TLV type alone": (v2(0x11, inet() + b"\4"), "cut short"),
    "v2 TLV header cut": (v2(0x11, inet() + b"\4\0"), "cut short"),
    "v2 TLV overrun": (v2(0x11, inet() + b"\4\0\1"), "beyond the header"),
    "v2 TLV overrun into the payload": (
        v2(0x11, inet() + b"\4\0\5") + b"hello",
        "beyond the header",
    ),
    "v2 TLV overrun unspecified": (v2(0x00, b"\4\xff\xff"), "beyond the header"),
    "v2 wrong checksum": (v2(0x11, inet() + tlv(TLV_CRC32C, b"\0\0\0\0")), "checksum is wrong"),
    "v2 short checksum": (v2(0x11, inet() + tlv(TLV_CRC32C, b"\0")), "not four bytes"),
    "v2 giant": (v2(0x11, inet(), size=65_535), "longer than 4096"),
    "v2 one too long": (v2(0x11, inet(), size=4081), "longer than 4096"),
}

#: Addresses that a client may have, and how they come out.
CLIENTS = {
    "198.51.100.7": "198.51.100.7",
    "10.0.0.1": "10.0.0.1",
    "127.0.0.1": "127.0.0.1",
    "100.64.0.1": "100.64.0.1",
    "169.254.1.1": "169.254.1.1",
    "::1": "::1",
    "fe80::1": "fe80::1",
    "fd00::1": "fd00::1",
    "2002:c633:6407::1": "2002:c633:6407::1",
    "64:ff9b::198.51.100.7": "64:ff9b::c633:6407",
    "64:ff9b:1::7": "64:ff9b:1::7",
    "::ffff:198.51.100.7": "198.51.100.7",
}
#: Addresses that no client of a TCP connection has.
NOBODY = [
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::2",
    "::198.51.100.7",
    "100::1",
    "ff02::1",
    "4000::1",
    "::ffff:0.0.0.0",
    "::ffff:240.0.0.1",
    "::ffff:224.0.0.1",
]


class ReadProxyTests(SynchronousTestCase):
    """Tests for `read_proxy`."""

    def test_taken(self) -> None:
        """Each well-formed header says what it says, whatever follows it."""
        for name, (wire, want) in TAKEN.items():
            for behind in (b"", b"\x16\x03\x01", b"\r\n", wire):
                with self.subTest(name=name, behind=behind):
                    self.assertEqual(read_proxy(wire + behind), want)

    def test_every_split(self) -> None:
        """A header is not there before its last byte, and no more is asked for than it has."""
        for name, (wire, _) in TAKEN.items():
            for end in range(len(wire)):
                with self.subTest(name=name, end=end):
                    outcome = read_proxy(wire[:end])
                    assert isinstance(outcome, More)
                    self.assertGreaterEqual(outcome.lacks, 1)
                    self.assertLessEqual(end + outcome.lacks, len(wire))

    def test_curl(self) -> None:
        """What curl sends behind its header stays with the caller."""
        wire = read_vector("proxy/curl-v1")
        header = read_proxy(wire)
        assert isinstance(header, ProxyHeader)
        self.assertEqual(header.source, ("127.0.0.1", 42888))
        self.assertTrue(wire[header.length :].startswith(b"GET / HTTP/1.1\r\n"))

    def test_refused(self) -> None:
        """Each malformed header is refused with its reason."""
        for name, (wire, reason) in REFUSED.items():
            with self.subTest(name):
                error = self.assertRaises(BadProxyHeader, read_proxy, wire)
                self.assertIn(reason, str(error))
                self.assertTrue(str(error).isprintable())

    def test_refused_stays_refused(self) -> None:
        """No prefix of a malformed header is a header; once refused, it stays refused."""
        for name, (wire, _) in REFUSED.items():
            refused = False
            for end in range(len(wire) + 1):
                with self.subTest(name=name, end=end):
                    try:
                        outcome = read_proxy(wire[:end])
                    except BadProxyHeader:
                        refused = True
                    else:
                        self.assertIsInstance(outcome, More)
                        self.assertFalse(refused)

    def test_limit_is_a_parameter(self) -> None:
        """A header longer than *limit* is refused as soon as it says so."""
        for wire in (TAKEN["v1"][0], TAKEN["v2 with TLVs"][0]):
            self.assertIsInstance(read_proxy(wire, len(wire)), ProxyHeader)
            self.assertRaises(BadProxyHeader, read_proxy, wire, len(wire) - 1)

    def test_any_bytes(self) -> None:
        """Random bytes behind a plausible start give a value or BadProxyHeader."""
        starts = [b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, *(wire for wire, _ in TAKEN.values())]

        @given(st.sampled_from(starts), st.integers(0, 60), st.binary(max_size=150))
        def check(start: bytes, keep: int, noise: bytes) -> None:
            head = start[:keep] + noise
            try:
                outcome = read_proxy(head)
            except BadProxyHeader:
                return
            if isinstance(outcome, ProxyHeader):
                self.assertLessEqual(outcome.length, len(head))
            else:
                self.assertGreaterEqual(outcome.lacks, 1)

        check()


class SecurityTests(SynchronousTestCase):
    """The rules of the issue about PROXY headers, at the parser."""

    def test_s17_source_class(self) -> None:
        """S17: only addresses that a client can have are taken; mapped ones become IPv4."""
        for text, want in CLIENTS.items():
            header = read_proxy(write_v2((text, 4711), GATE))
            assert isinstance(header, ProxyHeader)
            self.assertEqual(header.source, (want, 4711))
        for text in NOBODY:
            for source, destination in (((text, 4711), CLIENT), (CLIENT, (text, 443))):
                with self.subTest(text=text, source=source):
                    for write in (write_v1, write_v2):
                        wire = write(source, destination)
                        self.assertRaises(BadProxyHeader, read_proxy, wire)

    def test_s17_port_zero(self) -> None:
        """S17: no end of a TCP connection has port 0."""
        for write in (write_v1, write_v2):
            for ends in ((("198.51.100.7", 0), GATE), (CLIENT, ("192.0.2.1", 0))):
                self.assertRaises(BadProxyHeader, read_proxy, write(*ends))

    def test_s17_no_address_is_no_client(self) -> None:
        """S17: LOCAL, UNKNOWN and UNSPEC never carry an address, even when they have one."""
        for name in (
            "v1 unknown with addresses",
            "v2 local with addresses",
            "v2 unspecified",
            "v2 unix",
        ):
            header = read_proxy(TAKEN[name][0])
            assert isinstance(header, ProxyHeader)
            self.assertEqual((header.source, header.destination), (None, None))

    def test_s18_length_is_exact(self) -> None:
        """S18: a length field one off never moves the payload's first byte unnoticed."""
        wire = v2(0x11, inet() + tlv(TLV_ALPN, b"h2"))
        for size in range(40):
            changed = wire[:14] + pack(">H", size) + wire[16:] + bytes(40)
            if size in (12, len(wire) - 16):  # the addresses alone, or with the whole TLV
                self.assertIsInstance(read_proxy(changed), ProxyHeader)
            else:
                try:
                    header = read_proxy(changed)
                except BadProxyHeader:
                    continue
                assert isinstance(header, ProxyHeader)
                # Zero bytes behind are whole TLVs of type 0; nothing is skipped.
                rebuilt = b"".join(tlv(kind, value) for kind, value in header.tlvs)
                self.assertEqual(changed[28 : header.length], rebuilt)

    def test_s18_second_header(self) -> None:
        """S18: a second header opens nothing: no protocol begins like one."""
        for wire in (TAKEN["v1"][0], TAKEN["v2"][0]):
            header = read_proxy(wire * 2)
            assert isinstance(header, ProxyHeader)
            self.assertEqual(header.length, len(wire))
            self.assertIsNone(sniff((wire * 2)[header.length :], [TLS_OPENING]))

    def test_s18_giant_header(self) -> None:
        """S18: a header of 65,535 bytes is refused when its first 16 are there."""
        wire = v2(0x11, inet() + tlv(0xE0, bytes(65_520)))
        self.assertRaises(BadProxyHeader, read_proxy, wire[:16])
        biggest = v2(0x11, inet() + tlv(0xE0, bytes(4096 - 16 - 12 - 3)))
        self.assertEqual(len(biggest), 4096)
        self.assertIsInstance(read_proxy(biggest), ProxyHeader)


class WriteTests(SynchronousTestCase):
    """Tests for `write_v1` and `write_v2`."""

    def test_bytes(self) -> None:
        """Both versions are written as the specification shows them."""
        self.assertEqual(write_v1(CLIENT, GATE), b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n")
        self.assertEqual(write_v2(CLIENT, GATE), v2(0x11, inet()))
        self.assertEqual(
            write_v2(CLIENT, GATE, [(TLV_AUTHORITY, b"gw.test")]),
            v2(0x11, inet() + tlv(TLV_AUTHORITY, b"gw.test")),
        )

    def test_without_address(self) -> None:
        """Where an end is missing or no IP address, the header says that it names none."""
        for ends in ((None, GATE), (CLIENT, None), (None, None), (("/run/x", 0), GATE)):
            self.assertEqual(write_v1(*ends), b"PROXY UNKNOWN\r\n")
            self.assertEqual(write_v2(*ends), v2(0x00, b"", command=0x20))
        self.assertEqual(
            write_v2(None, None, [(TLV_NOOP, b"x")]), v2(0x00, tlv(TLV_NOOP, b"x"), command=0x20)
        )

    def test_mixed_families(self) -> None:
        """Ends of two families meet in IPv6, and a zone is left out."""
        client = ("fe80::1%eth0", 4711)
        for write in (write_v1, write_v2):
            header = read_proxy(write(client, GATE))
            assert isinstance(header, ProxyHeader)
            self.assertEqual((header.source, header.destination), (("fe80::1", 4711), GATE))
        self.assertEqual(write_v1(("::ffff:198.51.100.7", 4711), GATE), write_v1(CLIENT, GATE))

    def test_round_trip(self) -> None:
        """What is written is read back, TLVs and all."""
        hosts = st.ip_addresses().map(str)
        ports = st.integers(1, 65535)
        tlvs = st.lists(
            st.tuples(
                st.integers(0, 255).filter(lambda n: n != TLV_CRC32C), st.binary(max_size=99)
            ),
            max_size=4,
        )

        @given(hosts, hosts, ports, tlvs)
        def check(source: str, target: str, port: int, extra: list[tuple[int, bytes]]) -> None:
            try:
                first = read_proxy(write_v1((source, port), (target, 443)))
            except BadProxyHeader:
                return
            second = read_proxy(write_v2((source, port), (target, 443), extra))
            assert isinstance(first, ProxyHeader) and isinstance(second, ProxyHeader)
            self.assertEqual(second.tlvs, tuple(extra))
            self.assertEqual(first.source, second.source)
            self.assertEqual(first.destination, second.destination)
            self.assertEqual(first.source and first.source[1], port)

        check()

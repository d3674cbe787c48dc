"""What must hold for any bytes at all; each function raises AssertionError where it does not.

`fuzz_*.py` feed these with what atheris finds, `test_corpus.py` with what it has found.
"""

from __future__ import annotations

from tests.core.agreement import disagreement
from tests.core.hellos import hello, recut
from tests.core.openings import OPENINGS
from tlsgate.core.hello import Hello, read_hello
from tlsgate.core.names import normal
from tlsgate.core.outcome import More
from tlsgate.core.proxyline import TLV_CRC32C, ProxyHeader, read_proxy, write_v2
from tlsgate.core.sniff import OPENING_LIMIT, sniff
from tlsgate.core.wire import mongodb
from tlsgate.core.wire.sshcert import Kind, judge, parse
from tlsgate.errors import BadBytes, BadHello, BadName, BadProxyHeader, Untrusted

_LARGEST = 4096


def check_hello(noise: bytes) -> None:
    """Read *noise* as a hello, and as the extensions of one, beside OpenSSL."""
    noise = noise[:_LARGEST]
    made = hello(noise, suites=b"\x13\x01\xc0\x2b\xc0\x2f")
    for wire in (noise, made, recut(made, 1 + len(noise) % 61)):
        _check_prefixes(wire)
        assert (why := disagreement(wire)) is None, why


def _check_prefixes(wire: bytes) -> None:
    """The answer for a prefix never contradicts the answer for the whole."""
    try:
        whole = read_hello(wire)
    except BadHello:
        whole = None
    for end in {len(wire) * step // 7 for step in range(7)}:
        try:
            outcome = read_hello(wire[:end])
        except BadHello:
            assert whole is None
            continue
        if isinstance(outcome, Hello):
            assert outcome == whole
        elif isinstance(whole, Hello):
            assert 1 <= outcome.lacks <= whole.length - end
        elif isinstance(whole, More):
            assert 1 <= outcome.lacks <= len(wire) + whole.lacks - end


def check_proxyline(noise: bytes) -> None:
    """Read *noise* as a PROXY header; write back what it says."""
    noise = noise[: 2 * _LARGEST]
    try:
        header = read_proxy(noise)
    except BadProxyHeader:
        return
    if isinstance(header, More):
        assert header.lacks >= 1
        return
    assert header.length <= len(noise)
    assert (header.source is None) == (header.destination is None)
    assert not (header.local and header.source)
    assert read_proxy(noise[: header.length]) == header
    for end in (0, header.length // 2, header.length - 1):
        outcome = read_proxy(noise[:end])
        assert isinstance(outcome, More)
        assert 1 <= outcome.lacks <= header.length - end
    if header.source is not None:
        tlvs = [tlv for tlv in header.tlvs if tlv[0] != TLV_CRC32C]
        again = read_proxy(write_v2(header.source, header.destination, tlvs))
        assert isinstance(again, ProxyHeader)
        assert (again.source, again.destination) == (header.source, header.destination)
        assert again.tlvs == tuple(tlvs)


def check_openings(noise: bytes) -> None:
    """Sniff every prefix of *noise*; once told, the answer stays told."""
    noise = noise[: 2 * OPENING_LIMIT]
    told = [
        answer
        for end in range(len(noise) + 1)
        if not isinstance(answer := sniff(noise[:end], OPENINGS), More)
    ]
    assert len({id(answer) for answer in told}) <= 1
    assert told or len(noise) < OPENING_LIMIT
    assert len(told) == 0 or sniff(noise, OPENINGS) is told[0]
    assert mongodb.error_reply(noise, "no")
    try:
        name = normal(noise)
    except BadName:
        return
    assert normal(name) == name


def check_sshcert(noise: bytes) -> None:
    """Read *noise* as an OpenSSH certificate; what is read stands in it, and judges itself."""
    noise = noise[: 2 * _LARGEST]
    try:
        found = parse(noise)
    except BadBytes:
        return
    assert noise.startswith(found.signed)
    assert found.authority in noise
    assert not found.authority_type.endswith(b"@openssh.com")
    assert found.key.startswith(len(found.key_type).to_bytes(4, "big"))
    for end in (0, len(noise) // 2, len(noise) - 1):
        try:
            parse(noise[:end])
        except BadBytes:
            continue
        raise AssertionError(end)
    for kind in Kind:
        for name in ("", *found.principals):
            try:
                judge(found, (found.authority,), kind, found.valid_after, name)
            except Untrusted:
                continue
            assert name
            assert kind is found.kind
            assert not found.critical_options
            assert found.valid_before < (1 << 64) - 1

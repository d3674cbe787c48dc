"""Tests for `tlsgate.core.claims`."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.claims import CLAIMS_BYTES, CLAIMS_OID, Claims, decode, encode
from tlsgate.errors import BadBytes

ALICE = Claims(
    cluster="gate.example.com",
    kind="user",
    name="alice",
    roles=("access", "editor"),
    traits={"logins": ("alice", "root"), "db_users": ()},
    routes={"db": "orders"},
    pinned_address="192.0.2.7",
    generation=3,
)
GATEWAY = Claims(cluster="gate.example.com", kind="host", name="gw1", system_roles=("gateway",))

word = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=12)
words = st.lists(word, max_size=4).map(tuple)
users = st.builds(
    Claims,
    cluster=word,
    kind=st.just("user"),
    name=word,
    roles=words,
    traits=st.dictionaries(word, words, max_size=4),
    routes=st.dictionaries(word, word, max_size=4),
    pinned_address=st.none() | st.ip_addresses().map(str),
    generation=st.integers(0, (1 << 53) - 1),
)


def der(text: str | bytes, tag: int = 0x0C) -> bytes:
    """A string of DER with its length in the shortest form."""
    body = text.encode() if isinstance(text, str) else text
    if len(body) < 128:
        return bytes((tag, len(body))) + body
    if len(body) < 256:
        return bytes((tag, 0x81, len(body))) + body
    return bytes((tag, 0x82)) + len(body).to_bytes(2, "big") + body


def said(**changes: Any) -> bytes:
    """What GATEWAY says, but for *changes*; None takes a key out."""
    document: dict[str, Any] = {
        "v": 1,
        "cluster": "gate.example.com",
        "kind": "host",
        "name": "gw1",
        "system_roles": ["gateway"],
        **changes,
    }
    document = {key: value for key, value in document.items() if value is not None}
    return der(json.dumps(document, separators=(",", ":")))


class ClaimsTests(SynchronousTestCase):
    """Tests for `Claims`."""

    def test_cannot_be_changed(self) -> None:
        """What a caller does to its own mappings later is not the claims' business."""
        traits = {"logins": ("root",)}
        claims = evolve(ALICE, traits=traits)
        traits["logins"] = ("alice",)
        self.assertEqual(claims.traits, {"logins": ("root",)})
        with self.assertRaises(TypeError):
            claims.traits["logins"] = ()  # type: ignore[index]

    def test_hash(self) -> None:
        """Equal claims have one hash, so an identity may be a key."""
        self.assertEqual(len({ALICE, evolve(ALICE), GATEWAY}), 2)

    def test_the_arc_is_small_enough(self) -> None:
        """No arc of the OID is above 2^28, the most that RFC 5280 asks of a reader."""
        self.assertLess(max(map(int, CLAIMS_OID.split("."))), 1 << 28)


class EncodeTests(SynchronousTestCase):
    """Tests for `encode`."""

    def test_readable(self) -> None:
        """The value is JSON in ASCII behind a tag and a length, and says only what there is."""
        want = (
            '{"v":1,"cluster":"gate.example.com","kind":"host","name":"gw1",'
            '"system_roles":["gateway"]}'
        )
        self.assertEqual(encode(GATEWAY), der(want))
        self.assertIn(b"z\\u00f6", encode(evolve(ALICE, name="zö")))

    def test_refuses_what_no_certificate_says(self) -> None:
        """Each is refused where it would be signed, not where it is read."""
        many = tuple(f"r{number}" for number in range(257))
        for claims in (
            evolve(ALICE, name=""),
            evolve(ALICE, name="a" * 65),
            evolve(ALICE, name="ö" * 33),
            evolve(ALICE, name="a\nb"),
            evolve(ALICE, name="a\u202eb"),
            evolve(ALICE, name=" alice"),
            evolve(ALICE, cluster=""),
            evolve(ALICE, kind="robot"),  # type: ignore[arg-type]
            evolve(ALICE, system_roles=("gateway",)),
            evolve(ALICE, roles=("",)),
            evolve(ALICE, roles=many),
            evolve(ALICE, traits={"logins": many}),
            evolve(ALICE, traits={"logins": ("a" * 257,)}),
            evolve(ALICE, traits={"": ()}),
            evolve(ALICE, routes={"db": ""}),
            evolve(ALICE, routes={"db": 3}),  # type: ignore[dict-item]
            evolve(ALICE, pinned_address="gate.example.com"),
            evolve(ALICE, generation=-1),
            evolve(ALICE, generation=1 << 53),
            evolve(GATEWAY, system_roles=()),
            evolve(GATEWAY, system_roles=("Gateway",)),
            evolve(GATEWAY, roles=("access",)),
            evolve(ALICE, traits={str(number): ("x" * 200,) for number in range(90)}),
        ):
            with self.assertRaises(BadBytes, msg=repr(claims)):
                encode(claims)


class DecodeTests(SynchronousTestCase):
    """Tests for `decode`."""

    @given(users)
    @example(ALICE)
    @example(GATEWAY)
    def test_reads_what_was_written(self, claims: Claims) -> None:
        """Nothing is lost or added on the way through a certificate."""
        self.assertEqual(decode(encode(claims)), claims)

    def test_refuses_what_was_not_written_by_us(self) -> None:
        """A second reading of the same bytes must not be possible (S10)."""
        good = encode(GATEWAY)
        self.assertEqual(decode(said()), GATEWAY)
        for bad in (
            b"",
            b"\x0c",
            b"\x0c\x00",
            good + b"\0",
            good[:-1],
            b"\x13" + good[1:],  # PrintableString
            b"\x0c\x80" + good[2:],
            b"\x0c\x82\x00" + good[1:],  # a longer form of the length
            b"\x0c\xff" + good[2:],
            der(b"\xff\xfe"),
            der("[]"),
            der("7"),
            der("nonsense"),
            der("[" * 4000),
            der("9" * 5000),
            der('{"v":1,"v":1}'),
            said(v=2),
            said(v=None),
            said(cluster=None),
            said(extra=1),
            said(name=7),
            said(kind="robot"),
            said(generation=True),
            said(generation=0),  # is not written
            said(system_roles="gateway"),
            said(system_roles=[1]),
            said(traits={"logins": "root"}),
            said(routes={"db": 1}),
            said(name="\ud800"),
            der(json.dumps(json.loads(good[2:]))),  # with spaces
            der(b"{" + b" " * CLAIMS_BYTES + b"}"),
        ):
            with self.assertRaises(BadBytes, msg=repr(bad[:80])):
                decode(bad)

    @given(st.binary(max_size=64).map(lambda tail: b"\x0c" + tail) | st.binary(max_size=64))
    def test_any_bytes(self, data: bytes) -> None:
        """Foreign bytes raise our error or nothing."""
        with self.assertRaises(BadBytes):
            decode(data)

    def test_each_byte_changed(self) -> None:
        """A changed byte is refused, or says something else; never the same."""
        good = encode(ALICE)
        for place in range(len(good)):
            changed = good[:place] + bytes((good[place] ^ 1,)) + good[place + 1 :]
            try:
                self.assertNotEqual(decode(changed), ALICE)
            except BadBytes:
                continue

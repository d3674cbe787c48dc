"""What agents offer, are asked and answer keeps its meaning on the way, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.offers import KINDS, Answered, Asked, Offer
from tlsgate.errors import BadBytes

OFFER = Offer(
    kind="node",
    name="db1",
    labels={"env": "prod"},
    addresses=("127.0.0.1:22",),
    facts={"protocol": "x"},
)
ASKED = Asked(
    kind="node",
    name="db1",
    address="127.0.0.1:22",
    user="alice",
    certificate=b"\x30\x03abc",
    ssh_certificate="ssh-rsa AAAA",
    client="192.0.2.1:5",
    cluster="gw.test",
    listener="web",
    route="ssh",
    trace="00" * 8,
    details={"db_user": "app"},
)


class OffersTests(SynchronousTestCase):
    """Tests for `Offer`, `Asked` and `Answered`."""

    def test_all_come_back(self) -> None:
        """What is told is read as it was."""
        self.assertEqual(Offer.read(OFFER.told()), OFFER)
        self.assertEqual(Asked.read(ASKED.told()), ASKED)
        plain = Asked(kind="app", name="wiki", user="bob")
        self.assertEqual(Asked.read(plain.told()), plain)
        for answered in (Answered(), Answered(reason="denied", message="no role")):
            self.assertEqual(Answered.read(answered.told()), answered)
        self.assertEqual([Answered().good, Answered(reason="denied").good], [True, False])

    def _whys(self, read: Callable[[object], object], told: list[object]) -> list[str]:
        return [str(self.assertRaises(BadBytes, read, one)) for one in told]

    def test_whatever_is_odd_is_refused(self) -> None:
        """A key too many or too few, a wrong type, a length, a control character."""
        offer, asked = OFFER.told(), ASKED.told()
        said = self._whys(
            Offer.read,
            [
                None,
                {**offer, "more": 1},
                {key: value for key, value in offer.items() if key != "labels"},
                {**offer, "kind": "printer"},
                {**offer, "name": ""},
                {**offer, "name": 7},
                {**offer, "name": "x" * 257},
                {**offer, "name": "a\nb"},
                {**offer, "name": "a\x7fb"},
                {**offer, "name": "a\x9b2J"},
                {**offer, "name": "a\ud800"},
                {**offer, "labels": []},
                {**offer, "labels": {str(one): "" for one in range(65)}},
                {**offer, "labels": {"a": None}},
                {**offer, "addresses": {}},
                {**offer, "addresses": ["", "a"]},
                {**offer, "facts": {"a": "x" * 4097}},
                {**offer, "facts": {str(one): "x" * 4000 for one in range(5)}},
            ],
        )
        said += self._whys(
            Asked.read,
            [
                {**asked, "address": ""},
                {**asked, "certificate": "?"},
                {**asked, "certificate": "\u00e4"},
                {**asked, "certificate": "AAAA" * 5462},
            ],
        )
        self.assertEqual(
            [one.partition(": ")[2] or one for one in said],
            [
                "it is no object",
                "'more' is unknown",
                "'labels' is missing",
                "kind 'printer' is none of node, db, app, kube",
                "name is no text of at most 256 characters",
                "name is no text of at most 256 characters",
                "name is no text of at most 256 characters",
                "name has a control character",
                "name has a control character",
                "name has a control character",
                "name has a control character",
                "labels is no dict of at most 64 entries",
                "labels is no dict of at most 64 entries",
                "labels is no text of at most 1024 characters",
                "addresses is no list of at most 64 entries",
                "addresses is no text of at most 256 characters",
                "facts is no text of at most 4096 characters",
                "facts has more than 16384 characters",
                "address is no text of at most 256 characters",
                "certificate is no base64",
                "certificate is no base64",
                "certificate is longer than 16384 bytes",
            ],
        )

    @given(
        st.recursive(
            st.none() | st.integers() | st.text(max_size=20) | st.sampled_from(KINDS),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
        )
    )
    def test_nothing_but_our_own_error_leaves(self, told: Any) -> None:
        """Whatever JSON comes, it is a value or `BadBytes`."""
        for read in (Offer.read, Asked.read, Answered.read):
            for one in (told, {**OFFER.told(), "labels": told, "addresses": told}):
                try:
                    read(one)
                except BadBytes:
                    continue

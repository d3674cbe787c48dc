"""Tests for `tlsgate.core.sniff`, over the openings of all built-in wire protocols."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.core import hellos
from tests.core.openings import OPENINGS, POSTGRES_GSS, POSTGRES_TLS, SSH, VECTORS
from tlsgate import interfaces
from tlsgate.core import sniff as module
from tlsgate.core.outcome import More
from tlsgate.core.sniff import OPENING_LIMIT, Opening, Then, prefix, sniff


class SniffTests(SynchronousTestCase):
    """Tests for `sniff`."""

    def test_whole(self) -> None:
        """What each client sends first is known by its opening, or by none."""
        for wire, want in VECTORS:
            with self.subTest(wire=wire[:24]):
                self.assertEqual(sniff(wire, OPENINGS), want)

    def test_split_anywhere(self) -> None:
        """However the bytes are cut, the answer is the same; once told, it stays told."""
        for wire, want in VECTORS:
            answers = [sniff(wire[:end], OPENINGS) for end in range(len(wire) + 1)]
            told = [answer for answer in answers if not isinstance(answer, More)]
            with self.subTest(wire=wire[:24]):
                self.assertEqual({answer and answer.name for answer in told}, {want and want.name})
                self.assertEqual([id(a) for a in answers[-len(told) :]], [id(a) for a in told])

    def test_nothing_yet(self) -> None:
        """No byte is no answer; without openings there is none."""
        self.assertEqual(sniff(b"", OPENINGS), More(1))
        self.assertIsNone(sniff(b"", []))

    def test_order_decides(self) -> None:
        """Of two openings that take the same bytes the first wins, and is waited for."""
        long = Opening(name="long", protocol="a", match=prefix(b"abc"), then=Then.TAKE)
        short = Opening(name="short", protocol="b", match=prefix(b"ab"), then=Then.TAKE)
        self.assertIs(sniff(b"abc", [long, short]), long)
        self.assertEqual(sniff(b"ab", [long, short]), More(1))
        self.assertIs(sniff(b"abd", [long, short]), short)
        self.assertIs(sniff(b"ab", [short, long]), short)

    def test_unsure_for_too_long(self) -> None:
        """A matcher that cannot make up its mind counts as a no after 64 bytes."""
        unsure = Opening(name="unsure", protocol="a", match=lambda head: None, then=Then.TAKE)
        head = b"SSH-" + bytes(OPENING_LIMIT)
        self.assertEqual(sniff(head[: OPENING_LIMIT - 1], [unsure, SSH]), More(1))
        self.assertIs(sniff(head[:OPENING_LIMIT], [unsure, SSH]), SSH)
        self.assertIsNone(sniff(head[:OPENING_LIMIT], [unsure]))

    def test_any_bytes(self) -> None:
        """Whatever a peer sends, each longer head gives the same final answer."""

        @given(
            st.sampled_from([b"", *(wire for wire, _ in VECTORS)]),
            st.integers(0, 20),
            st.binary(max_size=80),
        )
        def check(start: bytes, keep: int, noise: bytes) -> None:
            head = start[:keep] + noise
            told: list[Opening | None] = []
            for end in range(len(head) + 1):
                answer = sniff(head[:end], OPENINGS)
                if isinstance(answer, More):
                    self.assertEqual(told, [])
                else:
                    told.append(answer)
            self.assertLessEqual(len({id(answer) for answer in told}), 1)
            self.assertTrue(told or len(head) < OPENING_LIMIT)

        check()

    def test_matchers_keep_their_word(self) -> None:
        """Each matcher is sure within 64 bytes, and final for every longer head."""
        for opening in OPENINGS:
            for wire, _ in VECTORS:
                verdicts = [
                    opening.match(wire[:end]) for end in range(min(len(wire), OPENING_LIMIT) + 1)
                ]
                final = [verdict for verdict in verdicts if verdict is not None]
                self.assertLessEqual(len(set(final)), 1)
                self.assertEqual(verdicts[len(verdicts) - len(final) :], final)
                if len(wire) >= OPENING_LIMIT:
                    self.assertTrue(final)

    def test_names_are_exported(self) -> None:
        """Authors of protocols find these names in `tlsgate.interfaces`."""
        for name in ("Matcher", "Opening", "Then"):
            self.assertIs(getattr(interfaces, name), getattr(module, name))


class S45Tests(SynchronousTestCase):
    """S45: what comes in the clear before TLS is not taken for what comes under it."""

    def test_s45_bytes_before_the_answer(self) -> None:
        """S45: an answered opening is told at once and owns its own bytes only.

        So whatever else is in the head at that moment came before the answer, and the
        caller refuses it.
        """
        injected = b"Q\0\0\0\x0dselect 1\0"
        for opening in (POSTGRES_TLS, POSTGRES_GSS):
            wire = next(wire for wire, want in VECTORS if want is opening)
            self.assertEqual(len(wire), opening.consumes)
            for behind in (b"\0", injected, wire, hellos.captured("psql15")):
                head = wire + behind
                self.assertIs(sniff(head, OPENINGS), opening)
                self.assertEqual(head[opening.consumes :], behind)
            for end in range(len(wire)):
                self.assertIsInstance(sniff(wire[:end], OPENINGS), More)

    def test_s45_only_answered_openings_go_on(self) -> None:
        """S45: an opening that leads to TLS says how many bytes are its own."""
        for opening in OPENINGS[1:]:
            goes_on = opening.then in (Then.TLS, Then.AGAIN)
            self.assertEqual(goes_on, opening.consumes > 0)

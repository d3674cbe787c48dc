"""Tests for `tlsgate.core.tokens`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.tokens import PINGED, TOKENS, best_common, with_pings

_LISTS = st.lists(st.sampled_from([b"a", b"b", b"c", b"h2", b"http/1.1"]), max_size=6)


class TokensTests(SynchronousTestCase):
    """Tests for `TOKENS`."""

    def test_table(self) -> None:
        """The table is the one that was agreed on, row by row."""
        rows = [(row.values, row.client_cert, row.holders, row.presents) for row in TOKENS]

        def target(name: bytes) -> tuple[object, ...]:
            return ((name + b"-ping", name), "required", ("user",), "cluster")

        self.assertEqual(
            rows,
            [
                ((b"http/1.1", b"h2"), "by name", ("user",), "by name"),
                ((b"tlsgate-auth",), "required", ("host", "user"), "cluster"),
                ((b"tlsgate-join",), "none", (), "cluster"),
                ((b"tlsgate-webcert",), "none", (), "cluster"),
                ((b"tlsgate-reversetunnel",), "required", ("host",), "cluster"),
                target(b"tlsgate-ssh"),
                target(b"tlsgate-postgres"),
                ((b"postgresql",), "required", ("user",), "web"),
                target(b"tlsgate-mysql"),
                target(b"tlsgate-mongodb"),
                target(b"tlsgate-redis"),
                target(b"tlsgate-tcp"),
                target(b"tlsgate-kube"),
                ((b"acme-tls/1",), "none", (), "challenge"),
            ],
        )

    def test_each_token_once(self) -> None:
        """No token stands in two rows, and each fits into a ClientHello."""
        values = [value for row in TOKENS for value in row.values]
        self.assertEqual(len(values), len(set(values)))
        self.assertTrue(all(0 < len(value) < 256 and value.isascii() for value in values))

    def test_no_token_lowers_a_check(self) -> None:
        """Only what reaches no target may be had without a certificate."""
        open_to_all = {row.value for row in TOKENS if row.client_cert == "none"}
        self.assertEqual(open_to_all, {b"tlsgate-join", b"tlsgate-webcert", b"acme-tls/1"})


class PingTests(SynchronousTestCase):
    """Tests for `PINGED` and `with_pings`."""

    def test_variants(self) -> None:
        """A long-lived token has one, and the variant leads back to it."""
        self.assertEqual(PINGED[b"tlsgate-ssh-ping"], b"tlsgate-ssh")
        self.assertNotIn(b"http/1.1-ping", PINGED)
        self.assertEqual(len(PINGED), 7)

    def test_with_pings(self) -> None:
        """The variant is preferred; other tokens have none, and nothing comes twice."""
        self.assertEqual(
            with_pings((b"own", b"tlsgate-tcp", b"tlsgate-ssh-ping", b"tlsgate-ssh", b"h2")),
            (
                b"own",
                b"tlsgate-tcp-ping",
                b"tlsgate-tcp",
                b"tlsgate-ssh-ping",
                b"tlsgate-ssh",
                b"h2",
            ),
        )


class BestCommonTests(SynchronousTestCase):
    """Tests for `best_common`."""

    def test_our_order_wins(self) -> None:
        """Of several common tokens it is our first, however the client sorts its own."""
        for offered in ([b"h2", b"http/1.1"], [b"http/1.1", b"h2"]):
            self.assertEqual(best_common([b"http/1.1", b"h2"], offered), b"http/1.1")

    def test_nothing_common(self) -> None:
        """Without a common token there is none."""
        for ours, offered in (([], []), ([b"a"], []), ([], [b"a"]), ([b"a"], [b"A", b"aa"])):
            self.assertIsNone(best_common(ours, offered))

    def test_s02_choice_is_in_both_lists(self) -> None:
        """S02: what is chosen was offered and is ours, whatever the order of the offers."""

        @given(_LISTS, _LISTS, st.randoms(use_true_random=False))
        def check(ours: list[bytes], offered: list[bytes], random: object) -> None:
            token = best_common(ours, offered)
            shuffled = list(offered)
            random.shuffle(shuffled)  # type: ignore[attr-defined]
            self.assertEqual(best_common(ours, shuffled), token)
            if token is None:
                self.assertEqual(set(ours) & set(offered), set())
            else:
                self.assertIn(token, ours)
                self.assertIn(token, offered)
                self.assertEqual(set(ours[: ours.index(token)]) & set(offered), set())

        check()

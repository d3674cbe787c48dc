"""Tests for `tlsgate.core.access`."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.access import Decision, Identity, Kind, Rule, decide

CN = Rule(Kind.CN, "alice")
SAN = Rule(Kind.SAN, "spiffe://example/alice")
DNS = Rule(Kind.DNS, "*.ops.example.com")

ALICE = Identity(common_names=("alice",))

#: A rule, an identity, and whether the one lets the other in.
CASES: list[tuple[Rule, Identity, bool]] = [
    (CN, ALICE, True),
    (CN, Identity(common_names=("Alice",)), False),
    (CN, Identity(common_names=("alice ",)), False),
    (CN, Identity(common_names=("alice\0",)), False),
    (CN, Identity(common_names=("bob",)), False),
    (CN, Identity(common_names=("alice", "bob")), False),
    (CN, Identity(common_names=("alice", "alice")), False),
    (CN, Identity(), False),
    (CN, Identity(uris=("alice",), dns_names=("alice",)), False),
    (SAN, Identity(uris=("spiffe://example/alice",)), True),
    (SAN, Identity(uris=("spiffe://example/bob", "spiffe://example/alice")), True),
    (SAN, Identity(uris=("spiffe://EXAMPLE/alice",)), False),
    (SAN, Identity(uris=("spiffe://example/alice/",)), False),
    (SAN, Identity(common_names=("spiffe://example/alice",)), False),
    (DNS, Identity(dns_names=("a.ops.example.com",)), True),
    (DNS, Identity(dns_names=("A.OPS.example.com",)), True),
    (DNS, Identity(dns_names=("b.example", "a.ops.example.com")), True),
    (DNS, Identity(dns_names=("ops.example.com",)), False),
    (DNS, Identity(dns_names=(".ops.example.com",)), False),
    (DNS, Identity(dns_names=("a.b.ops.example.com",)), False),
    (DNS, Identity(dns_names=("*.ops.example.com",)), False),
    (DNS, Identity(dns_names=("a.ops.example.com.evil.org",)), False),
    (DNS, Identity(common_names=("a.ops.example.com",)), False),
    (Rule(Kind.DNS, "K.example"), Identity(dns_names=("k.example",)), True),
    (Rule(Kind.DNS, "k.example"), Identity(dns_names=("\N{KELVIN SIGN}.example",)), False),
    (Rule(Kind.DNS, "k.example"), Identity(dns_names=("a.k.example",)), False),
]

_RULES = st.builds(Rule, st.sampled_from(Kind), st.sampled_from(["a", "b", "a.b", "*.b"]))
_WORDS = st.lists(st.sampled_from(["a", "b", "a.b", "*.b"]), max_size=2).map(tuple)
_IDENTITIES = st.builds(Identity, common_names=_WORDS, uris=_WORDS, dns_names=_WORDS)


class DecideTests(SynchronousTestCase):
    """Tests for `decide`."""

    def test_cases(self) -> None:
        """Each rule looks at its own part of the certificate, and compares it whole."""
        for rule, identity, allowed in CASES:
            why = f"rule {rule}" if allowed else "no rule names this certificate"
            with self.subTest(rule=rule, identity=identity):
                self.assertEqual(decide([rule], identity), Decision(allowed, why))

    def test_closed_by_default(self) -> None:
        """No identity and no rule are denials, each with its reason."""
        self.assertEqual(decide([CN], None), Decision(False, "no verified certificate"))
        self.assertEqual(decide([], None), Decision(False, "no verified certificate"))
        self.assertEqual(decide([], ALICE), Decision(False, "no rule names this certificate"))

    def test_first_rule_is_named(self) -> None:
        """The reason names a rule that let the identity in."""
        both = Identity(common_names=("alice",), uris=("spiffe://example/alice",))
        self.assertEqual(decide([DNS, SAN, CN], both).why, "rule san: spiffe://example/alice")
        self.assertEqual(decide([CN, SAN], both).why, "rule cn: alice")

    def test_order_never_matters(self) -> None:
        """Rules in any order, and others beside them, decide alike."""

        @given(st.lists(_RULES, max_size=4), _IDENTITIES)
        def check(rules: list[Rule], identity: Identity) -> None:
            one_by_one = any(decide([rule], identity).allowed for rule in rules)
            for order in permutations(rules):
                self.assertEqual(decide(order, identity).allowed, one_by_one)

        check()


class IdentityTests(SynchronousTestCase):
    """Tests for `Identity`."""

    def test_name(self) -> None:
        """Logs call the holder by the CN, else a URI, else a DNS name."""
        self.assertEqual(
            [
                Identity(common_names=("a",), uris=("b",), dns_names=("c",)).name,
                Identity(uris=("b",), dns_names=("c",)).name,
                Identity(dns_names=("c",)).name,
                Identity().name,
            ],
            ["a", "b", "c", "unnamed"],
        )

"""Who may use a route: an identity, the rules over it, and a decision with its reason."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from attrs import field, frozen

from tlsgate.core.claims import Claims


class Kind(enum.Enum):
    """Which part of a certificate a static rule looks at."""

    CN = "cn"  #: the subject's only common name, compared whole
    SAN = "san"  #: a URI in the subject alternative name, compared whole
    DNS = "dns"  #: a DNS name there; the rule may be "*.example.com" (one label)


@frozen
class Rule:
    """One thing that lets an identity in."""

    kind: Kind
    value: str

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.value}"


@frozen(kw_only=True)
class Identity:
    """What a verified certificate says about who holds it.

    Only `tls.verify` makes one, from a certificate that OpenSSL has verified.

    Attributes:
        claims: what the cluster's extension says; None where there is none. They count only
            where *anchor* is one of the cluster's own authorities: who trusts another CA
            does not trust it to name a cluster's users.
        anchor: SHA-256 of the DER of the last certificate of the verified chain; b"" where
            there are no claims.
        fingerprint: SHA-256 of the certificate's own DER, in hex; "" where there are no claims.
    """

    common_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    serial: int = 0
    not_after: float = 0.0  #: seconds since the epoch
    claims: Claims | None = None
    anchor: bytes = field(default=b"", repr=False)
    fingerprint: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """How logs call the holder: the CN, else the first URI or DNS name."""
        return next(iter((*self.common_names, *self.uris, *self.dns_names)), "unnamed")


@frozen
class Decision:
    """Allowed or not, and the rule or the lack that decided it.

    Attributes:
        idle_seconds: the connection may be silent for so long at most; None: as its route
            says.
        until: the connection ends then, in seconds since the epoch; None: it need not.
        audit_queries: what is asked of the database has to be written down.
    """

    allowed: bool
    why: str
    idle_seconds: float | None = None
    until: float | None = None
    audit_queries: bool = False


def decide(rules: Sequence[Rule], identity: Identity | None) -> Decision:
    """Allow *identity* when one of *rules* names it; order never matters.

    No identity and no rules are both a denial: the caller has decided before
    whether a route is open to anyone.
    """
    if identity is None:
        return Decision(False, "no verified certificate")
    for rule in rules:
        if _names(rule, identity):
            return Decision(True, f"rule {rule}")
    return Decision(False, "no rule names this certificate")


def _names(rule: Rule, identity: Identity) -> bool:
    if rule.kind is Kind.CN:
        # Two CNs are a question, not an identity (S10): a rule matches exactly one.
        return identity.common_names == (rule.value,)
    if rule.kind is Kind.SAN:
        return rule.value in identity.uris
    return any(_dns_match(rule.value, name) for name in identity.dns_names)


def _dns_match(pattern: str, name: str) -> bool:
    """Compare in lower case; a leading "*." of *pattern* stands for one label."""
    if not name.isascii():  # before lower(): U+212A would become an honest "k"
        return False
    pattern, name = pattern.lower(), name.lower()
    if "*" in name:  # a wildcard in the certificate names nobody (S10)
        return False
    if pattern.startswith("*."):
        label, _, parent = name.partition(".")
        return bool(label) and parent == pattern[2:]
    return pattern == name

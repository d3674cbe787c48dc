"""S53: while a key is changed, nobody who is a step behind is locked out."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from attrs import define, field
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.support.authorities import Cluster, p256, spki, ssh_line
from tests.support.certs import pki
from tests.support.handshake import client_context, shake
from tlsgate.auth.issue import Issued
from tlsgate.core.routing import CertRule
from tlsgate.core.wire.sshcert import Kind, judge, key_blob, parse_line
from tlsgate.errors import Untrusted
from tlsgate.tls import verify
from tlsgate.tls.authority import Authority, Pair
from tlsgate.tls.certs import CertificateStore
from tlsgate.tls.contexts import ContextStore, TlsPolicy
from tlsgate.tls.peer import check_gateway, load_cas
from tlsgate.tls.sshtrust import verify_signature

TYPES = ("user", "host", "ssh_user", "ssh_host")
#: Every walk that ends where no key is left over.
WALKS = (
    ("init", "update_clients", "update_servers", "standby"),
    ("init", "rollback", "standby"),
    ("init", "update_clients", "rollback", "standby"),
    ("init", "update_clients", "update_servers", "rollback", "standby"),
)


@define
class Moment:
    """What was signed and what was trusted in one phase."""

    phase: str
    user: Issued
    host: Issued
    cas: dict[str, list[str]] = field(repr=False)


class ReachTests(SynchronousTestCase):
    """Certificates of one step, and authorities as somebody knew them a step before or after."""

    def walk(self, phases: tuple[str, ...]) -> tuple[Cluster, list[Moment]]:
        """Rotate all authorities together; what was signed and trusted on the way."""
        cluster = Cluster(now=float(int(pki().ca.certificate.not_valid_before_utc.timestamp())))
        self.key = p256()
        moments: list[Moment] = []
        for phase in ("standby", *phases):
            for kind in TYPES if moments else ():
                cluster.rotate(kind, phase, 0.0)
            user = cluster.issuer.user_certificates(
                cluster.user(), spki(self.key), ssh_line(self.key)
            )
            host = cluster.issuer.host_certificate(
                cluster.host(), spki(self.key), ssh_public_key=ssh_line(self.key)
            )
            moments.append(Moment(phase, user, host, cluster.authorities.cas()))
        return cluster, moments

    def takes(self, cluster: Cluster, signed: Moment, known: Moment) -> bool:
        """Whether all four certificates of *signed* are taken by those who know *known*."""
        try:
            for line, kind, name, authority in (
                (signed.user.ssh, Kind.USER, "alice", "ssh_user"),
                (signed.host.ssh, Kind.HOST, signed.host.names[0], "ssh_host"),
            ):
                assert line is not None
                found = parse_line(line)
                trusted = [key_blob(one) for one in known.cas[authority]]
                judge(found, trusted, kind, cluster.now, name)
                verify_signature(found)
            chain = load_cas((signed.host.tls_pem,))
            check_gateway(chain, cluster.name, load_cas(known.cas["host"]), cluster.now)
        except Untrusted:
            return False
        return self.shakes(signed.user, known)

    def shakes(self, user: Issued, known: Moment) -> bool:
        """Whether a gateway that knows *known* shakes hands with *user*."""
        pair = Pair(user.tls_pem.encode(), Authority(pki().ca.certificate, self.key).pair.key_pem)
        wire = shake(client_context(pair), self.context(known))
        found = verify.identity_of(wire.server) if wire.done else None
        if found is not None:
            self.assertEqual(found.name, "alice")
        return found is not None

    def context(self, known: Moment) -> SSL.Context:
        """A gateway that trusts the user authorities of *known*."""
        file = Path(self.mktemp())
        file.write_text("".join(known.cas["user"]))
        store = ContextStore(CertificateStore.load([pki().keypair("server")]))
        return store.server(TlsPolicy(CertRule.REQUIRED, (os.fspath(file),)), None)

    def test_s53_a_step_behind(self) -> None:
        """S53: what is signed in a phase is taken in it, and by all who are one step away."""
        for phases in WALKS:
            cluster, moments = self.walk(phases)
            for before, after in itertools.pairwise(moments):
                self.assertTrue(self.takes(cluster, after, after), (phases, after.phase))
                self.assertTrue(self.takes(cluster, after, before), (phases, after.phase))
                self.assertTrue(self.takes(cluster, before, after), (phases, after.phase))

    def test_s53_the_old_key_is_over(self) -> None:
        """S53: after standby nothing that the old key has signed is taken."""
        cluster, moments = self.walk(WALKS[0])
        self.assertFalse(self.takes(cluster, moments[0], moments[-1]))
        self.assertFalse(self.shakes(moments[0].user, moments[-1]))

    def test_s53_all_through(self) -> None:
        """S53: before standby, what was signed in any phase is taken in each that follows."""
        cluster, moments = self.walk(WALKS[3][:-1])
        for signed, known in itertools.combinations(moments, 2):
            self.assertTrue(self.takes(cluster, signed, known), (signed.phase, known.phase))

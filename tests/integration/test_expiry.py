"""A client certificate that has expired opens nothing, whatever was agreed on before."""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Client, Rig
from tests.support.certs import pki
from tests.support.child import until

#: How long the certificate is good from when it is made; the first handshake needs some of it.
LIFE_SECONDS = 3.0


def over(certificate: x509.Certificate) -> bool:
    """Whether OpenSSL, by the clock that it asks itself, has found it expired for a second."""
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(certificate))
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    earlier = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)
    for at in (None, earlier):
        if at is not None:
            store.set_time(at)
        try:
            crypto.X509StoreContext(
                store, crypto.X509.from_cryptography(certificate)
            ).verify_certificate()
        except crypto.X509StoreContextError as error:
            if error.errors[2] == "certificate has expired":
                continue
        return False
    return True


class ExpiryTests(SynchronousTestCase):
    """Tests for certificates that come to their end while sessions are remembered."""

    def test_s08_expired_with_a_session(self) -> None:
        """With the session that it made while it was good, and without, it is refused."""
        pair = pki().ca.issue("alice", client=True, days=LIFE_SECONDS / 86_400)
        certificate = x509.load_pem_x509_certificate(pair.cert_pem)
        key: Any = serialization.load_pem_private_key(pair.key_pem, None)
        rig = Rig('[{name: echo, alpn: [echo], target: "{unix}", allow: [{cn: alice}]}]')
        self.addCleanup(rig.close)

        def client(version: int, session: SSL.Session | None = None) -> Client:
            made = rig.secure(alpn=(b"echo",), cert=None, version=version)
            made.tls.use_certificate(certificate)
            made.tls.use_privatekey(key)
            if session is not None:
                made.tls.set_session(session)
            return made

        sessions = {}
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            good = client(version).shake()
            target = rig.accept()
            target.send(b"!")
            good.read(1)
            sessions[version] = good.tls.get_session()
        until(lambda: over(certificate), "the certificate expires", LIFE_SECONDS + 5)
        for version, session in sessions.items():
            for offered in (None, session):
                try:
                    alert = client(version, offered).alert()
                except AssertionError:
                    resumes = offered is not None
                    self.fail(f"{version=} {resumes=} {over(certificate)=} {rig.journal=}")
                self.assertIn("certificate expired", alert)

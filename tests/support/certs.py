"""The certificates that tests use: made once a process, on demand, all ECDSA but one.

`pki()` is the same object everywhere. What a test only reads lies in files below
`pki().folder`, a temporary folder that is removed when the process ends.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from functools import cached_property
from pathlib import Path

from tlsgate.config.settings import KeyPair
from tlsgate.tls.authority import Authority, Pair

#: What the server certificates are good for.
SERVER_NAMES = ("gw.test", "*.gw.test", "localhost")


class Pki:
    """Two authorities, server certificates, and clients good and bad.

    Every pair below has its files: `pki().file("alice.pem")` and
    `pki().file("alice-key.pem")`; the authorities are "ca.pem" and "other-ca.pem".
    """

    # -- authorities ---------------------------------------------------------

    @cached_property
    def ca(self) -> Authority:
        """The authority that the gateway trusts, and that signs its own certificate."""
        return Authority.create("test ca")

    @cached_property
    def other_ca(self) -> Authority:
        """Another authority; nobody trusts it unless a test says so."""
        return Authority.create("other ca")

    @cached_property
    def sub_ca(self) -> Authority:
        """An intermediate below `ca`."""
        return self.ca.intermediate("test sub ca")

    # -- what the gateway shows ------------------------------------------------

    @cached_property
    def server(self) -> Pair:
        """For gw.test, *.gw.test, localhost and the loopback addresses."""
        return self.ca.issue("gw.test", dns=SERVER_NAMES, ips=("127.0.0.1", "::1"), server=True)

    @cached_property
    def server_rsa(self) -> Pair:
        """The same names on an RSA key."""
        return self.ca.issue(
            "gw.test", dns=SERVER_NAMES, ips=("127.0.0.1", "::1"), server=True, key="rsa"
        )

    @cached_property
    def server_b(self) -> Pair:
        """For b.test and *.b.test."""
        return self.ca.issue("b.test", dns=("b.test", "*.b.test"), server=True)

    @cached_property
    def target(self) -> Pair:
        """For a server behind the gateway: target.test and localhost."""
        return self.ca.issue(
            "target.test", dns=("target.test", "localhost"), ips=("127.0.0.1",), server=True
        )

    # -- clients -----------------------------------------------------------------

    @cached_property
    def alice(self) -> Pair:
        """A good client."""
        return self.ca.issue(
            "alice", dns=("alice.ops.test",), uris=("spiffe://test/alice",), client=True
        )

    @cached_property
    def bob(self) -> Pair:
        """Another good client."""
        return self.ca.issue("bob", uris=("spiffe://test/bob",), client=True)

    @cached_property
    def mallory(self) -> Pair:
        """Calls itself alice, and comes from the other authority."""
        return self.other_ca.issue(
            "alice", dns=("alice.ops.test",), uris=("spiffe://test/alice",), client=True
        )

    @cached_property
    def expired(self) -> Pair:
        """Was alice until yesterday."""
        return self.ca.issue("alice", client=True, days=-1)

    @cached_property
    def host(self) -> Pair:
        """A host's certificate: good for serverAuth only."""
        return self.ca.issue("host", dns=("host.test",), server=True)

    @cached_property
    def deep(self) -> Pair:
        """A good client below an intermediate, whose certificate it brings along."""
        return self.sub_ca.issue("deep", client=True)

    # -- files -----------------------------------------------------------------------

    @cached_property
    def folder(self) -> Path:
        """Where the files are."""
        folder = Path(tempfile.mkdtemp(prefix="tlsgate-certs-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def file(self, name: str) -> Path:
        """The path of "ca.pem", "alice.pem", "alice-key.pem" …, written when first asked for."""
        path = self.folder / name
        if path.exists():
            return path
        stem = name.removesuffix(".pem")
        attribute = stem.removesuffix("-key").replace("-", "_")
        thing = getattr(self, attribute)
        if isinstance(thing, Authority):
            thing = thing.pair
        assert isinstance(thing, Pair)
        path.write_bytes(thing.key_pem if stem.endswith("-key") else thing.cert_pem)
        path.chmod(0o600)
        return path

    def keypair(self, name: str) -> KeyPair:
        """The files of "server", "server-rsa", "alice" … as settings have them."""
        return KeyPair(cert_file=self.file(f"{name}.pem"), key_file=self.file(f"{name}-key.pem"))


@functools.cache
def pki() -> Pki:
    """The test certificates of this process."""
    return Pki()

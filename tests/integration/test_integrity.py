"""Every byte arrives, once and in order, and then the end (R04, R11): over real TCP.

The same with and without pyOpenSSL's private binding, under TLS 1.2 and 1.3, towards
plain targets, TLS targets and UNIX sockets, and through the gate untouched.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

from OpenSSL import SSL

from tests.support.bulk import Bulk, BulkClient, whole
from tests.support.certs import pki
from tests.support.harness import ROOT, Gate, GateCase, route

MIB = 1 << 20

_VOLUME = 64 * MIB

#: Primes, and what stands around the limits of records and buffers.
_PRIMES = (7_919, 104_729, 3, 65_537, 16_411, 262_147)
_EDGES = (16_383, 16_384, 16_385, 1, 10_000, 65_535, 65_537, 262_144, 262_145)

_ONCE = 1_000_000

_VERSIONS = {"TLS 1.2": SSL.TLS1_2_VERSION, "TLS 1.3": SSL.TLS1_3_VERSION}

#: Runs in the daemon before anything else: pyOpenSSL as if its private names had changed.
_WITHOUT_BINDING = """
import tlsgate.tls.binding, tlsgate.tls.fast
tlsgate.tls.fast.HAS_BINDING = tlsgate.tls.binding.PRIVATE = False
"""


class IntegrityCase(GateCase):
    """One daemon, and a target of each test's own."""

    binding = True
    name = "gw.test"

    def bulk_gate(self, target: Bulk, dialled: str = "tcp:127.0.0.1:{port}", **keys: Any) -> Gate:
        """A daemon that relays ALPN `bulk` to *target*.

        Args:
            dialled: how the daemon dials it.
            keys: of the route.
        """
        self.target = self.serve(target)
        env = {}
        if not self.binding:
            folder = self.folder()
            (folder / "sitecustomize.py").write_text(_WITHOUT_BINDING)
            env["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(folder)))
        endpoint = dialled.format(port=0 if target.path else target.port)
        return self.gate(
            routes=[route("bulk", target=endpoint, **(keys or {"alpn": ["bulk"]}))], env=env
        )

    def both_arrive(self, gate: Gate, up: int, sizes: tuple[int, ...], **how: Any) -> None:
        """Exchange volumes under both TLS versions; every byte and both ends arrive."""
        for name, version in _VERSIONS.items():
            self.target.seen.clear()
            client = BulkClient(gate.connect(), alpn="bulk", name=self.name, version=version)
            self.addCleanup(client.close)
            down = client.exchange(up, sizes, **how)
            self.assertEqual(str(down), whole(self.target.down), name)
            gate.child.until(lambda: self.target.seen[0].ended, "the target sees the end")
            self.assertEqual(str(self.target.seen[0]), whole(up), name)
            client.close()
        gate.child.until(lambda: not gate.admin("GET", "/v1/connections"), "all have ended")


class FullDuplexTests(IntegrityCase):
    """Both directions at the same time."""

    def test_r04_64_mib_each_way(self) -> None:
        """64 MiB up and 64 MiB down at once, in pieces of prime sizes, hash the same."""
        gate = self.bulk_gate(Bulk(_VOLUME, _PRIMES[::-1]))
        self.both_arrive(gate, _VOLUME, _PRIMES)

    def test_r04_sizes_around_records(self) -> None:
        """Pieces of one byte more or less than a record or a buffer lose nothing."""
        gate = self.bulk_gate(Bulk(_VOLUME // 4, _EDGES[::-1]))
        self.both_arrive(gate, _VOLUME // 4, _EDGES, read_size=16_381)

    def test_r04_a_byte_at_a_time(self) -> None:
        """Thousands of records of one byte, and as many segments, arrive in order."""
        gate = self.bulk_gate(Bulk(20_011, (1,)))
        self.both_arrive(gate, 20_011, (1,), read_size=1)


class HalfCloseTests(IntegrityCase):
    """One direction ends long before the other."""

    def test_r11_the_client_ends_first(self) -> None:
        """A client that has said everything still gets an answer of 64 MiB."""
        gate = self.bulk_gate(Bulk(_VOLUME, _PRIMES, after_client=True))
        self.both_arrive(gate, _ONCE, (262_144,))
        causes = [event["cause"] for event in gate.events(event="connection.end")]
        self.assertEqual(causes, ["client_ended"] * 2)

    def test_r11_the_target_ends_first(self) -> None:
        """A target that has said everything still gets 64 MiB of the client."""
        gate = self.bulk_gate(Bulk(_ONCE, _PRIMES))
        self.both_arrive(gate, _VOLUME, (262_144,), after_target=True)
        causes = [event["cause"] for event in gate.events(event="connection.end")]
        self.assertEqual(causes, ["target_ended"] * 2)

    def test_r11_nothing_is_said_at_all(self) -> None:
        """Ends alone are carried, too: both directions, whoever begins."""
        gate = self.bulk_gate(Bulk(0, (1,), after_client=True))
        self.both_arrive(gate, 0, (1,))


class PublicFullDuplexTests(FullDuplexTests):
    """The same without pyOpenSSL's private binding."""

    binding = False


class PublicHalfCloseTests(HalfCloseTests):
    """The same without pyOpenSSL's private binding."""

    binding = False


def secure_target() -> Bulk:
    """A target with TLS of its own."""
    pair = pki().keypair("target")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert_file, pair.key_file)
    context.set_alpn_protocols(["bulk"])
    return Bulk(_VOLUME, _EDGES, after_client=True, context=context)


class OtherTargetTests(IntegrityCase):
    """Targets that are not plain TCP."""

    def test_r04_a_target_under_tls(self) -> None:
        """TLS on both sides: the volume arrives, then the client's end, then the answer."""
        ca = pki().file("ca.pem")
        gate = self.bulk_gate(secure_target(), f"tls:localhost:{{port}}:trustRoots={ca}")
        self.both_arrive(gate, _VOLUME, _PRIMES)

    def test_r04_a_unix_socket(self) -> None:
        """A target on a UNIX socket gets and gives the same."""
        target = Bulk(_VOLUME, _PRIMES, path=self.folder() / "target.sock")
        self.both_arrive(self.bulk_gate(target, f"unix:{target.path}"), _VOLUME, _EDGES)


class UntouchedTests(IntegrityCase):
    """Routes that the gate does not decrypt."""

    name = "target.test"

    def test_r04_spliced(self) -> None:
        """What the kernel moves from socket to socket arrives whole as well."""
        gate = self.bulk_gate(secure_target(), sni=["target.test"], passthrough=True)
        self.both_arrive(gate, _VOLUME, _PRIMES)

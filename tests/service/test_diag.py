"""Tests for `tlsgate.service.diag`, `metrics` and `delay`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from attrs import define, field
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tlsgate import __version__
from tlsgate.config.settings import KeyPair, Settings
from tlsgate.net.tally import BUCKETS, Tally
from tlsgate.service import delay as delays
from tlsgate.service import diag, metrics
from tlsgate.service.counts import fields
from tlsgate.testing import settings
from tlsgate.tls.authority import Authority


@define(eq=False)
class FakeCrew:
    """A crew that has counted."""

    counted: Tally = field(factory=Tally)
    waits: Deferred[dict[str, Any]] | None = None

    async def tally(self) -> dict[str, Any]:
        if self.waits is not None:
            return await self.waits
        return fields(self.counted)


@define
class FakeProcess:
    """What a daemon has its reactor from."""

    reactor: Clock = field(factory=Clock)


@define(eq=False)
class FakeDaemon:
    """As much of a daemon as its diagnosis looks at."""

    settings: Settings = field(factory=settings)
    crew: FakeCrew = field(factory=FakeCrew)
    process: FakeProcess = field(factory=FakeProcess)
    ready: bool = True
    draining: bool = False
    last_reload: dict[str, Any] | None = None
    members: list[dict[str, Any]] = field(factory=list)
    cluster: dict[str, Any] | None = None

    async def status(self) -> dict[str, Any]:
        return {
            "ready": self.ready and not self.draining,
            "started": 1.5e9,
            "last_reload": self.last_reload,
            "members": self.members,
            "cluster": self.cluster,
            "warnings": ["tlsgate.yaml:3:1 app_service: known, and not served"],
        }


def ask(daemon: FakeDaemon, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Ask the diagnostic site once; give the status and the body."""
    wire = talk(daemon, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).value()
    head, _, body = wire.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def talk(daemon: FakeDaemon, request: bytes) -> StringTransport:
    """Send *request* to the diagnostic site."""
    transport = StringTransport()
    protocol = diag.site(daemon).buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    assert protocol is not None
    protocol.makeConnection(transport)
    protocol.dataReceived(request)
    return transport


def written(case: SynchronousTestCase, name: str, days: float) -> KeyPair:
    """Write a certificate for *name* that ends in *days*."""
    pair = Authority.create("test").issue(name, dns=(name,), server=True, days=days)
    file = Path(case.mktemp())
    file.write_bytes(pair.cert_pem)
    return KeyPair(cert_file=file, key_file=file)


class HealthTests(SynchronousTestCase):
    """/healthz and /readyz."""

    def test_health(self) -> None:
        """The process answers, whatever else is wrong."""
        for daemon in (FakeDaemon(), FakeDaemon(ready=False), FakeDaemon(draining=True)):
            self.assertEqual(ask(daemon, "/healthz"), (200, b'{"status": "ok"}\n'))

    def test_ready(self) -> None:
        """A daemon that serves says so, with its warnings."""
        code, body = ask(FakeDaemon(), "/readyz")
        self.assertEqual(
            (code, json.loads(body)),
            (
                200,
                {
                    "status": "ok",
                    "why": [],
                    "warnings": ["tlsgate.yaml:3:1 app_service: known, and not served"],
                },
            ),
        )

    def test_not_ready(self) -> None:
        """Before it serves and while it drains nobody should send it clients."""
        self.assertEqual(
            ask(FakeDaemon(ready=False), "/readyz"), (503, b'{"status": "starting"}\n')
        )
        self.assertEqual(
            ask(FakeDaemon(draining=True), "/readyz"), (503, b'{"status": "draining"}\n')
        )

    def test_degraded(self) -> None:
        """It serves, and something is wrong: 400, and why, without what the file says."""
        daemon = FakeDaemon(
            last_reload={"ok": False, "why": "the secret is hunter2"},
            members=[
                {"worker": 0, "ready": True, "draining": False},
                {"worker": 1, "ready": False, "draining": False},
                {"worker": 2, "ready": False, "draining": True},
            ],
        )
        code, body = ask(daemon, "/readyz")
        self.assertEqual(
            (code, json.loads(body)["why"]),
            (
                400,
                [
                    "the last reload was refused; `tgctl status` says why",
                    "worker 1 does not serve",
                ],
            ),
        )

    def test_r14_the_auth_service_is_away(self) -> None:
        """A gateway that goes on alone says so, and when strict locks shut its users out."""
        away = (
            "the auth service is not heard; the gateway goes on with what it knows of the cluster"
        )
        old = "what it knows is too old for strict locks: users of the cluster are refused"
        here = {"away": False, "age_seconds": 900.0, "limit_seconds": 300.0, "strict": True}
        for cluster, why in (
            (here, []),
            ({**here, "away": True, "age_seconds": 9.0}, [away]),
            ({**here, "away": True, "strict": False}, [away]),
            ({**here, "away": True}, [away, old]),
            ({**here, "away": True, "age_seconds": None}, [away, old]),
        ):
            code, body = ask(FakeDaemon(cluster=cluster), "/readyz")
            self.assertEqual((code, json.loads(body)["why"]), (400 if why else 200, why))

    def test_expired(self) -> None:
        """A certificate that has ended degrades the gateway."""
        daemon = FakeDaemon(settings=settings(keypairs=(written(self, "old.test", days=-1),)))
        code, body = ask(daemon, "/readyz")
        self.assertEqual(
            (code, json.loads(body)["why"]),
            (400, ["the certificate for old.test has expired"]),
        )


class MetricsTests(SynchronousTestCase):
    """/metrics."""

    def test_whole(self) -> None:
        """Every count is there, under its labels."""
        daemon = FakeDaemon()
        tally = daemon.crew.counted
        tally.accepted["web"] = 7
        tally.active["web"] = 2
        tally.uses["ssh", "raw"] = [5, 1]
        tally.refused["web", "no_route"] = 3
        tally.shaken("web", 0.0015)
        tally.shaken("web", 0.03)
        tally.shaken("web", 60.0)
        tally.handshakes["web", "failed"] = 1
        tally.carried["echo", "web"] = [11, 22]
        samples = self.samples(daemon)
        wanted = {
            ("tlsgate_build_info", (("version", __version__),)): 1,
            ("tlsgate_ready", ()): 1,
            ("tlsgate_start_time_seconds", ()): 1.5e9,
            ("tlsgate_accepted_connections_total", (("listener", "web"),)): 7,
            ("tlsgate_active_connections", (("listener", "web"),)): 2,
            (
                "tlsgate_ledger_connections_total",
                (("listener", "ssh"), ("transport", "raw")),
            ): 5,
            (
                "tlsgate_ledger_open_connections",
                (("listener", "ssh"), ("transport", "raw")),
            ): 1,
            (
                "tlsgate_refused_connections_total",
                (("listener", "web"), ("reason", "no_route")),
            ): 3,
            ("tlsgate_handshakes_total", (("listener", "web"), ("outcome", "failed"))): 1,
            ("tlsgate_handshakes_total", (("listener", "web"), ("outcome", "ok"))): 3,
            (
                "tlsgate_carried_bytes_total",
                (("direction", "to_client"), ("listener", "web"), ("route", "echo")),
            ): 22,
            (
                "tlsgate_carried_bytes_total",
                (("direction", "to_target"), ("listener", "web"), ("route", "echo")),
            ): 11,
            ("tlsgate_handshake_seconds_count", ()): 3,
            ("tlsgate_handshake_seconds_sum", ()): 60.0315,
            ("tlsgate_handshake_seconds_bucket", (("le", "0.001"),)): 0,
            ("tlsgate_handshake_seconds_bucket", (("le", "0.002"),)): 1,
            ("tlsgate_handshake_seconds_bucket", (("le", "0.05"),)): 2,
            ("tlsgate_handshake_seconds_bucket", (("le", "5.0"),)): 2,
            ("tlsgate_handshake_seconds_bucket", (("le", "+Inf"),)): 3,
        }
        self.assertEqual({key: samples.get(key) for key in wanted}, wanted)
        buckets = [key for key in samples if key[0] == "tlsgate_handshake_seconds_bucket"]
        self.assertEqual(len(buckets), len(BUCKETS) + 1)

    def samples(self, daemon: FakeDaemon) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample of /metrics, by name and labels."""
        code, body = ask(daemon, "/metrics")
        self.assertEqual(code, 200)
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }

    def test_nothing_counted(self) -> None:
        """A gateway that nobody has used yet has its figures all the same."""
        samples = self.samples(FakeDaemon(ready=False))
        self.assertEqual(samples["tlsgate_ready", ()], 0)
        self.assertEqual(samples["tlsgate_handshake_seconds_count", ()], 0)
        self.assertIn(("process_open_fds", ()), samples)

    def test_certificates(self) -> None:
        """Each certificate's end is there, and stays while its file is broken."""
        pair = written(self, "gw.test", days=10)
        ends = metrics.Ends()
        value = settings(keypairs=(pair,))
        [(names, end)] = ends.of(value)
        self.assertEqual(names, ("gw.test",))
        self.assertTrue(abs(end - time.time() - 10 * 86400) < 86400, end)
        pair.cert_file.write_text("broken")
        self.assertEqual(ends.of(value), ((names, end),))
        pair.cert_file.unlink()
        self.assertEqual(ends.of(value), ((names, end),))
        self.assertEqual(metrics.Ends().of(value), ())
        key = ("tlsgate_certificate_expiry_timestamp_seconds", (("names", "gw.test"),))
        pair = written(self, "gw.test", days=10)
        self.assertIn(key, self.samples(FakeDaemon(settings=settings(keypairs=(pair,)))))

    def test_the_cluster(self) -> None:
        """How old what is known of the cluster is; nothing of it outside of one."""
        age = ("tlsgate_cluster_state_age_seconds", ())
        self.assertNotIn(age, self.samples(FakeDaemon()))
        for said, figure in ((3.5, 3.5), (None, float("inf"))):
            samples = self.samples(FakeDaemon(cluster={"age_seconds": said, "away": said is None}))
            self.assertEqual(samples[age], figure)
            self.assertEqual(samples["tlsgate_auth_away", ()], float(said is None))

    def test_delay(self) -> None:
        """A beat that came late is in the histogram, and the worst has its own figure."""
        daemon = FakeDaemon()
        measure = delays.delay_of(daemon, daemon.process.reactor)
        measure.counts[-1] += 1
        measure._worst = 4.0
        samples = self.samples(daemon)
        self.assertEqual(samples["tlsgate_reactor_delay_seconds_count", ()], 1)
        self.assertEqual(samples["tlsgate_reactor_delay_worst_seconds", ()], 4.0)


class DelayTests(SynchronousTestCase):
    """How a late reactor is measured."""

    def test_beats(self) -> None:
        """The delay is what passes beyond the period, whatever made it pass."""
        clock = Clock()
        seconds = [0.0]
        measure = delays.Delay(clock, lambda: seconds[0])
        for late in (0.0, 0.0005, 0.2, 9.0):
            seconds[0] += delays.PERIOD_SECONDS + late
            clock.advance(delays.PERIOD_SECONDS)
        self.assertEqual(measure.counts, [2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1])
        self.assertAlmostEqual(measure.sum_seconds, 9.2005)
        self.assertAlmostEqual(measure.worst_seconds, 9.0)

    def test_the_worst_fades(self) -> None:
        """An old delay is forgotten after two windows."""
        clock = Clock()
        seconds = [0.0]
        measure = delays.Delay(clock, lambda: seconds[0])
        seconds[0] += 5.0
        clock.advance(delays.PERIOD_SECONDS)
        self.assertGreater(measure.worst_seconds, 4.0)
        for _ in range(2 * delays.WINDOW_BEATS):
            seconds[0] += delays.PERIOD_SECONDS
            clock.advance(delays.PERIOD_SECONDS)
        self.assertLess(measure.worst_seconds, 0.001)

    def test_one_a_daemon(self) -> None:
        """A reload makes the site anew and goes on with the same measure."""
        daemon = FakeDaemon()
        diag.site(daemon)
        diag.site(daemon)
        self.assertEqual(len(daemon.process.reactor.getDelayedCalls()), 1)


class SiteTests(SynchronousTestCase):
    """How the diagnostic site answers."""

    def test_elsewhere(self) -> None:
        """Other addresses are not found, other methods not allowed."""
        for path in ("/healthz/x", "/metrics/", "/nothing"):
            self.assertEqual(ask(FakeDaemon(), path)[0], 404, path)
        self.assertEqual(ask(FakeDaemon(), "/metrics", "DELETE")[0], 405)
        self.assertEqual(ask(FakeDaemon(), "/healthz", "HEAD"), (200, b""))
        self.assertEqual(ask(FakeDaemon(), "/")[0], 200)

    def test_client_leaves(self) -> None:
        """Who leaves before the figures are there leaves no error behind."""
        daemon = FakeDaemon(crew=FakeCrew(waits=Deferred()))
        transport = StringTransport()
        protocol = diag.site(daemon).buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        assert protocol is not None
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        protocol.connectionLost(Failure(ConnectionError()))
        self.assertEqual(transport.value(), b"")

    def test_fault(self) -> None:
        """A fault of ours is 500 without a word of it, and is logged."""
        daemon = FakeDaemon(crew=FakeCrew(waits=Deferred()))
        assert daemon.crew.waits is not None
        daemon.crew.waits.errback(ValueError("hunter2"))
        code, body = ask(daemon, "/metrics")
        self.assertEqual((code, body), (500, b'{"status": "failed"}\n'))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

"""What was counted, in the words of Prometheus.

The figures are made when somebody asks: nothing here costs a connection anything. Labels
come from the configuration and from fixed words, never from a peer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from cryptography import x509
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from tlsgate import __version__
from tlsgate.config.settings import Settings
from tlsgate.net.tally import BUCKETS
from tlsgate.service import delay as delays

#: What the text is, as Prometheus asks for it.
CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


@frozen(kw_only=True)
class Figures:
    """Everything that one answer to /metrics is made of.

    Attributes:
        tally: see `service.counts.fields`.
        ready: whether /readyz says yes.
        started: seconds since the epoch.
        ends: names of a certificate and its end, in seconds since the epoch.
        delay: how late the reactor is; None: nobody measures.
        cluster: see `ICrew.cluster`; None: the daemon is in none.
    """

    tally: Mapping[str, Any]
    ready: bool
    started: float
    ends: Sequence[tuple[tuple[str, ...], float]] = ()
    delay: delays.Delay | None = None
    cluster: Mapping[str, Any] | None = None


def text(figures: Figures) -> bytes:
    """The answer to /metrics."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(figures))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


@frozen(eq=False)
class _Families(Collector):
    figures: Figures

    def collect(self) -> Iterator[Metric]:
        """Give every family, in a constant order."""
        figures = self.figures
        tally = figures.tally
        yield _gauge("build_info", "Always 1; the version is in the label.", 1, version=__version__)
        yield _gauge("ready", "1 while the daemon serves.", float(figures.ready))
        yield _gauge("start_time_seconds", "When the daemon began.", figures.started)
        yield _family(
            CounterMetricFamily("tlsgate_accepted_connections", _ACCEPTED, labels=("listener",)),
            (((name,), count) for name, count in tally["accepted"].items()),
        )
        yield _family(
            GaugeMetricFamily("tlsgate_active_connections", _ACTIVE, labels=("listener",)),
            (((name,), count) for name, count in tally["active"].items()),
        )
        yield _family(
            CounterMetricFamily(
                "tlsgate_ledger_connections", _USES, labels=("listener", "transport")
            ),
            (((name, how), count) for name, how, count, _ in tally["uses"]),
        )
        yield _family(
            GaugeMetricFamily(
                "tlsgate_ledger_open_connections", _USING, labels=("listener", "transport")
            ),
            (((name, how), now) for name, how, _, now in tally["uses"]),
        )
        yield _family(
            CounterMetricFamily(
                "tlsgate_refused_connections", _REFUSED, labels=("listener", "reason")
            ),
            (((name, reason), count) for name, reason, count in tally["refused"]),
        )
        yield _family(
            CounterMetricFamily("tlsgate_handshakes", _HANDSHAKES, labels=("listener", "outcome")),
            (((name, outcome), count) for name, outcome, count in tally["handshakes"]),
        )
        yield _family(
            CounterMetricFamily(
                "tlsgate_carried_bytes", _CARRIED, labels=("route", "listener", "direction")
            ),
            _directions(tally["carried"]),
        )
        yield _histogram(
            "handshake_seconds",
            "TLS handshakes that came to an end in order, from the hello on.",
            BUCKETS,
            tally["handshake_seconds"],
            tally["handshake_seconds_sum"],
        )
        yield _family(
            GaugeMetricFamily(
                "tlsgate_certificate_expiry_timestamp_seconds", _EXPIRY, labels=("names",)
            ),
            (((",".join(names),), end) for names, end in figures.ends),
        )
        if figures.cluster is not None:
            age = figures.cluster["age_seconds"]
            yield _gauge("cluster_state_age_seconds", _AGE, math.inf if age is None else age)
            away = float(figures.cluster["away"])
            yield _gauge("auth_away", "1 while the auth service is not heard.", away)
        if figures.delay is not None:
            yield _histogram(
                "reactor_delay_seconds",
                "How late the event loop of this process ran what was due.",
                delays.BUCKETS,
                figures.delay.counts,
                figures.delay.sum_seconds,
            )
            yield _gauge(
                "reactor_delay_worst_seconds",
                "The longest such delay of the last one to two minutes.",
                figures.delay.worst_seconds,
            )


_ACCEPTED = "Connections that were accepted."
_ACTIVE = "Connections that are open now."
_USES = "Connections that were let through, by how they came; health checks not counted."
_USING = "Of those, the ones that are open now."
_REFUSED = "Connections that were refused, by the reason in a word."
_HANDSHAKES = "TLS handshakes, by how they ended: ok or failed."
_CARRIED = "Bytes that ended connections carried, what TLS adds not counted."
_AGE = "How long ago the auth service was heard last; locks and roles are known as of then."
_EXPIRY = "When a certificate that the gateway shows ends, in seconds since the epoch."


def _directions(carried: Iterable[Sequence[Any]]) -> Iterator[tuple[tuple[str, ...], float]]:
    for route, listener, to_target, to_client in carried:
        yield (route, listener, "to_target"), to_target
        yield (route, listener, "to_client"), to_client


def _family(
    family: CounterMetricFamily | GaugeMetricFamily,
    samples: Iterable[tuple[tuple[str, ...], float]],
) -> Metric:
    for labels, value in sorted(samples):
        family.add_metric(labels, value)
    return family


def _gauge(name: str, documentation: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(f"tlsgate_{name}", documentation, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), value)
    return family


def _histogram(
    name: str, documentation: str, bounds: Sequence[float], counts: Sequence[int], total: float
) -> Metric:
    """A histogram from counts a bucket; Prometheus wants them cumulated."""
    buckets, below = [], 0
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        below += count
        buckets.append((bound, below))
    family = HistogramMetricFamily(f"tlsgate_{name}", documentation)
    family.add_metric((), buckets, total)
    return family


# -- certificates -----------------------------------------------------------------


@frozen
class Ends:
    """When certificates end, by their files; a file is read again when it has changed.

    A file that cannot be read keeps what it said last, as the gateway keeps its
    last good certificate.
    """

    _known: dict[Path, tuple[tuple[int, int], tuple[tuple[str, ...], float]]] = field(factory=dict)

    def of(self, settings: Settings) -> tuple[tuple[tuple[str, ...], float], ...]:
        """Names and end of each certificate that *settings* make the gateway show."""
        files = [pair.cert_file for pair in settings.keypairs]
        found = (self._look(file) for file in files or [settings.data_dir / "self-signed.pem"])
        return tuple(one for one in found if one is not None)

    def _look(self, file: Path) -> tuple[tuple[str, ...], float] | None:
        known = self._known.get(file)
        try:
            status = file.stat()
            mark = (status.st_mtime_ns, status.st_size)
            if known is None or known[0] != mark:
                leaf = x509.load_pem_x509_certificates(file.read_bytes())[0]
                known = (mark, (_names(leaf), leaf.not_valid_after_utc.timestamp()))
                self._known[file] = known
        except (OSError, ValueError):
            pass  # the gateway has said so, and goes on with what it has
        return None if known is None else known[1]


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return (leaf.subject.rfc4514_string(),)
    return tuple(names.get_values_for_type(x509.DNSName))

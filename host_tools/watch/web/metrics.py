"""/metrics: the ledger for Prometheus, by camera. What can become fewer is a gauge."""

import threading
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from host_tools.watch.entries import Camera
from host_tools.watch.verdicts import Verdict
from host_tools.watch.web.feed import Feed

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
# Beyond this a camera's clock is wrong, which is no latency.
_LATENCY_MAX_S = 1000.0
_PAGE = 5000

_COUNTERS = {
    "received": ("verified snapshots", (Verdict.DELIVERED, Verdict.REORDERED)),
    "duplicate": ("snapshots that came again", (Verdict.DUPLICATE,)),
    "corrupt": ("snapshots whose bytes are not those of their stamp", (Verdict.CORRUPT,)),
    "unverifiable": ("payloads without a usable stamp", (Verdict.UNVERIFIABLE,)),
}
# A late arrival takes its snapshot out of these.
_GAUGES = {
    "missing": ("snapshots that were sent and have not come", Verdict.MISSING),
    "dropped": ("snapshots that the camera gave up itself", Verdict.DROPPED),
}


class Metrics:
    """The metrics of one ledger, in a registry of their own."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, feed: Feed) -> None:
        self._records = feed.records
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        self._registry.register(_OfLedger(feed))
        self._latency = Histogram(
            "anchorcam_latency_seconds",
            "from capture, by the camera's clock, to the ledger; since this watcher started",
            ["camera"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._seen = self._records.last_id()

    def render(self) -> bytes:
        """Everything in Prometheus's text format. Raises UserError."""
        with self._lock:
            while snapshots := self._records.after(self._seen, _PAGE):
                for snapshot in snapshots:
                    latency_ms = snapshot.latency_ms
                    if latency_ms is not None and abs(latency_ms) < _LATENCY_MAX_S * 1000:
                        self._latency.labels(snapshot.camera).observe(latency_ms / 1000)
                self._seen = snapshots[-1].id
            return generate_latest(self._registry)


class _OfLedger(Collector):
    """What the ledger says at the moment of the question."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def describe(self) -> Iterable[Metric]:
        return []  # or registering would read the ledger

    def collect(self) -> Iterator[Metric]:
        cameras = self._feed.records.cameras()
        for name, (what, verdicts) in _COUNTERS.items():
            counter = CounterMetricFamily(f"anchorcam_snapshots_{name}", what, labels=["camera"])
            for camera in cameras:
                counter.add_metric([camera.name], sum(camera.counts[each] for each in verdicts))
            yield counter
        for name, (what, verdict) in _GAUGES.items():
            yield _gauge(f"snapshots_{name}", what, {c.name: c.counts[verdict] for c in cameras})
        yield _gauge(
            "online", "1: its last word was its birth", {c.name: c.online for c in cameras}
        )
        yield _gauge(
            "last_seen_timestamp_seconds",
            "when its last message came",
            {camera.name: _last_seen(camera) for camera in cameras},
        )
        yield _gauge(
            "spooled_snapshots",
            "snapshots on its spool",
            {c.name: _count((c.health or {}).get("spooled")) for c in cameras},
        )
        yield _expiry(cameras)
        connected = GaugeMetricFamily(
            "anchorcam_broker_connected", "1: the watcher is connected to its broker"
        )
        connected.add_metric([], self._feed.broker()["connected"])
        yield connected


def _gauge(name: str, what: str, values: dict[str, float | None]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(f"anchorcam_{name}", what, labels=["camera"])
    for camera, value in values.items():
        if value is not None:
            gauge.add_metric([camera], value)
    return gauge


def _expiry(cameras: list[Camera]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(
        "anchorcam_certificate_expiry_timestamp_seconds",
        "when the certificate expires at the earliest, as the camera verified it",
        labels=["camera", "certificate"],
    )
    for camera in cameras:
        health = camera.health or {}
        chain = health.get("chain_days")
        days = {
            "leaf": _count(health.get("leaf_days")),
            "chain": min((d for each in chain if (d := _count(each)) is not None), default=None)
            if isinstance(chain, list)
            else None,
            "anchor": _count(health.get("anchor_days")),
        }
        for certificate, left in days.items():
            if left is not None and camera.health_ms is not None:
                gauge.add_metric([camera.name, certificate], camera.health_ms / 1000 + left * 86400)
    return gauge


def _last_seen(camera: Camera) -> float | None:
    newest = camera.newest.received_ms if camera.newest else None
    times = [at for at in (camera.state_ms, camera.health_ms, newest) if at is not None]
    return max(times) / 1000 if times else None


def _count(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**32:
        return value
    return None

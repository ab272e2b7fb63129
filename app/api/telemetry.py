"""Prometheus metrics of this process. Routes are labelled by their template, never by path."""

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.services.health import Stats

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Telemetry:
    """One registry per application, so that two can live in a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tunesmith_http_requests",
            "HTTP requests handled.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tunesmith_http_request_seconds",
            "Time from the first byte of a request to the last byte of its response.",
            ("method", "route"),
            registry=self.registry,
        )
        self.open_streams = Gauge(
            "tunesmith_open_streams", "Open event streams.", registry=self.registry
        )

        self._up = self._gauge("database_up", "Whether the database answered this scrape.")
        self._jobs = self._gauge("jobs", "Jobs by status.", "status")
        self._datasets = self._gauge("datasets", "Datasets by status.", "status")
        self._queued = self._gauge("queue_length", "Jobs waiting for a worker.", "queue")
        self._wait = self._gauge("oldest_wait_seconds", "Longest wait of a queued job.")
        self._workers = self._gauge("workers_alive", "Workers seen recently.")

    def note_stats(self, stats: Stats | None) -> None:
        """Update the gauges at a scrape. None: the database is down, and old values are removed."""
        for labelled in (self._jobs, self._datasets, self._queued):
            labelled.clear()
        self._up.set(stats is not None)
        if stats is None:
            self._wait.set(math.nan)
            self._workers.set(math.nan)
            return
        self._wait.set(stats.oldest_wait_seconds)
        self._workers.set(stats.workers_alive)
        counts = (self._jobs, stats.jobs), (self._datasets, stats.datasets)
        for gauge, numbers in (*counts, (self._queued, stats.queued)):
            for name, number in numbers.items():
                gauge.labels(name).set(number)

    def note_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record a request. Status 0: the client disconnected before the response started."""
        method = method if method in METHODS else "OTHER"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def _gauge(self, name: str, description: str, *labels: str) -> Gauge:
        return Gauge(f"tunesmith_{name}", description, labels, registry=self.registry)

"""What Prometheus scrapes about this process. Labels are route templates, never paths."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Telemetry:
    """One registry per application, so that two can live in a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tunesmith_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tunesmith_http_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("method", "route"),
            registry=self.registry,
        )
        self.open_streams = Gauge(
            "tunesmith_open_streams", "Event streams being followed.", registry=self.registry
        )

    def note_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Status 0: the client went before there was an answer."""
        method = method if method in METHODS else "OTHER"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

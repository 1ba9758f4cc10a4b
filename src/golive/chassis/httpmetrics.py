"""
What is counted about every request, with bounded labels.

Methods come from a fixed set (others are ``_OTHER``), routes are templates (at most ``routes_max``, then
``__overflow__``; no route is ``__unmatched__``), statuses are the three digits. Requests without a route or with a
made-up method that end in 404 or 405 are counted but not timed: a scanner's ten thousand paths add one series.
"""

from __future__ import annotations

from bisect import bisect_left

from golive.chassis.metrics import OVERFLOW, HistogramSeries, Metrics
from golive.chassis.routes import UNMATCHED

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
OTHER_METHOD = "_OTHER"

#: Without a route these are a scanner's or our own guard's; their microseconds say nothing about the app.
UNTIMED = (404, 405, 503)

#: Series one family may hold: routes x methods x statuses in use, not in theory. The route cap is the real bound.
SERIES_MAX = 50_000


class HttpMetrics:
    """``http_requests_total`` and ``http_request_duration_seconds``; one dictionary look-up per request once warm."""

    def __init__(self, metrics: Metrics, *, routes_max: int, edges_seconds: tuple[float, ...]) -> None:
        self._requests = metrics.counter(
            "http_requests_total", "Requests answered.", ("method", "route", "status"), series_max=SERIES_MAX
        )
        self._counts = self._requests.values
        self._seconds = metrics.histogram(
            "http_request_duration_seconds",
            "Time from the request's head to the end of its answer.",
            ("method", "route"),
            edges=edges_seconds,
            series_max=SERIES_MAX,
        )
        self._overflows = metrics.overflows
        self._routes: set[str] = set()
        self._routes_max = routes_max
        self._warm: dict[tuple[str, str, int], tuple[tuple[str, str, str], HistogramSeries | None]] = {}

    def record(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request, and time it when it had a route or was answered by the app."""
        try:
            labels, series = self._warm[method, route, status]
        except KeyError:
            labels, series = self._prepare(method, route, status)
        try:
            self._counts[labels] += 1.0
        except KeyError:
            self._requests.inc(*labels)
        if series is not None:
            series.counts[bisect_left(series.edges, seconds)] += 1  # observe(), without the call
            series.sum += seconds

    def _prepare(self, method: str, route: str, status: int) -> tuple[tuple[str, str, str], HistogramSeries | None]:
        """
        The bounded labels of a new combination. Only bounded keys are remembered, or the memory would be the leak.
        """
        bounded_method = method if method in METHODS else OTHER_METHOD
        bounded_route = self._bounded(route)
        labels = (bounded_method, bounded_route, str(status))
        named = bounded_route != UNMATCHED and bounded_method != OTHER_METHOD
        timed = named or status not in UNTIMED
        entry = (labels, self._seconds.series(bounded_method, bounded_route) if timed else None)
        if bounded_method == method and bounded_route == route and len(self._warm) < SERIES_MAX:
            self._warm[method, route, status] = entry
        return entry

    def _bounded(self, route: str) -> str:
        if route in self._routes or route == UNMATCHED:
            return route
        if len(self._routes) >= self._routes_max:
            self._overflows.inc("http_requests_total")
            return OVERFLOW
        self._routes.add(route)
        return route

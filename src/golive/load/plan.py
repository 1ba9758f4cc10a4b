"""
What to send: the plan of a load run, checked completely before the first byte leaves.

Left out on purpose: thresholds. Whether a figure is good enough is the SLO table's business; this room measures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from golive.errors import UsageError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS = re.compile(r"([1-5])xx|([1-5]\d\d)", re.IGNORECASE)

#: Above this a single process is not a load generator but a queue. The engine's own self-check decides below it.
RATE_MAX = 1_000_000.0
#: Distinct values a tally keeps apart; the rest are counted as ``__other__``.
TALLY_MAX = 100
#: The statuses that are not failures when nothing else is said.
EXPECT_DEFAULT = ("2xx", "3xx")


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """
    One kind of request in the mix.

    ``{n}`` (number of the request from 0), ``{n%400}`` (the same modulo 400), ``{n/5}`` (five in a row alike),
    ``{user}`` (round robin over ``LoadPlan.users``) and ``{uuid}`` are replaced in path, header values and body; all
    other braces stay as they are.

    Attributes:
        path: appended to the path of the plan's URL; empty means the URL as it is.
        weight: share of the mix, relative to the other weights, > 0.
        expect: statuses that are no failure, ``"2xx"`` or ``"409"``; None takes the plan's.
    """

    method: str = "GET"
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | None = None
    weight: float = 1.0
    expect: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """*rate* requests per second for *duration* seconds; with *ramp*, rising or falling evenly from the rate before."""

    rate: float
    duration: float
    ramp: bool = False


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """
    A load run. Durations are seconds, rates requests per second.

    Open loop (the default): requests leave at times fixed beforehand, whether or not earlier ones were answered, and
    latency counts from the intended time. Closed loop (``concurrency=N``): N users, each waits for its answer
    before it sends again; it measures capacity, not what a visitor feels.

    Attributes:
        duration: None runs until stopped or *requests_max*.
        stages: replaces *rate* and *duration*.
        requests_max: ends the run after that many requests were started.
        connections_max: beyond it requests wait for a connection; the wait is part of their latency.
        timeout: from the intended time to the last byte of the answer.
        users: how many different values ``{user}`` takes.
        latency_limit: the limit the run will be judged by; the self-check allows a tenth of it as scheduling lag.
        tally_header: count answers by the value of this response header.
        tally_json: count answers by this top-level field of a JSON answer.
        keep_alive: False opens a connection per request.
        remote_allowed: the caller confirms that a target that is not this machine may be loaded.
        tls_verify: False accepts any certificate.
        seed: of the Poisson arrivals, the mix and ``{uuid}``.
    """

    url: str
    rate: float = 200.0
    duration: float | None = 10.0
    requests: Sequence[RequestSpec] = ()
    stages: Sequence[Stage] = ()
    arrivals: Literal["constant", "poisson"] = "constant"
    concurrency: int | None = None
    requests_max: int | None = None
    connections_max: int = 512
    timeout: float = 10.0
    users: int = 100
    expect: tuple[str, ...] = EXPECT_DEFAULT
    latency_limit: float | None = None
    tally_header: str | None = None
    tally_json: str | None = None
    keep_alive: bool = True
    remote_allowed: bool = False
    tls_verify: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises: UsageError naming the first field that cannot work."""
        split_url(self.url)
        _check(0 < self.rate <= RATE_MAX, "rate", f"requests per second in 0..{RATE_MAX:.0f}", self.rate)
        _check(self.duration is None or self.duration > 0, "duration", "a time > 0", self.duration)
        _check(self.arrivals in ("constant", "poisson"), "arrivals", '"constant" or "poisson"', self.arrivals)
        _check(self.concurrency is None or 1 <= self.concurrency <= 10_000, "concurrency", "1..10000 users",
               self.concurrency)  # fmt: skip
        _check(self.requests_max is None or self.requests_max > 0, "requests_max", "a count > 0", self.requests_max)
        _check(self.connections_max > 0, "connections_max", "a count > 0", self.connections_max)
        _check(0 < self.timeout <= 3600, "timeout", "a time in 0..1h", self.timeout)
        _check(self.users > 0, "users", "a count > 0", self.users)
        _check(self.latency_limit is None or self.latency_limit > 0, "latency_limit", "a time > 0", self.latency_limit)
        for number, stage in enumerate(self.stages):
            _check(0 <= stage.rate <= RATE_MAX, f"stages/{number}/rate", f"0..{RATE_MAX:.0f}", stage.rate)
            _check(stage.duration > 0, f"stages/{number}/duration", "a time > 0", stage.duration)
        statuses(self.expect)
        for number, request in enumerate(self.requests):
            _check_request(f"requests/{number}", request)

    @property
    def mix(self) -> Sequence[RequestSpec]:
        """The kinds of request to send; one plain GET of the URL when none is declared."""
        return self.requests or (RequestSpec(),)

    @property
    def steps(self) -> Sequence[Stage]:
        """The stages; one endless or bounded stage when none is declared."""
        return self.stages or (Stage(self.rate, self.duration if self.duration is not None else float("inf")),)


def split_url(url: str) -> SplitResult:
    """
    The parts of an ``http`` or ``https`` URL.

    Raises: UsageError when it is not one, or carries a user name (a password does not belong in a command line).
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"url: expected http://host[:port]/path, got {url!r} ({error}).") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"url: expected http://host[:port]/path, got {url!r}.")
    if parts.username is not None or parts.password is not None:
        raise UsageError("url: expected no user name or password in it. Send an Authorization header instead.")
    if _unsafe(url) or " " in url:
        raise UsageError(f"url: expected no blanks or control characters, got {url!r}. Percent-encode them.")
    return parts


def statuses(expect: Iterable[str]) -> frozenset[int]:
    """
    ``("2xx", "409")`` as the set of status codes it means.

    Raises: UsageError for anything that is neither a class nor a code.
    """
    codes: set[int] = set()
    for text in expect:
        match = _STATUS.fullmatch(text.strip())
        if match is None:
            raise UsageError(f'expect: expected a status such as "2xx" or "409", got {text!r}.')
        codes |= set(range(int(match[1]) * 100, int(match[1]) * 100 + 100)) if match[1] else {int(match[2])}
    if not codes:
        raise UsageError('expect: expected at least one status such as "2xx".')
    return frozenset(codes)


def _check_request(place: str, request: RequestSpec) -> None:
    _check(_TOKEN.fullmatch(request.method), f"{place}/method", "a method such as GET", request.method)
    path_good = request.path == "" or (request.path[0] in "/?" and " " not in request.path)
    _check(path_good and not _unsafe(request.path), f"{place}/path", 'a path such as "/orders"', request.path)
    _check(request.weight > 0, f"{place}/weight", "a weight > 0", request.weight)
    for name, value in request.headers.items():
        _check(_TOKEN.fullmatch(name), f"{place}/headers", "a header name", name)
        _check(not _unsafe(value), f"{place}/headers/{name}", "a value without line breaks", value)
        _check(name.lower() not in ("content-length", "transfer-encoding", "connection"), f"{place}/headers",
               "a header that is not about framing (golive writes those)", name)  # fmt: skip
    if request.expect is not None:
        statuses(request.expect)


def _unsafe(text: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in text)


def _check(good: object, place: str, expected: str, got: object) -> None:
    if not good:
        raise UsageError(f"{place}: expected {expected}, got {got!r}.")

"""Promises about what a service answers, judged from outside at its URL. Durations are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from golive.promises.kinds import Seconds, UrlPath
from golive.promises.request import SmokeRequest


@dataclass(frozen=True, slots=True)
class RequestIdProbe:
    """*header* comes back on every answer, errors included: kept when well-formed, replaced when not."""

    header: str = "X-Request-ID"
    paths: tuple[UrlPath, ...] = ("/", "/golive-no-such-path")


@dataclass(frozen=True, slots=True)
class RateLimitProbe:
    """
    Attributes:
        request: allowed *limit* times by one caller within the service's window; then 429 with Retry-After.
        also_at: URLs of further replicas, which must refuse too: the limit is one for all of them.
    """

    request: SmokeRequest
    limit: int
    also_at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CardinalityProbe:
    """So many *requests*, each to a path of its own, may add so many series to the metrics page. Source: seed 004."""

    requests: int = 300
    series_growth_max: int = 60


@dataclass(frozen=True, slots=True)
class TenantsProbe:
    """
    Attributes:
        first, second: headers of two tenants (or users) who must not see each other.
        create: sent as the first one; ``{uuid}`` is filled.
        id_field: of the JSON answer.
        read: path with ``{id}``: 200 for the first, 404 for the second and for an id that does not exist.
        key_header: when named, the same key of both tenants must have two effects. Source: seed 002.
    """

    first: Mapping[str, str]
    second: Mapping[str, str]
    create: SmokeRequest
    read: UrlPath
    id_field: str = "id"
    key_header: str = ""


@dataclass(frozen=True, slots=True)
class FlowStep:
    """
    Attributes:
        request: ``{name}`` in path, headers and body is what an earlier step captured.
        capture: name -> JSON field (``"user.token"``) or ``"header:location"`` of the answer.
        until: repeated for so long until it is answered as declared, e.g. until a job has ended.
    """

    request: SmokeRequest
    capture: Mapping[str, str] = field(default_factory=dict)
    until: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class FlowProbe:
    """Requests that build on each other: sign in, call, sign out, be refused."""

    steps: tuple[FlowStep, ...]


@dataclass(frozen=True, slots=True)
class ContractProbe:
    """
    *recording* (JSON: a list of ``{"request": ..., "response": ...}``) is answered today as it was when it was made.

    Attributes:
        ignore: JSON fields, wherever they are, that differ between any two answers, e.g. ids and times.
    """

    recording: str
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenApiProbe:
    """
    Attributes:
        path: where the service serves its description.
        committed: the file of the project it must equal; empty: not compared.
        public: paths of it anybody may call; all others refuse anonymous callers. Empty: not asked.
    """

    path: UrlPath = "/openapi.json"
    committed: str = ""
    public: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PagesProbe:
    """
    Attributes:
        paths: pages that load, with their scripts and styles, and name no developer's machine. Source: seed 001.
        api: the only address pages and scripts may call besides their own, ``https://api.example.com``.
    """

    paths: tuple[UrlPath, ...]
    api: str = ""


@dataclass(frozen=True, slots=True)
class ErrorCaptureProbe:
    """
    Attributes:
        request: fails on purpose; ``{marker}`` in it is found in a sink within *within* seconds. Source: seed 004.
        sinks: files the error sink writes, relative to the project.
        latency_max: of the failing answer: capturing must not hold it up.
    """

    request: SmokeRequest
    sinks: tuple[str, ...]
    within: Seconds = 10.0
    latency_max: Seconds = 1.0


@dataclass(frozen=True, slots=True)
class DuplicatesProbe:
    """
    *requests* requests with only *keys* different keys, *concurrency* at a time. Source: seed 002, its load test.

    Attributes:
        request: ``{key}`` in its body is the key, too.
        first, again: statuses; exactly one *first* per key, all others *again*.
        counter: a metric that must have grown by exactly the number of duplicates; empty: not read.
    """

    request: SmokeRequest
    requests: int = 2000
    keys: int = 400
    concurrency: int = 75
    header: str = "Idempotency-Key"
    first: int = 201
    again: int = 204
    counter: str = ""
    thresholds: tuple[str, ...] = ("p95 <= 1s", "error_rate <= 1%")


@dataclass(frozen=True, slots=True)
class BackgroundProbe:
    """A job submitted by ``[gates.jobs]`` ends within *quiet* though nobody sends a request meanwhile: seed 000."""

    quiet: Seconds = 5.0


@dataclass(frozen=True, slots=True)
class SlowWorkProbe:
    """
    *trigger* starts work that takes a while (a view is refreshed, a report is built); *write* stays fast meanwhile.

    Attributes:
        samples: writes, one after the other, the slowest of which may take *latency_max*. Source: seed 004.
    """

    trigger: SmokeRequest
    write: SmokeRequest
    samples: int = 10
    latency_max: Seconds = 1.0


@dataclass(frozen=True, slots=True)
class SoakProbe:
    """
    The declared requests, *rate* per second, for *duration*. Source: seed 003, 24 hours before production.

    Attributes:
        errors_max: failed requests, as a share.
        memory_growth_max: of the process between the second and the last quarter, as a share.
        handles_growth_max: open file descriptors between the same.
    """

    duration: Seconds = 60.0
    rate: float = 5.0
    errors_max: float = 0.01
    memory_growth_max: float = 0.1
    handles_growth_max: int = 20


TABLES: dict[str, type] = {
    "request_id": RequestIdProbe,
    "rate_limit": RateLimitProbe,
    "cardinality": CardinalityProbe,
    "tenants": TenantsProbe,
    "flow": FlowProbe,
    "contract": ContractProbe,
    "openapi": OpenApiProbe,
    "pages": PagesProbe,
    "error_capture": ErrorCaptureProbe,
    "duplicates": DuplicatesProbe,
    "background": BackgroundProbe,
    "slow_work": SlowWorkProbe,
    "soak": SoakProbe,
}

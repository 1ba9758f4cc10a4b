"""
Cross-origin rules, checked when they are made, because browsers enforce the mistakes silently and attackers find them.

Refused: ``*`` with credentials (every site could act for the user), anything that is not exactly an origin (a slash, a
path, upper case, a default port, ``null``, a wildcard inside a host), and in production plain http and localhost.
There is no pattern to anchor wrongly: subdomains are a rule of their own, ``https://*.example.com`` is not an origin.
Source: fetch.spec.whatwg.org, http-cors-protocol.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from golive.chassis.types import Headers

EXPOSED = b"X-Request-ID, RateLimit, RateLimit-Policy, Retry-After, Idempotency-Replayed"
DEFAULT_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
DEFAULT_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID", "traceparent")
_VARY = (b"vary", b"Origin")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_LOCAL = re.compile(r"localhost|127\.\d+\.\d+\.\d+|\[::1\]|0\.0\.0\.0")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_fault(origin: str, *, production: bool) -> str | None:
    """Why *origin* cannot stand in the list, or None when it can."""
    if origin == "null":
        return "null is what sandboxed pages of anybody send. Remove it"
    if "*" in origin:
        return "a wildcard inside an origin is not a rule browsers know. List the origins, or set cors_subdomains_of"
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return "expected scheme://host[:port]"
    if parts.scheme not in _DEFAULT_PORTS or not parts.netloc:
        return "expected scheme://host[:port], with http or https"
    if origin != origin.lower():
        return "browsers send origins in lower case. Write it so"
    if origin != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
        return "expected scheme://host[:port] without a slash, path or user"
    if port == _DEFAULT_PORTS[parts.scheme] or parts.netloc.endswith(":"):
        return "browsers leave the default port out. Remove it"
    host = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc
    if not _HOST.fullmatch(host):
        return "the host is not a host name"
    return _production_fault(parts.scheme, host) if production else None


def _production_fault(scheme: str, host: str) -> str | None:
    if _LOCAL.fullmatch(host):
        return "localhost is somebody's laptop, not a production origin. Remove it"
    return "production origins are https" if scheme != "https" else None


@dataclass(frozen=True, slots=True)
class CorsRules:
    """
    Who may read our answers from a browser.

    Attributes:
        origins: exact origins, or ``("*",)`` for everybody without credentials.
        subdomains_of: origins whose subdomains, at any depth, are allowed too (``https://example.com``).
        methods: what a preflight may ask for.
        headers: request headers a preflight may ask for, any case.
        credentials: cookies and Authorization may travel.
        max_age_seconds: how long a browser may remember a preflight.
    """

    origins: tuple[str, ...] = ()
    subdomains_of: tuple[str, ...] = ()
    methods: tuple[str, ...] = DEFAULT_METHODS
    headers: tuple[str, ...] = DEFAULT_HEADERS
    credentials: bool = False
    max_age_seconds: int = 600

    def faults(self, *, production: bool) -> list[str]:
        """Every reason not to start with these rules, each naming the value."""
        faults = []
        for origin in self.origins:
            if origin == "*":
                if self.credentials:
                    faults.append(
                        "cors_origins: '*' with credentials lets every site act for the user. List the origins."
                    )
                continue
            fault = origin_fault(origin, production=production)
            faults += [f"cors_origins: {origin!r}: {fault}."] if fault else []
        for origin in self.subdomains_of:
            fault = origin_fault(origin, production=production)
            faults += [f"cors_subdomains_of: {origin!r}: {fault}."] if fault else []
        if self.credentials and "*" in self.headers:
            faults.append(
                "cors_headers: '*' is taken literally with credentials, and never covers Authorization. List them."
            )
        return faults


class Cors:
    """The rules, compiled: what to add to an answer, and the answer to a preflight."""

    def __init__(self, rules: CorsRules) -> None:
        self._everybody = rules.origins == ("*",)
        self._origins = {origin.encode() for origin in rules.origins}
        self._suffixes = tuple(
            (f"{parts.scheme}://".encode(), f".{parts.netloc}".encode()) for parts in map(urlsplit, rules.subdomains_of)
        )
        self._credentials = rules.credentials
        self._methods = {method.encode() for method in rules.methods}
        self._any_header = "*" in rules.headers
        self._headers = {header.lower().encode() for header in rules.headers}
        self._max_age = b"%d" % rules.max_age_seconds
        self._methods_text = b", ".join(sorted(self._methods))
        self._headers_text = b", ".join(sorted(header.encode() for header in rules.headers))
        self.answer_headers = lru_cache(maxsize=256)(self._answer_headers)

    def allows(self, origin: bytes) -> bool:
        """Whether pages of *origin* may read our answers; compared byte by byte, as browsers do."""
        if self._everybody or origin in self._origins:
            return True
        return any(origin.startswith(start) and origin.endswith(end) for start, end in self._suffixes) and bool(
            _HOST.fullmatch(origin.partition(b"://")[2].partition(b":")[0].decode("latin-1"))
        )

    def _answer_headers(self, origin: bytes) -> Headers:
        """
        What to add to any answer; *origin* is empty when the request had none. ``Vary`` is always there.

        Called as ``answer_headers``, which remembers the origins that come again; the list is not to be changed.
        """
        if not origin or not self.allows(origin):
            return [_VARY]
        headers: Headers = [
            (b"access-control-allow-origin", b"*" if self._everybody else origin),
            (b"access-control-expose-headers", EXPOSED),
            _VARY,
        ]
        if self._credentials:
            headers.append((b"access-control-allow-credentials", b"true"))
        return headers

    def preflight(self, origin: bytes, method: bytes, headers: bytes) -> Headers | None:
        """The further headers of a 204 to a preflight, or None when what it asks for is not allowed."""
        asked = [header.strip().lower() for header in headers.split(b",") if header.strip()]
        if not self.allows(origin) or method not in self._methods:
            return None
        if not self._any_header and not self._headers.issuperset(asked):
            return None
        return [
            (b"access-control-allow-methods", self._methods_text),
            (b"access-control-allow-headers", self._headers_text),
            (b"access-control-max-age", self._max_age),
            (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
        ]

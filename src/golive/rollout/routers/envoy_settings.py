"""What a user may choose about the embedded gateway. Everything else is fixed, with its reason, in ``envoy_config``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from golive.errors import ConfigError

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class GatewaySettings:
    """
    One gateway in front of one service.

    Attributes:
        service: its name; appears in Envoy's statistics.
        host, port: where clients connect. Port 0 takes a free one and keeps it over restarts.
        admin_port: Envoy's own interface, always on loopback because it has no password; 0 takes a free one.
        sticky_header: a request header that names the user; who is in the candidate's share stays in while it grows.
        sticky_cookie: for requests without that header: the cookie that keeps a client on its side. golive sets it, and
            only while traffic is actually split. None: such requests are split one by one.
        force_header: a request carrying it goes to the version it names (or to ``stable``, ``candidate``) and is
            not counted. Anybody who can reach the gateway can use it; None turns it off.
        request_timeout: the longest a request may take; then the client gets 504.
        streams: path prefixes whose answers may last for ever (server-sent events, WebSockets): split like the rest,
            without time-out and outside the statistics.
        connect_timeout: for a connection to a version.
        idle_timeout: how long a pooled connection to a version is kept. Must be below the keep-alive time-out of the
            server behind (uvicorn's default is 5 s), or requests die on connections it is just closing.
        health_path: asked of every version; anything but 200 takes it out. The readiness, so that a version that drains
            leaves before it stops answering.
        health_interval, health_timeout: two failures in a row take a version out, 503 does so at once.
        ensure_timeout: how long a new version may take to pass its first health check.
        confirm_timeout: how long to wait for the gateway to confirm a change.
        drain_timeout: how long requests in flight may take when the gateway goes down.
        request_tap: whether the gateway sends its account of every request to the controller, for evidence per client
            and route. What it costs was within the noise of two runs (161 and 192 us of CPU per request without it,
            193 and 183 with). Takes effect when the gateway is started.
        connections_max: client connections at once; further ones are refused and counted.
        workers: threads of the gateway; each carries roughly 10,000 small requests per second.
    """

    service: str = "app"
    host: str = "127.0.0.1"
    port: int = 8080
    admin_port: int = 0
    sticky_header: str | None = None
    sticky_cookie: str | None = "golive_sid"
    force_header: str | None = "x-golive-version"
    request_timeout: timedelta = 60 * _SECOND
    streams: tuple[str, ...] = ()
    connect_timeout: timedelta = _SECOND
    idle_timeout: timedelta = 4 * _SECOND
    health_path: str = "/health/ready"
    health_interval: timedelta = _SECOND / 2
    health_timeout: timedelta = _SECOND
    ensure_timeout: timedelta = 30 * _SECOND
    confirm_timeout: timedelta = 5 * _SECOND
    drain_timeout: timedelta = 30 * _SECOND
    request_tap: bool = False
    connections_max: int = 10_000
    workers: int = 2

    def __post_init__(self) -> None:
        faults = [*self._bad_names(), *self._bad_numbers(), *self._bad_paths()]
        if faults:
            raise ConfigError(*faults)

    def _bad_names(self) -> list[str]:
        names = {
            "sticky_header": self.sticky_header,
            "sticky_cookie": self.sticky_cookie,
            "force_header": self.force_header,
        }
        faults = [
            f"gateway/{key}: expected a {key.partition('_')[2]} name of letters and digits, got {name!r}. Rename it."
            for key, name in names.items()
            if name is not None and not _TOKEN.fullmatch(name)
        ]
        if not re.search("[A-Za-z0-9]", self.service):
            faults.append(f"gateway/service: expected a name with a letter or digit, got {self.service!r}. Rename it.")
        return faults

    def _bad_numbers(self) -> list[str]:
        faults = [
            f"gateway/{key}: expected a port 0..65535, got {port}. Use a free one, or 0 to have one chosen."
            for key, port in {"port": self.port, "admin_port": self.admin_port}.items()
            if not 0 <= port <= 65535
        ]
        durations = {key: value for key, value in vars(self).items() if isinstance(value, timedelta)}
        faults += [
            f"gateway/{key}: expected a duration above zero, got {value}. Write for example {_SECOND * 5}."
            for key, value in durations.items()
            if value <= timedelta(0)
        ]
        counts = {"connections_max": self.connections_max, "workers": self.workers}
        faults += [f"gateway/{key}: expected at least 1, got {n}. Raise it." for key, n in counts.items() if n < 1]
        return faults

    def _bad_paths(self) -> list[str]:
        paths = {"health_path": (self.health_path,), "streams": self.streams}
        return [
            f'gateway/{key}: expected a path such as "/health/ready", got {path!r}. Start it with a slash.'
            for key, group in paths.items()
            for path in group
            if not path.startswith("/") or any(c.isspace() for c in path)
        ]

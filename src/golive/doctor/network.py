"""What the project listens on and talks to: ports, the running gateway, databases, Redis. Nothing is written there."""

from __future__ import annotations

import asyncio
import errno
import http.client
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from golive.doctor.finding import Finding, fail, ok, warn
from golive.doctor.processes import gateway_of
from golive.errors import GoliveError
from golive.rollout.processes import listening_on

if TYPE_CHECKING:
    from golive.config import Settings

ANSWER_SECONDS = 3.0
SKEW_WARN = timedelta(seconds=2)
"""Leases last five seconds and the Date of HTTP has whole ones; beyond this somebody's clock is wrong."""


def ports(settings: Settings) -> Iterator[Finding]:
    """The ports of ``[gateway]`` are ours already, or free."""
    gateway = settings.gateway
    running = gateway_of(settings).running()
    for key, port, host in (("port", gateway.port, gateway.host), ("admin_port", gateway.admin_port, "127.0.0.1")):
        has = None if running is None else running.port if key == "port" else running.admin_port
        if has is not None and port not in (0, has):
            yield warn("ports", f"gateway.{key} is {port}, and the gateway that runs has {has}",
                       "It takes effect after `golive down` and `golive up`.")  # fmt: skip
        elif has is not None:
            yield ok("ports", f"{key} {has}: the gateway has it")
        elif port == 0:
            yield ok("ports", f"{key}: any free one")
        else:
            yield _bindable(key, host, port)


def _bindable(key: str, host: str, port: int) -> Finding:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        owner = listening_on(port)
        who = f"process {owner[0]} ({owner[1]}) has it" if owner else str(error.strerror or error).lower()
        remedy = {
            errno.EADDRINUSE: f"Stop that process, or set another gateway.{key}.",
            errno.EACCES: f"Ports below 1024 need a privilege: set gateway.{key} to a higher one.",
        }.get(error.errno or 0, "Set gateway.host to an address of this machine.")
        return fail("ports", f"gateway.{key} = {port} on {host}: {who}", remedy)
    return ok("ports", f"{key} {port}: free")


def gateway(settings: Settings) -> Iterator[Finding]:
    """The gateway that runs answers, and its clock is ours."""
    running = gateway_of(settings).running()
    if running is None:
        yield ok("gateway", "none runs; `golive up` starts it")
        return
    where = f"process {running.process.pid} on {running.host}:{running.port}"
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", running.admin_port, timeout=ANSWER_SECONDS)) as asked:
            asked.request("GET", "/ready")
            answer = asked.getresponse()
            said, date = answer.read(200).decode(errors="replace").strip(), answer.getheader("date", "")
    except (OSError, http.client.HTTPException) as error:
        yield fail("gateway", f"{where} does not answer at its admin port: {error or type(error).__name__}",
                   f"See {settings.state_dir}/gateway/envoy.log; `golive down`, `golive up`.")  # fmt: skip
        return
    if answer.status != 200:
        yield fail("gateway", f"{where} is not ready: {said}", f"See {settings.state_dir}/gateway/envoy.log.")
        return
    yield ok("gateway", f"{where} is ready")
    if date:
        yield from skew("the gateway", parsedate_to_datetime(date), timedelta(seconds=1))


def skew(whose: str, there: datetime, precision: timedelta = timedelta(0)) -> Iterator[Finding]:
    """How far the clock of *whose*, which says *there*, is from ours; a finding when it is too far."""
    apart = abs(datetime.now(UTC) - there)
    if apart > SKEW_WARN + precision:
        yield warn("clock", f"the clock of {whose} is {apart.total_seconds():.1f} s from ours",
                   "Run a time service (chrony, systemd-timesyncd) on both.")  # fmt: skip


def redis(settings: Settings) -> Iterator[Finding]:
    """Each Redis that is named answers."""
    chassis = settings.chassis
    for url in dict.fromkeys(url for url in (chassis.redis_url, chassis.rate_limit_redis_url) if url):
        parts = urlsplit(url)
        place = f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
        try:
            with socket.create_connection((parts.hostname or "localhost", parts.port or 6379), ANSWER_SECONDS) as link:
                if parts.scheme == "redis":
                    link.sendall(b"*1\r\n$4\r\nPING\r\n")
                    said = link.recv(200)
                    if not said.startswith((b"+PONG", b"-NOAUTH")):
                        yield fail("redis", f"{place} is no Redis: it said {said[:40]!r}", "Check the URL.")
                        continue
        except (OSError, ValueError) as error:
            yield fail("redis", f"{place} does not answer: {error}", "Start it, or correct the URL.")
            continue
        yield ok("redis", f"{place} answers")


def postgres(settings: Settings) -> Iterator[Finding]:
    """Each PostgreSQL that is named answers, has golive's tables, room for the pools, and our time."""
    from golive.doctor.postgres import look

    wanted: dict[str, list[str]] = {}
    for url, why in ((settings.chassis.database_url, "app"), (settings.jobs.url, "jobs"),
                     (settings.chassis.idempotency_store, "idempotency")):  # fmt: skip
        if url.startswith(("postgres://", "postgresql://")):
            wanted.setdefault(url, []).append(why)
    for url, uses in wanted.items():
        try:
            yield from asyncio.run(look(url, uses, settings))
        except GoliveError as error:
            yield fail("database", str(error), "")

"""
What ``golive serve`` does, without the command line.

The order matters for health-first boot: check the settings, bind and listen, and only then import the server, so that
a probe that connects while Python is still importing waits in the backlog instead of being refused.
"""

from __future__ import annotations

import errno
import logging
import socket
import sys
from collections.abc import Mapping
from datetime import timedelta

from golive.chassis.fleetvariable import taken_from_environment
from golive.chassis.settings import ChassisSettings
from golive.errors import UnavailableError

BACKLOG = 2048


def listen(host: str, port: int, *, now: bool = True) -> socket.socket:
    """
    A TCP socket that listens on *host* and *port* (0: any free one); without *now* it is bound only.

    Raises: UnavailableError when the address is taken, not ours, or not an address.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UnavailableError(f"--host: expected an address of this machine, got {host!r} ({error}).") from None
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        if now:
            sock.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        sock.close()
        raise UnavailableError(_bind_fault(host, port, error)) from None
    sock.setblocking(False)
    return sock


def _bind_fault(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return (
            f"{host}:{port}: expected a free port, but another process listens there. Stop it or choose another --port."
        )
    return f"{host}:{port}: cannot listen there: {error}."


def serve(
    target: str,
    *,
    host: str,
    port: int,
    factory: bool = False,
    with_chassis: bool = True,
    overrides: Mapping[str, timedelta | None] | None = None,
    workers: int = 1,
) -> int:
    """
    Serve *target* (``module:attribute``) until a signal ends it; returns the exit code, 0 after a clean stop.

    Args:
        workers: processes that serve; with more than one this process only supervises them.
        overrides: ``lame_duck`` and ``grace`` that win over the settings; None leaves a setting as it is.

    Raises: ConfigError for bad settings, UnavailableError when the port is taken or the app does not start.
    """
    settings = ChassisSettings.from_env()
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    place = taken_from_environment()
    if place is None and workers > 1:
        return _supervise(settings, given, listen(host, port, now=settings.fast_boot), workers)
    sock = place.listening if place is not None else listen(host, port, now=settings.fast_boot)
    from golive.chassis.server import ChassisServer  # after listening, see above

    # uvicorn reports what the chassis has already logged with the request's id
    logging.getLogger("uvicorn.error").addFilter(lambda record: not record.msg.startswith("Exception in ASGI"))
    server = ChassisServer(target, settings, overrides=given, factory=factory, with_chassis=with_chassis, place=place)
    server.run(sockets=[sock])
    server.front.chassis.capture.flush()
    server.front.chassis.log.flush()
    if server.failure is not None:
        raise server.failure
    return 0


def _supervise(settings: ChassisSettings, overrides: Mapping[str, timedelta], sock: socket.socket, workers: int) -> int:
    """Run *workers* copies of this very command on *sock*."""
    import asyncio

    from golive.chassis.fleet import Fleet
    from golive.chassis.log import LogSink

    log = LogSink()
    log.shared = True
    stop = sum(
        (overrides[name] if name in overrides else getattr(settings, name)).total_seconds()
        for name in ("lame_duck", "grace")
    )
    command = [sys.executable, "-m", "golive", *sys.argv[1:]]
    code = asyncio.run(Fleet(command, workers, sock, stop_seconds=stop, log=log).run())
    log.flush()
    return code

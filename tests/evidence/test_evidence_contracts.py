"""Every source of evidence keeps the shipped contract: the gateway, the job store, Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.evidence.conftest import PrometheusServer
from tests.gateway.conftest import EnvoyWorld, settings

from golive.jobs import JobError, Jobs, JobsSettings
from golive.rollout.evidence.envoy import BOUNDS, EnvoyEvidence
from golive.rollout.evidence.prometheus import PrometheusEvidence, PrometheusSettings
from golive.rollout.ports import WEIGHT_MAX, Split
from golive.testing.evidence import EvidenceContract
from golive.testing.jobs_running import finished
from golive.workers.evidence import JobEvidence


class GatewayWorld:
    """A real Envoy; work is a request."""

    def __init__(self, world: EnvoyWorld) -> None:
        self._world = world
        self.evidence = world.evidence
        self._killed = False

    async def start(self) -> GatewayWorld:
        router = self._world.router
        await router.ensure([await self._world.arm("v1"), await self._world.arm("v2")], fence=1)
        return self

    async def work(self, version: str, good: int, bad: int = 0) -> None:
        split = Split("v1", "v2", WEIGHT_MAX if version == "v2" else 0)
        await self._world.router.apply(split, fence=1)
        client = self._world.client()
        for path in ["/"] * good + ["/fail"] * bad:
            await client.get(path)
        await client.close()

    async def restart(self) -> None:
        await self._world.restart()
        await self._world.until_healthy("v1")

    async def outage(self, *, over: bool = False) -> None:
        if not over:
            await self._world.kill()
            return
        await self._world.gateway.up()
        await self._world.until_healthy("v1")
        await self.work("v1", 1)

    def another(self) -> EnvoyEvidence:
        return EnvoyEvidence(self._world.gateway)


class TestGatewayEvidence(EvidenceContract):
    """Envoy's counters."""

    pytestmark = pytest.mark.process

    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[GatewayWorld]:
        made = EnvoyWorld(tmp_path / "gateway", settings())
        await made.gateway.up()
        try:
            yield await GatewayWorld(made).start()
        finally:
            await made.close()


class JobWorld:
    """A SQLite store; work is a job run by a worker of that version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._client = self._jobs("")
        self.evidence = self.another()
        self._evidence_of: list[JobEvidence] = [self.evidence]

    def _jobs(self, version: str) -> Jobs:
        jobs = Jobs(JobsSettings(url=f"sqlite:///{self.folder}/jobs.db", version=version or None))

        @jobs.handler("work", queue="reports", attempts_max=1)
        async def work(bad: bool) -> None:
            if bad:
                raise JobError("bad")

        return jobs

    async def work(self, version: str, good: int, bad: int = 0) -> None:
        jobs = self._jobs(version)
        async with jobs:
            worker = jobs.worker()
            task = asyncio.create_task(worker.run())
            submitted = [await jobs.submit("work", each) for each in [False] * good + [True] * bad]
            for job in submitted:
                await finished(jobs, job)
            worker.stop()
            await task

    async def restart(self) -> None:
        await self.evidence.store.close()

    async def outage(self, *, over: bool = False) -> None:
        """The store's folder is taken away."""
        await self.evidence.store.close()
        away = self.folder.with_name("away")
        if over:
            self.folder.unlink()
            away.rename(self.folder)
        else:
            self.folder.rename(away)
            self.folder.write_text("no folder")

    def another(self) -> JobEvidence:
        return JobEvidence(self._jobs("").store)

    async def close(self) -> None:
        await self.evidence.store.close()


class TestJobEvidence(EvidenceContract):
    """The tallies of the job store."""

    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[JobWorld]:
        (tmp_path / "store").mkdir()
        made = JobWorld(tmp_path / "store")
        yield made
        await made.close()


class PrometheusWorld:
    """A small server of its API; work is a counter that grows, on two pods."""

    def __init__(self, server: PrometheusServer) -> None:
        self.server = server
        self.evidence = self.another()

    async def work(self, version: str, good: int, bad: int = 0) -> None:
        for name, number in (("requests_total", good + bad), ("errors_total", bad)):
            for pod in ("a", "b"):
                self._grow(name, {"version": version, "pod": pod}, number / 2)
        for le, share in (("0.1", 0.5), ("0.25", 1.0), ("+Inf", 1.0)):
            self._grow("seconds_bucket", {"version": version, "le": le}, (good + bad) * share)

    def _grow(self, name: str, labels: dict[str, str], number: float) -> None:
        series = self.server.series.setdefault(name, [])
        for index, (known, value) in enumerate(series):
            if known == labels:
                series[index] = (known, value + number)
                return
        series.append((labels, number))

    async def restart(self) -> None:
        """Prometheus keeps its data over a restart of its own."""

    async def outage(self, *, over: bool = False) -> None:
        self.server.answer = None if over else (503, b"Service Unavailable")

    def another(self) -> PrometheusEvidence:
        asked = PrometheusSettings(
            self.server.url,
            requests='sum(requests_total{version="{version}"})',
            errors="sum(errors_total{$labels})",
            latency="sum by (le) (seconds_bucket{$labels})",
        )
        return PrometheusEvidence(asked, lambda: ["v1", "v2", "v9"], BOUNDS)


class TestPrometheusEvidence(EvidenceContract):
    """Its instant queries."""

    @pytest.fixture
    async def world(self, prometheus: PrometheusServer) -> PrometheusWorld:
        return PrometheusWorld(prometheus)

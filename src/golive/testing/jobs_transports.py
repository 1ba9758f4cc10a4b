"""
The specification of a transport, executable.

    class TestMyTransport(TransportContract):
        @pytest.fixture
        async def transport(self): ...                     # open, for HANDLERS, empty
        async def told(self, transport): ...               # take what has been rung, for good
        async def purge(self, transport): ...              # make the engine lose everything

A behaviour this suite does not check is not promised.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import cast

from golive.jobs import Jobs, JobsSettings
from golive.jobs.handlers import Handler
from golive.jobs.model import JobId, Waiting, new_job_id
from golive.jobs.transports.ports import DeliveringTransport, Delivery, Transport, TransportCapability
from golive.testing.jobs_running import until

HOLD = 30.0
QUEUES = {"enrichment", "ai_analysis"}


def handlers() -> Collection[Handler]:
    """One handler in each of :data:`QUEUES`, of the same name."""
    jobs = Jobs(JobsSettings(url="memory://"))
    for queue in sorted(QUEUES):

        @jobs.handler(queue, queue=queue)
        async def work(payload: int) -> int:
            return payload

    return jobs.handlers.values()


def waiting(queue: str = "enrichment", *, delay_seconds: float = 0.0, tenant: str = "") -> Waiting:
    """A job that waits in *queue*."""
    return Waiting(new_job_id(), queue, queue, tenant, time.time() + delay_seconds)


class TransportContract:
    """Subclass it, give it a ``transport`` fixture, ``told`` and ``purge``."""

    async def told(self, transport: Transport) -> list[JobId]:
        """The jobs whoever listens is told of now; each ring is told once."""
        raise AssertionError("a contract subclass says what its engine was told")

    async def purge(self, transport: Transport) -> None:
        """Make the engine forget everything."""
        raise AssertionError("a contract subclass says how its engine loses everything")

    async def _until_told(self, transport: Transport, count: int) -> list[JobId]:
        seen: list[JobId] = []

        async def look() -> bool:
            seen.extend(await self.told(transport))
            return len(seen) >= count

        await until(look)
        return seen

    async def test_what_is_rung_is_told(self, transport: Transport) -> None:
        """In any number, of every queue; nothing rung is nothing told."""
        await transport.ring([])
        assert await self.told(transport) == []
        jobs = [waiting(queue) for queue in sorted(QUEUES) for _ in range(13)]
        await transport.ring(jobs)
        assert sorted(await self._until_told(transport, 26)) == sorted(job.id for job in jobs)

    async def test_opening_twice_and_closing_twice_is_once(self, transport: Transport) -> None:
        """And it can be opened again."""
        await transport.open(handlers())
        await transport.close()
        await transport.close()
        await transport.open(handlers())
        (job,) = [waiting()]
        await transport.ring([job])
        assert await self._until_told(transport, 1) == [job.id]

    async def test_what_is_on_its_way_is_not_lost(self, transport: Transport) -> None:
        """The reconciler must not double what only waits for a worker."""
        jobs = [waiting() for _ in range(5)]
        await transport.ring(jobs)
        assert await transport.lost(jobs) == []
        assert await transport.lost([]) == []

    async def test_after_everything_is_lost_everything_is_known_to_be(self, transport: Transport) -> None:
        """And can be rung again, at once."""
        jobs = [waiting(queue) for queue in sorted(QUEUES) for _ in range(3)]
        await transport.ring(jobs)
        await self.purge(transport)

        async def all_lost() -> bool:
            return len(await transport.lost(jobs)) == len(jobs)

        await until(all_lost)
        await transport.ring(jobs)
        assert sorted(await self._until_told(transport, 6)) == sorted(job.id for job in jobs)

    async def test_a_job_may_be_rung_more_than_once(self, transport: Transport) -> None:
        """Several reconcilers at the same time do so; it is told at least once, and no ring is refused."""
        job = waiting()
        await asyncio.gather(transport.ring([job]), transport.ring([job]), transport.ring([job]))
        assert set(await self._until_told(transport, 1)) == {job.id}

    async def test_what_is_not_due_is_told_later_or_left_to_the_reconciler(self, transport: Transport) -> None:
        """Never at once."""
        soon, far = waiting(delay_seconds=3.0), waiting(delay_seconds=100_000.0)
        await transport.ring([soon, far])
        assert await self.told(transport) == []
        if TransportCapability.DELAYS in transport.capabilities:
            assert await self._until_told(transport, 1) == [soon.id]
            assert time.time() >= soon.run_at - 1.0

    async def test_loops_may_share_it(self, transport: Transport) -> None:
        """A heartbeat's thread rings as well."""
        job = waiting()
        await asyncio.to_thread(lambda: asyncio.run(_run(lambda: transport.ring([job]))))
        assert await self._until_told(transport, 1) == [job.id]


class DeliveringContract(TransportContract):
    """For transports with :attr:`TransportCapability.DELIVERS`."""

    async def told(self, transport: Transport) -> list[JobId]:
        """As receivers are."""
        delivering = cast(DeliveringTransport, transport)
        found = await delivering.receive(QUEUES, 10, 0.0, HOLD)
        await delivering.done(found)
        return [each.job for each in found]

    async def buried(self, transport: DeliveringTransport) -> list[tuple[JobId, float]]:
        """What is in the dead-letter queue, with its times of death; and move it back."""
        raise AssertionError("a contract subclass says how the dead are moved back")

    async def _one(self, transport: DeliveringTransport) -> Delivery:
        found: list[Delivery] = []

        async def look() -> bool:
            found.extend(await transport.receive(QUEUES, 1, 0.2, HOLD))
            return bool(found)

        await until(look)
        return found[0]

    async def test_a_delivery_says_what_was_rung(self, transport: DeliveringTransport) -> None:
        """Kind and queue too, and that it is the first time."""
        job = waiting("ai_analysis")
        await transport.ring([job])
        delivery = await self._one(transport)
        assert (delivery.job, delivery.kind, delivery.queue) == (job.id, job.kind, job.queue)
        assert (delivery.buried_at, delivery.received) == (None, 1)

    async def test_what_is_held_is_hidden_until_it_may_come_again(self, transport: DeliveringTransport) -> None:
        """Nobody else receives it; put back, it comes to the next one, who is told that it came before."""
        job = waiting()
        await transport.ring([job])
        delivery = await self._one(transport)
        await transport.hold([delivery], HOLD)
        assert await transport.receive(QUEUES, 10, 0.0, HOLD) == []
        assert await transport.lost([job]) == []
        await transport.again([delivery], 0.0)
        again = await self._one(transport)
        assert (again.job, again.received) == (job.id, 2)

    async def test_what_comes_again_takes_its_time(self, transport: DeliveringTransport) -> None:
        """A retry after its backoff."""
        await transport.ring([waiting()])
        delivery = await self._one(transport)
        await transport.again([delivery], 2.0)
        assert await transport.receive(QUEUES, 10, 0.0, HOLD) == []
        assert (await self._one(transport)).job == delivery.job

    async def test_receiving_keeps_to_its_limit_and_queues(self, transport: DeliveringTransport) -> None:
        """What does not fit comes to the next one."""
        jobs = [waiting(queue) for queue in sorted(QUEUES) for _ in range(4)]
        await transport.ring(jobs)
        first = await transport.receive(QUEUES, 3, 0.0, HOLD)
        assert 1 <= len(first) <= 3
        only = await transport.receive({"ai_analysis"}, 10, 0.0, HOLD)
        assert {each.queue for each in only} <= {"ai_analysis"}
        await transport.done([*first, *only])
        left = {job.id for job in jobs} - {each.job for each in [*first, *only]}
        assert set(await self._until_told(transport, len(left))) == left

    async def test_the_dead_are_buried_and_can_be_moved_back(self, transport: DeliveringTransport) -> None:
        """With their time of death, which they bring back with them."""
        if TransportCapability.BURIES not in transport.capabilities:
            return
        job = waiting()
        await transport.ring([job])
        await transport.bury([await self._one(transport)], [1_700_000_000.25])
        assert await self.buried(transport) == [(job.id, 1_700_000_000.25)]
        back = await self._one(transport)
        assert (back.job, back.buried_at) == (job.id, 1_700_000_000.25)


async def _run(call: Callable[[], Awaitable[None]]) -> None:
    await call()

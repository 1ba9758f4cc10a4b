"""
Jobs in one DynamoDB table: for services that live on AWS and have no database server. See
:mod:`golive.jobs.stores.dynamodb_items` for its shape.

Every change of a job is one conditional write on its item: a claim on its state, everything later on worker and fence.
Results and the tally of runs, a job and its idempotency key, a schedule and its jobs are written in one transaction.
Candidates for a claim come from an index, which may be a moment behind: they are claimed only if the item agrees.

How it fails: there is no server's clock, so leases are compared by the hosts' clocks. A host whose clock is ahead by
more than what is left of a lease takes a living worker's job; the fence refuses the loser's result. Keep NTP running.
An answer that is lost is asked again by botocore; a claim that was granted unseen costs the job one lease.

Left out, and refused by name: submitting within a caller's transaction, more than 100 items at once, limits over all
workers. Idle workers of other processes are not woken; they poll, or are fed by SQS.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from golive.errors import UsageError
from golive.jobs.aws import parse, whole_number
from golive.jobs.machine import TRANSITIONS, Event, State, after_expiry, move, unless_cancelled
from golive.jobs.model import (
    Claim,
    Demand,
    Failure,
    Job,
    JobId,
    NewJob,
    Progress,
    Rescue,
    Settlement,
    Submission,
    Waiting,
)
from golive.jobs.ports import StoreCapability
from golive.jobs.split import may_claim, shut_out
from golive.jobs.stores.dynamodb_items import (
    CONTROL,
    HELD,
    WORK,
    Item,
    claim_of,
    held,
    instant,
    job_of,
    pk_of,
    placed,
    update,
    value,
    waiting_of,
)
from golive.jobs.stores.dynamodb_submissions import DynamoSubmissions
from golive.jobs.stores.dynamodb_table import Table
from golive.jobs.stores.dynamodb_upkeep import Control
from golive.jobs.tally import RunEnd, run_end

#: An item holds 400 KB; with the largest payload there is room for this, beside failure, progress and names.
RESULT_BYTES_MAX = 100 * 1024
#: A claim that others were faster for looks again so often.
ROUNDS_MAX = 10
#: Jobs an index offers beyond what is wanted, where two versions share them.
LOOKED_AT_MAX = 1000

_encode = msgspec.json.Encoder().encode
_LOST = Failure("worker_lost", "the worker that ran this job was lost", retryable=True)


class DynamoStore(DynamoSubmissions):
    """
    See :class:`golive.jobs.ports.JobStore`. *clock* is seconds since the epoch; a test may own it.

    Raises: ConfigError for an address that cannot be: ``dynamodb://table?region=&endpoint=&shards=&create=``.
    """

    capabilities = frozenset({StoreCapability.DURABLE})
    result_bytes_max: int | None = RESULT_BYTES_MAX

    def __init__(self, address: str, clock: Callable[[], float] = time.time) -> None:
        parsed = parse(address, "jobs.url", ("shards", "create"))
        super().__init__(Table(parsed), clock)
        self._shards = whole_number(parsed, "jobs.url", "shards", 2, 1, 64)
        self._create = parsed.options.get("create", "") in ("1", "true")

    async def open(self) -> None:
        """See the port. The first one to come fixes the number of shards."""
        await self._table.ensure(self._create)
        words = "SET #shards = if_not_exists(#shards, :shards), #paused = if_not_exists(#paused, :paused)"
        await self._table.update({
            "Key": CONTROL, "UpdateExpression": words,
            "ExpressionAttributeNames": {"#shards": "shards", "#paused": "paused"},
            "ExpressionAttributeValues": {":shards": value(self._shards), ":paused": {"M": {}}},
        })  # fmt: skip
        self._shards = (await self._control()).shards

    async def close(self) -> None:
        """See the port."""
        self._table.close()

    async def submit_within(self, connection: object, jobs: Sequence[NewJob]) -> list[Submission]:
        """See the port."""
        raise UsageError("submit within: expected a store with transactions of yours, got DynamoDB, which has none. "
                         "Submit with an idempotency key after your own write.")  # fmt: skip

    async def claim(
        self, demands: Sequence[Demand], limit: int, worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        """See the port. Per handler, priority and shard one query; what others took in between is looked for again."""
        if any(demand.limits for demand in demands):
            raise UsageError("limits: expected a store that holds them over all workers, got DynamoDB, which does not. "
                             "Limit the concurrency of each worker.")  # fmt: skip
        control = await self._control() if demands else None
        if control is None or shut_out(control.split, version):
            return []
        room = {(each.queue, each.kind): each.limit for each in demands if each.queue not in control.paused}
        claims: list[Claim] = []
        seen: set[str] = set()
        for _ in range(ROUNDS_MAX):
            found = await self._candidates(control, room, limit - len(claims), version, seen)
            if not found:
                break
            seen |= {each.id for each in found}
            taken = await asyncio.gather(*(self._take(each, worker, lease_seconds, version) for each in found))
            for claim in filter(None, taken):
                room[claim.queue, claim.kind] -= 1
                claims.append(claim)
        return claims

    async def claim_jobs(
        self, jobs: Sequence[JobId], worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        """See the port. No index is asked: this is what a transport makes cheap."""
        control = await self._control()
        named = [job for job in dict.fromkeys(jobs) if may_claim(control.split, job, version)]
        items = await self._table.get_all([pk_of(job) for job in named])
        waiting = [waiting_of(item) for item in items if item["state"]["S"] == State.PENDING]
        wanted = [each for each in waiting if each.queue not in control.paused and each.run_at <= self._clock()]
        taken = await asyncio.gather(*(self._take(each, worker, lease_seconds, version) for each in wanted))
        return [claim for claim in taken if claim]

    async def overdue(self, demands: Sequence[Demand], seconds: float) -> list[Waiting]:
        """See the port."""
        kinds, until = sorted((await self._control()).kinds), self._clock() - seconds
        late: list[Waiting] = []
        for demand in demands:
            left = demand.limit
            for kind in kinds:
                if left > 0 and kind[:2] == (demand.queue, demand.kind):
                    found = await self._due(kind, until, left)
                    late += map(waiting_of, found)
                    left -= len(found)
        return late

    async def extend(self, claims: Sequence[Claim], lease_seconds: float) -> list[Claim]:
        """See the port."""
        until = self._clock() + lease_seconds
        kept = await asyncio.gather(*(self._extend(claim, until) for claim in claims))
        return [claim for claim, yes in zip(claims, kept, strict=True) if not yes]

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """See the port."""
        return list(await asyncio.gather(*(self._settle(each) for each in settlements)))

    async def rescue(self, limit: int) -> list[Rescue]:
        """See the port."""
        condition, high = "#w = :w AND #o < :now", instant(self._clock())
        expired: list[Item] = []
        for shard in self._each_shard():
            async for item in self._table.query(WORK, condition, {"w": f"run#{shard}", "now": high}, limit=limit):
                if len(expired) >= limit:
                    break
                expired.append({"pk": item["pk"]})
        rescued = await asyncio.gather(*map(self._rescue, await self._table.get_all(expired)))
        if any(rescued):
            self._wake()
        return [each for each in rescued if each]

    async def report(self, reports: Sequence[tuple[Claim, Progress]]) -> None:
        """See the port."""
        await asyncio.gather(
            *(
                self._table.update(update(pk_of(claim.id), HELD, held(claim), put={"progress": _encode(said).decode()}))
                for claim, said in reports
            )
        )

    async def cancel(self, job: JobId) -> Job | None:
        """See the port."""
        found = await self.get(job)
        while found and not found.state.terminal:  # until it holds still: it may be claimed or put back in between
            values: dict[str, object] = {"was": str(found.state)}
            changes: dict[str, object | None] = {"cancel_requested": True}
            if found.state is State.PENDING:
                ended = msgspec.structs.replace(found, state=move(found.state, Event.CANCEL), finished_at=self._clock())
                changes |= {"state": str(ended.state), "finished_at": ended.finished_at, **placed(ended, self._shards)}
            item = await self._table.update(update(pk_of(job), "#state = :was", values, put=changes))
            if item:
                return job_of(item)
            found = await self.get(job)
        return found

    async def cancel_requested(self, claims: Sequence[Claim]) -> list[Claim]:
        """See the port."""
        items = {item["pk"]["S"]: item for item in await self._table.get_all([pk_of(claim.id) for claim in claims])}
        return [
            claim
            for claim in claims
            if (item := items.get(f"job#{claim.id}")) and "cancel_requested" in item and _holds(item, claim)
        ]

    async def redrive(self, job: JobId, payload: bytes | None = None) -> Job | None:
        """See the port."""
        found = await self.get(job)
        if not found or (found.state, Event.REDRIVE) not in TRANSITIONS:
            return found
        back = msgspec.structs.replace(found, state=move(found.state, Event.REDRIVE), run_at=self._clock())
        changes: dict[str, object | None] = {
            "state": str(back.state), "attempts": 0, "run_at": back.run_at, "finished_at": None, "progress": None,
            "cancel_requested": None, **placed(back, self._shards),
        }  # fmt: skip
        if payload is not None:
            changes["payload"] = payload
        await self._table.update(update(pk_of(job), "#state = :was", {"was": str(found.state)}, put=changes))
        self._wake()
        return await self.get(job)

    async def hasten(self, job: JobId) -> Job | None:
        """See the port."""
        found = await self.get(job)
        if found and found.state is State.PENDING:
            sooner = msgspec.structs.replace(found, run_at=min(found.run_at, self._clock()))
            changes: dict[str, object | None] = {"run_at": sooner.run_at, **placed(sooner, self._shards)}
            await self._table.update(update(pk_of(job), "#state = :was", {"was": str(found.state)}, put=changes))
            self._wake()
        return await self.get(job)

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """See the port. What this process does; others poll."""
        self._listeners.append(wake)
        return lambda: self._listeners.remove(wake)

    async def _candidates(
        self, control: Control, room: Mapping[tuple[str, str], int], limit: int, version: str | None, seen: set[str]
    ) -> list[Waiting]:
        """The most urgent jobs there is room for, at most *limit*, that were not looked at before."""
        now, found = self._clock(), list[Waiting]()
        left = dict(room)
        for priority in sorted({each.priority for each in control.kinds}):
            if len(found) >= limit:
                break
            kinds = [each for each in control.kinds if each.priority == priority and left.get(each[:2], 0) > 0]
            wanted = LOOKED_AT_MAX if control.split else min(limit, LOOKED_AT_MAX) + len(seen)
            batches = await asyncio.gather(*(self._due(kind, now, wanted) for kind in kinds))
            due = sorted(
                (waiting_of(item) for batch in batches for item in batch), key=lambda job: (job.run_at, job.id)
            )
            for job in due:
                place = (job.queue, job.kind)
                mine = job.id not in seen and may_claim(control.split, job.id, version)
                if mine and left[place] > 0 and len(found) < limit:
                    left[place] -= 1
                    found.append(job)
        return found

    async def _take(self, job: Waiting, worker: str, lease_seconds: float, version: str | None) -> Claim | None:
        now = self._clock()
        condition = "#state = :pending AND #run_at <= :now"
        running = {"w": f"run#{self._shard(job.id)}", "o": f"{instant(now + lease_seconds)}#{job.id}",
                   "s": f"{State.RUNNING}#{self._shard(job.id)}"}  # fmt: skip
        changes: dict[str, object | None] = {
            "state": str(State.RUNNING), "worker": worker, "version": version, "started_at": now, **running
        }  # fmt: skip
        item = await self._table.update(
            update(pk_of(job.id), condition, {"pending": str(State.PENDING), "now": now}, put=changes,
                   add={"attempts": 1, "fence": 1})
        )  # fmt: skip
        return claim_of(item) if item else None

    async def _extend(self, claim: Claim, until: float) -> bool:
        later = {"o": f"{instant(until)}#{claim.id}"}
        return await self._table.update(update(pk_of(claim.id), HELD, held(claim), put=later)) is not None

    async def _settle(self, settlement: Settlement) -> bool:
        item = await self._table.get(pk_of(settlement.id))
        while item and _holds(item, settlement):
            job, now = job_of(item), self._clock()
            state = move(job.state, unless_cancelled(settlement.event, job.cancel_requested))
            ended = msgspec.structs.replace(
                job, state=state, finished_at=now if state.terminal else None,
                run_at=job.run_at if state.terminal else now + settlement.delay_seconds,
            )  # fmt: skip
            failure = settlement.failure or job.failure
            changes: dict[str, object | None] = {
                "state": str(state), "result": settlement.result, "finished_at": ended.finished_at,
                "failure": None if failure is None else _encode(failure).decode(), "run_at": ended.run_at,
                **placed(ended, self._shards),
            }  # fmt: skip
            if settlement.event is Event.HAND_BACK:
                changes["attempts"] = job.attempts - 1
            end = run_end(settlement.event, settlement.failure)
            if await self._end(job, held(settlement), changes, end, settlement.run_seconds):
                return True
            item = await self._table.get(pk_of(settlement.id))  # a cancellation came in between, or the claim is lost
        return False

    async def _rescue(self, item: Item) -> Rescue | None:
        job, now = job_of(item), self._clock()
        lease, _, _ = item.get("o", {}).get("S", "").partition("#")
        if job.state is not State.RUNNING or lease >= instant(now):
            return None
        state = move(job.state, after_expiry(job.attempts, job.attempts_max, job.cancel_requested))
        ended = msgspec.structs.replace(job, state=state, run_at=now, finished_at=now if state.terminal else None)
        changes: dict[str, object | None] = {
            "state": str(state), "failure": _encode(_LOST).decode(), "run_at": now, "finished_at": ended.finished_at,
            **placed(ended, self._shards),
        }  # fmt: skip
        values = {"worker": job.worker, "fence": int(item["fence"]["N"]), "running": str(State.RUNNING)}
        lost = await self._end(
            job, values | {"lease": item["o"]["S"]}, changes, RunEnd.LOST, now - (job.started_at or now)
        )
        return Rescue(job.id, job.kind, state, job.worker or "", job.attempts) if lost else None

    async def _end(
        self, job: Job, holder: Mapping[str, object], changes: Mapping[str, object | None], end: RunEnd | None,
        seconds: float,
    ) -> bool:  # fmt: skip
        """Move *job* on and count its run, both or neither; False if it is no longer as it was read."""
        wanted = "attribute_exists" if job.cancel_requested else "attribute_not_exists"
        condition = f"{HELD} AND {wanted}(#cancel_requested)"
        if "lease" in holder:
            condition += " AND #o = :lease"
        changed = update(pk_of(job.id), condition, holder, put=changes)
        if end is None:
            return await self._table.update(changed) is not None
        return not await self._table.transact([("Update", changed), self._counted(job, end, seconds)])


def _holds(item: Item, claim: Claim | Settlement) -> bool:
    return (item["state"]["S"], item.get("worker", {}).get("S"), int(item["fence"]["N"])) == (
        State.RUNNING, claim.worker, claim.fence,
    )  # fmt: skip

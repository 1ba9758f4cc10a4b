"""
What :class:`golive.jobs.stores.dynamodb.DynamoStore` does for operators: listing, counting, pauses, schedules,
webhooks, pruning, the split and its tallies.

Listings and counts read the indexes, which follow the table within a moment; what is then read as a job is as it is
now.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from heapq import nlargest, nsmallest
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from golive.errors import UsageError
from golive.jobs.machine import State
from golive.jobs.model import BEAT_KEPT_SECONDS, Job, JobId, Pause, Pruned, Schedule, WorkerBeat
from golive.jobs.split import Split
from golive.jobs.stores.dynamodb_items import (
    CONTROL,
    SEEN,
    WORK,
    Item,
    bindings,
    job_of,
    key_pk,
    order,
    pk_of,
    shard_of,
    update,
    value,
)
from golive.jobs.stores.dynamodb_table import Table
from golive.jobs.tally import KEPT_SECONDS, RunEnd, RunTally, duration_bucket, tallies

#: Items a counter is spread over, so that two workers' transactions seldom meet on one.
STRIPES = 16
#: Different priorities of one handler: each costs a claim a query.
PRIORITIES_MAX = 16

_decode_split = msgspec.json.Decoder(Split).decode
_decode_beat = msgspec.json.Decoder(WorkerBeat).decode
_decode_pause = msgspec.json.Decoder(Pause).decode


class Kind(NamedTuple):
    """A place where jobs have waited."""

    queue: str
    kind: str
    priority: int


class Control(NamedTuple):
    """The item ``control``: what a claim has to know first."""

    split: Split | None
    paused: dict[str, Pause]
    kinds: frozenset[Kind]
    shards: int


class DynamoUpkeep:
    """The half of the store that no worker waits for."""

    def __init__(self, table: Table, clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock
        self._shards = 1
        self._kinds: set[Kind] = set()
        self._listeners: list[Callable[[], None]] = []
        self._forgot_at: float | None = None  # looking for silent workers costs more than the beat that does it

    async def page(
        self, limit: int, *, state: State | None, kind: str | None, before: JobId | None, queue: str | None = None,
        tenant: str | None = None,
    ) -> list[Job]:  # fmt: skip
        """See the port."""
        narrowed = {"kind": kind, "queue": queue, "tenant": tenant}
        given = {name: wanted for name, wanted in narrowed.items() if wanted is not None}
        where = " AND ".join(f"#{name} = :{name}" for name in given)
        condition = "#s = :s" if before is None else "#s = :s AND #pk < :pk"
        values: dict[str, object] = dict(given) if before is None else {**given, "pk": f"job#{before}"}
        partitions = [f"{each}#{shard}" for each in ([state] if state else list(State)) for shard in self._each_shard()]
        queries = [
            self._table.query(SEEN, condition, {"s": partition, **values}, limit=limit, descending=True, where=where)
            for partition in partitions
        ]
        found = [item for items in await asyncio.gather(*(_first(limit, each) for each in queries)) for item in items]
        keys = nlargest(limit, {item["pk"]["S"] for item in found})
        jobs = [job_of(item) for item in await self._table.get_all([{"pk": {"S": key}} for key in keys])]
        return sorted((job for job in jobs if state in (None, job.state)), key=lambda job: job.id, reverse=True)

    async def prune(self, keep_seconds: Mapping[State, float], after: JobId | None, limit: int) -> Pruned:
        """See the port. Looks at what has ended only."""
        condition = "#s = :s" if after is None else "#s = :s AND #pk > :pk"
        values: dict[str, object] = {} if after is None else {"pk": f"job#{after}"}
        partitions = [(state, f"{state}#{shard}") for state in keep_seconds for shard in self._each_shard()]
        queries = [self._table.query(SEEN, condition, {"s": name, **values}, limit=limit) for _, name in partitions]
        batches = await asyncio.gather(*(_first(limit, each) for each in queries))
        found = [(item["pk"]["S"], state, item) for (state, _), items in zip(partitions, batches, strict=True)
                 for item in items]  # fmt: skip
        seen = nsmallest(limit, found, key=lambda each: each[0])
        now = self._clock()
        over = [(state, item) for _, state, item in seen if float(item["finished_at"]["N"]) < now - keep_seconds[state]]
        gone = await asyncio.gather(*(self._remove(item, state) for state, item in over))
        removed = [_id(item) for (_, item), yes in zip(over, gone, strict=True) if yes]
        return Pruned(removed, _id(seen[-1][2]) if len(seen) == limit else None)

    async def depth(self) -> dict[tuple[str, State], int]:
        """See the port."""
        counts = Counter[tuple[str, State]]()
        kinds = sorted({(each.queue, each.kind) for each in (await self._control()).kinds})
        places = [(queue, f"wait#{queue}#{kind}#{shard}") for queue, kind in kinds for shard in self._each_shard()]
        waiting = await asyncio.gather(*(self._table.count(WORK, "#w = :w", {"w": place}) for _, place in places))
        for (queue, _), count in zip(places, waiting, strict=True):
            counts[queue, State.PENDING] += count
        for shard in self._each_shard():
            async for item in self._table.query(WORK, "#w = :w", {"w": f"run#{shard}"}):
                counts[item["queue"]["S"], State.RUNNING] += 1
            async for item in self._table.query(SEEN, "#s = :s", {"s": f"{State.FAILED}#{shard}"}):
                counts[item["queue"]["S"], State.FAILED] += 1
        return {place: count for place, count in counts.items() if count}

    async def oldest(self) -> dict[str, float]:
        """See the port."""
        now, ages = self._clock(), dict[str, float]()
        kinds = sorted((await self._control()).kinds)
        firsts = await asyncio.gather(*(self._due(kind, now, 1) for kind in kinds))
        for kind, items in zip(kinds, firsts, strict=True):
            for item in items:
                ages[kind.queue] = max(ages.get(kind.queue, 0.0), now - float(item["run_at"]["N"]))
        return ages

    async def paused(self) -> list[Pause]:
        """See the port."""
        paused = (await self._control()).paused
        return [paused[queue] for queue in sorted(paused)]

    async def set_paused(self, queue: str, reason: str | None) -> None:
        """See the port."""
        words = "REMOVE #paused.#queue" if reason is None else "SET #paused.#queue = :pause"
        pause = msgspec.json.encode(Pause(queue, self._clock(), reason or "")).decode()
        bound = {"ExpressionAttributeValues": {":pause": value(pause)}} if reason is not None else {}
        names = {"#paused": "paused", "#queue": queue}
        await self._table.update(
            {"Key": CONTROL, "UpdateExpression": words, "ExpressionAttributeNames": names, **bound}
        )
        self._wake()

    async def split(self) -> Split | None:
        """See the port."""
        return (await self._control()).split

    async def set_split(self, split: Split | None) -> None:
        """See the port."""
        text = None if split is None else msgspec.json.encode(split).decode()
        await self._table.update(update(CONTROL, "", {}, put={"split": text}))
        if split is not None:
            forgotten = self._clock() - KEPT_SECONDS
            async for item in self._table.query(SEEN, "#s = :s", {"s": "runs"}):
                found = await self._table.get({"pk": item["pk"]})
                if found and float(found["updated_at"]["N"]) < forgotten:
                    await self._table.delete({"pk": item["pk"]})
        self._wake()

    async def costs(self) -> dict[tuple[str, str], float]:
        """See the port."""
        raise UsageError("costs: expected a store that keeps them, got DynamoDB, which does not.")

    async def runs(self) -> list[RunTally]:
        """See the port."""
        keys = [{"pk": item["pk"]} async for item in self._table.query(SEEN, "#s = :s", {"s": "runs"})]
        counted: dict[tuple[str, str, str, int], tuple[int, float]] = {}
        for item in await self._table.get_all(keys):
            key = (item["version"]["S"], item["kind"]["S"], item["run_end"]["S"], int(item["bucket"]["N"]))
            runs, seconds = counted.get(key, (0, 0.0))
            counted[key] = (runs + int(item["runs"]["N"]), seconds + float(item["seconds"]["N"]))
        return tallies((*key, *counts) for key, counts in counted.items())

    async def beat(self, beat: WorkerBeat) -> None:
        """See the port."""
        now = self._clock()
        fields = {"said": msgspec.json.encode(beat).decode(), "at": now, "s": "worker"}
        await self._table.update(update({"pk": value(f"worker#{beat.name}")}, "", {}, put=fields))
        if self._forgot_at is None or now - self._forgot_at > BEAT_KEPT_SECONDS:
            self._forgot_at = now
            for each in await self._beats():
                if float(each["at"]["N"]) < now - BEAT_KEPT_SECONDS:
                    await self._table.delete({"pk": each["pk"]})

    async def leave(self, worker: str) -> None:
        """See the port."""
        await self._table.delete({"pk": value(f"worker#{worker}")})

    async def workers(self) -> list[WorkerBeat]:
        """See the port."""
        now = self._clock()
        found = [
            replace(_decode_beat(each["said"]["S"]), age_seconds=now - float(each["at"]["N"]))
            for each in await self._beats()
            if float(each["at"]["N"]) >= now - BEAT_KEPT_SECONDS
        ]
        return sorted(found, key=lambda each: each.name)

    async def _beats(self) -> list[Item]:
        keys = [{"pk": item["pk"]} async for item in self._table.query(SEEN, "#s = :s", {"s": "worker"})]
        return [item for item in await self._table.get_all(keys) if "said" in item]

    async def schedules(self) -> list[Schedule]:
        """See the port."""
        keys = [{"pk": item["pk"]} async for item in self._table.query(SEEN, "#s = :s", {"s": "schedule"})]
        found = [
            Schedule(item["pk"]["S"].removeprefix("schedule#"), item["kind"]["S"], item["spec"]["S"],
                     float(item["fired_at"]["N"]), float(item["next_at"]["N"]) if "next_at" in item else None)
            for item in await self._table.get_all(keys)
        ]  # fmt: skip
        return sorted(found, key=lambda each: each.name)

    async def unannounced(self, limit: int) -> list[Job]:
        """See the port."""
        keys: list[Item] = []
        for shard in self._each_shard():
            hooks = self._table.query(WORK, "#w = :w", {"w": f"hook#{shard}"}, limit=limit)
            keys += [{"pk": item["pk"]} for item in await _first(limit - len(keys), hooks)]
        jobs = [
            job_of(item) for item in await self._table.get_all(keys) if item.get("w", {}).get("S", "")[:4] == "hook"
        ]
        return sorted(jobs, key=lambda job: job.finished_at or 0.0)

    async def announced(self, jobs: Sequence[Job]) -> None:
        """See the port."""
        await asyncio.gather(
            *(
                self._table.update(
                    update(
                        pk_of(job.id), "#finished_at = :ended", {"ended": job.finished_at}, put={"w": None, "o": None}
                    )
                )
                for job in jobs
                if job.finished_at is not None
            )
        )

    async def _control(self) -> Control:
        item = await self._table.get(CONTROL) or {}
        kinds = frozenset(_kind(text) for text in item.get("kinds", {}).get("SS", ()))
        self._kinds |= kinds
        split = _decode_split(item["split"]["S"]) if "split" in item else None
        paused = {queue: _decode_pause(each["S"]) for queue, each in item.get("paused", {}).get("M", {}).items()}
        return Control(split, paused, kinds, int(item["shards"]["N"]) if "shards" in item else self._shards)

    async def _know(self, kind: Kind) -> None:
        """Before the first job waits in a place, claims must know to look there."""
        if kind in self._kinds:
            return
        known = {each.priority for each in (await self._control()).kinds if each[:2] == kind[:2]}
        if len(known | {kind.priority}) > PRIORITIES_MAX:
            raise UsageError(
                f"jobs in DynamoDB: expected at most {PRIORITIES_MAX} different priorities of {kind.kind!r}, "
                f"got one more: {kind.priority}."
            )
        text = f"{kind.queue}#{kind.kind}#{kind.priority}"
        await self._table.update(update(CONTROL, "", {}, add={"kinds": {text}}))
        self._kinds.add(kind)

    async def _due(self, kind: Kind, until: float, limit: int) -> list[Item]:
        """The first that are due in a place, in order, from all its shards."""
        condition = "#w = :w AND #o BETWEEN :low AND :high"
        bounds = {"low": order(kind.priority, 0.0), "high": f"{order(kind.priority, until)}~"}
        places = [f"wait#{kind.queue}#{kind.kind}#{shard}" for shard in self._each_shard()]
        queries = [self._table.query(WORK, condition, {"w": place, **bounds}, limit=limit) for place in places]
        found = [item for items in await asyncio.gather(*(_first(limit, each) for each in queries)) for item in items]
        return nsmallest(limit, found, key=lambda item: item["o"]["S"])

    async def _remove(self, item: Item, state: State) -> bool:
        values: dict[str, object] = {"state": str(state), "ended": float(item["finished_at"]["N"])}
        condition = "#state = :state AND #finished_at = :ended"
        key = {"pk": item["pk"]}
        actions = [("Delete", {"Key": key, "ConditionExpression": condition, **bindings(condition, values)})]
        if "idempotency_key" in item:
            key = key_pk(item["tenant"]["S"], item["kind"]["S"], item["idempotency_key"]["S"])
            actions.append(("Delete", {"Key": key}))
        return not await self._table.transact(actions)

    def _counted(self, job: Job, end: RunEnd, seconds: float) -> tuple[str, dict[str, object]]:
        """The action that counts a run, for the transaction that accepts its result."""
        version, at = job.version or "", duration_bucket(seconds)
        stripe = random.randrange(STRIPES)  # noqa: S311 - spreads writers
        pk = f"runs#{msgspec.json.encode([version, job.kind, end, at, stripe]).decode()}"
        fixed = {"version": version, "kind": job.kind, "run_end": str(end), "bucket": at, "s": "runs"}
        return "Update", update(
            {"pk": {"S": pk}}, "", {}, put={**fixed, "updated_at": self._clock()}, add={"runs": 1, "seconds": seconds}
        )

    def _each_shard(self) -> range:
        return range(self._shards)

    def _shard(self, job: str) -> int:
        return shard_of(job, self._shards)

    def _wake(self) -> None:
        for wake in tuple(self._listeners):
            wake()


async def _first(limit: int, items: AsyncIterator[Item]) -> list[Item]:
    found: list[Item] = []
    if limit > 0:
        async for item in items:
            found.append(item)
            if len(found) >= limit:
                break
    return found


def _kind(text: str) -> Kind:
    queue, kind, priority = text.split("#")
    return Kind(queue, kind, int(priority))


def _id(item: Item) -> JobId:
    return JobId(item["pk"]["S"].removeprefix("job#"))

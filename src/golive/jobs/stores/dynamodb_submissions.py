"""
How :class:`golive.jobs.stores.dynamodb.DynamoStore` takes jobs in: each with its idempotency key, a schedule with its
jobs, in one transaction. Whoever stands in the way of a write is the earlier job, which then is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from golive.errors import UsageError
from golive.jobs.model import Job, JobId, NewJob, Schedule, Submission
from golive.jobs.stores.dynamodb_items import bindings, item_of, job_from, job_of, key_pk, pk_of, update, value
from golive.jobs.stores.dynamodb_table import TRANSACTION_MAX
from golive.jobs.stores.dynamodb_upkeep import DynamoUpkeep, Kind


class DynamoSubmissions(DynamoUpkeep):
    """What writes new items."""

    async def submit(self, jobs: Sequence[NewJob]) -> list[Submission]:
        """See the port."""
        _check_size(jobs, TRANSACTION_MAX)
        for kind in {Kind(new.queue, new.kind, new.priority) for new in jobs}:
            await self._know(kind)
        submissions = await self._submit(jobs, None)
        assert submissions is not None, "there was no condition but the jobs' own"
        self._wake()
        return submissions

    async def fire(self, schedule: Schedule, jobs: Sequence[NewJob]) -> bool:
        """See the port."""
        _check_size(jobs, TRANSACTION_MAX - 1)
        for kind in {Kind(new.queue, new.kind, new.priority) for new in jobs}:
            await self._know(kind)
        condition = "attribute_not_exists(#fired_at) OR #fired_at < :now"
        fields = {"kind": schedule.kind, "spec": schedule.spec, "fired_at": schedule.fired_at, "s": "schedule"}
        key = {"pk": {"S": f"schedule#{schedule.name}"}}
        moved = update(
            key, condition, {"now": schedule.fired_at}, put={**fields, "next_at": schedule.next_at}
        )  # fmt: skip
        fired = await self._submit(jobs, ("Update", moved)) is not None
        if fired:
            self._wake()
        return fired

    async def get(self, job: JobId) -> Job | None:
        """See the port."""
        item = await self._table.get(pk_of(job))
        return job_of(item) if item else None

    async def _submit(
        self, jobs: Sequence[NewJob], first: tuple[str, Mapping[str, Any]] | None
    ) -> list[Submission] | None:
        """Write *jobs*, and *first* with them; None, and nothing is written, if the condition of *first* is broken."""
        now, standing = self._clock(), dict[str, Job]()  # by the id that was submitted: the job that stands for it
        left, twins = _apart(jobs)
        made: dict[str, Job] = {}
        while left or first:
            made = {id_: job_from(new, now) for id_, new in left.items()}
            refused = await self._write(list(made.values()), first)
            if not refused:
                break
            if first and None in refused:
                return None
            made = {}
            for owner in filter(None, refused):
                standing[owner] = await self._earlier(left.pop(owner))
        for submitted, owner in twins.items():
            standing[submitted] = made[owner] if owner in made else standing[owner]
        answers, told = [], set[str]()
        for new in jobs:
            created = new.id in made and new.id not in told
            told.add(new.id)
            answers.append(Submission(made[new.id] if new.id in made else standing[new.id], created))
        return answers

    async def _write(self, jobs: Sequence[Job], first: tuple[str, Mapping[str, Any]] | None) -> set[str | None]:
        """In one go, or not at all: then whose condition was broken, None for that of *first*."""
        actions, owners = self._puts(jobs)
        if first is None and len(actions) == 1:  # at half the price of a transaction
            return set() if await self._table.put_new(actions[0][1]["Item"]) else {owners[0]}
        head: list[tuple[str, Mapping[str, Any]]] = [first] if first else []
        whose: list[str | None] = [*([None] if first else []), *owners]
        return {whose[at] for at in await self._table.transact([*head, *actions])}

    def _puts(self, jobs: Sequence[Job]) -> tuple[list[tuple[str, Mapping[str, Any]]], list[str]]:
        """The actions that write *jobs* and their keys, and whose each action is."""
        new: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(#pk)", **bindings("#pk", {})}
        actions: list[tuple[str, Mapping[str, Any]]] = []
        owners: list[str] = []
        for job in jobs:
            actions.append(("Put", {"Item": item_of(job, self._shards), **new}))
            owners.append(job.id)
            if job.idempotency_key is not None:
                item = key_pk(job.tenant, job.kind, job.idempotency_key) | {"job": value(job.id)}
                actions.append(("Put", {"Item": item, **new}))
                owners.append(job.id)
        return actions, owners

    async def _earlier(self, new: NewJob) -> Job:
        """The job that stands for *new*: the one with its key, or the one with its id."""
        id_ = new.id
        if new.idempotency_key is not None:
            key = await self._table.get(key_pk(new.tenant, new.kind, new.idempotency_key))
            id_ = JobId(key["job"]["S"]) if key else id_
        found = await self.get(id_)
        assert found, "a key and its job are written and removed together"
        return found


def _check_size(jobs: Sequence[NewJob], most: int) -> None:
    items = len(jobs) + sum(new.idempotency_key is not None for new in jobs)
    if items > most:
        raise UsageError(f"jobs in DynamoDB: expected at most {most} jobs and keys in one submission, got {items}.")


def _apart(jobs: Sequence[NewJob]) -> tuple[dict[str, NewJob], dict[str, str]]:
    """What has to be written, by id; and for those that stand twice in one submission, the id of the first."""
    firsts: dict[str, NewJob] = {}
    keys: dict[tuple[str, str, str], str] = {}
    twins: dict[str, str] = {}
    for new in jobs:
        key = None if new.idempotency_key is None else (new.tenant, new.kind, new.idempotency_key)
        if new.id in firsts:
            continue
        if key is not None and key in keys:
            twins[new.id] = keys[key]
            continue
        firsts[new.id] = new
        if key is not None:
            keys[key] = new.id
    return firsts, twins

"""
The shape of the one table: how jobs, keys, schedules and tallies become items, and expressions become words.

    pk                      what                            index `work` (w, o)                     index `seen` (s, pk)
    job#<id>                a job, pending                  wait#<queue>#<kind>#<shard>, priority,  <state>#<shard>
                                                            run_at and id in order
                            running                         run#<shard>, lease_until                <state>#<shard>
                            ended, its webhook not called   hook#<shard>, finished_at               <state>#<shard>
                            ended                           -                                       <state>#<shard>
    key#<hash>              the job an idempotency key made
    control                 split, pauses, known kinds
    schedule#<name>         how far it has fired                                                    schedule
    runs#...                a counter of runs                                                       runs

Both indexes are sparse and hold no payloads. Shards spread a partition's writes; their number is fixed with the table.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from golive.jobs.machine import State
from golive.jobs.model import Claim, Failure, Job, JobId, NewJob, Progress, Settlement, Waiting

Item = dict[str, dict[str, Any]]

WORK, SEEN = "work", "seen"
CONTROL = {"pk": {"S": "control"}}

_decode_failure = msgspec.json.Decoder(Failure).decode
_decode_progress = msgspec.json.Decoder(Progress).decode

_TEXTS = ("kind", "queue", "tenant", "idempotency_key", "worker", "version", "webhook")
_NUMBERS = ("run_at", "created_at", "started_at", "finished_at")
_COUNTS = ("priority", "attempts", "attempts_max")
_BYTES = ("payload", "fingerprint", "result")


def value(given: object) -> dict[str, Any]:
    """*given* as DynamoDB writes it."""
    if isinstance(given, bool):
        return {"BOOL": given}
    if isinstance(given, str):
        return {"S": str(given)}
    if isinstance(given, bytes):
        return {"B": given}
    if isinstance(given, int | float):
        return {"N": repr(given)}
    assert isinstance(given, set | frozenset), f"no attribute for {type(given)}"
    return {"SS": sorted(given)}


def table_of(name: str) -> dict[str, Any]:
    """What ``create_table`` takes; pay per request."""

    def index(name: str, keys: tuple[str, str], included: tuple[str, ...]) -> dict[str, Any]:
        return {
            "IndexName": name,
            "KeySchema": [
                {"AttributeName": keys[0], "KeyType": "HASH"},
                {"AttributeName": keys[1], "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(included)},
        }

    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": each, "AttributeType": "S"} for each in ("pk", "w", "o", "s")],
        "GlobalSecondaryIndexes": [
            index(WORK, ("w", "o"), ("queue", "kind", "tenant", "run_at")),
            index(SEEN, ("s", "pk"), ("queue", "kind", "tenant", "finished_at", "idempotency_key")),
        ],
    }


def pk_of(job: str) -> Item:
    """The key of a job's item."""
    return {"pk": {"S": f"job#{job}"}}


def key_pk(tenant: str, kind: str, key: str) -> Item:
    """The key of the item that stands for an idempotency key; keys of clients may be of any length."""
    digest = hashlib.blake2b(msgspec.json.encode([tenant, kind, key]), digest_size=20).hexdigest()
    return {"pk": {"S": f"key#{digest}"}}


def shard_of(job: str, shards: int) -> int:
    """Always the same for a job."""
    return zlib.crc32(job.encode()) % shards


def order(priority: int, run_at: float, job: str = "") -> str:
    """Sorts as (priority, run_at, id) does."""
    return f"{priority + 2**31:010d}#{instant(run_at)}#{job}"


def instant(at: float) -> str:
    """Sorts as time does, in microseconds."""
    return f"{max(0, round(at * 1_000_000)):017d}"


def placed(job: Job, shards: int, lease_until: float | None = None) -> dict[str, str | None]:
    """Where *job* stands in the indexes: the attributes ``w``, ``o`` and ``s``; None leaves one out."""
    shard = shard_of(job.id, shards)
    seen = f"{job.state}#{shard}"
    if job.state is State.PENDING:
        waits = order(job.priority, job.run_at, job.id)
        return {"w": f"wait#{job.queue}#{job.kind}#{shard}", "o": waits, "s": seen}
    if job.state is State.RUNNING:
        assert lease_until is not None, "what runs has a lease"
        return {"w": f"run#{shard}", "o": f"{instant(lease_until)}#{job.id}", "s": seen}
    if job.webhook is not None:
        return {"w": f"hook#{shard}", "o": f"{instant(job.finished_at or 0.0)}#{job.id}", "s": seen}
    return {"w": None, "o": None, "s": seen}


def item_of(job: Job, shards: int) -> Item:
    """A new job's item."""
    fields = {name: getattr(job, name) for name in (*_TEXTS, *_NUMBERS, *_COUNTS, *_BYTES)}
    fields |= {"state": str(job.state), "fence": 0, **placed(job, shards)}
    return pk_of(job.id) | {name: value(given) for name, given in fields.items() if given is not None}


def job_of(item: Mapping[str, Mapping[str, Any]]) -> Job:
    """The job an item is."""
    fields: dict[str, Any] = {name: item[name]["S"] if name in item else None for name in _TEXTS}
    fields |= {name: float(item[name]["N"]) if name in item else None for name in _NUMBERS}
    fields |= {name: int(item[name]["N"]) for name in _COUNTS}
    fields |= {name: bytes(item[name]["B"]) if name in item else None for name in _BYTES}
    return Job(
        id=JobId(item["pk"]["S"].removeprefix("job#")), state=State(item["state"]["S"]),
        failure=_decode_failure(item["failure"]["S"]) if "failure" in item else None,
        progress=_decode_progress(item["progress"]["S"]) if "progress" in item else None,
        cancel_requested="cancel_requested" in item, **fields,
    )  # fmt: skip


def job_from(new: NewJob, now: float) -> Job:
    """*new* as it waits."""
    run_at = now if new.run_at is None else new.run_at
    return Job(
        new.id, new.kind, new.queue, new.tenant, State.PENDING, new.priority, run_at, 0, new.attempts_max, new.payload,
        now, new.idempotency_key, new.fingerprint, webhook=new.webhook,
    )  # fmt: skip


def claim_of(item: Mapping[str, Mapping[str, Any]]) -> Claim:
    """The claim a running item stands for."""
    job = job_of(item)
    return Claim(
        job.id, job.kind, job.queue, job.tenant, job.attempts, job.attempts_max, job.payload, job.created_at,
        job.worker or "", int(item["fence"]["N"]), (job.started_at or job.run_at) - job.run_at,
    )  # fmt: skip


def waiting_of(item: Mapping[str, Mapping[str, Any]]) -> Waiting:
    """From the index `work`."""
    return Waiting(
        JobId(item["pk"]["S"].removeprefix("job#")), item["kind"]["S"], item["queue"]["S"], item["tenant"]["S"],
        float(item["run_at"]["N"]),
    )  # fmt: skip


def update(
    key: Item, condition: str, values: Mapping[str, object], *, put: Mapping[str, object | None] | None = None,
    add: Mapping[str, object] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """
    The arguments of an update.

    Args:
        condition: with every name as ``#name`` and every value as ``:value``, which *values* holds.
        put: attributes to set; None removes one.
        add: attributes to add to.
    """
    given = dict(put or {})
    sets = [f"#{name} = :set_{name}" for name, new in given.items() if new is not None]
    removes = [f"#{name}" for name, new in given.items() if new is None]
    adds = [f"#{name} :add_{name}" for name in add or {}]
    parts = [("SET", sets), ("REMOVE", removes), ("ADD", adds)]
    bound = dict(values) | {f"set_{name}": new for name, new in given.items() if new is not None}
    bound |= {f"add_{name}": more for name, more in (add or {}).items()}
    text = " ".join(f"{verb} {', '.join(words)}" for verb, words in parts if words)
    arguments: dict[str, Any] = {"Key": key, "UpdateExpression": text}
    if condition:
        arguments["ConditionExpression"] = condition
    return arguments | bindings(f"{condition} {text}", bound)


def bindings(text: str, values: Mapping[str, object]) -> dict[str, Any]:
    """The names and values *text* uses, as DynamoDB takes them."""
    names = {word.strip("(),") for word in text.replace("(", " ").split() if word.startswith("#")}
    bound: dict[str, Any] = {}
    if names:
        bound["ExpressionAttributeNames"] = {name: name[1:] for name in sorted(names)}
    if values:
        bound["ExpressionAttributeValues"] = {f":{name}": value(given) for name, given in values.items()}
    return bound


HELD = "#worker = :worker AND #fence = :fence AND #state = :running"


def held(claim: Claim | Settlement) -> dict[str, object]:
    """The values of :data:`HELD`."""
    return {"worker": claim.worker, "fence": claim.fence, "running": str(State.RUNNING)}

"""From an application's declarations to a worker with its limits, its breakers and its chores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any

from golive.errors import ConfigError, did_you_mean
from golive.jobs import log
from golive.jobs.errors import UnknownHandlerError
from golive.jobs.limits import Limits
from golive.jobs.ports import StoreCapability
from golive.jobs.pruning import Pruner
from golive.jobs.queues import downstream_of, limits_of
from golive.jobs.scheduler import Scheduler
from golive.jobs.transports import IN_STORE
from golive.jobs.worker import Worker

if TYPE_CHECKING:
    from golive.jobs.app import Jobs

Chore = Callable[[], Coroutine[Any, Any, None]]

#: A chore that broke (a payload function that raises, say) begins again after this.
BROKEN_SECONDS = 5.0


def worker_of(jobs: Jobs, queues: Collection[str] | None, concurrency: int | None) -> Worker:
    """
    A worker for the handlers of *jobs*.

    Raises: ConfigError for a queue nobody has, no handler at all, or limits this store cannot keep;
        UnknownHandlerError for a schedule without its handler.
    """
    known = {handler.queue for handler in jobs.handlers.values()}
    for unknown in sorted(set(queues or ()) - known):
        raise ConfigError(f"unknown queue {unknown!r}{did_you_mean(unknown, sorted(known))} Known: {sorted(known)}.")
    if not jobs.handlers:
        raise ConfigError("jobs: expected at least one @jobs.handler to work for, got none.")
    for recurring in jobs.schedules.values():
        if recurring.kind not in jobs.handlers:
            raise UnknownHandlerError(recurring.kind, did_you_mean(recurring.kind, list(jobs.handlers)))
    limits = kept_limits(jobs)
    found = {name: downstream_of(each, jobs.downstreams) for name, each in jobs.handlers.items()}
    return Worker(
        jobs.store, jobs.handlers, jobs.settings, queues=queues, concurrency=concurrency, limits=limits,
        breakers={name: each.breaker for name, each in found.items() if each and each.breaker}, chores=_chores(jobs),
    )  # fmt: skip


def kept_limits(jobs: Jobs) -> dict[str, Limits | None]:
    """
    The limits of each handler.

    Raises: ConfigError for limits that nobody would keep, which are worse than none.
    """
    limits = {name: limits_of(each, jobs.queues, jobs.downstreams) for name, each in jobs.handlers.items()}
    limited = sorted(name for name, each in limits.items() if each)
    if limited and jobs.settings.transport != IN_STORE:
        raise ConfigError(
            f"jobs.transport: expected the store's own beside the limits of {limited}, got "
            f"{jobs.settings.transport.partition(':')[0]!r}: there the engine decides what runs."
        )
    if limited and StoreCapability.LIMITS not in jobs.store.capabilities:
        raise ConfigError(f"jobs.url: expected a store that has limits, for {limited}, got one that has not.")
    return limits


def _chores(jobs: Jobs) -> list[Chore]:
    """What a worker of this application does beside its jobs."""
    chores: list[Chore] = [outbox.run for outbox in jobs.outboxes]
    if keep := jobs.settings.keep_seconds:
        chores.append(Pruner(jobs.store, keep).run)
    if jobs.schedules:
        chores.append(Scheduler(jobs.store, list(jobs.schedules.values()), jobs.occurrence).run)
    if jobs.hooks is not None:
        from golive.jobs.webhooks import Announcer

        chores.append(Announcer(jobs.store).run)
    return [_kept_going(chore) for chore in chores]


def _kept_going(chore: Chore) -> Chore:
    async def run() -> None:
        while True:
            try:
                await chore()
                return
            except Exception as error:
                log.event("worker.chore_failed", level=log.ERROR, error=error, chore=chore.__qualname__)
            await asyncio.sleep(BROKEN_SECONDS)

    return run

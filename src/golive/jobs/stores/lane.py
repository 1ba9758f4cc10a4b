"""
Group commit for SQLite: one thread owns one connection and puts everything that waits into one transaction.

Self-clocking. While a commit is in its fsync, the next batch fills; there is no timer. A lone caller pays one fsync, a
busy server shares one among all callers of that moment. A caller's future resolves only after the commit it is part of.

    callers --> queue --> [ begin; work, work, work; commit + fsync ] --> futures
                  ^ fills meanwhile

Work that may be lost in a power cut (a claim, a beat: they are only done again) does not wait for the disk, unless it
shares its transaction with work that may not.

How it fails: if one piece of work raises, the whole transaction is rolled back and each piece runs again in one of its
own, so that only the culprit gets the exception. If the commit fails (disk full), everybody in it does.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

from golive.db.sqlite import Connection, transaction
from golive.errors import StateError

T = TypeVar("T")

#: Pieces of work in one transaction: enough to make the fsync's share negligible, few enough to stay below some 50 ms.
BATCH_MAX = 1000


class _Item(NamedTuple):
    work: Callable[[Connection], Any]
    durable: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


_Outcome = tuple[_Item, Any, BaseException | None]


class Lane:
    """A thread with a connection of its own. Work may come from any event loop."""

    def __init__(self, connection: Connection, name: str, mode: Literal["immediate", "deferred"]) -> None:
        self._connection = connection
        self._full = True  # as connect() leaves it
        self._mode: Literal["immediate", "deferred"] = mode
        self._inbox: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Callable[[Connection], T], *, durable: bool = True) -> asyncio.Future[T]:
        """
        Have *work* done in the next transaction; the future resolves when that is durable, or without *durable* when
        it outlives this process.

        *work* must be safe to repeat from the start, because its first run may be rolled back. A caller that goes away
        does not take its work back.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._closed:
            future.set_exception(StateError(f"{self._connection.path}: expected an open job store, got a closed one."))
        else:
            self._inbox.put(_Item(work, durable, loop, future))
        return future

    async def close(self) -> None:
        """Do what was accepted, then close the connection."""
        if not self._closed:
            self._closed = True
            self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    def _main(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._next_batch()
            if batch:
                _deliver(self._perform(batch))
        self._connection.close()

    def _next_batch(self) -> tuple[list[_Item], bool]:
        """Everything that waits, at least one; False when the end was among it."""
        batch: list[_Item] = []
        item = self._inbox.get()
        while item is not None:
            batch.append(item)
            if len(batch) == BATCH_MAX:
                return batch, True
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _sync(self, full: bool) -> None:
        if full is not self._full:
            self._connection.execute(f"pragma synchronous = {'full' if full else 'normal'}")
            self._full = full

    def _perform(self, batch: list[_Item]) -> list[_Outcome]:
        try:
            self._sync(any(item.durable for item in batch))
            with transaction(self._connection, self._mode) as connection:
                results = [item.work(connection) for item in batch]
        except BaseException as error:
            if len(batch) == 1:
                return [(batch[0], None, error)]
            return list(itertools.chain.from_iterable(self._perform([item]) for item in batch))
        return [(item, result, None) for item, result in zip(batch, results, strict=True)]


def _deliver(outcomes: list[_Outcome]) -> None:
    """One wake-up per event loop, not one per caller."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome[0].loop, []).append(outcome)
    for loop, share in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, share)
        except RuntimeError:  # that loop has ended, and its callers with it; the work is done all the same
            continue


def _resolve(outcomes: list[_Outcome]) -> None:
    for item, result, error in outcomes:
        if item.future.done():
            continue
        if error is None:
            item.future.set_result(result)
        else:
            item.future.set_exception(error)

"""
Group commit for submissions: while one batch is on its way to the disk, the next one fills.

Self-clocking, no timer: a lone caller pays one round trip, concurrent callers share one. If a batch fails because of
what is in it, each piece is tried alone, so that only the culprit gets the exception.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from golive.errors import GoliveError

Piece = TypeVar("Piece")
Answer = TypeVar("Answer")

BATCH_MAX = 500


class Group(Generic[Piece, Answer]):
    """*flush* takes pieces and returns one answer for each, in their order, once they are durable."""

    def __init__(self, flush: Callable[[Sequence[Piece]], Awaitable[Sequence[Answer]]]) -> None:
        self._flush = flush
        self._waiting: list[tuple[Sequence[Piece], asyncio.Future[list[Answer]]]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, pieces: Sequence[Piece]) -> asyncio.Future[list[Answer]]:
        """The answers to *pieces*, which commit together. A caller that goes away does not take them back."""
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append((pieces, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush_all())
        return future

    async def drain(self) -> None:
        """Returns when everything added has been answered."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _flush_all(self) -> None:
        while self._waiting:
            batch = self._take()
            try:
                answers = await self._flush([piece for pieces, _ in batch for piece in pieces])
            except Exception as error:
                await self._one_by_one(batch, error)
            else:
                _resolve(batch, answers)

    def _take(self) -> list[tuple[Sequence[Piece], asyncio.Future[list[Answer]]]]:
        size = count = 0
        for pieces, _ in self._waiting:
            if count and size + len(pieces) > BATCH_MAX:
                break
            size, count = size + len(pieces), count + 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _one_by_one(self, batch: list[tuple[Sequence[Piece], asyncio.Future[list[Answer]]]], error: Any) -> None:
        for entry in batch:
            failed = error
            if len(batch) > 1 and not isinstance(error, GoliveError):  # a store that is away is away for all of them
                try:
                    _resolve([entry], await self._flush(entry[0]))
                    continue
                except Exception as own:
                    failed = own
            if not entry[1].done():
                entry[1].set_exception(failed)


def _resolve(batch: list[tuple[Sequence[Any], asyncio.Future[list[Any]]]], answers: Sequence[Any]) -> None:
    start = 0
    for pieces, future in batch:
        if not future.done():
            future.set_result(list(answers[start : start + len(pieces)]))
        start += len(pieces)

"""
Group commit over a network: while one round trip is in flight, the next batch fills.

Self-clocking, no timer: a lone caller pays one round trip, concurrent callers share one. Pieces with the same name
never share a batch, because one statement cannot touch a row twice; the second waits for the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

Piece = TypeVar("Piece")
Answer = TypeVar("Answer")

BATCH_MAX = 256


class Grouped(Generic[Piece, Answer]):
    """
    Args:
        flush: takes pieces and returns one answer for each, in their order, once they are durable.
        name: what no two pieces of a batch may share.
    """

    def __init__(
        self, flush: Callable[[Sequence[Piece]], Awaitable[Sequence[Answer]]], name: Callable[[Piece], Hashable]
    ) -> None:
        self._flush = flush
        self._name = name
        self._waiting: list[tuple[Piece, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, piece: Piece) -> asyncio.Future[Answer]:
        """The answer to *piece*. A caller that goes away does not take it back."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((piece, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush_all())
        return future

    async def _flush_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # whoever is ready in this turn of the loop joins the first batch
            batch = self._take()
            try:
                answers = await self._flush([piece for piece, _ in batch])
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    def _take(self) -> list[tuple[Piece, asyncio.Future[Answer]]]:
        batch: list[tuple[Piece, asyncio.Future[Answer]]] = []
        later: list[tuple[Piece, asyncio.Future[Answer]]] = []
        names: set[Hashable] = set()
        for piece, future in self._waiting:
            name = self._name(piece)
            if name in names or len(batch) == BATCH_MAX:
                later.append((piece, future))
            else:
                names.add(name)
                batch.append((piece, future))
        self._waiting = later
        return batch

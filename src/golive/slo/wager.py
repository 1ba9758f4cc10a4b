"""
A wager: the bets on one row of evidence, made so that one bad minute cannot win them.

Each alternative ("ten times as many failures") is bet on twice: as bad since the start, and as bad since some later
minute. A short burst (one noisy pod, one deploy of somebody else) is real evidence of a short problem, and none of a
lasting one. Therefore the wealth that counts is *patient*:

- what one block of time may add is capped at a part of what is needed, so that no single clump decides;
- the best window of neighbouring blocks, wide enough to hold any burst, is left out;
- only in the first minutes, where nothing would be left, the window counts, if it was bad from the first block on.

A fuse (half of everything fails) has two short blocks and leaves nothing out: nobody waits a minute for that. All of
this only lowers the wealth, so the guarantee of :mod:`golive.slo.evalue` holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from golive.slo.evalue import log_add, log_sum

SINCE_SHARE = 0.7
"""Of the stake, for "bad since the start": where faults of a new version are. The rest is paid out minute by minute."""
LOG_SINCE = math.log(SINCE_SHARE)
DIP_MAX = 1.5
"""Nats that may ever have spoken against "bad since the start"; after more than that, a burst has to be ruled out."""


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long one alternative has to last before it can win.

    Attributes:
        block_s: length of a block, seconds.
        parts: a block adds at most what is needed divided by this.
        window: neighbouring blocks left out; 0 leaves nothing out.
        express_s: time since the start within which nothing is left out, seconds.
        late: whether later beginnings are bet on as well; then only a part of the stake is on the start.
        free_s: time since the start in which a block may add all it has: a version that is broken from its first
            request on shows it at once, and a burst would have to begin with it by chance.
    """

    block_s: float
    parts: float
    window: int
    express_s: float
    late: bool = True
    free_s: float = 0.0


class BlockClock:
    """Says at each tick which block lengths have just come to an end, on the time of the rollout."""

    def __init__(self, lengths: Iterable[float]) -> None:
        self.next = {length: length for length in sorted(set(lengths))}

    def advance(self, t: float) -> set[float]:
        """The lengths of the blocks that end at or before *t* (seconds since the start)."""
        closed = {length for length, end in self.next.items() if t >= end - 1e-6}
        for length in closed:
            self.next[length] = (math.floor((t + 1e-6) / length) + 1) * length
        return closed

    def to_dict(self) -> dict[str, Any]:
        """The state, as plain JSON."""
        return {"ends": [[length, end] for length, end in self.next.items()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`to_dict` gave."""
        self.next = dict(state["ends"])


class Run:
    """The wealth of one bet since one beginning, in nats, without the block that is still open."""

    __slots__ = ("cap", "closed", "lowest", "recent", "window", "worst")

    def __init__(self, cap: float, window: int) -> None:
        self.cap = cap
        self.closed = 0.0
        self.lowest = 0.0
        self.recent = [0.0] * window
        self.window = 0.0
        self.worst = 0.0

    def close(self, now: float, *, free: bool = False) -> None:
        """The open block ends with *now* gained in it, all of which counts when it is *free* of the cap."""
        gain = now if free or now < self.cap else self.cap
        self.closed += gain
        if self.closed < self.lowest:
            self.lowest = self.closed
        if self.recent:
            self.window += gain - self.recent.pop(0)
            self.recent.append(gain)
            if self.window > self.worst:
                self.worst = self.window

    def value(self, now: float, *, whole: bool) -> float:
        """The patient wealth with *now* in the open block; the *whole* of it if it was bad from the first block on."""
        gain = now if now < self.cap else self.cap
        wealth = self.closed + gain
        if wealth <= 0 or not self.recent:  # below its stake a run cannot decide: nothing to leave out
            return wealth
        if whole and self.lowest >= -DIP_MAX:
            return wealth
        newest = self.window - self.recent[0] + gain
        return wealth - (newest if newest > self.worst else self.worst)

    def to_list(self) -> list[Any]:
        """The state, as plain JSON."""
        return [self.cap, self.closed, self.lowest, list(self.recent), self.window, self.worst]


class Wager:
    """The bets of one row: one per alternative. Times are seconds since the start, gains and values nats."""

    def __init__(self, weights: Sequence[float], patience: Sequence[Patience], goal: float) -> None:
        """
        Args:
            weights: each alternative's share of the whole rollout's stake, 0..1.
            patience: one for each alternative.
            goal: log(1/alpha), what the wealth of the whole must reach.
        """
        self.log_weights = [math.log(weight) for weight in weights]
        self.patience = list(patience)
        self.needs = [goal - weight for weight in self.log_weights]
        self.now = [0.0] * len(weights)
        self.log_since = [LOG_SINCE if each.late else 0.0 for each in patience]
        self.since = [
            Run((need - on_start) / each.parts, each.window)
            for need, on_start, each in zip(self.needs, self.log_since, patience, strict=True)
        ]
        self.late: list[tuple[float, Run] | None] = [None] * len(weights)

    def bet(self, gains: Sequence[float]) -> None:
        """Add one tick's gains, one for each alternative."""
        self.now = [held + gain for held, gain in zip(self.now, gains, strict=True)]

    def settle(self, closed: set[float], t: float = math.inf) -> None:
        """End the blocks whose lengths are in *closed* at *t*, after the tick's gains were added."""
        for j, patience in enumerate(self.patience):
            if patience.block_s in closed:
                self._close(j, free=t <= patience.free_s)

    def start_late(self, share: float) -> None:
        """Put *share* of the stake on "bad since now", where that is better than the later start already running."""
        stake = math.log(share)
        for j, running in enumerate(self.late):
            self._close(j)
            if not self.patience[j].late:
                continue
            if running is None or running[0] + running[1].closed < stake:
                patience = self.patience[j]
                self.late[j] = (stake, Run((self.needs[j] - stake) / patience.parts, patience.window))

    def value(self, t: float, *, steady: bool) -> float:
        """
        Log of the patient wealth, weights included, at *t*.

        Args:
            steady: whether the events came all along, as they do when something is bad since the start.
        """
        return log_sum(self._value(j, steady and t <= self.patience[j].express_s) for j in range(len(self.now)))

    def _value(self, j: int, whole: bool) -> float:
        now = self.now[j]
        since = self.log_since[j] + self.since[j].value(now, whole=whole)
        running = self.late[j]
        if running is not None:
            since = log_add(since, running[0] + running[1].value(now, whole=False))
        return self.log_weights[j] + since

    def _close(self, j: int, *, free: bool = False) -> None:
        self.since[j].close(self.now[j], free=free)
        running = self.late[j]
        if running is not None:
            running[1].close(self.now[j])
        self.now[j] = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The state, as plain JSON."""
        late = [None if running is None else [running[0], *running[1].to_list()] for running in self.late]
        return {"now": self.now, "since": [run.to_list() for run in self.since], "late": late}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`to_dict` gave."""
        self.now = state["now"]
        self.since = [_run(saved) for saved in state["since"]]
        self.late = [None if saved is None else (saved[0], _run(saved[1:])) for saved in state["late"]]


def _run(saved: Sequence[Any]) -> Run:
    run = Run(saved[0], len(saved[3]))
    run.closed, run.lowest, run.recent, run.window, run.worst = saved[1:]
    return run

"""
The evidence that the canary is worse: one mixture of wagers over all rows, so that alpha covers the whole rollout.

Three kinds of wager share the stake:

- *shared*: each line against stable in the same tick. Immune to drift and to outages of both; slow at small weights.
- *pooled*: failures against stable's known rate, with a fuse for "half of everything fails". Fast; an outage fools it.
- *absolute*: each row of the SLO table against its promise. Also fooled by an outage.

The last two count only under *guard*: "only the canary suffers" has to be some thirty times likelier than "both do",
since the start or since this stage began, and they win nothing while stable itself is in trouble.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from golive.rollout.judge.layout import Counts, Line
from golive.rollout.judge.options import Options
from golive.rollout.judge.table import Want
from golive.slo.evalue import late_reserve, late_stake, log_sum, rate_gain, shared_gain
from golive.slo.wager import SINCE_SHARE, BlockClock, Patience, Wager

MULTIPLES = (1.15, 1.5, 2.2, 4.0, 10.0, 40.0, 200.0)
"""Alternatives: this many times the tolerated ratio."""
SEVERE = 4.0
"""From this multiple on a regression may be found within the first minute."""
GUARD_FROM = 2
"""The guard looks at the multiples from 2.2 up."""
POOLED_MULTIPLES, POOLED_PARTS = (8.0, 40.0), (0.85, 0.15)
ABSOLUTE_MULTIPLES = (2.0, 5.0, 15.0, 60.0)
RATE_MAX = 0.95
LEVEL_NULL, LEVEL_PARTS = 0.05, 3.0
"""A level (memory, CPU) of a healthy canary is beyond its alarm, alone, in at most one look of twenty."""
FUSE_NULL, FUSE_NULL_LATE = 0.004, 0.05
"""What "half fails" is held against. Later on, where bursts are, one failure in ten must not even look like it."""
FUSE_BLOCK_S = 2.0
"""Two blocks of at least this length must both burn before the fuse blows: one clump of failures does not."""
FUSE_FREE, FUSE_FREE_BLOCK_S = 4 / 9, 4.0
"""Only in the first part of a burst since the start one block may do, when it is long enough for more than a hiccup."""
WINDOW = 6
PARTS, PARTS_TAIL, PARTS_FUSE = 1.1, 4.0, 1.2
PREFIX_MAX, UNEVEN, STEADY_MIN = 2.5, 0.02, 5.0
"""When failures began too late, came too unevenly, or are too few, to have been there since the start."""
SUM_MAX = 40
#: the stake: where regressions are, as far as a hundred post-mortems tell; factors of two hardly matter
STAKE = {
    "errors": 0.10,
    "route": 0.08,
    "tail": 0.11,
    "fuse": 0.12,
    "late fuse": 0.04,
    "pooled": 0.50,
    "absolute": 0.03,
    "own": 0.02,
}


@dataclass(slots=True)
class Entry:
    """
    A wager with what it is about.

    Attributes:
        kind: ``shared``, ``fuse``, ``pooled``, ``absolute`` or ``level``.
        label: for sentences.
        line: index of the line whose counts it bets on (and whose guard applies).
        multiples: the alternatives, of the tolerated ratio or rate; for a fuse what it is held against.
        want: name of the SLO row, for absolute wagers and own rows.
        share: for absolute wagers the share of bad events that is promised.
        trouble: nats for the first alternative since it last was worth nothing (Page's cumulated sum).
        quiet: nats of stable's own counts, since that trouble began, against stable being in half of it too.
    """

    wager: Wager
    kind: str
    label: str
    line: int
    multiples: tuple[float, ...]
    want: str = ""
    share: float = 0.0
    trouble: float = 0.0
    quiet: float = 0.0


class Regression:
    """All wagers of a rollout, the guard, and the totals for sentences."""

    def __init__(
        self, options: Options, lines: Sequence[Line], wants: Sequence[Want], own: Sequence[str], tick_s: float
    ):
        self.options, self.lines, self.own = options, list(lines), list(own)
        self.goal = math.log(1 / options.alpha)
        self.tick_s = tick_s
        self.entries = [*self._shared(), *self._pooled(), *self._absolute(wants), *self._own()]
        self.minute_s = options.burst_s * 4 / 3
        self.clock = BlockClock([self.minute_s, *(p.block_s for entry in self.entries for p in entry.wager.patience)])
        self.minutes = 0
        self.guards = [[[0.0] * len(MULTIPLES), [0.0] * len(MULTIPLES)] for _ in [*lines, *own]]
        self.sums = [[[0.0] * 4, [0.0] * 4] for _ in [*lines, *own]]
        self.healthy_prefix: list[float | None] = [None for _ in [*lines, *own]]
        self.path: list[list[float]] = []
        self.alone = False

    # ------------------------------------------------------------------ how it is built

    def _patience(self, multiple: float, kind: str) -> Patience:
        """A burst can touch six blocks of its 4.5th part; slow requests come in longer waves than errors."""
        block = math.ceil(self.options.burst_s / 4.5 / self.tick_s - 1e-9) * self.tick_s
        express = self.options.express_s if multiple >= SEVERE and kind != "tail" else 0.0
        return Patience(block, PARTS_TAIL if kind == "tail" else PARTS, WINDOW, express)

    def _fuse(self) -> Patience:
        block = max(self.tick_s, min(FUSE_BLOCK_S, self.options.burst_s / 3))
        free = self.options.burst_s * FUSE_FREE if block >= FUSE_FREE_BLOCK_S else 0.0
        return Patience(block, PARTS_FUSE, 0, 0.0, late=False, free_s=free)

    def _wager(self, stake: float, multiples: Sequence[float], kind: str) -> Wager:
        weights = [stake / len(multiples)] * len(multiples)
        return Wager(weights, [self._patience(m, kind) for m in multiples], self.goal)

    def _shared(self) -> list[Entry]:
        sizes = {kind: sum(line.kind == kind for line in self.lines) for kind in ("errors", "route", "tail")}
        spare = sum(STAKE[kind] for kind, size in sizes.items() if size == 0) + (0.0 if self.own else STAKE["own"])
        entries = []
        for i, line in enumerate(self.lines):
            stake = STAKE[line.kind] / sizes[line.kind] + (spare if line.kind == "errors" else 0.0)
            entries.append(Entry(self._wager(stake, MULTIPLES, line.kind), "shared", line.label, i, MULTIPLES))
        return entries

    def _pooled(self) -> list[Entry]:
        """The fuse for a build broken from the start, the one for later, and failures far above stable's usual rate."""
        fuse = Wager([STAKE["fuse"]], [self._fuse()], self.goal)
        weights = [STAKE["pooled"] * part for part in POOLED_PARTS]
        pooled = Wager(weights, [self._patience(m, "errors") for m in POOLED_MULTIPLES], self.goal)
        late = Wager([STAKE["late fuse"]], [replace(self._fuse(), late=True, free_s=0.0)], self.goal)
        return [
            Entry(fuse, "fuse", self.lines[0].label, 0, (FUSE_NULL,)),
            Entry(late, "fuse", self.lines[0].label, 0, (FUSE_NULL_LATE,)),
            Entry(pooled, "pooled", f"{self.lines[0].label} against stable's usual rate", 0, POOLED_MULTIPLES),
        ]

    def _absolute(self, wants: Sequence[Want]) -> list[Entry]:
        judged = [(want, line) for want in wants if (line := self.line_of(want)) is not None]
        entries = []
        for want, line in judged:
            kind = self.lines[line].kind
            wager = self._wager(STAKE["absolute"] / len(judged), ABSOLUTE_MULTIPLES, kind)
            entries.append(
                Entry(wager, "absolute", f"{want.name} ({want.bar})", line, ABSOLUTE_MULTIPLES, want.name, want.share)
            )
        return entries

    def _own(self) -> list[Entry]:
        """For each row with its own measurement two bets: it may be a count or a level."""
        stake = STAKE["own"] / (2 * max(len(self.own), 1))
        patience = Patience(self.tick_s, LEVEL_PARTS, 0, 0.0)
        entries = []
        for i, name in enumerate(self.own, start=len(self.lines)):
            entries.append(Entry(self._wager(stake, MULTIPLES, "errors"), "shared", name, i, MULTIPLES, name))
            entries.append(Entry(Wager([stake], [patience], self.goal), "level", name, i, (RATE_MAX,), name))
        return entries

    def line_of(self, want: Want) -> int | None:
        """The line an SLO row is judged by; None when it cannot be judged from requests."""
        if want.unjudgeable or want.kind == "own":
            return None
        if want.kind == "latency":
            wanted = ("tail", want.cut)
        elif want.route is None or not any(line.kind == "route" for line in self.lines):
            wanted = ("errors", 0)
        else:
            wanted = ("route", want.route)
        return next((i for i, line in enumerate(self.lines) if (line.kind, line.index) == wanted), None)

    # ------------------------------------------------------------------ one tick

    def begin_stage(self) -> None:
        """A new stage: the guard and the totals of the stage begin anew, the wealth never does."""
        for guard, sums in zip(self.guards, self.sums, strict=True):
            guard[1] = [0.0] * len(MULTIPLES)
            sums[1] = [0.0] * 4

    def observe(
        self,
        t: float,
        counts: Sequence[Counts],
        phi: Sequence[float],
        usual: Sequence[float],
        incident: Sequence[bool],
        levels: Mapping[str, bool],
        *,
        warm: bool,
        alone: bool,
    ) -> None:
        """
        Add one tick.

        Args:
            counts: of every line, then of every own row.
            phi: clumping of each of them.
            usual: stable's cautious rate of each of them before this tick.
            incident: whether stable is in trouble, for each of them.
            levels: of the levels measured on both versions in this tick, by row: whether the canary was beyond the
                alarm alone; rows where both were, say nothing and are left out.
            warm: the stage has just begun; latency says nothing yet.
            alone: all traffic is on the canary; there is nothing to compare with.
        """
        gains = [self._compare(i, each, phi[i], warm=warm) for i, each in enumerate(counts)]
        for entry in self.entries:
            if entry.kind == "shared":
                if (gain := gains[entry.line]) is not None:
                    entry.wager.bet(gain)
            elif entry.kind == "level":
                if entry.want in levels:
                    entry.wager.bet([rate_gain(float(levels[entry.want]), 1.0, LEVEL_NULL, RATE_MAX)])
            elif not (warm and self._is_tail(entry.line)):
                won = self._stand_alone(entry, counts[entry.line], usual[entry.line])
                scale = 1.0 / phi[entry.line]
                stopped = incident[entry.line]
                entry.wager.bet([min(gain * scale, 0.0) if stopped else gain * scale for gain in won])
                self._listen(entry, counts[entry.line], usual[entry.line], won[0] * scale, scale)
        self.alone = alone
        if t <= self.options.express_s:
            self.path.append(self.sums[0][0][:2])
        self._settle(t)

    def _is_tail(self, line: int) -> bool:
        return line < len(self.lines) and self.lines[line].kind == "tail"

    def _compare(self, i: int, x: Counts, phi: float, *, warm: bool) -> list[float] | None:
        """The gains of a line against stable in the same tick; also feeds guard and totals. None: nothing happened."""
        if warm and self._is_tail(i):
            return None
        if x.c > 0 and self.healthy_prefix[i] is None:
            self.healthy_prefix[i] = self.sums[i][0][1] + x.n_c / (x.c + 1)  # where the first of c failures is expected
        for sums in self.sums[i]:
            for k, value in enumerate((x.c, x.n_c, x.b, x.n_s)):
                sums[k] += value
        if x.c + x.b <= 0 or x.n_c <= 0 or x.n_s <= 0:
            return None
        tolerated = self.lines[i].tolerated if i < len(self.lines) else self.options.tolerated_error_factor
        gains = [shared_gain(x.c, x.b, x.n_c, x.n_s, tolerated, tolerated * m) / phi for m in MULTIPLES]
        for guard in self.guards[i]:
            for j, gain in enumerate(gains):
                guard[j] += gain
        return gains

    def _stand_alone(self, entry: Entry, x: Counts, usual: float) -> list[float]:
        """The gains of the canary alone against a rate that does not come from this tick."""
        rates = (self._worse(entry, j, usual) for j in range(len(entry.multiples)))
        return [rate_gain(x.c, x.n_c, null, worse) if worse > 1.5 * null else 0.0 for null, worse in rates]

    def _worse(self, entry: Entry, j: int, usual: float) -> tuple[float, float]:
        """The rate that is tolerated and the *j*-th alternative to it."""
        if entry.kind == "fuse":
            return max(usual, entry.multiples[j]), self.options.fuse_ratio
        null = max(entry.share, usual * self.options.tolerated_error_factor) if entry.kind == "absolute" else usual
        return null, min(null * entry.multiples[j], RATE_MAX)

    def _listen(self, entry: Entry, x: Counts, usual: float, gain: float, scale: float) -> None:
        """Whether stable stays quiet while the canary is in trouble; the tick in which that began is not counted."""
        if entry.trouble > 0:
            half = max(self._worse(entry, 0, usual)[1] / 2, usual * 1.01)
            entry.quiet += rate_gain(x.b, x.n_s, half, usual) * scale
        entry.trouble = max(entry.trouble + gain, 0.0)
        if entry.trouble == 0.0:
            entry.quiet = 0.0

    def _settle(self, t: float) -> None:
        closed = self.clock.advance(t)
        if not closed:
            return
        for entry in self.entries:
            entry.wager.settle(closed, t)
        if self.minute_s in closed:
            self.minutes += 1
            for entry in self.entries:
                entry.wager.start_late((1 - SINCE_SHARE) * late_stake(self.minutes))

    # ------------------------------------------------------------------ what it comes to

    def guard(self, line: int) -> float:
        """Nats by which "only the canary suffers" is likelier than "both suffer", since the start or this stage."""
        even = math.log(len(MULTIPLES) - GUARD_FROM)
        return max(log_sum(each[GUARD_FROM:]) - even for each in self.guards[line])

    def guarded(self, entry: Entry) -> bool:
        """Whether *entry* may take the canary back by itself."""
        if entry.kind in ("shared", "level"):
            return True
        if self.alone:
            return self.options.watch == "revert"
        early = not entry.wager.patience[0].late  # an outage that begins with the canary would be a great coincidence
        bar = self.options.guard / 2 if early else self.options.guard
        return entry.quiet >= self.goal or self.guard(entry.line) >= math.log(bar)

    def weigh(self, t: float) -> Weight:
        """The wealth at *t* (seconds since the start), and what it rests on."""
        steady = [self._steady(line) for line in range(len(self.sums))]
        values = [entry.wager.value(t, steady=steady[entry.line]) for entry in self.entries]
        cash = math.log((1 - SINCE_SHARE) * late_reserve(self.minutes))
        allowed = [(value, i) for i, value in enumerate(values) if self.guarded(self.entries[i])]
        total = log_sum([*(value for value, _ in allowed), cash])
        return Weight(
            total, log_sum([*values, cash]), self.entries[max(allowed)[1]], {i: value for value, i in allowed}
        )

    def _steady(self, line: int) -> bool:
        """
        Whether the canary failed all along, and did not begin to after a time without a failure.

        At the rate since the first failure, the exposure before it would have brought some *PREFIX_MAX* failures.
        """
        prefix, (c, n, _, _) = self.healthy_prefix[line], self.sums[line][0]
        if prefix is None or c < STEADY_MIN:
            return False
        return prefix * c <= PREFIX_MAX * (n - prefix) and evenly(self.path)

    def visible(self, line: int) -> bool:
        """Whether the canary's excess, since the start or in this stage, is more than a trifle."""
        return any(excess(sums) >= self.options.min_excess for sums in self.sums[line])

    def row_value(self, weight: Weight, line: int, want: str = "") -> float:
        """Log wealth of everything that speaks against *line* (and the SLO row *want*)."""
        return log_sum(
            value
            for i, value in weight.allowed.items()
            if self.entries[i].line == line and self.entries[i].want in ("", want)
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """The state, as plain JSON."""
        return {
            "wagers": [entry.wager.to_dict() for entry in self.entries],
            "quiet": [[entry.trouble, entry.quiet] for entry in self.entries],
            "clock": self.clock.to_dict(),
            "minutes": self.minutes,
            "guards": self.guards,
            "sums": self.sums,
            "healthy_prefix": self.healthy_prefix,
            "path": self.path,
            "alone": self.alone,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`to_dict` gave."""
        for entry, wager, quiet in zip(self.entries, state["wagers"], state["quiet"], strict=True):
            entry.wager.restore(wager)
            entry.trouble, entry.quiet = quiet
        self.clock.restore(state["clock"])
        self.minutes, self.guards, self.sums = state["minutes"], state["guards"], state["sums"]
        self.healthy_prefix, self.path, self.alone = state["healthy_prefix"], state["path"], state["alone"]


@dataclass(frozen=True, slots=True)
class Weight:
    """
    The evidence of a regression at one look, in nats.

    Attributes:
        total: what may take the canary back; log(1/alpha) does.
        suspicion: the same with everything a guard still holds back.
        lead: the entry that contributes most.
        allowed: of the entries that may take the canary back, by their index.
    """

    total: float
    suspicion: float
    lead: Entry
    allowed: dict[int, float]


def evenly(path: Sequence[Sequence[float]]) -> bool:
    """
    Whether every quarter of the canary's requests since the start had its share of failures, up to chance.

    Args:
        path: cumulative (failed, served) at each look since the start.
    """
    c, n = path[-1] if path else (0.0, 0.0)
    for part in (0.25, 0.5, 0.75):
        failed, served = next((point for point in reversed(path) if point[1] <= part * n), (0.0, 0.0))
        if served > 0 and _chance_of_so_few(failed, c, served / n) < UNEVEN:
            return False
    return True


def _chance_of_so_few(k: float, n: float, share: float) -> float:
    """P(Binomial(n, share) <= k), by its normal approximation where the sum gets long."""
    if n > SUM_MAX:
        return 0.5 * math.erfc((n * share - k - 0.5) / math.sqrt(2 * n * share * (1 - share)))
    size = round(n)
    return sum(math.comb(size, i) * share**i * (1 - share) ** (size - i) for i in range(round(k) + 1))


def excess(sums: Sequence[float]) -> float:
    """Canary's rate minus stable's, from (c, n_c, b, n_s); stable's rate is 0 when it had no traffic."""
    c, n_c, b, n_s = sums
    return (c / n_c if n_c > 0 else 0.0) - (b / n_s if n_s > 0 else 0.0)

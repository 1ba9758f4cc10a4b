"""
From evidence to a decision with its words: one verdict and sentence per SLO row, and one reason for the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

from golive.rollout.judge.decision import Action, Decision, RowVerdict
from golive.rollout.judge.gauges import Gauges
from golive.rollout.judge.options import Options
from golive.rollout.judge.promotion import Promotion
from golive.rollout.judge.reading import Tick
from golive.rollout.judge.regression import Entry, Regression, Weight
from golive.rollout.judge.table import Want
from golive.rollout.judge.words import duration, figures, more_requests, odds, percent, points
from golive.slo.evalue import rate_gain
from golive.slo.noninferiority import RATIO_MIN
from golive.slo.row import Verdict

SUSPICIOUS_MAX = 49.0
"""A suspected canary is never trusted more than not."""


class Look(TypedDict):
    """What the words of one look are made from."""

    tick: Tick
    weight: Weight
    incident: bool
    phi: list[float]
    rate: float
    tail: int | None


class Report:
    """Writes the decisions of one judge. *regression* and *promotion* are None before the canary had traffic."""

    def __init__(
        self,
        wants: Sequence[Want],
        plan: Sequence[float],
        options: Options,
        regression: Regression | None,
        promotion: Promotion | None,
        gauges: Gauges,
        noun: str = "requests",
    ) -> None:
        self.wants, self.plan, self.options, self.gauges = wants, plan, options, gauges
        self._regression, self._promotion, self.noun = regression, promotion, noun

    # ------------------------------------------------------------------ decisions

    def unreadable(self, reason: str) -> Decision:
        """Nothing can be judged: hold, every row INCONCLUSIVE."""
        rows = tuple(RowVerdict(want.name, Verdict.INCONCLUSIVE, f"{want.name}: {reason}.") for want in self.wants)
        confidence = self.confidence(suspicious=False) if self._promotion else 0.0
        return Decision(Action.HOLD, confidence, rows, f"hold: {reason}.")

    def rollback(self, look: Look, lead: Entry) -> Decision:
        """The evidence has reached the bar."""
        sums = max(self.regression.sums[lead.line], key=_excess_of)
        bar = f"{1 / self.options.alpha:,.0f} to 1"
        certainty = odds(look["weight"].total)
        reason = f"roll back: {self._label(lead)}: {figures(sums)}; {certainty} that it is a regression (bar {bar})."
        rows = self._rows(look, failed=lead)
        if not any(row.verdict is Verdict.FAIL for row in rows):
            rows = (
                *rows,
                RowVerdict(self._label(lead), Verdict.FAIL, f"{figures(sums)}; {certainty}, bar {bar}."),
            )
        return self._decision(Action.ROLLBACK, look, rows, reason)

    def gauge_failed(self, look: Look, want: Want, lead: Entry) -> Decision:
        """A level was beyond its alarm, on the canary only, too often."""
        rows, why = self._rows(look, failed=lead), self.gauges.verdict(want.row)[1]
        return self._decision(Action.ROLLBACK, look, rows, f"roll back: {why}")

    def hold_or_promote(self, look: Look, forbidden: str) -> Decision:
        """No regression is established: promote when it is earned and not *forbidden*."""
        tick = look["tick"]
        rows = self._rows(look)
        last = tick.stage >= len(self.plan) - 1
        if not forbidden and self.promotion.earned(tick.stage, tick.stage_age, look["rate"]):
            after = "done" if last else f"{percent(self.plan[tick.stage + 1])} next"
            return self._decision(Action.PROMOTE, look, rows, f"promote: {after}; {self._proof_words()}.")
        late = tick.stage_age >= self.options.ceiling(tick.stage) - 1e-9 and not last
        missing = forbidden or self._missing(look)
        if late:
            missing += (
                f"; undecided after {duration(tick.stage_age)}, the most this stage may take: a person has to decide"
            )
        return self._decision(Action.HOLD, look, rows, f"hold: {missing}.", needs_human=late)

    def confidence(self, *, suspicious: bool) -> float:
        """0..100: ``100 (1 - e^-L)``, L the evidence against "worse than the margin" on the least proven row."""
        value = 100.0 * (1.0 - math.exp(-max(self.promotion.proof(0), 0.0)))
        return min(value, SUSPICIOUS_MAX) if suspicious else value

    def _decision(
        self, action: Action, look: Look, rows: tuple[RowVerdict, ...], reason: str, *, needs_human: bool = False
    ) -> Decision:
        suspicious = look["weight"].suspicion > math.log(self.options.warn)
        return Decision(
            action,
            self.confidence(suspicious=suspicious or action is Action.ROLLBACK),
            rows,
            reason,
            needs_human=needs_human,
            incident=look["incident"],
            evidence=look["weight"].total / math.log(10),
            harm_bound=self.promotion.harm_bound(),
        )

    # ------------------------------------------------------------------ words

    def _proof_words(self) -> str:
        bound = self.promotion.harm_bound()
        if bound >= 1:
            return "the harm it could do at the next weight is within the budget"
        return f"an excess of {points(bound)} of failures is ruled out"

    def _missing(self, look: Look) -> str:
        """What keeps a healthy-looking canary from the next stage."""
        tick = look["tick"]
        wait = self.promotion.waiting_s(tick.stage) - tick.stage_age
        proven = self.promotion.proof(0) >= self.promotion.need
        if wait > 0:
            still = f"this stage lasts at least {duration(tick.stage_age + wait)}, {duration(wait)} to go"
            return still if proven else f"{still}; {self._need_words(look, self.options.margin)}"
        if self.plan[tick.stage + 1] <= 0.5:
            harm = self.promotion.next_harm(tick.stage, look["rate"])
            cost = (
                f"the next stage could still cost {harm:,.0f} failed {self.noun} (budget {self.options.harm_budget:g})"
            )
            return f"{cost}; {self._need_words(look, self._bound_wanted(look))}"
        return self._open_questions(look, since=1 if proven else 0)

    def _open_questions(self, look: Look, since: int) -> str:
        """What is not shown yet since the start (0) or in this stage (1): errors, latency or both, with figures."""
        where, margin = "in this stage " if since else "", self.options.margin
        parts = []
        errors = self.promotion.need - self.promotion.errors[since].value(0)
        if errors > 0:
            counted = figures(self.regression.sums[0][since])
            still = self._need_errors(look, margin, errors, since)
            parts.append(f"{where}an excess of {points(margin)} of failures is not ruled out ({counted}); {still}")
        tails = self.promotion.need - self.promotion.tails[since].value(0)
        if look["tail"] is not None and tails > 0:
            label, counted = (
                self.regression.lines[look["tail"]].label,
                figures(self.regression.sums[look["tail"]][since]),
            )
            slower = f"{where}a canary slower by {100 * (self.options.latency_margin - 1):.0f}% is not ruled out"
            have, need = odds(self.promotion.need - tails), odds(self.promotion.need)
            parts.append(f"{slower} ({label}: {counted}); the evidence is {have}, needed is {need}")
        return "; ".join(parts)

    def _bound_wanted(self, look: Look) -> float:
        """The smallest rung that would fit the harm budget."""
        unit = self.plan[look["tick"].stage + 1] * look["rate"] * self.options.reaction_s
        fitting = [delta for delta in self.promotion.deltas if delta * unit <= self.options.harm_budget]
        return fitting[-1] if fitting else self.promotion.deltas[0]

    def _need_words(self, look: Look, delta: float) -> str:
        """How many more requests refute an excess of *delta*, if the canary goes on as it is; or what else is short."""
        rung = self.promotion.deltas.index(delta)
        errors = self.promotion.need - self.promotion.errors[0].value(rung)
        if errors > 0:
            return self._need_errors(look, delta, errors)
        tails = self.promotion.need - self.promotion.tails[0].value(0)
        if self.promotion.latency and tails > 0:
            return f"latency needs evidence of {odds(self.promotion.need)}, has {odds(self.promotion.need - tails)}"
        return "the evidence of this stage alone is still short"

    def _need_errors(self, look: Look, delta: float, nats: float, since: int = 0) -> str:
        """*since* the start (0) or this stage (1): the rates the canary is expected to go on with."""
        c, n_c, b, n_s = self.regression.sums[0][since]
        usual = (b + 0.5) / (n_s + 500.0)
        now = (c + 500.0 * usual) / (n_c + 500.0)
        gain = rate_gain(now, 1.0, min(usual + delta, 0.999), min(usual + RATIO_MIN * delta, 0.99)) / look["phi"][0]
        return more_requests(nats, gain, look["rate"] * look["tick"].weight, self.noun)

    def _label(self, entry: Entry) -> str:
        return entry.want or (
            self.regression.lines[entry.line].label if entry.line < len(self.regression.lines) else entry.label
        )

    def _rows(self, look: Look, failed: Entry | None = None) -> tuple[RowVerdict, ...]:
        return tuple(RowVerdict(want.name, *self._row(look, want, failed)) for want in self.wants)

    def _row(self, look: Look, want: Want, failed: Entry | None) -> tuple[Verdict, str]:
        if want.unjudgeable:
            return Verdict.INCONCLUSIVE, f"{want.name}: {want.unjudgeable}."
        if want.kind == "own":
            return self._own_row(look, want, failed)
        line = self.regression.line_of(want)
        if line is None:
            return Verdict.INCONCLUSIVE, f"{want.name}: there is no evidence for it."
        sums = self.regression.sums[line][0]
        what = "" if want.kind == "errors" else f"slower than {want.limit_s:g} s: "
        facts = f"{want.name}: {what}{figures(sums)} ({want.bar})"
        verdict, rest = self._standing(look, want, line, failed)
        return verdict, f"{facts}. {rest}"

    def _standing(self, look: Look, want: Want, line: int, failed: Entry | None) -> tuple[Verdict, str]:
        """The verdict on a row judged from requests, and its second sentence."""
        against = self.regression.row_value(look["weight"], line, want.name)
        bar = f"{1 / self.options.alpha:,.0f} to 1"
        if failed is not None and failed.line == line and failed.want in ("", want.name):
            return Verdict.FAIL, f"{odds(max(against, look['weight'].total))} that the canary is worse (bar {bar})."
        if look["incident"]:
            return Verdict.INCONCLUSIVE, "Stable is in trouble too: an incident, not the canary."
        if against > math.log(self.options.warn):
            return Verdict.INCONCLUSIVE, f"Suspicious: {odds(against)} that the canary is worse, {bar} rolls it back."
        if want.kind == "errors":
            return self._errors_standing(look, want, line)
        return self._latency_standing(want, line)

    def _errors_standing(self, look: Look, want: Want, line: int) -> tuple[Verdict, str]:
        margin = points(self.options.margin)
        missing = self.promotion.need - self.promotion.errors[0].value(0)
        if missing > 0:
            return (
                Verdict.INCONCLUSIVE,
                f"An excess of {margin} is not ruled out yet: {self._need_errors(look, self.options.margin, missing)}.",
            )
        return self._against_bar(want, line, f"An excess of {margin} is ruled out.")

    def _latency_standing(self, want: Want, line: int) -> tuple[Verdict, str]:
        missing = self.promotion.need - self.promotion.tails[0].value(0)
        slower = f"{100 * (self.options.latency_margin - 1):.0f}%"
        if missing > 0:
            have, need = odds(self.promotion.need - missing), odds(self.promotion.need)
            return Verdict.INCONCLUSIVE, f"A canary slower by {slower} is not ruled out yet: {have}, needed is {need}."
        return self._against_bar(want, line, f"A canary slower by {slower} is ruled out.")

    def _against_bar(self, want: Want, line: int, proven: str) -> tuple[Verdict, str]:
        """Not worse than stable; but is that good enough for the table?"""
        c, n_c, _, _ = self.regression.sums[line][0]
        spread = 3 * math.sqrt(max(c, 1.0)) / n_c if n_c > 0 else 1.0
        if n_c > 0 and c / n_c - spread > want.share:
            return Verdict.INCONCLUSIVE, f"{proven} But it misses the table, as stable does: not the canary's doing."
        return Verdict.PASS, proven

    def _own_row(self, look: Look, want: Want, failed: Entry | None) -> tuple[Verdict, str]:
        index = len(self.regression.lines) + self.regression.own.index(want.name)
        sums = self.regression.sums[index][0]
        if failed is not None and failed.line == index and failed.kind != "level":
            return (
                Verdict.FAIL,
                f"{want.name}: {figures(sums)} ({want.bar}). {odds(look['weight'].total)} that the canary is worse.",
            )
        if sums[1] <= 0:
            verdict, sentence = self.gauges.verdict(want.row)
            if verdict is Verdict.FAIL and (failed is None or failed.line != index):
                have = odds(self.regression.row_value(look["weight"], index))
                bar = f"{1 / self.options.alpha:,.0f} to 1"
                return Verdict.INCONCLUSIVE, f"{sentence} That is {have} against the canary, {bar} takes it back."
            return verdict, sentence
        what = f"slower than {want.limit_s:g} s: " if want.limit_s else ""
        facts = f"{want.name}: {what}{figures(sums)} ({want.bar})"
        if sums[3] <= 0:
            return Verdict.INCONCLUSIVE, f"{facts}. Stable had none yet to compare with."
        against = self.regression.row_value(look["weight"], index)
        if against > math.log(self.options.warn):
            bar = f"{1 / self.options.alpha:,.0f} to 1"
            why = f"Suspicious: {odds(against)} that the canary is worse, {bar} rolls it back."
            return Verdict.INCONCLUSIVE, f"{facts}. {why}"
        verdict = Verdict.PASS if _meets(want, sums) else Verdict.INCONCLUSIVE
        return verdict, f"{facts}. No sign that the canary is worse."

    @property
    def regression(self) -> Regression:
        """The evidence of harm; only once the canary had traffic."""
        assert self._regression is not None
        return self._regression

    @property
    def promotion(self) -> Promotion:
        """The proof of no harm; only once the canary had traffic."""
        assert self._promotion is not None
        return self._promotion


def _meets(want: Want, sums: Sequence[float]) -> bool:
    """Whether the canary's counts of an own row meet the target, which is a number, a share or a limit of each run."""
    c, n_c = sums[:2]
    if want.limit_s or want.row.indicator == "cost_per_job":
        return c / n_c <= want.share
    return want.row.target.holds(c if want.row.target.unit == "number" else c / n_c)


def _excess_of(sums: Sequence[float]) -> float:
    c, n_c, b, n_s = sums
    return (c / n_c if n_c else 0.0) - (b / n_s if n_s else 0.0)

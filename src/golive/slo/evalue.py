"""
Evidence that may be looked at as often as one likes: likelihood ratios as bets, in log space.

The model. Somebody claims "the canary is not worse than tolerated" and sells bets on its failures at fair odds. We hold
one unit of stake, spread over alternatives (twice as bad, ten times as bad, ...) and over beginnings (bad since the
start, bad since minute k). If the claim is true, the wealth is a non-negative supermartingale, and the chance that it
*ever* reaches 1/alpha is at most alpha (Ville's inequality), whatever the stages, the looks and the stopping.
How it fails: events that come in clumps pay several times for one cause (see :mod:`golive.slo.clumping`), and estimates
that saw the data they judge are no fair odds (estimates are learned after they were used).

Sources: Lindon, Malek, "Anytime-valid inference for multinomial count data" (arXiv 2011.03567); Waudby-Smith, Ramdas,
"Estimating means of bounded random variables by betting"; Howard, Ramdas et al., "Time-uniform confidence sequences".
"""

from __future__ import annotations

import math
from collections.abc import Iterable

NEVER = -1e9
"""The log of "no stake". Finite, so that state is plain JSON and differences stay numbers."""


def log_add(a: float, b: float) -> float:
    """``log(exp(a) + exp(b))`` without overflow."""
    if a < b:
        a, b = b, a
    gap = b - a
    return a if gap < -40.0 else a + math.log1p(math.exp(gap))


def log_sum(terms: Iterable[float]) -> float:
    """``log(sum(exp(terms)))`` without overflow; :data:`NEVER` for no terms."""
    logs = list(terms)
    top = max(logs, default=NEVER)
    if top <= NEVER:
        return NEVER
    return top + math.log(sum(math.exp(term - top) for term in logs))


def shared_gain(c: float, b: float, n_c: float, n_s: float, ratio_0: float, ratio_1: float) -> float:
    """
    Log likelihood ratio of "the canary's rate is *ratio_1* times stable's" against *ratio_0* times, given the total.

    Of ``c + b`` events the share ``r n_c / (r n_c + n_s)`` falls on the canary when its rate is r times stable's,
    whatever that rate is: load, time of day and outages shared by both versions cancel.

    Args:
        c, b: events on canary and stable in one tick.
        n_c, n_s: their exposure in the same tick (requests, units, jobs).
        ratio_0, ratio_1: rate ratios, > 0.

    Returns: nats; 0 when nothing happened or only one version was exposed.
    Source: Lindon, Malek, section 4 (conditional Poisson counts).
    """
    if n_c <= 0 or n_s <= 0 or c + b <= 0:
        return 0.0
    return c * math.log(ratio_1 / ratio_0) - (c + b) * math.log((ratio_1 * n_c + n_s) / (ratio_0 * n_c + n_s))


def rate_gain(k: float, n: float, p_0: float, p_1: float) -> float:
    """
    Log likelihood ratio of rate *p_1* against *p_0* after *k* events in *n* trials (Bernoulli), in nats.

    Args:
        k, n: 0 <= k <= n.
        p_0, p_1: 0 < p < 1.
    """
    return k * math.log(p_1 / p_0) + (n - k) * math.log((1 - p_1) / (1 - p_0))


def late_stake(k: int, spread: int = 30) -> float:
    """
    The share of the late reserve paid out at the *k*-th minute (k >= 1), to bet on "bad since minute k".

    ``(1 + s) / ((k + s)(k + s + 1))`` telescopes: nearly equal parts over the first *spread* minutes, and never
    exhausted, so that a rollout of days is still guarded. What :func:`late_reserve` says is left.
    """
    return (1 + spread) / ((k + spread) * (k + spread + 1))


def late_reserve(k: int, spread: int = 30) -> float:
    """The share of the late reserve not yet paid out after minute *k* (k >= 0); money kept counts at its face value."""
    return (1 + spread) / (k + spread + 1)

"""
The sentences. Each names the figures, the bar, and what would change the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def share(part: float, whole: float) -> str:
    """``0.31% (12 of 3,870)``; ``no requests`` when there were none."""
    if whole <= 0:
        return "no requests"
    return f"{percent(part / whole)} ({part:,.0f} of {whole:,.0f})"


def percent(ratio: float) -> str:
    """Three significant digits: ``0.312%``, ``12.5%``, ``0%``."""
    return f"{100 * ratio:.3g}%"


def points(ratio: float) -> str:
    """A difference of shares: ``0.3 points`` (percentage points)."""
    return f"{100 * ratio:.3g} point{'' if ratio == 0.01 else 's'}"


def duration(seconds: float) -> str:
    """Rounded as one would say it: ``40 s``, ``9 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{max(math.ceil(seconds), 1)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def odds(nats: float) -> str:
    """Evidence as a bet: ``230 to 1``; beyond a million only that."""
    if nats > math.log(1e6):
        return "over a million to 1"
    value = math.exp(max(nats, 0.0))
    return f"{value:,.0f} to 1" if value >= 10 else f"{value:.1f} to 1"


def figures(sums: Sequence[float]) -> str:
    """Both versions' figures from (c, n_c, b, n_s)."""
    return f"canary {share(sums[0], sums[1])}, stable {share(sums[2], sums[3])}"


def more_requests(nats: float, gain_per_request: float, rate: float, noun: str = "requests") -> str:
    """
    What is still needed: ``needs about 812 more requests on the canary, about 9 min``.

    Args:
        nats: evidence missing, > 0.
        gain_per_request: expected evidence from one request of a canary that stays as it is, nats.
        rate: requests per second on the canary.
    """
    if gain_per_request <= 0:
        return "at this rate it will not get better by waiting"
    requests = math.ceil(nats / gain_per_request)
    if rate <= 0:
        return f"needs about {requests:,} more {noun} on the canary, which gets none now"
    return f"needs about {requests:,} more {noun} on the canary, about {duration(requests / rate)}"

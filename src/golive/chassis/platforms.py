"""
How long each platform waits between SIGTERM and SIGKILL, and the shutdown that fits into it.

Named by ``GOLIVE_CHASSIS_PLATFORM``; what is set explicitly wins, and a shutdown that cannot fit refuses the start.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple


class Platform(NamedTuple):
    """*limit* is the platform's default patience; *lame_duck* and *grace* together stay below it by at least 2 s."""

    limit: timedelta
    lame_duck: timedelta
    grace: timedelta


def _platform(limit: float, lame_duck: float, grace: float) -> Platform:
    return Platform(timedelta(seconds=limit), timedelta(seconds=lame_duck), timedelta(seconds=grace))


#: Kubernetes: terminationGracePeriodSeconds, endpoint removal races with SIGTERM. Cloud Run: 10 s, and it stops sending
#: first. ECS: stopTimeout 30 s. systemd: TimeoutStopSec 90 s, with no balancer of its own.
PLATFORMS = {
    "kubernetes": _platform(30, 5, 22),
    "cloud-run": _platform(10, 1, 7),
    "ecs": _platform(30, 5, 22),
    "systemd": _platform(90, 3, 80),
}

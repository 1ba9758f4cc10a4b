"""
What the demonstration measured, from the journal and the load's own windows, and whether it showed what it promised.

Nothing here is believed because it was printed: detection and rollback times are differences of journal instants,
failures and drops are what the clients of the load counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from golive.rollout import events as ev
from golive.rollout.journal import Entry
from golive.rollout.machine import Phase, State


def story(state: State, entries: Sequence[Entry], windows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """
    One rollout as summary.json has it.

    Args:
        windows: the load's seconds, each with ``at`` (seconds since the epoch) and cumulative-free counts.
    """
    began, ended = entries[0].at, state.ended_at or entries[-1].at
    seen = [window for window in windows if began.timestamp() <= window["at"] <= ended.timestamp() + 1]
    decided = next((entry.at for entry in entries if entry.phase == Phase.ROLLING_BACK), None)
    return {
        "rollout": state.id,
        "version": state.candidate,
        "outcome": "live" if state.phase is Phase.LIVE else str(state.phase.value),
        "reason": state.reason,
        "stages": _stages(entries),
        "requests": sum(window["requests"] for window in seen),
        "failed_requests_seen_by_clients": sum(window["failed"] for window in seen),
        "requests_dropped": sum(window["dropped"] for window in seen),
        "detection_seconds": _seconds(_first_traffic(entries), decided),
        "rollback_seconds": _seconds(decided, _confirmed_empty(entries, decided)),
        "resumed_after_kill": any(isinstance(entry.event, ev.ControllerStarted) for entry in entries),
        "seconds": _seconds(began, ended),
    }


def _stages(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Every weight that was confirmed at the gateway, and when, in seconds since the start."""
    began = entries[0].at
    return [
        {"weight_percent": entry.weight / 100, "at_seconds": _seconds(began, entry.at)}
        for entry in entries
        if isinstance(entry.event, ev.TrafficConfirmed) and entry.phase in (Phase.SOAKING, Phase.DRAINING)
    ]


def _first_traffic(entries: Sequence[Entry]) -> datetime | None:
    return next((entry.at for entry in entries if isinstance(entry.event, ev.TrafficConfirmed)), None)


def _confirmed_empty(entries: Sequence[Entry], decided: datetime | None) -> datetime | None:
    if decided is None:
        return None
    return next(
        (entry.at for entry in entries if entry.at >= decided and isinstance(entry.event, ev.TrafficConfirmed)), None
    )


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    return round((end - begin).total_seconds(), 3) if begin and end else None


def shortcomings(good: dict[str, Any], bad: dict[str, Any]) -> list[str]:
    """What the demonstration did not show; empty when it showed everything."""
    faults = []
    if good["outcome"] != "live" or good["stages"][-1]["weight_percent"] != 100:
        faults.append(f"{good['version']} should be live and is {good['outcome']}: {good['reason']}")
    if bad["outcome"] != "rolled_back":
        faults.append(f"{bad['version']} should have been taken back and is {bad['outcome']}")
    if not good["resumed_after_kill"]:
        faults.append("the controller was killed and nobody took over")
    for rollout in (good, bad):
        if rollout["requests"] == 0:
            faults.append(f"no client saw the rollout of {rollout['version']}")
        if rollout["requests_dropped"]:
            faults.append(f"{rollout['requests_dropped']} requests were dropped while {rollout['version']} was shipped")
    if good["failed_requests_seen_by_clients"]:
        faults.append(f"{good['failed_requests_seen_by_clients']} requests failed while {good['version']} was shipped")
    return faults

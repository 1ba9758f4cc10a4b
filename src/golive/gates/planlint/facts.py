"""The settings the rules compare, as plain data: the composition root fills them in from golive.toml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from golive.slo.row import Row


@dataclass(frozen=True, slots=True)
class PlanStage:
    """*weight* 0..1 of the traffic for at most *most* seconds; None: until the evidence is there."""

    weight: float
    most: float | None


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """
    Durations are seconds.

    Attributes:
        rows: of ``[slo]``.
        moves, semantics: of ``[rollout]``.
        served, works: golive's own server, or a worker, is started.
        shutdown: ``chassis.lame_duck`` + ``chassis.grace``.
        platform_limit: what ``[chassis] platform`` waits between SIGTERM and SIGKILL; None without one.
        pooled: the service opens the pool of ``[db]``.
        pool_max, processes, replicas: of ``[db]``.
        load_wanted: the load gate is asked for, or was told something.
    """

    rows: tuple[Row, ...] = ()
    stages: tuple[PlanStage, ...] = ()
    moves: Literal["requests", "jobs", "both"] = "requests"
    semantics: str = "golive"
    served: bool = False
    works: bool = False
    shutdown: float = 28.0
    drain: float = 25.0
    stop_timeout: float = 35.0
    platform: str = ""
    platform_limit: float | None = None
    request_timeout: float = 0.0
    gateway_timeout: float = 15.0
    pooled: bool = False
    pool_max: int = 5
    processes: int = 1
    replicas: int = 1
    load_wanted: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction: the *rule*, the two *places* it compares, and what is wrong and what to change."""

    rule: str
    places: tuple[str, str]
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.places[0]} against {self.places[1]}: {self.message}"

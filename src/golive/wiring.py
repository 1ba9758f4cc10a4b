"""
The composition root: settings become running objects. The only module that knows everybody.

Also home of the adapters that join two rooms which do not know each other: the gates as the rollout's gatekeeper, the
judge as the controller's judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from golive import targets
from golive.bundle import write_bundle
from golive.config import Settings
from golive.errors import GoliveError
from golive.gates import run_gates
from golive.movers import Front, movers
from golive.planning import make_judge, routes_of
from golive.project import Place, open_journal
from golive.rollout.controller import Controller
from golive.rollout.desk import Approvals, Desk
from golive.rollout.dossier import dossier_of
from golive.rollout.hook_runner import ProcessHooks
from golive.rollout.journal import Journal
from golive.rollout.pace import Pace
from golive.rollout.ports import Arm, Deployer, GateVerdict
from golive.rollout.session import EVERY_ROUTE
from golive.timing import Clock, SystemClock
from golive.version import __version__


@dataclass(frozen=True)
class Station:
    """Everything one service needs to be operated, built from its settings and not yet running."""

    settings: Settings
    journal: Journal
    front: Front
    deployer: Deployer
    controller: Controller
    desk: Desk


def dossier_path(place: Place, rollout: str) -> Path:
    """Where the evidence bundle of *rollout* is written when it is over."""
    return place.state_dir / "bundles" / f"{rollout}.zip"


def write_dossier(place: Place, rollout: str, path: Path | None = None) -> str:
    """
    Write the evidence bundle of *rollout* to *path*. Opens the journal by itself, so that any thread may do it.

    Returns: the digest of the bundle.
    Raises: StateError when there is no such rollout or the file cannot be written; UsageError when it is too large.
    """
    journal = open_journal(place)
    try:
        files, meta = dossier_of(journal, rollout, place.state_dir / "hooks", __version__)
    finally:
        journal.close()
    return write_bundle(path or dossier_path(place, rollout), files, meta)


def station(settings: Settings, *, clock: Clock | None = None) -> Station:
    """
    Build everything. Nothing is started yet.

    Raises: ConfigError, StateError.
    """
    clock = clock or SystemClock()
    journal = open_journal(settings)
    routes = routes_of(settings)
    parts = movers(settings, tuple(route for route in routes if route != EVERY_ROUTE))
    controller = Controller(
        settings.service,
        journal=journal,
        router=parts.router,
        evidence=parts.evidence,
        deployer=parts.deployer,
        judges=make_judge,
        clock=clock,
        pace=pace(settings),
        gatekeeper=Preflight(settings) if settings.gates.preflight and settings.moves != "jobs" else None,
        hooks=ProcessHooks(settings.state_dir / "hooks", settings.root),
        routes=routes,
    )
    groups = {name: tuple(group.people) for name, group in settings.approvals.groups.items()}
    approvals = Approvals(groups, settings.approvals.prevent_self_review)
    return Station(settings, journal, parts.front, parts.deployer, controller, Desk(controller, approvals))


# ---- settings of the rooms


def pace(settings: Settings) -> Pace:
    """How often the controller looks."""
    deploy = settings.deploy
    return Pace(
        tick=settings.rollout.tick,
        probe=settings.rollout.fuse.probe_interval,
        ready=deploy.startup_timeout + deploy.ready_timeout,
        drain=settings.gateway.request_timeout + timedelta(seconds=5),
    )


# ---- gates


class Preflight:
    """The gates of ``[gates] preflight`` as the rollout's gatekeeper: asked of the candidate before it has traffic."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def check(self, arm: Arm) -> GateVerdict:
        """See :class:`golive.rollout.ports.Gatekeeper`."""
        target = targets.target_of(self.settings, f"http://{arm.address}", {})
        try:
            known, waivers = targets.gates_of(self.settings), targets.waivers_of(self.settings)
            report = await run_gates(self.settings.gates.preflight, target, waivers=waivers, gates=known)
        except GoliveError as error:
            return GateVerdict(False, str(error))
        if report.go:
            return GateVerdict(True, f"{len(report.results)} gates passed")
        bad = [result for result in report.results if not result.good]
        return GateVerdict(False, "; ".join(f"{result.gate}: {result.outcome.sentence}" for result in bad))

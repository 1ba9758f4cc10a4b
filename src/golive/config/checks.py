"""What is wrong only between settings: stages that do not rise, time-outs that contradict each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from golive.config.faults import Fault
from golive.config.settings import Settings
from golive.errors import did_you_mean
from golive.timing import format_duration

STAGES_MAX = 50
"""More stages than this is a typing error, not a plan."""


def check(settings: Settings) -> list[Fault]:
    """Every contradiction in *settings*."""
    return [
        *_stages(settings),
        *_approvals(settings),
        *_release(settings),
        *_shutdown(settings),
        *_gateway(settings),
        *_pools(settings),
        *_moves(settings),
    ]


def _stages(settings: Settings) -> Iterator[Fault]:
    stages, at = settings.rollout.stages, ("rollout", "stages")
    if stages is None:
        return
    if not stages:
        yield Fault(at, 'expected at least two stages, got none. Write stages, or preset = "progressive".')
        return
    if len(stages) > STAGES_MAX:
        yield Fault(at, f"expected at most {STAGES_MAX} stages, got {len(stages)}.")
    for number, (before, after) in enumerate(itertools.pairwise(stages), start=1):
        if after.weight <= before.weight:
            yield Fault(
                (*at, number, "weight"),
                f"expected more than the {before.weight:g} % of the stage before, got {after.weight:g}. "
                "Stages only go up.",
            )
    if stages[-1].weight != 100:
        yield Fault(
            (*at, len(stages) - 1, "weight"),
            f"expected the last stage to be 100, got {stages[-1].weight:g}. "
            "A rollout ends with all traffic on one version.",
        )
    if stages[0].weight == 100 and settings.rollout.strategy != "blue-green":
        yield Fault(
            (*at, 0, "weight"),
            "expected less than 100 in the first stage: nothing would be judged before everybody is on the new "
            'version. Start lower, or say strategy = "blue-green".',
        )
    for number, stage in enumerate(stages):
        if stage.max_soak is not None and stage.max_soak < stage.soak:
            yield Fault(
                (*at, number, "max_soak"),
                f"expected at least the soak of {format_duration(stage.soak)}, got {format_duration(stage.max_soak)}.",
            )


def _approvals(settings: Settings) -> Iterator[Fault]:
    groups = settings.approvals.groups
    for name, group in groups.items():
        if not group.people:
            yield Fault(("approvals", "groups", name), "expected at least one name, got none. Nobody could approve.")
        elif group.needed > len(set(group.people)):
            yield Fault(
                ("approvals", "groups", name, "needed"),
                f"expected at most the {len(set(group.people))} people of the group, got {group.needed}.",
            )
    for number, stage in enumerate(settings.rollout.stages or ()):
        if stage.approval is not None and stage.approval not in groups:
            hint = did_you_mean(stage.approval, list(groups)) or f". Add it: approvals.groups.{stage.approval} = [...]"
            yield Fault(("rollout", "stages", number, "approval"), f'unknown group "{stage.approval}"{hint}')


def _release(settings: Settings) -> Iterator[Fault]:
    if settings.release.source == "path" and "{version}" not in settings.release.path:
        yield Fault(
            ("release", "path"),
            f'expected a path with {{version}} in it, got "{settings.release.path}". '
            "Every version would be the same files.",
        )


def _shutdown(settings: Settings) -> Iterator[Fault]:
    """A version is killed after ``stop_timeout``; what it does on SIGTERM must fit into that."""
    limit = settings.deploy.stop_timeout
    drain = settings.chassis.lame_duck + settings.chassis.grace
    if "serve" in settings.deploy.command and drain >= limit:
        yield Fault(
            ("deploy", "stop_timeout"),
            f"expected more than chassis.lame_duck + chassis.grace = {format_duration(drain)}, got "
            f"{format_duration(limit)}. The version would be killed with requests in flight.",
        )
    if "worker" in (settings.deploy.worker_command or ()) and settings.jobs.drain >= limit:
        yield Fault(
            ("deploy", "stop_timeout"),
            f"expected more than jobs.drain = {format_duration(settings.jobs.drain)}, got {format_duration(limit)}. "
            "The worker would be killed with jobs in hand.",
        )


def _gateway(settings: Settings) -> Iterator[Fault]:
    idle, keep_alive = settings.gateway.idle_timeout, settings.chassis.keep_alive
    if "serve" in settings.deploy.command and idle >= keep_alive:
        yield Fault(
            ("gateway", "idle_timeout"),
            f"expected less than chassis.keep_alive = {format_duration(keep_alive)}, got {format_duration(idle)}. "
            "The gateway would write into connections that are just closing.",
        )
    ports = (settings.gateway.port, settings.gateway.admin_port)
    if ports[0] == ports[1] != 0:
        yield Fault(("gateway", "admin_port"), f"expected another port than gateway.port, got {ports[1]} for both.")


def _moves(settings: Settings) -> Iterator[Fault]:
    """What is moved has to be started by somebody, and be judged by somebody."""
    moves, deploy, at = settings.moves, settings.deploy, ("rollout", "moves")
    if moves == "requests":
        if deploy.worker_command:
            yield Fault(
                ("deploy", "worker_command"),
                'expected none beside rollout.moves = "requests": nothing would start the workers. Write "both".',
            )
        return
    if moves == "both" and not deploy.command:
        yield Fault(at, 'expected app = "module:app" or a deploy.command beside "both", got neither. Write "jobs".')
    if not deploy.worker_command and not (moves == "both" and settings.jobs.embedded):
        embedded = ", or jobs.embedded = true" if moves == "both" else ""
        yield Fault(at, f'expected a deploy.worker_command beside "{moves}"{embedded}: nobody would run the jobs.')
    if settings.jobs.url == "memory://":
        yield Fault(("jobs", "url"), "expected a store that processes can share, got memory://. Leave it out.")
    if settings.rollout.semantics != "golive":
        yield Fault(
            ("rollout", "semantics"),
            f'expected "golive" where jobs are moved, got "{settings.rollout.semantics}", which knows requests only.',
        )
    asked = settings.gates.preflight
    if moves == "jobs" and asked and asked != type(settings.gates)().preflight:
        yield Fault(
            ("gates", "preflight"),
            'expected none beside rollout.moves = "jobs": gates ask over HTTP, and a worker has no port. Write [].',
        )


def _pools(settings: Settings) -> Iterator[Fault]:
    if settings.db.pool_min > settings.db.pool_max:
        yield Fault(
            ("db", "pool_min"),
            f"expected at most db.pool_max = {settings.db.pool_max}, got {settings.db.pool_min}.",
        )

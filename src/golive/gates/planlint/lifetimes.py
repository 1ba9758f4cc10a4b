"""Time-outs of different layers that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

from golive.gates.planlint.facts import Finding, PlanFacts
from golive.gates.target import Target
from golive.promises.state import InfrastructureProbe, PlanLintProbe

VISIBILITY_TIMES = 6
"""AWS asks for six times the function's time-out, so that a throttled batch does not come back too early."""


def check(target: Target, facts: PlanFacts) -> Iterator[Finding]:
    """Every contradiction."""
    yield from _queues(target.promise(InfrastructureProbe))
    yield from _killed(target, facts)
    yield from _waiting(facts)


def _queues(cloud: InfrastructureProbe | None) -> Iterator[Finding]:
    queues = {queue.name: queue for queue in cloud.queues} if cloud is not None else {}
    for queue in queues.values():
        if 0 < queue.visibility < VISIBILITY_TIMES * queue.worker_timeout:
            yield Finding(
                "queue-visibility",
                (f"queue {queue.name}: visibility", "worker_timeout"),
                f"{queue.visibility:g} s is less than {VISIBILITY_TIMES} x {queue.worker_timeout:g} s: a message comes "
                f"back while it is worked on. Set {VISIBILITY_TIMES * queue.worker_timeout:g} s.",
            )
    for function in cloud.functions if cloud is not None else ():
        fed = queues.get(function.queue)
        if fed is not None and fed.worker_timeout < function.timeout:
            yield Finding(
                "queue-worker",
                (f"queue {fed.name}: worker_timeout", f"function {function.name}: timeout"),
                f"{fed.worker_timeout:g} s is less than the {function.timeout:g} s the function may take, so the "
                f"visibility is held against too little. Write {function.timeout:g} s for both.",
            )


def _killed(target: Target, facts: PlanFacts) -> Iterator[Finding]:
    """What is done on SIGTERM must be over before somebody kills."""
    probe = target.promise(PlanLintProbe)
    limit, place = facts.platform_limit, f"what {facts.platform} waits"
    if probe is not None and probe.termination_grace:
        limit, place = probe.termination_grace, "gates.plan_lint.termination_grace"
    if limit is not None:
        for wanted, name, what in (
            (facts.shutdown if facts.served else 0.0, "chassis.lame_duck + chassis.grace", "requests in flight"),
            (facts.drain if facts.works else 0.0, "jobs.drain", "jobs in hand"),
        ):
            if wanted >= limit:
                yield Finding(
                    "termination-grace",
                    (name, place),
                    f"{wanted:g} s does not fit into {limit:g} s: it is killed with {what}. Drain in less, or have "
                    "the platform wait longer.",
                )
    killed, who = (limit, place) if limit is not None else (facts.stop_timeout, "deploy.stop_timeout")
    if target.shutdown is not None and target.shutdown.grace > killed:
        yield Finding(
            "shutdown-gate",
            ("gates.shutdown.grace", who),
            f"the gate passes a service that takes {target.shutdown.grace:g} s, which is killed after {killed:g} s. "
            f"Write at most {killed:g} s.",
        )


def _waiting(facts: PlanFacts) -> Iterator[Finding]:
    if facts.served and facts.request_timeout > facts.gateway_timeout:
        yield Finding(
            "gateway-timeout",
            ("chassis.request_timeout", "gateway.request_timeout"),
            f"the service works {facts.request_timeout:g} s on an answer the gateway gives up after "
            f"{facts.gateway_timeout:g} s. Let the service give up first.",
        )
    for row in facts.rows:
        if row.indicator != "latency" or row.alert_if is None or not row.alert_if.op.startswith(">"):
            continue
        if row.alert_if.value > facts.gateway_timeout:
            yield Finding(
                "alarm-out-of-reach",
                (f"slo.{row.name}.alert_if", "gateway.request_timeout"),
                f'"{row.alert_if}" can never be true: what takes {facts.gateway_timeout:g} s is cut off by the '
                "gateway. Alarm below that.",
            )

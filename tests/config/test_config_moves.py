"""``[rollout] moves``: what it is when nobody says, and what contradicts it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from golive.config import Settings
from golive.errors import ConfigError
from golive.movers import movers
from golive.planning import judging_of, make_judge, plan_of
from golive.rollout.deployers.process import ProcessDeployer
from golive.rollout.deployers.together import DeployersTogether
from golive.rollout.deployers.worker import WorkerDeployer
from golive.rollout.evidence.envoy import EnvoyEvidence
from golive.rollout.evidence.prometheus import PrometheusEvidence
from golive.rollout.evidence.together import EvidenceTogether
from golive.rollout.routers.together import RoutersTogether
from golive.workers.evidence import JobEvidence
from golive.workers.router import ClaimRouter

Load = Callable[..., Settings]
WORKER = "worker_command = ['golive', 'worker', 'main:jobs']\n"


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("app = 'a:b'", "requests"),
        (f"app = 'a:b'\n[deploy]\n{WORKER}", "both"),
        (f"[deploy]\n{WORKER}", "jobs"),
        (f"app = 'a:b'\n[deploy]\n{WORKER}[rollout]\nmoves = 'jobs'", "jobs"),
        ("app = 'a:b'\n[jobs]\nembedded = true", "requests"),
        ("app = 'a:b'\n[jobs]\nembedded = true\n[rollout]\nmoves = 'both'", "both"),
    ],
)
def test_what_is_moved_follows_from_what_is_started(load: Load, text: str, moves: str) -> None:
    """Unless it is written."""
    assert load(text).moves == moves


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            f"app = 'a:b'\n[deploy]\n{WORKER}[rollout]\nmoves = 'requests'",
            "deploy.worker_command: expected none beside",
        ),
        ("app = 'a:b'\n[rollout]\nmoves = 'jobs'", 'rollout.moves: expected a deploy.worker_command beside "jobs":'),
        ("app = 'a:b'\n[rollout]\nmoves = 'both'", "or jobs.embedded = true: nobody would run the jobs."),
        (f"[deploy]\n{WORKER}[rollout]\nmoves = 'both'", 'rollout.moves: expected app = "module:app"'),
        (f"[deploy]\n{WORKER}[jobs]\nurl = 'memory://'", "jobs.url: expected a store that processes can share"),
        (f"[deploy]\n{WORKER}[rollout]\nsemantics = 'argo'", 'rollout.semantics: expected "golive" where jobs'),
        (f"[deploy]\n{WORKER}[gates]\npreflight = ['smoke']", "gates.preflight: expected none beside"),
    ],
)
def test_what_contradicts_it_is_refused_by_name(faults: Callable[..., list[str]], text: str, fault: str) -> None:
    """With what to write instead."""
    assert any(fault in told for told in faults(text)), faults(text)


def test_router_evidence_and_deployer_are_those_of_what_is_moved(load: Load) -> None:
    """One of each, or both together."""
    both = movers(load(f"app = 'a:b'\n[deploy]\n{WORKER}"), ())
    kinds = (RoutersTogether, EvidenceTogether, DeployersTogether)
    assert tuple(map(type, (both.router, both.evidence, both.deployer))) == kinds
    jobs = movers(load(f"[deploy]\n{WORKER}[jobs]\nurl = 'postgresql://u:secret@db/x'"), ())
    kinds = (ClaimRouter, JobEvidence, WorkerDeployer)
    assert tuple(map(type, (jobs.router, jobs.evidence, jobs.deployer))) == kinds
    assert str(jobs.front) == "the jobs in postgresql://db/x"
    assert isinstance(movers(load("app = 'a:b'\n[jobs]\nembedded = true"), ()).deployer, ProcessDeployer)
    with pytest.raises(ConfigError, match=r"expected no \{port\}"):
        movers(load("[deploy]\nworker_command = ['w', '{port}']"), ())


def test_prometheus_counts_where_it_is_told_to_and_answers_rows_with_a_query(load: Load) -> None:
    """Instead of the gateway, beside it, or not at all; a query that names no version is refused."""
    web, server = "app = 'a:b'\n", "[rollout.prometheus]\nurl = 'http://p:9090'\n"
    counters = "requests = 'r{$labels}'\nerrors = 'e{$labels}'\n"
    row = "[slo]\npaid = { target = '> 1', query = 'x{$labels}' }\n"
    assert isinstance(movers(load(web + server + counters), ()).evidence, PrometheusEvidence)
    assert isinstance(movers(load(web + server), ()).evidence, EnvoyEvidence)
    assert isinstance(movers(load(web + row), ()).evidence, EnvoyEvidence)
    beside = movers(load(web + server + row), ()).evidence
    assert isinstance(beside, EvidenceTogether)
    assert isinstance(beside.first, EnvoyEvidence)
    with pytest.raises(ConfigError, match="it would say the same about both versions"):
        movers(load(web + server + counters.replace("{$labels}", "")), ())


def test_the_judge_is_told_what_is_moved(load: Load) -> None:
    """The queues of the rows are its routes where jobs move alone; the journal keeps it."""
    from datetime import UTC, datetime

    from golive.rollout import events as ev
    from golive.rollout.machine import begin

    rows = "[slo]\nerror_rate = { target = '<= 1%', queue = 'reports' }"
    settings = load(f"[deploy]\n{WORKER}{rows}")
    judging = judging_of(settings)
    assert (judging["moves"], judging["routes"]) == ("jobs", ["reports", "*"])
    started = ev.Started(
        at=datetime.now(UTC), id="a-1", service="a", stable="v1", candidate="v2", plan=plan_of(settings),
        judging=judging,
    )  # fmt: skip
    judge = make_judge(begin(started)[0], None)
    assert judge.to_dict()["settings"]["moves"] == "jobs"

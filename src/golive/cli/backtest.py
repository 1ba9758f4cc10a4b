"""``golive backtest``: the SLO table over recorded evidence; when each row would have fired, what the judge says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from golive.cli.backtest_journal import ROLLOUT, read_rollout
from golive.cli.backtest_view import Report, as_json, as_text
from golive.cli.inbox import config_option, environment_option, settings_for
from golive.cli.recording import WEIGHT, Recording, check_names, growth
from golive.cli.recording_csv import read_csv
from golive.cli.recording_prometheus import read_prometheus
from golive.cli.terminal import glyphs, make_console
from golive.config import Settings
from golive.errors import ExitCode, UsageError
from golive.planning import judging_of, make_judge
from golive.project import open_journal
from golive.rollout import events as ev
from golive.rollout.backtest import Counters, Verdict, judge_counters, plan_for
from golive.rollout.evidence.bounds import BOUNDS
from golive.rollout.machine import begin
from golive.slo.firing import firing
from golive.slo.row import Row


@click.command(short_help="Run the SLO table over recorded evidence: when would it have fired?")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@config_option
@environment_option
@click.option(
    "--label", default="version", show_default=True, help="The label of a Prometheus series that is its version."
)
@click.option("--stable", help="The version to compare with. Default: the first one met.")
@click.option("--canary", help="The version to judge. Default: the other one.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    sources: tuple[str, ...], config_path: Path | None, environment: str | None, label: str, stable: str | None,
    canary: str | None, output: str,
) -> int:  # fmt: skip
    """
    Hold the rows of [slo] against evidence that was recorded, and say when each alarm would have been on.

    SOURCE is the ID of a rollout; a file.csv (time[,version],ROW...,requests,errors,weight); or ROW=FILE or ROW=URL
    with the answer of Prometheus' /api/v1/query_range, where ROW may also be requests or errors (cumulative counters).
    With requests and errors of two versions golive's judge is asked as well.

    Exit 3 when an alarm was on for the canary (or for the only version), or the judge would have taken it back.
    """
    settings = settings_for(config_path, environment)
    rows = {name: row.for_phase("canary") for name, row in settings.slo.items()}
    recording = Recording()
    for source in sources:
        _read(source, settings, rows, label, recording)
    pair = _pair(recording, stable, canary)
    fired = {
        name: [(version, firing(row, points)) for version, points in recording.series(row)]
        for name, row in rows.items()
    }
    report = Report(recording, rows, fired, pair, _judged(settings, recording, pair))
    if output == "json":
        click.echo(json.dumps(as_json(report)))
    else:
        console = make_console()
        for line in as_text(report, console.width, glyphs()):
            console.print(line, soft_wrap=True)
    return ExitCode.NO_GO if report.bad else ExitCode.OK


def _read(source: str, settings: Settings, rows: Mapping[str, Row], label: str, into: Recording) -> None:
    name, equals, place = source.partition("=")
    if source.endswith(".csv") and not equals:
        read_csv(Path(source), rows, into)
    elif equals:
        check_names([name], rows, source)
        read_prometheus(name, place, label, into)
    elif "/" in source or source.endswith(".json"):
        raise UsageError(f"{source}: expected to be told which row it is, such as error_rate={source}.")
    else:
        journal = open_journal(settings)
        try:
            read_rollout(journal, source, rows, into)
        finally:
            journal.close()


def _pair(recording: Recording, stable: str | None, canary: str | None) -> tuple[str, str] | None:
    """Which version is compared with which; None when there are not two."""
    versions = recording.versions
    for word, version in (("--stable", stable), ("--canary", canary)):
        if version is not None and version not in versions:
            raise UsageError(f"{word} {version}: expected a version of the recording, which has "
                             f"{', '.join(versions) or 'none'}.")  # fmt: skip
    if len(versions) > 2 and (stable is None or canary is None):
        raise UsageError(f"expected two versions, got {', '.join(versions)}. Say --stable and --canary.")
    if len(versions) < 2:
        return None
    stable = stable or next(version for version in versions if version != canary)
    canary = canary or next(version for version in versions if version != stable)
    if stable == canary:
        raise UsageError(f"--canary {canary}: expected another version than --stable.")
    return stable, canary


# ---- the judge


def _judged(settings: Settings, recording: Recording, pair: tuple[str, str] | None) -> Verdict | str:
    """The judge's verdict, or why it was not asked."""
    requests, errors = recording.values.get("requests", {}), recording.values.get("errors", {})
    if pair is None:
        return "it compares two versions, and the recording tells none apart"
    counters = (("requests", requests), ("errors", errors))
    rollout = next((each for each in recording.sources if each.startswith(ROLLOUT)), None)
    if rollout is not None:
        return f"for its verdict on a rollout see `golive replay {rollout.removeprefix(ROLLOUT)}`"
    missing = [f"{name} of {version}" for version in pair for name, series in counters if version not in series]
    if missing:
        return f"it needs counts, and the recording has no {' and no '.join(missing)}"
    stable, candidate = (_counters(requests[version], errors[version]) for version in pair)
    weights = [(at, share / 100) for at, share in recording.values.get(WEIGHT, {}).get(_weights_of(recording, pair), ())
               if share is not None]  # fmt: skip
    plan = plan_for(stable, candidate, weights)
    judging = judging_of(settings)
    known = {name: row for name, row in judging["slo"].items() if _from_counters(settings.slo[name])}
    judging |= {"slo": known, "moves": "requests", "routes": ["*"], "tick_s": _tick(stable)}
    started = ev.Started(at=datetime.now(UTC), id="backtest-1", service="backtest", stable=pair[0], candidate=pair[1],
                         plan=plan, judging=judging)  # fmt: skip
    state = begin(started)[0]
    return judge_counters(stable, candidate, weights, plan, lambda: make_judge(state, None), (1, len(BOUNDS) + 1))


def _from_counters(row: Row) -> bool:
    """Whether requests and errors are all that is needed to judge it."""
    return row.indicator in ("error_rate", "success_rate") and row.route is None and row.queue is None


def _weights_of(recording: Recording, pair: tuple[str, str]) -> str:
    """Weights belong to the candidate, or to nobody by name."""
    return pair[1] if pair[1] in recording.values.get(WEIGHT, {}) else ""


def _counters(requests: Sequence[Any], errors: Sequence[Any]) -> Counters:
    return {"requests": sorted(growth(requests).items()), "errors": sorted(growth(errors).items())}


def _tick(counters: Counters) -> float:
    """The usual time between two points, seconds."""
    instants = [at for at, _ in counters["requests"]]
    gaps = sorted(after - before for before, after in itertools.pairwise(instants))
    return max(gaps[len(gaps) // 2], 0.1) if gaps else 10.0

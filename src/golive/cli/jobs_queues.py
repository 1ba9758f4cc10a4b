"""The verbs of ``golive jobs`` about queues, schedules and versions; those about jobs are in :mod:`golive.cli.jobs`."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from golive.cli.jobs_store import ask, output_option
from golive.errors import ExitCode, UsageError
from golive.jobs.app import Jobs
from golive.jobs.find import find_jobs
from golive.jobs.machine import State
from golive.jobs.model import BEAT_LATE_SECONDS, Schedule, WorkerBeat
from golive.jobs.preflight import Readable
from golive.jobs.preflight import preflight as waiting
from golive.jobs.settings import JobsSettings
from golive.jobs.split import Split
from golive.jobs.tally import BOUNDS_SECONDS
from golive.timing import format_instant


@click.command()
@output_option
@click.pass_obj
def stats(settings: JobsSettings, output: str) -> None:
    """How many jobs wait, run and are dead, how long the oldest has waited, and what is paused; by queue."""
    rows = ask(settings, _queues)
    if output == "json":
        click.echo(msgspec.json.encode(rows).decode())
        return
    for row in rows or [{"queue": "(none)", "pending": 0, "running": 0, "failed": 0, "oldest_seconds": 0.0}]:
        paused = "" if row.get("paused") is None else f"  paused: {_quoted(row['paused'])}"
        counts = f"{row['pending']:>8} pending {row['running']:>6} running {row['failed']:>6} dead"
        click.echo(f"{row['queue']:<24} {counts} {row['oldest_seconds']:>8.1f} s oldest{paused}")


async def _queues(jobs: Jobs) -> list[dict[str, Any]]:
    depth, oldest = await jobs.store.depth(), await jobs.store.oldest()
    paused = {pause.queue: pause.reason for pause in await jobs.store.paused()}
    counted = (State.PENDING, State.RUNNING, State.FAILED)
    return [
        {
            "queue": queue,
            **{str(state): depth.get((queue, state), 0) for state in counted},
            "oldest_seconds": round(oldest.get(queue, 0.0), 3),
            "paused": paused.get(queue),
        }
        for queue in sorted({queue for queue, _ in depth} | set(paused))
    ]


@click.command()
@click.argument("queue")
@click.option("--reason", default="", help="For whoever wonders why nothing happens.")
@click.pass_obj
def pause(settings: JobsSettings, queue: str, reason: str) -> None:
    """From the next claim on, no worker takes anything from QUEUE. What runs runs on; submissions are taken."""
    ask(settings, lambda jobs: jobs.pause(queue, reason))
    click.echo(f"{queue} paused. `golive jobs resume {queue}` ends it.")


@click.command()
@click.argument("queue")
@click.pass_obj
def resume(settings: JobsSettings, queue: str) -> None:
    """End a pause."""

    async def work(jobs: Jobs) -> bool:
        was = {each.queue for each in await jobs.store.paused()}
        await jobs.resume(queue)
        return queue in was

    click.echo(f"{queue} resumed" if ask(settings, work) else f"{queue} was not paused")


@click.command()
@output_option
@click.pass_obj
def schedules(settings: JobsSettings, output: str) -> None:
    """What is submitted by itself, when it was last, and when it is next. They are declared in the application."""
    found = ask(settings, lambda jobs: jobs.store.schedules())
    if output == "json":
        click.echo(msgspec.json.encode([_schedule(each) for each in found]).decode())
        return
    for each in found:
        shown = _schedule(each)
        late = " (overdue: no worker that declares it?)" if shown["overdue"] else ""
        click.echo(f"{each.name:<20} {each.kind:<20} {each.spec:<32} next {shown['next_at'] or 'never'}{late}")
    if not found:
        click.echo("no schedules")


@click.command()
@output_option
@click.pass_obj
def workers(settings: JobsSettings, output: str) -> None:
    """Who works: each worker that said so within the last hour, and what it did then."""
    found = ask(settings, lambda jobs: jobs.store.workers())
    if output == "json":
        click.echo(msgspec.json.encode([_worker(each) for each in found]).decode())
        return
    for each in found:
        shown = _worker(each)
        p50, waits = shown["waited_p50_seconds"], ""
        if shown["picked_up"]:
            within = f"picked up within {p50:g} s" if p50 else f"waited longer than {BOUNDS_SECONDS[-1]:.0f} s"
            waits = f"  half {within}"
        click.echo(
            f"{each.name:<32} {each.version or '-':<12} {shown['state']:<9} {each.running}/{each.slots} slots "
            f"{each.runs:>8} runs  {','.join(each.queues)}  {each.age_seconds:.0f} s ago{waits}"
        )
    if not found:
        click.echo("no workers")


def _worker(each: WorkerBeat) -> dict[str, Any]:
    """For people and scripts. *waited_p50_seconds* is the edge of the median wait's bucket; None beyond the last."""
    lost = each.age_seconds > BEAT_LATE_SECONDS
    middle, seen = sum(each.waits) / 2, 0
    p50 = None
    for count, edge in zip(each.waits, (*BOUNDS_SECONDS, float("inf")), strict=True):
        seen += count
        if p50 is None and seen and seen >= middle:
            p50 = edge
    return {
        "name": each.name, "host": each.host, "pid": each.pid, "version": each.version,
        "state": "silent" if lost else "draining" if each.draining else "working",
        "queues": each.queues, "slots": each.slots, "running": each.running, "runs": each.runs,
        "picked_up": sum(each.waits), "waited_seconds": round(each.waited_seconds, 6),
        "waited_p50_seconds": None if p50 == float("inf") else p50,
        "started_at": format_instant(datetime.fromtimestamp(each.started_at, UTC)),
        "age_seconds": round(each.age_seconds, 3),
    }  # fmt: skip


@click.command()
@click.argument("target", metavar="MODULE:NAME")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=2000, show_default=True, help="Newest jobs to look at."
)
@output_option
@click.pass_context
def preflight(context: click.Context, target: str, limit: int, output: str) -> None:
    """
    Before a new version works: can its handlers read what waits? Nothing is run or changed.

    MODULE:NAME is the new version's golive.Jobs, or the app that serves its routes. Exit code 3 if there are jobs it
    cannot read or has no handler for. "partial" in the JSON is true if more wait than were looked at.
    """
    application = find_jobs(target)
    found = ask(context.obj, lambda jobs: waiting(jobs.store, application.handlers, limit))
    if output == "json":
        more = {"partial": found.partial}
        rows = [{**msgspec.to_builtins(each), "ready": each.ready, **more} for each in found.kinds]
        click.echo(msgspec.json.encode(rows).decode())
    else:
        for each in found.kinds:
            click.echo(f"{each.kind:<24} {_said(each)}")
        if not found.kinds:
            click.echo("nothing waits")
        if found.partial:
            click.echo(f"more wait: only the newest {limit:,} were looked at; --limit looks at more")
    context.exit(ExitCode.OK if found.ready else ExitCode.NO_GO)


def _said(each: Readable) -> str:
    if not each.known:
        return f"{each.jobs} wait, and this version has no handler for them"
    if each.unreadable:
        return f"{each.unreadable} of {each.jobs} cannot be read, the newest is {each.first}: {_quoted(each.reason)}"
    return f"{each.jobs} of {each.jobs} can be read"


#: A schedule whose next time has passed for longer than this is nobody's any more.
OVERDUE_SECONDS = 120.0


def _schedule(each: Schedule) -> dict[str, Any]:
    return {
        "name": each.name,
        "kind": each.kind,
        "spec": each.spec,
        "fired_at": format_instant(datetime.fromtimestamp(each.fired_at, UTC)),
        "next_at": None if each.next_at is None else format_instant(datetime.fromtimestamp(each.next_at, UTC)),
        "overdue": each.next_at is not None and each.next_at < time.time() - OVERDUE_SECONDS,
    }


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


@click.command()
@click.argument("candidate", required=False)
@click.argument("share", required=False, metavar="[SHARE%]")
@click.option("--salt", help="Which jobs. Default: by the candidate's name. Keep it while the share grows.")
@click.option("--end", is_flag=True, help="Every worker claims every job again.")
@click.pass_obj
def split(settings: JobsSettings, candidate: str | None, share: str | None, salt: str | None, end: bool) -> None:
    """
    Give workers of the version CANDIDATE a share of the jobs, such as 5%. Without arguments, say what the split is.

    It holds from the next claim on, for all workers.
    """
    if (end and candidate) or (candidate is None) != (share is None):
        raise UsageError("golive jobs split: expected CANDIDATE and SHARE%, or --end, or neither.")

    async def work(jobs: Jobs) -> Split | None:
        if candidate is not None and share is not None:
            return await jobs.split_claims(candidate, _basis_points(share), salt=salt)
        if end:
            await jobs.end_split()
        return await jobs.store.split()

    now = ask(settings, work)
    said = "no split: every worker claims every job"
    if now:
        strict = f", {now.stable} the rest, and no other version anything" if now.stable else ""
        said = f"{now.candidate} claims {now.share_basis_points / 100:g}% (salt {now.salt}){strict}"
    click.echo(said)


def _basis_points(share: str) -> int:
    """From ``5%`` or ``0.05%``; exact."""
    found = re.fullmatch(r"(\d{1,3})(?:\.(\d{1,2}))?%", share, re.ASCII)
    if found is None:
        raise UsageError(f'split: share: expected a percentage such as "5%" or "0.5%", got {share!r}.')
    return int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0"))


@click.command()
@output_option
@click.pass_obj
def versions(settings: JobsSettings, output: str) -> None:
    """What became of the runs of each version, over all workers: counters that only grow."""
    tallies = ask(settings, lambda jobs: jobs.store.runs())
    if output == "json":
        click.echo(msgspec.json.encode(tallies).decode())
        return
    for each in tallies:
        mean = each.seconds / each.runs * 1000
        click.echo(f"{each.version or '-':<20} {each.kind:<20} {each.end:<9} {each.runs:>8} runs {mean:>10.1f} ms each")
    if not tallies:
        click.echo("no runs yet")

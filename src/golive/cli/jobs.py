"""
``golive jobs``: look at the job store and set things right, from a shell, without the application.

Works on the store alone (``GOLIVE_JOBS_URL``, ``GOLIVE_JOBS_TABLE``, or ``--store``). Payloads may hold what nobody on
call should see in passing, so they are shown on request only; text from jobs is printed as JSON, which keeps control
characters away from the terminal.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec

from golive.errors import ExitCode, StateError, UsageError
from golive.jobs.app import Jobs
from golive.jobs.machine import State
from golive.jobs.model import Job, JobId, is_job_id
from golive.jobs.settings import JobsSettings
from golive.jobs.split import Split
from golive.jobs.stores.sqlite import SqliteStore
from golive.timing import format_instant

T = TypeVar("T")

#: One page of the store.
PAGE = 200

_state = click.Choice([str(state) for state in State])
_format = click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)


@click.group(name="jobs")
@click.option("--store", "url", metavar="URL", help="The job store. Default: GOLIVE_JOBS_URL, or the local file.")
@click.pass_context
def command(context: click.Context, url: str | None) -> None:
    """Look at the jobs of a service, cancel them, and put dead ones back."""
    settings = JobsSettings.from_env()
    context.obj = replace(settings, url=url) if url else settings


@command.command("list")
@click.option("--state", type=_state)
@click.option("--kind", help="Only jobs of this handler.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--before", metavar="ID", help="The next page: older than this job.")
@_format
@click.pass_obj
def list_(settings: JobsSettings, state: str | None, kind: str | None, limit: int, before: str | None,
          output: str) -> None:  # fmt: skip
    """The newest jobs."""
    _print(_ask(settings, lambda jobs: _collect(jobs, limit, state, kind, before)), output)


@command.command()
@click.option("--kind", help="Only jobs of this handler.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@_format
@click.pass_obj
def dead(settings: JobsSettings, kind: str | None, limit: int, output: str) -> None:
    """The dead letters: jobs that failed for good."""
    _print(_ask(settings, lambda jobs: _collect(jobs, limit, State.FAILED, kind, None)), output)


@command.command()
@click.argument("job_id", metavar="ID")
@click.option("--payload", is_flag=True, help="Show what was submitted, too.")
@click.pass_obj
def show(settings: JobsSettings, job_id: str, payload: bool) -> None:
    """Everything about one job, as JSON, with the reason an operator needs."""
    job = _ask(settings, lambda jobs: _one(jobs, job_id))
    click.echo(msgspec.json.format(msgspec.json.encode(_full(job, payload)), indent=2).decode())


@command.command()
@click.argument("job_id", metavar="ID")
@click.pass_obj
def cancel(settings: JobsSettings, job_id: str) -> None:
    """Cancel a job; a running one is ended by its worker."""

    async def work(jobs: Jobs) -> Job:
        await _one(jobs, job_id)
        return _found(await jobs.cancel(job_id), job_id)

    job = _ask(settings, work)
    running = " (its worker will end it)" if job.state is State.RUNNING else ""
    click.echo(f"{job.id} {job.state}{running}")


@command.command()
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead job, oldest last.")
@click.option("--kind", help="With --all: only jobs of this handler.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="At most this many per second.")
@click.pass_obj
def redrive(settings: JobsSettings, job_ids: tuple[str, ...], everything: bool, kind: str | None,
            rate: float | None) -> None:  # fmt: skip
    """Put failed or cancelled jobs back, with a fresh set of attempts."""
    if bool(job_ids) == everything:
        raise UsageError("golive jobs redrive: expected job ids or --all. `golive jobs dead` lists the candidates.")

    async def work(jobs: Jobs) -> int:
        count = 0
        async for job in _chosen(jobs, job_ids, kind):
            moved = job.state in (State.FAILED, State.CANCELLED)
            after = _found(await jobs.redrive(job.id), job.id)
            count += moved
            click.echo(f"{after.id} {after.state}{'' if moved else ' (left as it is)'}")
            if rate:
                await asyncio.sleep(1 / rate)
        return count

    click.echo(f"{_ask(settings, work)} put back")


@command.command()
@click.argument("job_id", metavar="ID")
@click.option("--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds.")
@click.pass_obj
def wait(settings: JobsSettings, job_id: str, timeout: float) -> int:
    """Wait until a job ends. Exit 0 if it succeeded, 3 if not, 5 if it is still not finished."""

    async def work(jobs: Jobs) -> Job:
        return await jobs.wait(await _one(jobs, job_id), timeout)

    job = _ask(settings, work)
    click.echo(f"{job.id} {job.state}{_reason(job)}")
    if not job.state.terminal:
        return ExitCode.TIMEOUT
    return ExitCode.OK if job.state is State.SUCCEEDED else ExitCode.NO_GO


@command.command()
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

    now = _ask(settings, work)
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


@command.command()
@_format
@click.pass_obj
def versions(settings: JobsSettings, output: str) -> None:
    """What became of the runs of each version, over all workers: counters that only grow."""
    tallies = _ask(settings, lambda jobs: jobs.store.runs())
    if output == "json":
        click.echo(msgspec.json.encode(tallies).decode())
        return
    for each in tallies:
        mean = each.seconds / each.runs * 1000
        click.echo(f"{each.version or '-':<20} {each.kind:<20} {each.end:<9} {each.runs:>8} runs {mean:>10.1f} ms each")
    if not tallies:
        click.echo("no runs yet")


@command.command()
@_format
@click.pass_obj
def stats(settings: JobsSettings, output: str) -> None:
    """How many jobs wait, run and are dead, by queue."""
    depth = _ask(settings, lambda jobs: jobs.store.depth())
    queues = sorted({queue for queue, _ in depth})
    counted = (State.PENDING, State.RUNNING, State.FAILED)
    rows = [{"queue": queue, **{str(state): depth.get((queue, state), 0) for state in counted}} for queue in queues]
    if output == "json":
        click.echo(msgspec.json.encode(rows).decode())
        return
    for row in rows or [{"queue": "(none)", "pending": 0, "running": 0, "failed": 0}]:
        click.echo(
            f"{row['queue']:<24} {row['pending']:>8} pending {row['running']:>6} running {row['failed']:>6} dead"
        )


def _ask(settings: JobsSettings, work: Callable[[Jobs], Awaitable[T]]) -> T:
    async def main() -> T:
        jobs = Jobs(settings)
        if isinstance(jobs.store, SqliteStore) and not jobs.store.path.exists():
            raise StateError(
                f"{jobs.store.path}: expected a job store, got no such file. Set GOLIVE_JOBS_URL or --store."
            )
        async with jobs:
            return await work(jobs)

    return asyncio.run(main())


async def _collect(jobs: Jobs, limit: int, state: str | None, kind: str | None, before: str | None) -> list[Job]:
    if before is not None and not is_job_id(before):
        raise UsageError(f"--before: expected a job id, got {before!r}.")
    chosen = None if state is None else State(state)
    return await jobs.store.page(limit, state=chosen, kind=kind, before=None if before is None else JobId(before))


async def _chosen(jobs: Jobs, job_ids: tuple[str, ...], kind: str | None) -> AsyncIterator[Job]:
    for job_id in job_ids:
        yield await _one(jobs, job_id)
    before = None
    while not job_ids and (page := await jobs.store.page(PAGE, state=State.FAILED, kind=kind, before=before)):
        before = page[-1].id
        for job in page:
            yield job


async def _one(jobs: Jobs, job_id: str) -> Job:
    return _found(await jobs.get(job_id), job_id)


def _found(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise UsageError(f"{job_id}: expected a job of this store, got none. `golive jobs list` shows the newest.")
    return job


def _print(found: list[Job], output: str) -> None:
    if output == "json":
        click.echo(msgspec.json.encode([_full(job, payload=False) for job in found]).decode())
        return
    for job in found:
        age = _age(time.time() - job.created_at)
        click.echo(f"{job.id} {job.state:<9} {job.kind:<20} {job.attempts}/{job.attempts_max} {age:>8}{_reason(job)}")
    if not found:
        click.echo("no such jobs")


def _reason(job: Job) -> str:
    failed = job.failure is not None and job.state is not State.SUCCEEDED
    return f" {job.failure.code}: {msgspec.json.encode(job.failure.message).decode()}" if failed and job.failure else ""


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit} ago"
    return f"{max(seconds, 0):.0f}s ago"


def _full(job: Job, payload: bool) -> dict[str, Any]:
    fields = {name: getattr(job, name) for name in job.__struct_fields__}
    for name in ("run_at", "created_at", "started_at", "finished_at"):
        if fields[name] is not None:
            fields[name] = format_instant(datetime.fromtimestamp(fields[name], UTC))
    fields["result"] = None if job.result is None else msgspec.Raw(job.result)
    fields["payload"] = msgspec.Raw(job.payload) if payload else f"{len(job.payload)} bytes"
    fields["fingerprint"] = None if job.fingerprint is None else job.fingerprint.hex()
    return fields

"""
``golive jobs``: look at the job store and set things right, from a shell, without the application.

Works on the store alone (``GOLIVE_JOBS_URL``, ``GOLIVE_JOBS_TABLE``, or ``--store``). Payloads may hold what nobody on
call should see in passing, so they are shown on request only; text from jobs is printed as JSON, which keeps control
characters away from the terminal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, BinaryIO

import click
import msgspec

from golive.cli.jobs_queues import pause, preflight, resume, schedules, split, stats, versions, workers
from golive.cli.jobs_store import ask, output_option
from golive.errors import ExitCode, UsageError
from golive.jobs.app import Jobs
from golive.jobs.errors import InvalidPayloadError
from golive.jobs.machine import State
from golive.jobs.model import Job, JobId, is_job_id
from golive.jobs.settings import JobsSettings
from golive.redact import redact
from golive.timing import format_instant

#: One page of the store.
PAGE = 200

_state = click.Choice([str(state) for state in State])


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
@click.option("--queue", help="Only jobs of this queue.")
@click.option("--tenant", help="Only jobs of this tenant.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--before", metavar="ID", help="The next page: older than this job.")
@output_option
@click.pass_obj
def list_(settings: JobsSettings, /, limit: int, before: str | None, output: str, **narrow: str | None) -> None:
    """The newest jobs."""
    _print(ask(settings, lambda jobs: _collect(jobs, limit, before, **narrow)), output)


@command.command()
@click.option("--kind", help="Only jobs of this handler.")
@click.option("--queue", help="Only jobs of this queue.")
@click.option("--tenant", help="Only jobs of this tenant.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--before", metavar="ID", help="The next page: older than this job.")
@output_option
@click.pass_obj
def dead(settings: JobsSettings, /, limit: int, before: str | None, output: str, **narrow: str | None) -> None:
    """The dead letters: jobs that failed for good."""
    _print(ask(settings, lambda jobs: _collect(jobs, limit, before, state=State.FAILED, **narrow)), output)


@command.command()
@click.argument("job_id", metavar="ID")
@click.option("--payload", is_flag=True, help="Show what was submitted, too, secrets and personal data replaced.")
@click.option("--raw", is_flag=True, help="With --payload: as it was submitted.")
@click.pass_obj
def show(settings: JobsSettings, job_id: str, payload: bool, raw: bool) -> None:
    """Everything about one job, as JSON, with the reason an operator needs."""
    job = ask(settings, lambda jobs: _one(jobs, job_id))
    fields = _full(job, payload)
    if payload and not raw:
        fields["payload"] = redact(msgspec.json.decode(job.payload))
    click.echo(msgspec.json.format(msgspec.json.encode(fields), indent=2).decode())


@command.command()
@click.argument("job_id", metavar="ID")
@output_option
@click.pass_obj
def cancel(settings: JobsSettings, job_id: str, output: str) -> None:
    """Cancel a job; a running one is ended by its worker."""

    async def work(jobs: Jobs) -> Job:
        await _one(jobs, job_id)
        return _found(await jobs.cancel(job_id), job_id)

    job = ask(settings, work)
    if output == "json":
        _print_one(job)
        return
    running = " (its worker will end it)" if job.state is State.RUNNING else ""
    click.echo(f"{job.id} {job.state}{running}")


@command.command()
@click.argument("job_id", metavar="ID")
@click.option("--payload", type=click.File("rb"), help="Run it with this JSON instead; - is stdin.")
@output_option
@click.pass_obj
def retry(settings: JobsSettings, job_id: str, payload: BinaryIO | None, output: str) -> None:
    """
    Run one job as soon as possible: a failed or cancelled one with a fresh set of attempts, one that waits for its next
    attempt or its time right now.
    """
    edited = None if payload is None else payload.read()

    async def work(jobs: Jobs) -> Job:
        job = await _one(jobs, job_id)
        if job.state in (State.FAILED, State.CANCELLED):
            return _found(await _edited(jobs, job, edited), job_id)
        if job.state is not State.PENDING or edited is not None:
            wanted = "a failed or cancelled job" if edited is not None else "a job that waits, failed or was cancelled"
            raise UsageError(f"{job_id}: expected {wanted}, got a {job.state} one. Nothing was changed.")
        return _found(await jobs.hasten(job_id), job_id)

    job = ask(settings, work)
    if output == "json":
        _print_one(job)
    else:
        click.echo(f"{job.id} {job.state}")


async def _edited(jobs: Jobs, job: Job, payload: bytes | None) -> Job | None:
    try:
        return await jobs.redrive(job.id, payload)
    except InvalidPayloadError as error:
        raise UsageError(f"--payload: expected JSON in UTF-8, got something else: {error}.") from error


@command.command()
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead job, oldest last.")
@click.option("--kind", help="With --all: only jobs of this handler.")
@click.option("--queue", help="With --all: only jobs of this queue.")
@click.option("--tenant", help="With --all: only jobs of this tenant.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="At most this many per second.")
@output_option
@click.pass_obj
def redrive(settings: JobsSettings, /, job_ids: tuple[str, ...], everything: bool, rate: float | None, output: str,
            **narrow: str | None) -> None:  # fmt: skip
    """Put failed or cancelled jobs back, with a fresh set of attempts."""
    if bool(job_ids) == everything:
        raise UsageError("golive jobs redrive: expected job ids or --all. `golive jobs dead` lists the candidates.")

    async def work(jobs: Jobs) -> int:
        count, began = 0, time.monotonic()
        async for job in _chosen(jobs, job_ids, narrow):
            moved = job.state in (State.FAILED, State.CANCELLED)
            if rate and moved:
                await asyncio.sleep(max(0.0, began + count / rate - time.monotonic()))
            after = _found(await jobs.redrive(job.id), job.id)
            count += moved
            if output == "json":
                click.echo(msgspec.json.encode({"id": after.id, "state": after.state, "put_back": moved}).decode())
            else:
                click.echo(f"{after.id} {after.state}{'' if moved else ' (left as it is)'}")
        return count

    count = ask(settings, work)
    click.echo(msgspec.json.encode({"put_back": count}).decode() if output == "json" else f"{count} put back")


@command.command()
@click.argument("job_id", metavar="ID")
@click.option("--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds.")
@output_option
@click.pass_obj
def wait(settings: JobsSettings, job_id: str, timeout: float, output: str) -> int:
    """Wait until a job ends. Exit 0 if it succeeded, 3 if not, 5 if it is still not finished."""

    async def work(jobs: Jobs) -> Job:
        return await jobs.wait(await _one(jobs, job_id), timeout)

    job = ask(settings, work)
    if output == "json":
        _print_one(job)
    else:
        click.echo(f"{job.id} {job.state}{_reason(job)}")
    if not job.state.terminal:
        return ExitCode.TIMEOUT
    return ExitCode.OK if job.state is State.SUCCEEDED else ExitCode.NO_GO


for _each in (stats, workers, pause, resume, schedules, split, versions, preflight):
    command.add_command(_each)


async def _collect(
    jobs: Jobs, limit: int, before: str | None, *, state: str | None = None, kind: str | None = None,
    queue: str | None = None, tenant: str | None = None,
) -> list[Job]:  # fmt: skip
    if before is not None and not is_job_id(before):
        raise UsageError(f"--before: expected a job id, got {before!r}.")
    chosen = None if state is None else State(state)
    older = None if before is None else JobId(before)
    return await jobs.store.page(limit, state=chosen, kind=kind, before=older, queue=queue, tenant=tenant)


async def _chosen(jobs: Jobs, job_ids: tuple[str, ...], narrow: dict[str, str | None]) -> AsyncIterator[Job]:
    for job_id in job_ids:
        yield await _one(jobs, job_id)
    before = None
    while not job_ids and (page := await _collect(jobs, PAGE, before, state=State.FAILED, **narrow)):
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


def _print_one(job: Job) -> None:
    click.echo(msgspec.json.encode(_full(job, payload=False)).decode())


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

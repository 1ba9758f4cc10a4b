"""The migration guides are executed: their *after* runs on golive, their *before* compiles, RQ's runs too."""

from __future__ import annotations

import asyncio
import importlib
import re
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis
from rq import Queue, SimpleWorker
from rq.job import Job as RqJob

from golive.jobs import Jobs, State
from golive.testing.jobs_running import finished, working

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = ("celery", "rq", "procrastinate")


def modules(guide: str, side: str) -> dict[str, str]:
    """The code of one side of a guide, by file name."""
    page = (DOCS / f"migrate-{guide}.md").read_text()
    found = re.findall(r"```python\n# (before|after)[^:\n]*: (\w+)\.py\n(.*?)```", page, re.DOTALL)
    assert page.count("```python") == len(found), "each block says whose side it is and which file"
    return {name: code for which, name, code in found if which == side}


@pytest.fixture
def guide(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The modules of a guide's side, imported from files as an application's are."""
    monkeypatch.setenv("GOLIVE_JOBS_URL", f"sqlite:///{tmp_path}/jobs.db")
    monkeypatch.syspath_prepend(tmp_path)
    code = modules(*request.param)
    for name, text in code.items():
        (tmp_path / f"{name}.py").write_text(text)
        sys.modules.pop(name, None)
    if request.param[1] == "before":
        monkeypatch.setenv("REDIS_URL", request.getfixturevalue("valkey_url"))
    yield {name: importlib.import_module(name) for name in code}
    for name in code:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", GUIDES)
def test_both_sides_of_a_guide_are_whole(name: str) -> None:
    """Each has the tasks and the callers, and is Python."""
    for side in ("before", "after"):
        code = modules(name, side)
        assert {"tasks", "shop"} <= set(code)
        for file, text in code.items():
            compile(text, f"migrate-{name}.md/{file}", "exec")


@pytest.mark.parametrize("name", GUIDES)
def test_the_pages_are_found_from_the_jobs_page(name: str) -> None:
    """And name no command golive does not have."""
    assert f"(migrate-{name}.md)" in (DOCS / "jobs.md").read_text()
    from golive.cli import main
    from golive.cli.jobs import command as of_jobs

    assert main
    page = (DOCS / f"migrate-{name}.md").read_text()
    for verb in re.findall(r"`golive jobs (\w+)", page):
        assert verb in of_jobs.commands, verb


@pytest.mark.parametrize("guide", [("celery", "after")], indirect=True)
async def test_what_was_celerys_runs(guide: dict[str, ModuleType]) -> None:
    """An invoice with its result, a delayed rendering, a schedule that is known, and a refusal that is not retried."""
    jobs: Jobs = guide["tasks"].jobs
    async with working(jobs):
        id_ = await guide["shop"].place_order(7, 1999)
        assert await guide["shop"].outcome(id_) == b'{"order":7,"cents":1999}'
        assert await guide["shop"].place_order(7, 1999) == id_
        ended = [await finished(jobs, job) for job in await jobs.store.page(9, state=None, kind="render", before=None)]
        assert {job.result for job in ended} == {b'"invoices/7.pdf"'}
        refused = await jobs.get(await guide["shop"].place_order(8, 0))
        assert refused is not None
        refused = await finished(jobs, refused)
        assert refused.failure is not None
        assert (refused.state, refused.attempts, refused.failure.code) == (State.FAILED, 1, "nothing_to_charge")
        assert "close-day" in jobs.schedules


@pytest.mark.parametrize("guide", [("procrastinate", "after")], indirect=True)
async def test_what_was_procrastinates_runs(guide: dict[str, ModuleType]) -> None:
    """Delayed, once, and the periodic one with the moment it is for."""
    jobs: Jobs = guide["tasks"].jobs
    async with working(jobs):
        ids = await asyncio.gather(*(guide["shop"].place_order(7, 1999) for _ in range(3)))
        assert len(set(ids)) == 1
        job = await jobs.get(ids[0])
        assert job is not None
        assert (await finished(jobs, job)).result == b"7"
        closed = await finished(jobs, await jobs.submit("close_day", 1_700_000_000))
        assert closed.result == b'"closed"'


@pytest.mark.parametrize("guide", [("rq", "after")], indirect=True)
async def test_what_was_rqs_runs(guide: dict[str, ModuleType], tmp_path: Path) -> None:
    """From a coroutine, and from code without an event loop in the transaction it has open."""
    jobs: Jobs = guide["tasks"].jobs
    async with working(jobs):
        ids = await guide["shop"].look_into("acme")
        connection = sqlite3.connect(tmp_path / "jobs.db")
        ids.append(guide["views"].look_into(connection, "umbrella"))
        connection.close()
        found = [await jobs.get(id_) for id_ in ids]
        results = [(await finished(jobs, job)).result for job in found if job]
    assert results == [b'{"org":"acme","lists":1}', b'"analysis of acme"', b'"analysis of umbrella"']


@pytest.mark.process
@pytest.mark.parametrize("guide", [("rq", "before")], indirect=True)
def test_what_is_said_of_rq_is_how_rq_is_used(guide: dict[str, ModuleType], valkey_url: str) -> None:
    """The page compares with code that works."""
    server: Any = redis.Redis.from_url(valkey_url)
    server.flushall()
    ids = guide["shop"].look_into("acme")
    queues = [Queue(name, connection=server) for name in ("enrichment", "ai_analysis")]
    SimpleWorker(queues, connection=server).work(burst=True, logging_level="WARNING")
    assert [RqJob.fetch(id_, connection=server).return_value() for id_ in ids] == [
        {"org": "acme", "lists": 1},
        "analysis of acme",
    ]

"""``golive jobs preflight``: what a new version could not read, before it claims."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from golive.cli.frame import app_for
from golive.errors import ExitCode
from golive.jobs import Jobs, State
from golive.jobs.model import NewJob, new_job_id

NEW_VERSION = """
import msgspec
from golive.jobs import Jobs

class Order(msgspec.Struct):
    item: str
    amount: int

jobs = Jobs("memory://")

@jobs.handler("order")
async def order(payload: Order) -> None: ...

class Odd(msgspec.Struct):
    key: str

    def __post_init__(self) -> None:
        {"known": 1}[self.key]

@jobs.handler("odd")
async def odd(payload: Odd) -> None: ...

@jobs.handler("tick")
async def tick() -> None: ...
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a store, and the new version beside it."""
    (tmp_path / "new_version_of_orders.py").write_text(NEW_VERSION)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "new_version_of_orders", raising=False)
    url = f"sqlite:///{tmp_path}/jobs.db"
    monkeypatch.setenv("GOLIVE_JOBS_URL", url)
    return url


def submit(url: str, *payloads: tuple[str, bytes]) -> list[str]:
    """In this order; their ids."""

    async def work() -> list[str]:
        async with Jobs(url) as jobs:
            ids = sorted(new_job_id() for _ in payloads)  # of one millisecond they come in any order
            news = [NewJob(id_, kind, payload) for id_, (kind, payload) in zip(ids, payloads, strict=True)]
            await jobs.store.submit(news)
            return [new.id for new in news]

    return asyncio.run(work())


def preflight(*options: str) -> int:
    return app_for({"jobs": ""}, ["jobs", "preflight", "new_version_of_orders:jobs", *options])


GOOD = b'{"item":"book","amount":3}'


def test_what_can_be_read_is_go(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A handler without a payload reads anything; an empty store has nothing to read."""
    submit(store)
    assert preflight() == ExitCode.OK
    assert capsys.readouterr().out == "nothing waits\n"
    submit(store, ("order", GOOD), ("tick", b"7"))
    assert preflight() == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()) for line in lines] == ["order 1 of 1 can be read", "tick 1 of 1 can be read"]


def test_what_cannot_be_read_is_named_and_no_go(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest of them and why, without the payload; the store is as it was."""
    *_, newest, _ = ids = submit(
        store, ("order", b'{"item":"secret"}'), ("order", b'{"item":"secret","amount":"3"}'), ("order", GOOD)
    )
    assert preflight() == ExitCode.NO_GO
    out = capsys.readouterr().out
    assert f'2 of 3 cannot be read, the newest is {newest}: "Expected `int`, got `str` - at `$.amount`"' in out
    assert "secret" not in out

    async def states() -> list[State]:
        async with Jobs(store) as jobs:
            found = [await jobs.get(each) for each in ids]
            return [(job.state, job.attempts) for job in found if job]  # type: ignore[misc]

    assert asyncio.run(states()) == [(State.PENDING, 0)] * 3


def test_jobs_nobody_has_a_handler_for_are_no_go(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They would wait for ever once the old version is gone."""
    submit(store, ("dropped", b"1"), ("order", GOOD))
    assert preflight("-o", "json") == ExitCode.NO_GO
    rows = {row["kind"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["dropped"]["known"], rows["dropped"]["ready"]) == (False, False)
    assert rows["order"]["ready"]


def test_it_looks_at_no_more_than_it_is_told_to(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest first, over pages."""
    submit(store, ("order", b"0"), *[("order", GOOD)] * 250)
    assert preflight("--limit", "250") == ExitCode.OK
    out = capsys.readouterr().out
    assert "250 of 250 can be read" in out
    assert "more wait: only the newest 250 were looked at" in out
    assert preflight("--limit", "250", "-o", "json") == ExitCode.OK
    assert [row["partial"] for row in json.loads(capsys.readouterr().out)] == [True]
    for enough in ("251", "400", "2000"):
        assert preflight("--limit", enough) == ExitCode.NO_GO
        out = capsys.readouterr().out
        assert "1 of 251 cannot be read" in out
        assert "more wait" not in out
    assert preflight("-o", "json") == ExitCode.NO_GO
    assert [row["partial"] for row in json.loads(capsys.readouterr().out)] == [False]


def test_a_decoder_that_breaks_does_not_read(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The application's own code may raise anything; its words may hold the payload, so only their kind is shown."""
    submit(store, ("odd", b'{"key":"secret"}'), ("odd", b'{"key":"known"}'))
    assert preflight() == ExitCode.NO_GO
    out = capsys.readouterr().out
    assert "1 of 2 cannot be read" in out
    assert '"KeyError"' in out
    assert "secret" not in out


def test_a_module_that_is_not_there_is_a_mistake_of_the_command_line(store: str) -> None:
    """Not a NO-GO."""
    submit(store)
    assert app_for({"jobs": ""}, ["jobs", "preflight", "no_such_module:jobs"]) == ExitCode.USAGE

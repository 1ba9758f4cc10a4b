"""``golive jobs``: an operator's view of the store, and what exit code a script sees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from golive.cli.frame import app_for
from golive.jobs import Jobs, State
from golive.jobs.machine import Event
from golive.jobs.model import Failure, Schedule
from golive.testing.jobs import claim, new_job, settlement

Golive = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A store with a job in each state that matters; by state."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    monkeypatch.setenv("GOLIVE_JOBS_URL", url)

    async def fill() -> dict[str, str]:
        async with Jobs(url) as jobs:
            failed, done, waiting = news = [new_job(payload=b'{"pin":"1234"}') for _ in range(3)]
            await jobs.store.submit(news[:2])
            claims = {each.id: each for each in await claim(jobs.store)}
            why = Failure("venue_unknown", "no \x1b[31mvenue", 404, exception="KeyError: 7")
            await jobs.store.settle(
                [
                    settlement(claims[failed.id], Event.FAIL, failure=why),
                    settlement(claims[done.id], result=b'{"ok":1}'),
                ]
            )
            await jobs.store.submit([waiting])
            return {"failed": failed.id, "succeeded": done.id, "pending": waiting.id}

    return asyncio.run(fill())


@pytest.fixture
def golive(capsys: pytest.CaptureFixture[str]) -> Golive:
    """Run the command line; exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = app_for({"jobs": ""}, ["jobs", *arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_list_shows_the_newest_first_and_narrows(golive: Golive, ids: dict[str, str]) -> None:
    """One line per job; by state; page by page; as JSON without payloads."""
    code, out, _ = golive("list")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == [
        job_state for job_state, _ in sorted(ids.items(), key=lambda item: item[1], reverse=True)
    ]
    assert golive("list", "--state", "pending")[1].split()[0] == ids["pending"]
    assert golive("list", "--kind", "none")[1] == "no such jobs\n"
    newest = max(ids.values())
    assert newest not in golive("list", "--before", newest)[1]
    listed = json.loads(golive("list", "-o", "json")[1])
    assert {job["id"] for job in listed} == set(ids.values())
    assert "1234" not in json.dumps(listed)


def test_dead_letters_say_why_and_cannot_paint_the_terminal(golive: Golive, ids: dict[str, str]) -> None:
    """The code and message are there; the escape sequence in it is not."""
    _, out, _ = golive("dead")
    assert out.startswith(ids["failed"])
    assert "venue_unknown" in out
    assert "\x1b" not in out


def test_show_is_for_operators(golive: Golive, ids: dict[str, str]) -> None:
    """With the exception; with the payload only if asked."""
    shown = json.loads(golive("show", ids["failed"])[1])
    assert (shown["state"], shown["failure"]["exception"], shown["payload"]) == ("failed", "KeyError: 7", "14 bytes")
    assert json.loads(golive("show", "--payload", ids["failed"])[1])["payload"] == {"pin": "1234"}
    assert json.loads(golive("show", ids["succeeded"])[1])["result"] == {"ok": 1}


def test_redrive_puts_the_dead_back_and_nothing_else(golive: Golive, ids: dict[str, str]) -> None:
    """By id or all of them; running it again changes nothing."""
    assert golive("redrive", ids["succeeded"])[1] == f"{ids['succeeded']} succeeded (left as it is)\n0 put back\n"
    assert golive("redrive", "--all", "--kind", "other")[1] == "0 put back\n"
    assert golive("redrive", "--all", "--rate", "1000")[1] == f"{ids['failed']} pending\n1 put back\n"
    assert golive("redrive", "--all")[1] == "0 put back\n"
    assert golive("redrive")[0] == 2
    assert golive("redrive", ids["failed"], "--all")[0] == 2


def test_cancel_and_wait_and_stats(golive: Golive, ids: dict[str, str]) -> None:
    """What a script branches on: 0 succeeded, 3 not, 5 still waiting."""
    assert golive("wait", ids["pending"], "--timeout", "0.1")[0] == 5
    assert golive("wait", ids["succeeded"])[0] == 0
    assert golive("wait", ids["failed"])[0] == 3
    (row,) = json.loads(golive("stats", "-o", "json")[1])
    assert 0 <= row.pop("oldest_seconds") < 60
    assert row == {"queue": "default", "pending": 1, "running": 0, "failed": 1, "paused": None}
    assert golive("cancel", ids["pending"])[1] == f"{ids['pending']} {State.CANCELLED}\n"
    assert "0 pending" in golive("stats")[1]


def test_a_split_is_set_shown_and_ended(golive: Golive, ids: dict[str, str]) -> None:
    """Shares to the basis point; nothing is changed by a mistake."""
    assert golive("split")[1] == "no split: every worker claims every job\n"
    assert golive("split", "v2", "0.05%")[1] == "v2 claims 0.05% (salt v2)\n"
    assert golive("split", "v2", "100%", "--salt", "s")[1] == "v2 claims 100% (salt s)\n"
    for wrong in (
        ("v2",),
        ("v2", "5"),
        ("v2", "101%"),
        ("v2", "0.005%"),
        ("v 2", "5%"),
        ("v2", "5%", "--end"),
        ("", "5%"),
    ):
        code, _, err = golive("split", *wrong)
        assert (code, "split: " in err, len(err.splitlines())) == (2, True, 1), (wrong, err)
    assert golive("split")[1] == "v2 claims 100% (salt s)\n"
    assert golive("split", "--end")[1] == "no split: every worker claims every job\n"


def test_versions_show_what_became_of_their_runs(golive: Golive, ids: dict[str, str]) -> None:
    """For people and for programs."""
    lines = golive("versions")[1].splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["v1", "report", "rejected", "1"],
        ["v1", "report", "succeeded", "1"],
    ]
    assert [(each["end"], sum(each["histogram"])) for each in json.loads(golive("versions", "-o", "json")[1])] == [
        ("rejected", 1), ("succeeded", 1),
    ]  # fmt: skip


def test_what_is_not_there_is_said_in_one_line(golive: Golive, ids: dict[str, str], tmp_path: Path) -> None:
    """An unknown job, a store that does not exist (and is not made), a URL that is none."""
    for arguments, said in (
        (("show", "x"), "expected a job of this store"),
        (("cancel", ids["failed"][:-1] + "z"), "expected a job of this store"),
        (("list", "--before", "x"), "expected a job id"),
        (("--store", f"sqlite:///{tmp_path}/none.db", "list"), "expected a job store, got no such file"),
        (("--store", "ftp://x", "list"), "jobs.url: expected"),
    ):
        code, _, err = golive(*arguments)
        assert (code, said in err, len(err.splitlines())) == (2, True, 1), (arguments, err)
    assert not (tmp_path / "none.db").exists()


def test_a_retry_runs_one_job_with_another_payload(golive: Golive, ids: dict[str, str], tmp_path: Path) -> None:
    """A dead one afresh, a waiting one now; what cannot be is refused and nothing is changed."""
    (tmp_path / "edited.json").write_text('{"pin": "ü"}')
    (tmp_path / "broken.json").write_bytes(b"{")
    code, _, err = golive("retry", ids["failed"], "--payload", str(tmp_path / "broken.json"))
    assert (code, "--payload: expected JSON" in err) == (2, True)
    assert golive("retry", ids["failed"], "--payload", str(tmp_path / "edited.json"))[1] == f"{ids['failed']} pending\n"
    shown = json.loads(golive("show", "--payload", ids["failed"])[1])
    assert (shown["payload"], shown["attempts"]) == ({"pin": "ü"}, 0)
    assert json.loads(golive("retry", ids["pending"], "-o", "json")[1])["state"] == "pending"
    for arguments, said in (
        ((ids["succeeded"],), "expected a job that waits, failed or was cancelled, got a succeeded one"),
        ((ids["pending"], "--payload", str(tmp_path / "edited.json")), "expected a failed or cancelled job"),
        (("x",), "expected a job of this store"),
    ):
        code, _, err = golive("retry", *arguments)
        assert (code, said in err) == (2, True), err


def test_a_queue_is_paused_and_resumed(golive: Golive, ids: dict[str, str]) -> None:
    """Seen in the statistics, with the reason, even where the queue is empty; the reason cannot paint the terminal."""
    assert golive("pause", "default", "--reason", "we \x1b[31mmove")[0] == 0
    assert golive("pause", "empty")[0] == 0
    out = golive("stats")[1]
    assert 'paused: "we \\u001b[31mmove"' in out
    assert "\x1b" not in out
    assert {row["queue"]: row["paused"] for row in json.loads(golive("stats", "-o", "json")[1])} == {
        "default": "we \x1b[31mmove", "empty": "",
    }  # fmt: skip
    assert golive("resume", "default")[1] == "default resumed\n"
    assert golive("resume", "default")[1] == "default was not paused\n"
    code, _, err = golive("pause", "no such\nqueue")
    assert (code, "expected a queue's name" in err) == (2, True)


def test_lists_are_narrowed_and_paged(golive: Golive, ids: dict[str, str]) -> None:
    """By queue and tenant; the next page begins below the last id; programs get JSON from every verb."""
    assert golive("list", "--queue", "other")[1] == golive("list", "--tenant", "acme")[1] == "no such jobs\n"
    first = golive("list", "--limit", "2")[1].splitlines()
    rest = golive("list", "--limit", "2", "--before", first[-1].split()[0])[1].splitlines()
    assert {line.split()[0] for line in [*first, *rest]} == set(ids.values())
    assert golive("dead", "--queue", "other")[1] == "no such jobs\n"
    assert json.loads(golive("cancel", ids["pending"], "-o", "json")[1])["state"] == "cancelled"
    assert json.loads(golive("wait", ids["succeeded"], "-o", "json")[1])["state"] == "succeeded"
    assert golive("redrive", "--all", "--queue", "other")[1] == "0 put back\n"
    lines = golive("redrive", "--all", "-o", "json")[1].splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": ids["failed"], "state": "pending", "put_back": True}, {"put_back": 1},
    ]  # fmt: skip


def test_schedules_are_listed_with_their_next_time(golive: Golive, ids: dict[str, str]) -> None:
    """One that nobody fires any more is seen to be overdue."""
    assert golive("schedules")[1] == "no schedules\n"

    async def declare() -> None:
        async with Jobs.from_env() as jobs:
            await jobs.store.fire(Schedule("nightly", "report", "0 3 * * * UTC", 1000.0, 87_400.0), [])
            await jobs.store.fire(Schedule("tick", "sync", "every 5m", 1000.0, 4e9), [])

    asyncio.run(declare())
    nightly, tick = golive("schedules")[1].splitlines()
    assert nightly.split()[:2] == ["nightly", "report"]
    assert "overdue" in nightly
    assert "next 2096-10-02T07:06:40" in tick
    assert "overdue" not in tick
    assert [(each["name"], each["overdue"]) for each in json.loads(golive("schedules", "-o", "json")[1])] == [
        ("nightly", True), ("tick", False),
    ]  # fmt: skip

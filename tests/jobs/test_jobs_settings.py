"""Settings: from code, from the environment, and what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from golive.errors import ConfigError
from golive.jobs import JobsSettings


def test_the_environment_of_the_seed_service_is_understood() -> None:
    """Its own variable names, units included."""
    settings = JobsSettings.from_env(
        {"BLOCKS_CONCURRENCY": "2", "BLOCKS_TIMEOUT_MS": "45000", "ENABLE_BACKGROUND_WORKER": "false"}
    )
    assert (settings.concurrency, settings.timeout, settings.embedded) == (2, timedelta(seconds=45), False)


def test_our_own_names_and_the_version() -> None:
    """Durations are written with their unit; an empty variable is as good as none."""
    settings = JobsSettings.from_env(
        {
            "GOLIVE_JOBS_URL": "sqlite:////var/jobs.db",
            "GOLIVE_JOBS_TABLE": "report_jobs",
            "GOLIVE_JOBS_TIMEOUT": "1m30s",
            "GOLIVE_JOBS_LEASE": "5s",
            "GOLIVE_JOBS_DRAIN": "",
            "GOLIVE_VERSION": "v42",
            "ENABLE_BACKGROUND_WORKER": "TRUE",
        },
        concurrency=9,
    )
    assert settings == JobsSettings(
        url="sqlite:////var/jobs.db", table="report_jobs", timeout=timedelta(seconds=90), lease=timedelta(seconds=5),
        version="v42", embedded=True, concurrency=9,
    )  # fmt: skip


def test_two_spellings_must_agree() -> None:
    """The same in other units is fine; a difference names both variables."""
    JobsSettings.from_env({"GOLIVE_JOBS_TIMEOUT": "30s", "BLOCKS_TIMEOUT_MS": "30000"})
    with pytest.raises(ConfigError, match=r"BLOCKS_TIMEOUT_MS: expected the same as GOLIVE_JOBS_TIMEOUT, got '31000'"):
        JobsSettings.from_env({"GOLIVE_JOBS_TIMEOUT": "30s", "BLOCKS_TIMEOUT_MS": "31000"})


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("BLOCKS_CONCURRENCY", "four", "expected a whole number"),
        ("BLOCKS_CONCURRENCY", "-1", "expected a whole number"),
        ("BLOCKS_CONCURRENCY", "٤", "expected a whole number"),
        ("BLOCKS_CONCURRENCY", "0", "concurrency: expected a whole number >= 1"),
        ("GOLIVE_JOBS_TIMEOUT", "30", 'Write "30s"'),
        ("ENABLE_BACKGROUND_WORKER", "maybe", 'expected "true" or "false"'),
        ("GOLIVE_JOBS_TABLE", "jobs; drop table users", "expected lower-case letters"),
        ("GOLIVE_JOBS_LEASE", "10ms", "lease: expected at least"),
    ],
)
def test_wrong_values_are_refused_by_name(variable: str, text: str, said: str) -> None:
    """A message per fault: the variable or field, what was expected, what was there."""
    with pytest.raises(ConfigError, match=said):
        JobsSettings.from_env({variable: text})


def test_all_faults_are_told_at_once() -> None:
    """One round in the editor mends them."""
    with pytest.raises(ConfigError) as caught:
        JobsSettings.from_env({"BLOCKS_CONCURRENCY": "x", "ENABLE_BACKGROUND_WORKER": "x"})
    assert len(caught.value.faults) == 2

"""The split of claims between two versions of the workers: the rule, and real workers under it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.errors import UsageError
from golive.jobs import JobError, Jobs, JobsSettings, State
from golive.jobs.model import new_job_id
from golive.jobs.split import Split, bucket, may_claim, new_split, shut_out
from golive.testing.jobs_running import finished, working


@given(st.uuids(), st.text(max_size=20), st.integers(0, 10_000), st.integers(0, 10_000))
def test_every_job_is_on_exactly_one_side_and_stays_while_the_share_grows(
    job: object, salt: str, share: int, more: int
) -> None:
    """Whatever the salt and the share."""
    low, high = Split("v2", min(share, more), salt), Split("v2", max(share, more), salt)
    for split in (low, high):
        assert may_claim(split, str(job), "v2") != may_claim(split, str(job), "v1")
        assert may_claim(split, str(job), "v1") == may_claim(split, str(job), None)
        assert not (shut_out(split, "v2") and may_claim(split, str(job), "v2"))
        assert not (shut_out(split, "v1") and may_claim(split, str(job), "v1"))
    assert may_claim(low, str(job), "v2") <= may_claim(high, str(job), "v2")
    assert may_claim(None, str(job), None)


def test_a_bucket_never_changes() -> None:
    """It is the same in every release and language: recorded values. Another salt is another order."""
    job = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert [bucket(job, salt) for salt in ("", "v2", "\u00fc")] == [5938, 4103, 2453]


def test_buckets_are_spread_evenly() -> None:
    """20,000 ids of one instant: each tenth holds its share, five standard deviations either way."""
    tenths = [0] * 10
    for _ in range(20_000):
        tenths[bucket(new_job_id(), "v2") // 1000] += 1
    assert all(abs(count - 2000) < 5 * (20_000 * 0.1 * 0.9) ** 0.5 for count in tenths), tenths


@pytest.mark.parametrize(
    ("candidate", "share", "salt"),
    [("", 1, None), ("v 2", 1, None), ("v2\n", 1, None), ("x" * 129, 1, None), (None, 1, None), ("v2", -1, None),
     ("v2", 10_001, None), ("v2", 0.5, None), ("v2", True, None), ("v2", "5%", None), ("v2", 1, "")],
)  # fmt: skip
async def test_a_rule_out_of_range_is_refused(jobs: Jobs, candidate: str, share: int, salt: str | None) -> None:
    """And nothing is stored of it."""
    async with jobs:
        with pytest.raises(UsageError, match=r"split: (candidate|share|salt): expected"):
            await jobs.split_claims(candidate, share, salt=salt)
        assert (await jobs.stats()).split is None
    assert new_split("v2", 0).salt == "v2"


@pytest.mark.process
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_workers_of_two_versions_share_the_jobs_and_leave_evidence(
    kind: str, tmp_path: Path, postgres_url: str
) -> None:
    """The candidate gets its share and no other job; its failures are counted as its own; then it gets everything."""
    url = postgres_url if kind == "postgres" else f"sqlite:///{tmp_path}/jobs.db"

    def release(version: str) -> Jobs:
        jobs = Jobs(JobsSettings(url=url, version=version, backoff_base=timedelta(milliseconds=1)))

        @jobs.handler("work", attempts_max=1)
        async def work(number: int) -> str:
            if version == "v2" and number % 2:
                raise JobError("regression")
            return version

        return jobs

    stable, candidate = release("v1"), release("v2")
    async with working(stable), working(candidate):
        await stable.split_claims("v2", 3_000)
        submitted = await asyncio.gather(*(stable.submit("work", number) for number in range(200)))
        done = [await finished(stable, job) for job in submitted]
        mine = {job.id for job in submitted if bucket(job.id, "v2") < 3_000}
        assert {job.id for job in done if job.version == "v2"} == mine
        stats = await stable.stats()
        await candidate.split_claims("v2", 10_000)
        last = await finished(stable, await stable.submit("work", 2))
    counts = {(each.version, each.end): each.runs for each in stats.runs}
    failed = sum(job.state is State.FAILED for job in done)
    assert counts == {
        ("v1", "succeeded"): 200 - len(mine), ("v2", "succeeded"): len(mine) - failed, ("v2", "failed"): failed,
    }  # fmt: skip
    assert stats.split == Split("v2", 3_000, "v2")
    assert all(sum(each.histogram) == each.runs and each.seconds > 0 for each in stats.runs)
    assert last.version == "v2"

"""
The specification of a place for large results, executable.

    class TestMyResults(ResultStoreContract):
        @pytest.fixture
        async def results(self): ...                       # open, empty
        async def fetch(self, link): ...                   # what a client gets for a link: status and body

A behaviour this suite does not check is not promised.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from golive.jobs.model import JobId, new_job_id
from golive.jobs.results.ports import ResultCapability, ResultStore, name_of

#: A name golive can have made, the same in every process that collects these tests.
OURS = name_of(JobId("019ab3c2-7d10-7e5f-8a21-0c9d4e6f1b32"), 1)


async def everything(results: ResultStore, name: str) -> bytes | None:
    """The whole result."""
    pieces = await results.get(name)
    return None if pieces is None else b"".join([piece async for piece in pieces])


class ResultStoreContract:
    """Subclass it, give it a ``results`` fixture and, for a place with links, ``fetch``."""

    async def fetch(self, link: str) -> tuple[int, bytes]:
        """What whoever has *link* gets."""
        raise AssertionError("a contract subclass says how its links are followed")

    async def test_what_is_put_is_there_byte_for_byte(self, results: ResultStore) -> None:
        """Empty, small, and larger than any buffer; opening and closing once more takes nothing away."""
        names = [name_of(new_job_id(), fence) for fence in (1, 2, 3)]
        contents = [b"", b'{"n":1}', bytes(range(256)) * 5000]
        for name, content in zip(names, contents, strict=True):
            await results.put(name, content)
        await results.open()
        await results.close()
        await results.close()
        await results.open()
        assert [await everything(results, name) for name in names] == contents

    async def test_what_is_not_there_is_none(self, results: ResultStore) -> None:
        """Asking is not an error."""
        assert await results.get(name_of(new_job_id(), 1)) is None

    async def test_two_runs_of_a_job_do_not_meet(self, results: ResultStore) -> None:
        """A zombie writes beside its successor, never over it."""
        job = new_job_id()
        await asyncio.gather(results.put(name_of(job, 1), b'"zombie"'), results.put(name_of(job, 2), b'"alive"'))
        assert await everything(results, name_of(job, 2)) == b'"alive"'
        assert await everything(results, name_of(job, 1)) == b'"zombie"'

    async def test_writing_the_same_again_is_harmless(self, results: ResultStore) -> None:
        """A worker whose answer was lost puts it once more."""
        name = name_of(new_job_id(), 1)
        await asyncio.gather(*(results.put(name, b'"same"') for _ in range(3)))
        assert await everything(results, name) == b'"same"'

    @pytest.mark.parametrize(
        "name", ["", "../secret", "/etc/passwd", "019a00/../../x.json", "a\x00b", f"{OURS}/..", OURS.upper(),
                 f"x/{OURS.partition('/')[2]}"],
    )  # fmt: skip
    async def test_only_names_of_golives_own_are_taken(self, results: ResultStore, name: str) -> None:
        """No path leads out of the place, whoever comes by a name."""
        for call in (results.get(name), results.put(name, b"x"), results.link(name, 60)):
            with pytest.raises(ValueError, match="expected a name golive made"):
                await call

    async def test_a_link_yields_the_result_to_whoever_has_it(self, results: ResultStore) -> None:
        """That one and no other; a place without links says so with None."""
        name = name_of(new_job_id(), 1)
        await results.put(name, b'{"n":1}')
        link = await results.link(name, 60)
        if ResultCapability.LINKS not in results.capabilities:
            assert link is None
            return
        assert link is not None
        assert await self.fetch(link) == (200, b'{"n":1}')
        other = link.replace(name.partition("/")[2], name_of(new_job_id(), 1).partition("/")[2])
        assert (await self.fetch(other))[0] in (403, 404)

    async def test_what_is_old_is_swept_and_the_rest_is_not(self, results: ResultStore) -> None:
        """In bites; a sweep that finds nothing removes nothing."""
        names = [name_of(new_job_id(), 1) for _ in range(4)]
        for name in names:
            await results.put(name, b"1")
        assert await results.sweep(time.time() - 3600, 10) == 0
        assert await results.sweep(time.time() + 3600, 3) == 3
        assert await results.sweep(time.time() + 3600, 3) == 1
        assert await results.sweep(time.time() + 3600, 3) == 0
        assert [await results.get(name) for name in names] == [None] * 4

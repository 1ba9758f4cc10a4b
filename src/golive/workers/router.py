"""
Job claims as a router: a share of the traffic is a share of the jobs, by the rule the store reads inside each claim.

    Split("v1")              -> only v1 claims, nobody else: the workers of the next release wait for their turn
    Split("v1", "v2", 500)   -> v2 claims 5 % of the jobs by hash, v1 the rest, nobody else anything

The rule is in the store, so it holds for every worker on every machine and outlives all of them. Beside it, in a file
of the controller, stand the fence, the versions made known and the split last wanted; a lock orders two controllers.

What is different from requests: a job that waits is not lost, so a version without a living worker delays its share
instead of failing it. Hence a version is made known only once a worker of it lives.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec.structs import replace

from golive.errors import GoliveError, RefusedError, StateError, UnavailableError
from golive.jobs import split as claims
from golive.jobs.machine import State
from golive.jobs.model import JobId
from golive.jobs.ports import JobStore
from golive.rollout.files import locked, replace_file
from golive.rollout.ports import WEIGHT_MAX, Arm, Capability, FencedError, Router, Split, UnconfirmedError
from golive.rollout.versions import check_version

ENSURE_SECONDS = 10.0
"""How long a version that was just started may take to have a worker that lives."""
RUNNING_MAX = 100_000
"""Running jobs counted at most; there are as many as all workers together have slots."""
_POLL_SECONDS = 0.02
_PAGE = 500


class Wanted(msgspec.Struct, frozen=True):
    """What the controller wrote last: its fence, the versions it made known, and the split."""

    fence: int = 0
    known: tuple[str, ...] = ()
    split: Split | None = None


class ClaimRouter(Router):
    """
    Splits the jobs of *store*.

    Args:
        memory: the controller's file; its folder is made.
        works: whether a worker of that version lives.
        ensure_seconds: see :data:`ENSURE_SECONDS`.
    """

    capabilities = frozenset({Capability.LOSSLESS, Capability.RESTART_SAFE, Capability.HUNDREDTHS})

    def __init__(
        self, store: JobStore, memory: Path, works: Callable[[str], Awaitable[bool]],
        *, ensure_seconds: float = ENSURE_SECONDS,
    ) -> None:  # fmt: skip
        self.store = store
        self._path = memory
        self._works = works
        self._ensure_seconds = ensure_seconds

    async def ensure(self, arms: Sequence[Arm], *, fence: int) -> None:
        """See :class:`~golive.rollout.ports.Router`. The lock is not held while a worker is waited for."""
        names = [check_version(arm.version) for arm in arms]
        async with self._changing(fence) as wanted:
            self._remember(replace(wanted, known=tuple(sorted({*names, *_named(wanted)}))))
        deadline = time.monotonic() + self._ensure_seconds
        for name in names:
            await self._until_it_works(name, deadline)

    async def apply(self, split: Split, *, fence: int) -> None:
        """See :class:`~golive.rollout.ports.Router`."""
        async with self._changing(fence) as wanted:
            _check_known(split, wanted)
            self._remember(replace(wanted, split=split))
            await self.store.open()
            rule = rule_of(split)
            await self.store.set_split(rule)
            seen = await self.store.split()
        if seen != rule:
            raise UnconfirmedError(f"job store: expected claims by {rule}, it has {seen}. Read it again before acting.")

    async def observe(self) -> Split | None:
        """
        See :class:`~golive.rollout.ports.Router`. When somebody ended the rule by hand, workers of all versions take
        what they get, and that is said as the worst it may be: everything on the candidate.
        """
        try:
            await self.store.open()
            rule, wanted = await self.store.split(), self._read()
        except GoliveError:
            return None
        if rule is not None:
            return split_of(rule, wanted)
        if wanted.split is None or wanted.split.candidate is None:
            return None
        return replace(wanted.split, weight=WEIGHT_MAX)

    async def active(self, version: str) -> int:
        """See :class:`~golive.rollout.ports.Router`. Jobs its workers have claimed and not ended."""
        return (await self._running())[version]

    async def retire(self, version: str, *, fence: int) -> None:
        """See :class:`~golive.rollout.ports.Router`."""
        async with self._changing(fence) as wanted:
            if version not in wanted.known:
                return
            split = await self.observe()
            if split is not None and (version == split.stable or (version == split.candidate and split.weight > 0)):
                raise RefusedError(f"version {version}: expected no jobs for it before it is retired, got {split}.")
            if running := await self.active(version):
                raise RefusedError(
                    f"version {version}: expected no jobs in flight before it is retired, got {running}."
                )
            if split is not None and version == split.candidate:
                split = Split(split.stable)
                await self.store.set_split(rule_of(split))
            known = tuple(name for name in wanted.known if name != version)
            self._remember(replace(wanted, known=known, split=split))

    async def _until_it_works(self, version: str, deadline: float) -> None:
        while not await self._works(version):
            if time.monotonic() >= deadline:
                raise UnavailableError(
                    f"version {version}: expected a worker of it that lives within {self._ensure_seconds:g} s, found "
                    "none. Look at its log; no jobs were moved."
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def _running(self) -> Counter[str]:
        await self.store.open()
        found: Counter[str] = Counter()
        before: JobId | None = None
        while found.total() < RUNNING_MAX:
            page = await self.store.page(_PAGE, state=State.RUNNING, kind=None, before=before)
            found.update(job.version or "" for job in page)
            if len(page) < _PAGE:
                break
            before = page[-1].id
        return found

    # ---- the file

    def _read(self) -> Wanted:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Wanted)
        except FileNotFoundError:
            return Wanted()
        except (OSError, msgspec.MsgspecError):
            raise StateError(
                f"{self._path}: expected what golive wrote there, got something else. The jobs go on being split as "
                "they are; remove the file and ship again."
            ) from None

    def _remember(self, wanted: Wanted) -> None:
        replace_file(self._path, msgspec.json.encode(wanted))

    @asynccontextmanager
    async def _changing(self, fence: int) -> AsyncIterator[Wanted]:
        async with locked(self._path.with_suffix(".lock")):
            wanted = self._read()
            if fence < wanted.fence:
                raise FencedError(
                    f"job claims: expected fence {wanted.fence} or higher, got {fence}. "
                    "Another controller took over; this one stops acting."
                )
            yield replace(wanted, fence=fence)


def rule_of(split: Split) -> claims.Split:
    """*split* as the store's rule. The candidate's name is the salt, so that each release meets other jobs first."""
    if split.candidate is None:
        return claims.new_split(split.stable, claims.WHOLE, stable=split.stable)
    return claims.new_split(split.candidate, split.weight, stable=split.stable)


def split_of(rule: claims.Split, wanted: Wanted) -> Split:
    """The store's rule as a split; a rule made by hand names no stable version, it is the one last wanted."""
    stable = rule.stable or (wanted.split.stable if wanted.split else "")
    if rule.candidate == stable:
        return Split(stable)
    return Split(stable, rule.candidate, rule.share_basis_points)


def _named(wanted: Wanted) -> Iterable[str]:
    split = wanted.split
    return () if split is None else [name for name in (split.stable, split.candidate) if name is not None]


def _check_known(split: Split, wanted: Wanted) -> None:
    for version in (split.stable, split.candidate):
        if version is not None and version not in wanted.known:
            known = ", ".join(wanted.known) or "none"
            raise ValueError(f"split {split}: expected versions with workers ({known}), got {version!r}.")

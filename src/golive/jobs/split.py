"""
Canaries for workers: which version of the workers a job belongs to while two versions share one queue. Pure.

    bucket = the first 32 bits of sha256("<salt>:<job id>"), modulo 10,000
    bucket < share  ->  only workers of the candidate version claim the job; all others leave it to them
    otherwise       ->  the other way round

The bucket does not depend on the share, so a share that grows keeps every job it had; a retry meets the version the
first attempt met. The rule lives in the store and is read inside each claim: a change holds from the next claim on, for
all workers at once, and a claim never mixes two rules. Without a rule claims cost what they cost before.

A rule that names its stable version is strict: workers of any third version, and those without one, claim nothing. That
is how a rollout keeps the next release away from the jobs until it is its turn.

How it fails: while no worker of the candidate is alive, its share of the jobs waits. That is the point of a canary, and
share 0 gives them back at once.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from golive.errors import UsageError

#: Shares are whole basis points of this.
WHOLE = 10_000

_VERSION = re.compile(r"[!-~]{1,128}")


class Split(msgspec.Struct, frozen=True):
    """
    The rule. *candidate* is the version (``GOLIVE_VERSION``) that gets *share_basis_points* of the jobs.

    *salt* decides which ones; keep it while the share grows. The rest is for *stable* alone, or, when that is empty,
    for everybody who is not the candidate. With ``stable == candidate`` that version gets everything.
    """

    candidate: str
    share_basis_points: int
    salt: str
    stable: str = ""

    def outsider(self, version: str | None) -> bool:
        """Whether *version* has no part in a strict rule."""
        return bool(self.stable) and version not in (self.stable, self.candidate)


def new_split(candidate: str, share_basis_points: int, salt: str | None = None, *, stable: str = "") -> Split:
    """
    A checked rule; without a *salt* the candidate's name is the salt, so that each release meets other jobs.

    Raises: UsageError naming what is out of range.
    """
    chosen = candidate if salt is None else salt
    for what, text in (("candidate", candidate), ("salt", chosen), ("stable", stable or candidate)):
        if not isinstance(text, str) or not _VERSION.fullmatch(text):
            raise UsageError(f"split: {what}: expected 1 to 128 printable ASCII characters, got {text!r}.")
    right = isinstance(share_basis_points, int) and not isinstance(share_basis_points, bool)
    if not right or not 0 <= share_basis_points <= WHOLE:
        raise UsageError(f"split: share: expected 0 to {WHOLE} basis points, got {share_basis_points!r}.")
    return Split(candidate, share_basis_points, chosen, stable)


def bucket(job: str, salt: str) -> int:
    """Where *job* is, 0 to 9,999, whatever the share."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{job}".encode()).digest()[:4]) % WHOLE


def may_claim(split: Split | None, job: str, version: str | None) -> bool:
    """Whether a worker of *version* may claim *job*."""
    if split is None:
        return True
    if split.outsider(version):
        return False
    return (bucket(job, split.salt) < split.share_basis_points) == (version == split.candidate)


def shut_out(split: Split | None, version: str | None) -> bool:
    """True when no job at all is left for *version*: the stores need not look then."""
    if split is None:
        return False
    if split.outsider(version):
        return True
    return split.share_basis_points == (0 if version == split.candidate else WHOLE)

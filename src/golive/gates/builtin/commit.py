"""
``commit``: what is judged is a commit, the one that is meant, with nothing changed since. Source: seed 002 (a report
names its commit).
"""

from __future__ import annotations

from golive.gates.gate import Gate, Phase
from golive.gates.git import git
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.release import CommitProbe


async def check(target: Target) -> Outcome:
    """PASS when the tree is a clean checkout of the expected commit."""
    probe = target.promise(CommitProbe) or CommitProbe()
    found = await git(target.root, "rev-parse", "HEAD")
    if found is None:
        return unavailable("this is no git repository, or it has no commit yet")
    commit = found.strip()
    changed = (await git(target.root, "status", "--porcelain", "--", ".") or "").splitlines()
    if probe.untracked_allowed:
        changed = [line for line in changed if not line.startswith("??")]
    if changed:
        shown = ", ".join(line[3:] for line in changed[:3])
        return failed(
            f"{len(changed)} files differ from commit {commit[:12]}: {shown}", commit=commit, changed=changed[:100]
        )
    if probe.expected and not commit.startswith(probe.expected.lower()):
        return failed(f"commit {commit[:12]} is checked out, expected {probe.expected}", commit=commit)
    return passed(f"commit {commit[:12]}, nothing changed since", commit=commit)


GATE = Gate("commit", "What is judged is a commit, with nothing changed since.", Phase.PREFLIGHT, check)

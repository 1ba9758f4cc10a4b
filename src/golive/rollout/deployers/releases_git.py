"""Releases from git: the files of a tag, a branch or a commit, without touching the working tree."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

from golive.errors import RefusedError, UnavailableError
from golive.rollout.deployers.releases import ReleaseStore, unknown
from golive.rollout.versions import check_version

_SECONDS = 120


class GitReleases:
    """
    Releases of *repository*, unpacked into *store*. The version is a tag, a branch, or a commit id.

    A branch is what it was when it was shipped first; shipping it again after it moved is refused. Submodules and files
    kept outside of git (LFS) are not unpacked.
    """

    def __init__(self, repository: Path, store: Path) -> None:
        self.repository = repository.resolve()
        self.store = ReleaseStore(store.resolve())

    def prepare(self, version: str) -> Path:
        """See :class:`~golive.rollout.deployers.releases.Releases`."""
        commit = self._commit(check_version(version))
        before = self.store.manifest(version)
        if before is None:
            return self._unpack(version, commit)
        if before.content != commit:
            raise RefusedError(
                f"version {version}: expected commit {before.content[:12]}, shipped under that name at "
                f"{before.made_at}; it is {commit[:12]} now. Ship the commit itself, or a new tag."
            )
        return self.store.folder(version)

    def folder(self, version: str) -> Path:
        """See :class:`~golive.rollout.deployers.releases.Releases`."""
        return self.store.folder(version)

    def _commit(self, version: str) -> str:
        done = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{version}^{{commit}}")
        if done.returncode == 0:
            return done.stdout.decode().strip()
        if self._git("rev-parse", "--git-dir").returncode != 0:
            raise UnavailableError(
                f"{self.repository}: expected a git repository, found none. "
                "Run `git init`, or set deploy.source to tree."
            )
        raise unknown(version, self._names(), f"No tag, branch or commit of that name in {self.repository}.")

    def _names(self) -> list[str]:
        listed = self._git("for-each-ref", "--sort=creatordate", "--format=%(refname:short)", "refs/tags", "refs/heads")
        return listed.stdout.decode(errors="replace").split()

    def _unpack(self, version: str, commit: str) -> Path:
        building = self.store.begin(version)
        try:
            packed = self._git("archive", "--format=tar", commit)
            if packed.returncode != 0:
                said = packed.stderr.decode(errors="replace").strip()
                raise UnavailableError(f"git archive {commit[:12]}: expected an archive, got {said!r}.")
            with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
                archive.extractall(building, filter="data")  # refuses links and paths that leave the folder
            return self.store.finish(version, building, str(self.repository), commit)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        try:
            command = ["git", "-C", str(self.repository), *arguments]
            return subprocess.run(command, check=False, capture_output=True, timeout=_SECONDS)
        except FileNotFoundError as error:
            raise UnavailableError("git: expected it on PATH, found none. Install it, or set deploy.source.") from error
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"git {arguments[0]}: expected an answer in {_SECONDS} s, got none.") from error

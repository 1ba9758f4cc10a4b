"""
Releases from the working tree: a snapshot of the project folder at the moment of shipping.

For projects that do not commit before they ship, and for trying golive out. The snapshot is a copy, so that editing
goes on while the version runs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from golive.errors import RefusedError
from golive.rollout.deployers.releases import Manifest, ReleaseStore
from golive.rollout.versions import check_version

BYTES_MAX = 512 * 1024 * 1024
"""A project larger than this has data in it that does not belong into a release."""
EXCLUDES = (
    *(".git", ".hg", ".svn", ".golive", ".venv", "venv", "node_modules", "__pycache__", "*.pyc", ".DS_Store", "._*"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", ".nox", ".idea", ".vscode", "*.egg-info"),
)
"""Left out of every snapshot: histories, caches, environments, and golive's own state."""


class TreeReleases:
    """
    Snapshots of *project*, kept in *store*.

    Args:
        project: the folder to copy.
        store: where releases are kept; may be inside *project*.
        exclude: more patterns than :data:`EXCLUDES`: a name anywhere (``*.sqlite3``) or a path from the
            project's root (``data/raw``).
        include: patterns of files to take, as paths from the project's root; ``**`` stands for everything below.
    """

    def __init__(
        self, project: Path, store: Path, exclude: Sequence[str] = (), include: Sequence[str] = ("**",)
    ) -> None:
        self.project = project.resolve()
        self.store = ReleaseStore(store.resolve())
        self.exclude = (*EXCLUDES, *exclude)
        self.include = tuple(include)

    def prepare(self, version: str) -> Path:
        """See :class:`~golive.rollout.deployers.releases.Releases`."""
        check_version(version)
        before = self.store.manifest(version)
        if before is not None:
            return self._unchanged(version, before)
        building = self.store.begin(version)
        try:
            content = self._copy(building)
            return self.store.finish(version, building, str(self.project), content)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def folder(self, version: str) -> Path:
        """See :class:`~golive.rollout.deployers.releases.Releases`."""
        return self.store.folder(version)

    def _unchanged(self, version: str, before: Manifest) -> Path:
        digest = hashlib.sha256()
        for relative in self._files():
            _add(digest, relative, self.project / relative)
        if digest.hexdigest() != before.content:
            raise RefusedError(
                f"version {version}: expected the content shipped under that name at {before.made_at}, the project has "
                "changed since. Ship it under a new name."
            )
        return self.store.folder(version)

    def _copy(self, target: Path) -> str:
        """
        Copy the project. Returns the hash of what was copied, read from the copy: the tree may be edited meanwhile.
        """
        digest, size = hashlib.sha256(), 0
        for relative in self._files():
            destination = target / relative
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.project / relative, destination, follow_symlinks=False)
            size += destination.lstat().st_size
            if size > BYTES_MAX:
                raise RefusedError(
                    f"{self.project}: expected at most {BYTES_MAX // 2**20} MiB to snapshot, got more at {relative}. "
                    "Exclude data under [release] exclude, or ship from git."
                )
            _add(digest, relative, destination)
        return digest.hexdigest()

    def _files(self) -> Iterator[Path]:
        """Every file and link to copy, relative and in a fixed order."""
        for root, folders, files in os.walk(self.project):
            here = Path(root).relative_to(self.project)
            links = [name for name in folders if (Path(root) / name).is_symlink()]
            folders[:] = sorted(name for name in folders if name not in links and self._kept(here / name))
            for name in sorted([*files, *links]):
                if self._included(here / name) and self._kept(here / name) and _copyable(Path(root) / name):
                    yield here / name

    def _included(self, relative: Path) -> bool:
        # fnmatch's * crosses folders, so "blocks/**" and "blocks/*" both mean everything below blocks.
        return any(fnmatch(relative.as_posix(), one.removeprefix("./").strip("/")) for one in self.include)

    def _kept(self, relative: Path) -> bool:
        inside_store = (self.project / relative) == self.store.directory
        patterns = (fnmatch(relative.name, one) or fnmatch(relative.as_posix(), one.strip("/")) for one in self.exclude)
        return not inside_store and not any(patterns)


def _copyable(path: Path) -> bool:
    """Files and links; sockets and pipes of a running service are not part of its code."""
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _add(digest: hashlib._Hash, relative: Path, path: Path) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        kind, content = "link", os.readlink(path).encode()
    else:
        kind, content = "program" if mode & stat.S_IXUSR else "file", path.read_bytes()
    # Lengths first, so that no two trees can be spelled the same.
    digest.update(f"{kind} {relative.as_posix()} {len(content)}\n".encode())
    digest.update(content)

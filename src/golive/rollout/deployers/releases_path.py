"""Releases that somebody else puts into place: a build server, ``rsync``, a package manager."""

from __future__ import annotations

from pathlib import Path

from golive.rollout.deployers.releases import unknown
from golive.rollout.versions import check_version


class PathReleases:
    """The folders ``<root>/<version>``. golive never writes there."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def prepare(self, version: str) -> Path:
        """See :class:`~golive.rollout.deployers.releases.Releases`. Whoever fills *root* answers for its content."""
        return self.folder(version)

    def folder(self, version: str) -> Path:
        """See :class:`~golive.rollout.deployers.releases.Releases`."""
        path = self.root / check_version(version)
        if not path.is_dir():
            raise unknown(version, self._names(), f"No folder {path}. Put the release there, then ship.")
        return path

    def _names(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if path.is_dir() and not path.name.startswith("."))

"""
Where the code of a version comes from.

A release is a folder that never changes after it was made: the same name is the same code for ever, so that a rollback
goes back to what was, and a restarted version is the version that was judged. Three sources: a snapshot of the working
tree, a commit of a git repository, a folder somebody else made.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from golive.errors import did_you_mean
from golive.rollout.files import replace_file
from golive.rollout.ports import UnknownVersionError
from golive.rollout.versions import check_version
from golive.timing import format_instant


class Releases(Protocol):
    """A source of releases. Calls block (they copy files); the deployer makes them on a thread."""

    def prepare(self, version: str) -> Path:
        """
        Make the release, or find it unchanged. Returns its folder.

        Raises: UnknownVersionError naming near ones, RefusedError when *version* exists with other content.
        """
        ...

    def folder(self, version: str) -> Path:
        """
        The folder of a release made before, whatever the source looks like now.

        Raises: UnknownVersionError when there is none.
        """
        ...


class Manifest(msgspec.Struct, frozen=True):
    """What a stored release was made of. *content* is the source's fingerprint: a hash of files, or a commit."""

    version: str
    source: str
    content: str
    made_at: str


class ReleaseStore:
    """
    Folders ``<directory>/<version>`` with a manifest beside each. A folder without a manifest was never finished.

    Args:
        directory: made when needed, readable by its owner only: a release may hold secrets of the project.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def manifest(self, version: str) -> Manifest | None:
        """The manifest of a finished release."""
        try:
            return msgspec.json.decode(self._manifest_path(version).read_bytes(), type=Manifest)
        except (OSError, msgspec.MsgspecError):
            return None

    def folder(self, version: str) -> Path:
        """The folder of a finished release; UnknownVersionError otherwise."""
        if self.manifest(version) is None or not self.path(version).is_dir():
            raise unknown(version, self.known(), f"No release of that name in {self.directory}. Ship it first.")
        return self.path(version)

    def path(self, version: str) -> Path:
        """Where the release is, or would be."""
        return self.directory / check_version(version)

    def begin(self, version: str) -> Path:
        """An empty folder to build the release in, on the same file system as its final place."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        building = self.directory / f".{check_version(version)}.building"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(mode=0o700)
        return building

    def finish(self, version: str, building: Path, source: str, content: str) -> Path:
        """Give the release its name. The manifest comes last: without it the folder does not count."""
        final = self.path(version)
        if final.exists():  # left by a crash between the rename and the manifest
            shutil.rmtree(final)
        building.rename(final)
        manifest = Manifest(version, source, content, format_instant(datetime.now(UTC)))
        replace_file(self._manifest_path(version), msgspec.json.encode(manifest))
        return final

    def known(self) -> list[str]:
        """Finished releases, newest last."""
        found = list(self.directory.glob("*.release.json")) if self.directory.is_dir() else []
        return [path.name.removesuffix(".release.json") for path in sorted(found, key=lambda p: p.stat().st_mtime)]

    def _manifest_path(self, version: str) -> Path:
        return self.directory / f"{check_version(version)}.release.json"


def unknown(version: str, known: Iterable[str], advice: str) -> UnknownVersionError:
    """The error for a version that is not there, with the nearest one that is, or the last few."""
    names = list(known)
    near = did_you_mean(version, names)
    listed = "" if near or not names else f"; there are {', '.join(names[-5:])}"
    return UnknownVersionError(f'unknown version "{version}"{near}{listed}. {advice}')

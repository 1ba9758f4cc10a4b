"""
The files that are the gateway's state, and the one way to change them.

``clusters/cds.json`` and ``routes/rds.json`` are watched by Envoy, each in a directory of its own because a rename
makes Envoy read again everything it watches there. A write is: new file, fsync, rename, fsync of the directory; Envoy
reacts to the rename, and a crash leaves the old state or the new one. A lock file keeps two controllers from reading
the same generation; the fencing token in the state decides which of them may write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from golive.errors import StateError
from golive.rollout.files import locked, replace_file
from golive.rollout.ports import FencedError
from golive.rollout.routers import envoy_config
from golive.rollout.routers.envoy_config import Json, Wanted
from golive.rollout.routers.envoy_settings import GatewaySettings


class EnvoyFiles:
    """The state below *directory*."""

    def __init__(self, directory: Path, settings: GatewaySettings) -> None:
        self.clusters_path = directory / "clusters" / "cds.json"
        self.routes_path = directory / "routes" / "rds.json"
        self._lock_path = directory / "lock"
        self._settings = settings

    def create(self) -> None:
        """Begin with no version, where there is no state yet: Envoy does not start without its files."""
        for path in (self.clusters_path, self.routes_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        if not self.routes_path.exists():
            self.write_routes(Wanted())
        if not self.clusters_path.exists():
            self.write_clusters(self.read())

    def read(self) -> Wanted:
        """
        What golive wants; an empty state before the first write.

        Raises: StateError when the file is not one that golive wrote.
        """
        try:
            found = envoy_config.wanted_in(msgspec.json.decode(self.routes_path.read_bytes())["resources"][0])
        except FileNotFoundError:
            return Wanted()
        except (OSError, LookupError, TypeError, msgspec.MsgspecError):
            found = None
        if found is None:
            raise StateError(
                f"{self.routes_path}: expected routes written by golive, got something else. "
                "Traffic stays where the gateway has it; put the file back, or remove it and ship again."
            )
        return found

    @asynccontextmanager
    async def changing(self, fence: int) -> AsyncIterator[Wanted]:
        """
        Hold the lock and give the current state, with *fence* and a new generation already in it.

        Raises: FencedError when a higher fence has written, UnavailableError when the lock stays taken.
        """
        async with locked(self._lock_path):
            wanted = self.read()
            if fence < wanted.fence:
                raise FencedError(
                    f"gateway: expected fence {wanted.fence} or higher, got {fence}. "
                    "Another controller took over; this one stops acting."
                )
            yield msgspec.structs.replace(wanted, fence=fence, generation=wanted.generation + 1)

    def write_clusters(self, wanted: Wanted) -> str:
        """Make *wanted*'s arms the clusters. Returns the version the gateway will confirm."""
        return _write(self.clusters_path, wanted, envoy_config.clusters(wanted, self._settings))

    def write_routes(self, wanted: Wanted) -> str:
        """Make *wanted* the state and its split the traffic. Returns the version the gateway will confirm."""
        return _write(self.routes_path, wanted, [envoy_config.routes(wanted, self._settings)])


def _write(path: Path, wanted: Wanted, resources: Sequence[Json]) -> str:
    version = envoy_config.version_info(wanted, resources)
    replace_file(path, envoy_config.document(version, resources))
    return version

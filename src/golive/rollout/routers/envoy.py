"""
The embedded gateway as a router: a change of traffic is a renamed file, confirmed by asking Envoy what it uses.

Why files and not Envoy's runtime interface: the file is also what a restarted Envoy reads, so there is one truth; and
the runtime accepts nonsense with ``OK``. What is in force is always read from Envoy, never from what was written.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from itertools import chain, repeat

import msgspec

from golive.errors import RefusedError, UnavailableError
from golive.rollout.ports import Arm, Capability, FencedError, Router, Split, UnconfirmedError
from golive.rollout.routers import envoy_config
from golive.rollout.routers.envoy_config import ROUTES, Json, Wanted, cluster_name, is_numeric, uncounted_name
from golive.rollout.routers.envoy_gateway import EnvoyGateway
from golive.rollout.versions import check_version

_POLL_SECONDS = (0.001, 0.001, 0.002, 0.002, 0.005, 0.005, 0.01, 0.01, 0.02)
_GENERATION = re.compile(r"g(\d+)\.(\d+)\.[0-9a-f]+")


class EnvoyRouter(Router):
    """Splits the traffic of *gateway*."""

    capabilities = frozenset(Capability)

    def __init__(self, gateway: EnvoyGateway) -> None:
        self.gateway = gateway
        self._files = gateway.files
        self._settings = gateway.settings

    async def ensure(self, arms: Sequence[Arm], *, fence: int) -> None:
        """
        See :class:`~golive.rollout.ports.Router`. The lock is not held while a version warms up: an abort never
        waits.
        """
        for arm in arms:
            check_version(arm.version)
        self.gateway.admin()  # says how to start it, when it is down
        async with self._files.changing(fence) as wanted:
            await self._change_arms(wanted, _with_named(arms, wanted))
        await self._wait_healthy(arms)

    async def apply(self, split: Split, *, fence: int) -> None:
        """
        See :class:`~golive.rollout.ports.Router`.

        While the gateway is down, only a change that takes traffic away from the candidate is written: it is what the
        restarted gateway must come back with. Any other is refused, because nobody could confirm it.
        """
        reachable = self.gateway.alive()
        async with self._files.changing(fence) as wanted:
            _check_known(split, wanted)
            if not reachable and not _lowers(split, wanted.split):
                self.gateway.admin()  # raises, saying how to start it
            version = self._files.write_routes(msgspec.structs.replace(wanted, split=split))
        configuration = await self._confirmed_routes(version)
        if envoy_config.split_in(configuration) != split:
            raise UnconfirmedError(
                f"gateway {self.gateway.address}: expected {split}, it confirmed "
                f"{envoy_config.split_in(configuration)}. Read it again before acting."
            )

    async def observe(self) -> Split | None:
        """See :class:`~golive.rollout.ports.Router`. Reads the routes Envoy uses, so a hand-made change is seen too."""
        try:
            configuration = await self._routes_in_force()
        except UnavailableError:
            return None
        return None if configuration is None else envoy_config.split_in(configuration[1])

    async def active(self, version: str) -> int:
        """See :class:`~golive.rollout.ports.Router`. Counts requests that wait for a connection as well."""
        service = self._settings.service
        names = "|".join((cluster_name(service, version), uncounted_name(service, version)))
        found = await self.gateway.admin().stats(rf"^cluster\.({names})\.upstream_rq(_pending)?_active$")
        return sum(found.values())

    async def retire(self, version: str, *, fence: int) -> None:
        """See :class:`~golive.rollout.ports.Router`."""
        in_flight, in_force = await self.active(version), await self.observe()
        async with self._files.changing(fence) as wanted:
            if wanted.arm(version) is None:
                return
            _check_retirable(version, wanted.split, in_flight)
            _check_retirable(version, in_force, in_flight)
            split = wanted.split
            if split is not None and split.candidate == version:
                split = Split(split.stable)
            kept = [arm for arm in wanted.arms if arm.version != version]
            await self._change_arms(msgspec.structs.replace(wanted, split=split), kept)

    async def _change_arms(self, wanted: Wanted, arms: Iterable[Arm]) -> None:
        """
        Forgotten versions leave the routes before the clusters, new ones come after: no route names a missing
        cluster.
        """
        after = tuple(sorted(arms, key=lambda arm: arm.version))
        kept = tuple(arm for arm in wanted.arms if arm.version in {other.version for other in after})
        forgotten = len(wanted.arms) - len(kept)
        replace = msgspec.structs.replace
        if forgotten:
            wanted = replace(wanted, arms=kept, removals=wanted.removals + forgotten)
            await self._confirmed_routes(self._files.write_routes(wanted))
        wanted = replace(wanted, arms=after)
        await self._confirmed_clusters(self._files.write_clusters(wanted))
        await self._confirmed_routes(self._files.write_routes(wanted))

    async def _wait_healthy(self, arms: Sequence[Arm]) -> None:
        waiting = {cluster_name(self._settings.service, arm.version): arm for arm in arms}

        async def all_healthy() -> bool:
            # Not the gauge membership_healthy: while a moved version warms up, that still speaks of its old address.
            answer = msgspec.json.decode(await self.gateway.admin().get("/clusters?format=json"))
            for cluster in answer.get("cluster_statuses", []):
                arm = waiting.get(cluster["name"])
                if arm is not None and any(_healthy_at(arm, host) for host in cluster.get("host_statuses", [])):
                    del waiting[cluster["name"]]
            return not waiting

        timeout = self._settings.ensure_timeout / timedelta(seconds=1)
        if waiting and not await _until(all_healthy, timeout):
            arm = next(iter(waiting.values()))
            raise UnavailableError(
                f"version {arm.version}: expected 200 from http://{arm.address}{self._settings.health_path} within "
                f"{timeout:g} s, the gateway got none. Look at the log of that version; no traffic was moved."
            )

    async def _routes_in_force(self) -> tuple[str, Json] | None:
        answer = msgspec.json.decode(await self.gateway.admin().get("/config_dump?resource=dynamic_route_configs"))
        for entry in answer.get("configs", []):
            if entry.get("route_config", {}).get("name") == ROUTES:
                return str(entry.get("version_info", "")), entry["route_config"]
        return None

    async def _confirmed_routes(self, version: str) -> Json:
        """
        The routes in force, once they are *version* or made from it.

        Raises: UnconfirmedError when that does not come, FencedError when a higher fence replaced them meanwhile.
        """
        seen: tuple[str, Json] = "", {}

        async def confirmed() -> bool:
            nonlocal seen
            seen = await self._routes_in_force() or seen
            return _reached(version, seen[0])

        await self._confirm(confirmed, version, lambda: seen[0])
        return seen[1]

    async def _confirmed_clusters(self, version: str) -> None:
        name = "cluster_manager.cds.version_text"
        seen = ""

        async def confirmed() -> bool:
            nonlocal seen
            found = await self.gateway.admin().stats(rf"^{re.escape(name)}$")
            seen = str(found.get(name, ""))
            return seen == version

        await self._confirm(confirmed, version, lambda: seen)

    async def _confirm(self, confirmed: Callable[[], Awaitable[bool]], version: str, seen: Callable[[], str]) -> None:
        timeout = self._settings.confirm_timeout / timedelta(seconds=1)
        try:
            if await _until(confirmed, timeout):
                return
            why = f"it is at {seen() or 'none'} after {timeout:g} s. {self.gateway.log_tail()}"
        except UnavailableError as error:
            why = str(error)
        raise UnconfirmedError(
            f"gateway {self.gateway.address}: expected it to confirm {version}, {why} "
            "What is in force is unknown until it is read again."
        )


async def _until(condition: Callable[[], Awaitable[bool]], timeout_seconds: float) -> bool:
    """Whether *condition* became true in time. Asks quickly at first: Envoy confirms in a few milliseconds."""
    deadline = time.monotonic() + timeout_seconds
    for pause in chain(_POLL_SECONDS, repeat(_POLL_SECONDS[-1])):
        if await condition():
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(pause)
    raise AssertionError("repeat never ends")


def _reached(version: str, seen: str) -> bool:
    ours, theirs = _GENERATION.fullmatch(version), _GENERATION.fullmatch(seen)
    assert ours is not None, "versions are made by envoy_config"
    if theirs is None:
        return False
    if int(theirs[1]) > int(ours[1]):
        raise FencedError(f"gateway: expected {version} in force, a controller with fence {theirs[1]} wrote {seen}.")
    return seen == version or int(theirs[2]) > int(ours[2])


def _with_named(arms: Iterable[Arm], wanted: Wanted) -> list[Arm]:
    """*arms*, and the ones the split in force needs."""
    given = {arm.version: arm for arm in arms}
    named = {wanted.split.stable, wanted.split.candidate} if wanted.split else set()
    return [*given.values(), *(arm for arm in wanted.arms if arm.version in named - given.keys())]


def _check_known(split: Split, wanted: Wanted) -> None:
    for version in (split.stable, split.candidate):
        if version is not None and wanted.arm(version) is None:
            known = ", ".join(arm.version for arm in wanted.arms) or "none"
            raise ValueError(f"split {split}: expected versions the gateway knows ({known}), got {version!r}.")


def _lowers(split: Split, before: Split | None) -> bool:
    """Whether *split* only takes traffic away from the candidate of *before*."""
    if before is None or split.stable != before.stable:
        return False
    return split.candidate in (None, before.candidate) and split.weight <= before.weight


def _check_retirable(version: str, split: Split | None, in_flight: int) -> None:
    if split is not None and (version == split.stable or (version == split.candidate and split.weight > 0)):
        raise RefusedError(f"version {version}: expected no traffic on it before it is retired, the split is {split}.")
    if in_flight:
        raise RefusedError(f"version {version}: expected no requests in flight before it is retired, got {in_flight}.")


def _healthy_at(arm: Arm, host: Json) -> bool:
    socket = host["address"]["socket_address"]
    address, _, port = arm.address.rpartition(":")
    same = socket["port_value"] == int(port) and (socket["address"] == address.strip("[]") or not is_numeric(address))
    return same and host["health_status"] == {"eds_health_status": "HEALTHY"}

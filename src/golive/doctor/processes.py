"""What runs for the project, beside what should: orphans, versions nobody needs, a production that is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from golive.doctor.finding import Finding, fail, ok, warn
from golive.doctor.record import readable
from golive.project import Place, open_journal
from golive.rollout.deployers.instance import MARK, Instance, Instances
from golive.rollout.processes import command_line, identify
from golive.rollout.routers.envoy_gateway import MARK as GATEWAY_MARK
from golive.rollout.routers.envoy_gateway import EnvoyGateway
from golive.rollout.routers.envoy_settings import GatewaySettings

HOMES = ("processes", "workers")
"""The folders of the state in which deployers keep their records."""


def gateway_of(place: Place) -> EnvoyGateway:
    """The gateway of the project, to be looked at."""
    return EnvoyGateway(place.state_dir / "gateway", GatewaySettings(service=place.service))


def orphans(place: Place) -> Iterator[Finding]:
    """Processes that carry the mark of this project and that no record names."""
    known = {instance.process.pid for instance in living(place)}
    running = gateway_of(place).running()
    if running is not None:
        known.add(running.process.pid)
    lost = [pid for pid in _marked(place) if _session(pid) not in known and pid not in known]
    for pid in lost:
        yield warn("orphans", f"process {pid} was started for this project and no record names it: {command_line(pid)}",
                   f"The next start of that version ends it; or: kill {pid}")  # fmt: skip
    if not lost:
        yield ok("orphans", f"none; {len(known)} processes are known")


def versions(place: Place) -> Iterator[Finding]:
    """The version in production lives, and no other lives without a reason."""
    if not readable(place):
        yield ok("versions", "the journal knows of none")
        return
    with closing(open_journal(place)) as record:
        service, active = record.service(place.service), record.active(place.service)
    wanted = {service.version} if service else set()
    if active is not None:
        wanted |= {active[0].stable, active[0].candidate}
    alive = {instance.version for instance in living(place)}
    up = gateway_of(place).running() is not None
    for version in sorted(alive - wanted):
        yield warn("versions", f"{version} runs, and neither is in production nor part of a rollout",
                   "`golive down` ends everything; `golive up` starts what is needed.")  # fmt: skip
    if up and service is not None and service.version not in alive and active is None:
        yield fail("versions", f"{service.version} is in production, and its process is gone",
                   f"`golive up` starts it again. See {place.state_dir}/processes/logs.")  # fmt: skip
    elif alive <= wanted:
        yield ok(
            "versions", ", ".join(sorted(alive)) + " run" if alive else "none runs; `golive up` starts what is needed"
        )


def living(place: Place) -> list[Instance]:
    """What deployers have recorded, and lives."""
    return [one for home in HOMES for one in Instances((place.state_dir / home).resolve()).living()]


def _marked(place: Place) -> list[int]:
    """Processes whose environment names a folder of this state."""
    state = str(place.state_dir.resolve())
    marks = [f"{MARK}={state}/{home}/".encode() for home in HOMES]
    marks.append(f"{GATEWAY_MARK}={state}/gateway".encode())
    return [pid for pid in _pids() if any(entry.startswith(tuple(marks)) for entry in _environment(pid))]


def _pids() -> list[int]:
    proc = Path("/proc")
    return [int(each.name) for each in proc.iterdir() if each.name.isdigit()] if proc.is_dir() else []


def _environment(pid: int) -> list[bytes]:
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []  # of another user, or gone
    return entries if identify(pid) is not None else []


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return pid

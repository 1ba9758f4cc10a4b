"""
Two contracts over one handler: ``POST /api/vpr`` waits and answers 200, ``POST /api/vpr/async`` answers 202 and a job
to poll.
"""

from __future__ import annotations

import msgspec
from fastapi import FastAPI

from golive import Chassis, JobContext, Jobs
from vpr.report import value_proposition

TEXT_MAX = 20_000
chassis = Chassis.from_env()
jobs = Jobs.from_env()


class Application(msgspec.Struct, forbid_unknown_fields=True):
    """A curriculum and the advertisement it is held against."""

    curriculum: str
    advertisement: str

    def __post_init__(self) -> None:
        """Raises: ValueError when one of them is longer than a person would write."""
        if max(len(self.curriculum), len(self.advertisement)) > TEXT_MAX:
            raise ValueError(f"expected at most {TEXT_MAX} characters")


@jobs.handler("vpr", attempts_max=3, timeout="90s")
async def vpr(application: Application, ctx: JobContext) -> dict[str, object]:
    """The one handler of both contracts."""
    return value_proposition(application.curriculum, application.advertisement)


service = FastAPI(title="VPR")
service.include_router(jobs.router("vpr", prefix="/api/vpr", body_style="camel"))
app = chassis.wrap(service)

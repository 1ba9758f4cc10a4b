"""Submit reports at a steady rate until interrupted: ``python feed.py [PER_SECOND]``."""

from __future__ import annotations

import asyncio
import itertools
import sys

from main import jobs


async def main(per_second: float) -> None:
    """The numbers count up, so that every version meets all kinds of reports."""
    async with jobs:
        for number in itertools.count():
            await jobs.submit("report", number)
            await asyncio.sleep(1 / per_second)


if __name__ == "__main__":
    try:
        asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60))
    except KeyboardInterrupt:
        pass

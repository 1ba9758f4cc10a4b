"""
Layers around a job store: a layer is a store itself, passes on what it does not care about, and adds one concern.

    Jobs, Worker -> Rung or Delivered (the transport) -> Offloading (large results elsewhere) -> the store
"""

from __future__ import annotations

from typing import Any, cast

from golive.jobs.ports import JobStore


class StoreLayer:
    """*inner* does everything a subclass does not do itself."""

    def __init__(self, inner: JobStore) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def whole(self) -> JobStore:
        """This layer, as what it is: a type checker cannot see what is passed on."""
        return cast(JobStore, self)

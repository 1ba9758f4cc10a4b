"""
Rollouts: moving real traffic to a new version step by step, judging each step, and taking it back.

The machine decides (:mod:`golive.rollout.machine`, pure), the runner acts, the ports name what it needs from the world.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from golive.rollout.judge import Judge as Judge

__all__ = ["Judge"]


def __getattr__(name: str) -> object:
    if name == "Judge":
        return importlib.import_module("golive.rollout.judge").Judge
    raise AttributeError(f"module 'golive.rollout' has no attribute {name!r}")

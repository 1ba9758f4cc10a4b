"""
The load room: an open-loop generator that tells the truth about latency, and its histograms.

Standard library only. What it leaves out: HTTP/2, browsers, scripting. It answers one question: what does a visitor
wait for when requests keep coming at this rate, whether or not the service keeps up?
"""

from __future__ import annotations

from golive.load.engine import run
from golive.load.histogram import Histogram
from golive.load.plan import LoadPlan, RequestSpec, Stage
from golive.load.report import Counts, Failure, LoadReport, Window
from golive.load.several import run_several

__all__ = [
    "Counts",
    "Failure",
    "Histogram",
    "LoadPlan",
    "LoadReport",
    "RequestSpec",
    "Stage",
    "Window",
    "run",
    "run_several",
]

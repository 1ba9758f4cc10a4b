"""The edges of the latency histograms that evidence of the gateway comes in; loaded by whoever reads a record."""

from __future__ import annotations

BOUNDS = (
    *(0.001, 0.002, 0.003, 0.005, 0.007),
    *(0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.075),
    *(0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.8),
    *(1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.5, 8.0),
    *(10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0),
)
"""
1 ms to 120 s, few enough to be journaled at every look. The limits people write are edges, which makes "the share above
it" exact, and that is the question a verdict asks.
"""

"""Envoy is a router: the same suite as the model, over real connections."""

from __future__ import annotations

import pytest

from golive.rollout.ports import Capability
from golive.testing.routers import RouterContract


@pytest.mark.process
class TestEnvoyRouter(RouterContract):
    """All capabilities."""

    capabilities = frozenset(Capability)

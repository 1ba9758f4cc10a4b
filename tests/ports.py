"""Ports for the servers the tests start: a slice for each of pytest's workers, so that no two ever choose the same."""

import os
import random
from itertools import cycle

from golive.freeport import is_free

_FIRST, _SLICE, _SLICES = 12_000, 500, 16  # below what golive itself chooses from, and below outgoing connections
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SLICES
_start = random.randrange(_SLICE)  # two suites on one machine begin at different ports
_turn = cycle(_FIRST + _worker * _SLICE + (_start + k) % _SLICE for k in range(_SLICE))


def free_port() -> int:
    """A port nobody listens on, and which this worker gives to nobody else for its next 499 calls."""
    for _ in range(_SLICE):
        if is_free("127.0.0.1", port := next(_turn)):
            return port
    raise AssertionError(f"expected a free port in the {_SLICE} from {_FIRST + _worker * _SLICE}, found none")

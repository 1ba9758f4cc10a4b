"""
Python's garbage collector, told that this process serves.

By default it looks at all young objects whenever 700 more were made than freed. Sixteen requests at once are more than
that, so a busy service looks again and again at objects that die by themselves a moment later (measured: a sixth of the
CPU of a request that is kept for its repetition). And each full collection walks through everything that was
imported, which never dies.
"""

from __future__ import annotations

import gc

#: What Python counts to when nobody has said otherwise; 3.12 raised it.
_DEFAULTS = (700, 2000)
#: Young objects at which to look: some hundred requests at once. A cycle of garbage waits a little longer, and a look
#: takes less than a millisecond.
YOUNG_MAX = 10_000


def settle() -> None:
    """
    The service is imported and has started: what lives now lives on. An app that has set the thresholds keeps them.
    """
    young, middle, old = gc.get_threshold()
    if gc.isenabled() and young in _DEFAULTS:
        gc.collect(1)
        gc.freeze()
        gc.set_threshold(YOUNG_MAX, middle, old)

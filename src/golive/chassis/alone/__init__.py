"""
Each concern of the chassis by itself, around any ASGI app: no framework, no ``golive serve``, none of the others.

    app = CrossOrigin(app, ChassisSettings(cors_origins=("https://app.example.com",)))

For a team that has most of this already and lacks one thing. Every class takes the app and the settings of
:class:`golive.chassis.settings.ChassisSettings` that are about it, decides with the same code as the whole chassis, and
leaves alone what is not its own: no header, no path and no log line more. They can be put inside each other; several
of them are better had as the chassis, which does them in one pass and in the right order
(:data:`golive.chassis.core.ORDER`).

Left out, because only the owner of the process can do them: health before import, the lame duck, the time a client may
take to send a head (``golive serve``). What is no layer around an app stands alone anyway: ``Chassis().breaker(...)``,
``.pool()``, ``.view(...)``, :mod:`golive.redact`.
"""

from golive.chassis.alone.admitting import Authenticated, CrossOrigin, TrustedAddresses
from golive.chassis.alone.failing import Captured, Problems
from golive.chassis.alone.limiting import Limited, RateLimited, StrictBodies
from golive.chassis.alone.naming import RequestIds, TraceContext
from golive.chassis.alone.operating import Draining, Probed
from golive.chassis.alone.repeating import Idempotent
from golive.chassis.alone.watching import AccessLog, Measured

__all__ = [
    "AccessLog",
    "Authenticated",
    "Captured",
    "CrossOrigin",
    "Draining",
    "Idempotent",
    "Limited",
    "Measured",
    "Probed",
    "Problems",
    "RateLimited",
    "RequestIds",
    "StrictBodies",
    "TraceContext",
    "TrustedAddresses",
]

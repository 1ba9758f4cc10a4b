"""
How a worker finds what its supervisor left to it. Apart, because it is read before anything slow is imported.
"""

from __future__ import annotations

import os
import socket
from typing import NamedTuple

#: ``<listening descriptor>:<descriptor of the line>:early`` (or ``late``), from the supervisor; taken out of the
#: environment at once.
VARIABLE = "GOLIVE_FLEET_WORKER"


class Place(NamedTuple):
    """
    What a supervisor left to this process.

    Attributes:
        listening: the socket that all workers share.
        line: to the supervisor.
        early: answer probes before the app is there; a late one accepts nothing before it can serve.
    """

    listening: socket.socket
    line: socket.socket
    early: bool


def taken_from_environment() -> Place | None:
    """This worker's place, or None when the process is on its own."""
    value = os.environ.pop(VARIABLE, "")
    if not value:
        return None
    *numbers, when = value.split(":")
    listening, line = (socket.socket(fileno=int(number)) for number in numbers)
    for sock in (listening, line):
        sock.setblocking(False)
        sock.set_inheritable(False)
    return Place(listening, line, when == "early")

"""The golive.toml a project begins with: short, commented, and in force as it stands."""

from __future__ import annotations

import json

_HEAD = """\
# golive.toml, written by `golive init`. Only what differs from the defaults has to be here.
# `golive config show --origin` prints all settings in force; `golive config check` finds every mistake.

service = {service}
app = {app}  # {where}
"""

_SOURCE = """
[release]
source = "tree"  # a snapshot of this folder is taken when a version is shipped
"""

_SOURCE_GIT = """
[release]
source = "tree"  # a snapshot of this folder is taken when a version is shipped
# source = "git"  # or: a version is a tag, branch or commit of this repository
"""

_SRC = """
[deploy.env]
PYTHONPATH = {folder}  # each version imports its own files, not those installed in the environment
"""

_REST = """
[gateway]
port = 8000

[rollout]
preset = "progressive"  # 1, 5, 25, 50, 95, 100 %, as fast as the evidence allows; see `golive plan`
# stages = [{ weight = 10, soak = "10m" }, { weight = 50, soak = "1h", approval = "eng-leads" }, { weight = 100 }]

# metric | target | alert if: what a version must hold to get more traffic, and what takes it back.
[slo]
error_rate  = { target = "<= 1%", alert_if = "> 2%", window = "5m" }
latency_p95 = { target = "<= 1s", alert_if = "> 2s", window = "5m" }

# Requests that must answer as expected before a version gets traffic.
[gates.smoke]
requests = [
  # { get = "/api/status", expect = 200 },
  # { get = "/api/orders", expect = 401, name = "anonymous is blocked" },
]
"""


def starter(*, service: str, app: str, where: str, folder: str, git: bool) -> str:
    """
    The text of a first golive.toml.

    Args:
        where: the file and line the app was found at, or who named it.
        folder: what must be on the import path, relative to the project; ``.`` needs nothing.
        git: whether the project is a git repository.
    """
    source = _SOURCE_GIT if git else _SOURCE
    path = "" if folder == "." else _SRC.format(folder=json.dumps(folder))
    return _HEAD.format(service=json.dumps(service), app=json.dumps(app), where=where) + source + path + _REST

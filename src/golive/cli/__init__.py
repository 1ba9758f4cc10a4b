"""
The command line: one verb per file, loaded only when called, so that ``golive --help`` answers at once.

A verb is a click command named ``command`` in ``golive/cli/<verb>.py``; :data:`VERBS` lists them in the order a
newcomer meets them. Whatever a verb raises ends here: a :class:`~golive.errors.GoliveError` becomes its one line on
stderr and its exit code, Control-C becomes 130, anything else is a bug in golive and says so.
"""

from __future__ import annotations

import sys

from golive.cli.frame import app_for

#: verb -> the line ``golive --help`` shows. The verb's module is golive.cli.<verb>.
VERBS = {
    "init": "Write a golive.toml that works for the project in this folder.",
    "serve": "Run an ASGI app inside the production chassis.",
    "worker": "Run the job handlers of an app.",
    "jobs": "Look at jobs, cancel them, put dead ones back.",
    "up": "Start the gateway, the stable version and the controller.",
    "down": "Stop everything `golive up` started, without losing a request.",
    "ship": "Roll a new version out, step by step, or take it back.",
    "doctor": "Say what is wrong with this project or machine, before anything moves.",
    "plan": "Print the stages of a rollout and what each of them can detect.",
    "status": "Say where the traffic is now, and why.",
    "watch": "Follow a rollout live.",
    "approve": "Let a waiting rollout go on.",
    "reject": "Refuse a waiting rollout; it is rolled back.",
    "retry": "Run a hook that failed once more.",
    "pause": "Hold the traffic where it is.",
    "resume": "Let a paused rollout go on.",
    "abort": "Take all traffic back to the stable version now.",
    "rollback": "Put the version before this one back in service.",
    "explain": "Say why a rollout decided what it did, from the journal.",
    "replay": "Run a recorded rollout under other settings, from the journal.",
    "backtest": "Run the SLO table over recorded evidence: when would it have fired?",
    "bundle": "Put everything about a rollout into one file.",
    "verify": "Check that a journal or an evidence bundle is whole.",
    "check": "Run the gates: GO or NO-GO.",
    "attest": "Sign what only a person can say, bound to its evidence.",
    "load": "Send an open-loop load and report honest percentiles.",
    "config": "Show the settings in force and where each came from.",
    "import": "Translate manifests of Argo Rollouts or Flagger into parts of a golive.toml.",
    "demo": "See all of it work in two minutes, on this machine.",
}


def main(arguments: list[str] | None = None) -> None:
    """The ``golive`` command. Exits the process with a code of :class:`golive.errors.ExitCode`."""
    sys.exit(app_for(VERBS, arguments if arguments is not None else sys.argv[1:]))

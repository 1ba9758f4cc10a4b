"""
``cloud-run``: the manifest, or the running service's own description, says what the service needs. Source: seed 000
(CPU "Always" is its critical setting: without it jobs freeze once the 202 has left).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from golive.errors import UnavailableError
from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import Target
from golive.promises.state import CloudRunProbe, PlatformProbe


async def check(target: Target) -> Outcome:
    """PASS when CPU, scaling, concurrency, time-out and probes are as declared."""
    probe = target.required(CloudRunProbe, "cloud_run")
    service = _service(target, probe.manifest)
    revision = _at(service, "spec", "template")
    notes: Mapping[str, Any] = _at(revision, "metadata", "annotations")
    spec = _at(revision, "spec")
    containers = spec.get("containers")
    container = containers[0] if isinstance(containers, list) and containers and isinstance(containers[0], dict) else {}
    problems = []
    if probe.cpu_always and str(notes.get("run.googleapis.com/cpu-throttling", "true")).lower() != "false":
        problems.append(
            'run.googleapis.com/cpu-throttling is not "false": the CPU is taken away after each answer and jobs freeze'
        )
    for name, key, found, wanted in (
        ("minimum instances", "minScale", notes.get("autoscaling.knative.dev/minScale"), probe.instances_min),
        ("maximum instances", "maxScale", notes.get("autoscaling.knative.dev/maxScale"), probe.instances_max),
        ("concurrency", "containerConcurrency", spec.get("containerConcurrency"), probe.concurrency),
        ("request time-out", "timeoutSeconds", spec.get("timeoutSeconds"), int(probe.request_timeout)),
    ):
        if wanted and str(found) != str(wanted):
            problems.append(f"{name} ({key}) is {found if found is not None else 'not set'}, expected {wanted}")
    for name, wanted_probe in (("livenessProbe", probe.liveness), ("startupProbe", probe.startup)):
        if wanted_probe is not None:
            problems += _probe(name, _at(container, name), wanted_probe)
    if problems:
        return failed(f"{probe.manifest}: {'; '.join(problems)}", problems=problems)
    return passed(f"{probe.manifest} is as declared" + (", CPU always allocated" if probe.cpu_always else ""))


def _service(target: Target, manifest: str) -> Mapping[str, Any]:
    text = tree.read(target.root / manifest) if target.root is not None else None
    if text is None:
        raise UnavailableError(f"{manifest}: cannot be read")
    try:
        documents = [json.loads(text)]
    except ValueError:
        documents = _yaml(text, manifest)
    services = [each for each in documents if isinstance(each, dict) and each.get("kind") == "Service"]
    if not services:
        raise UnavailableError(f"{manifest}: holds no Cloud Run service (kind: Service)")
    return services[0]


def _yaml(text: str, manifest: str) -> list[Any]:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise UnavailableError(f"{manifest}: reading YAML needs PyYAML: pip install pyyaml, or give JSON") from None
    try:
        return list(yaml.safe_load_all(text))
    except (yaml.YAMLError, RecursionError) as error:
        raise UnavailableError(f"{manifest}: is no YAML: {str(error).splitlines()[0]}") from None


def _at(value: Any, *path: str) -> Mapping[str, Any]:
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _probe(name: str, written: Mapping[str, Any], wanted: PlatformProbe) -> list[str]:
    if not written:
        return [f"there is no {name}"]
    facts = (
        ("path", _at(written, "httpGet").get("path"), wanted.path),
        ("timeoutSeconds", written.get("timeoutSeconds", 1), int(wanted.timeout)),
        ("periodSeconds", written.get("periodSeconds", 10), int(wanted.period)),
        ("failureThreshold", written.get("failureThreshold", 3), wanted.failures),
    )
    return [f"{name}: {key} is {found}, expected {expected}" for key, found, expected in facts if found != expected]


GATE = Gate("cloud-run", "The manifest keeps the CPU, the probes and the limits.", Phase.PREFLIGHT, check)

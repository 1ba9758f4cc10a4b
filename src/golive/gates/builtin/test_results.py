"""
``test-results``: the tests ran, all of them, lately, and none failed. A skipped test is not a passed one. Source: seed
002, whose "16/25 (9 require DB)" was reported as green.
"""

from __future__ import annotations

import asyncio
import time
from xml.etree import ElementTree

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.release import TestResultsProbe


async def check(target: Target) -> Outcome:
    """PASS when the JUnit files count enough tests, no failure, no error, and few enough skips."""
    probe = target.required(TestResultsProbe, "test_results")
    return await asyncio.to_thread(_check, target, probe)


def _check(target: Target, probe: TestResultsProbe) -> Outcome:
    found = [(name, path) for name, path in tree.files(target) if tree.matches(name, probe.junit)]
    if not found:
        return unavailable(f"no results: nothing fits {', '.join(probe.junit)}")
    tests, failures, skipped, oldest = 0, list[str](), list[str](), 0.0
    for name, path in found:
        oldest = max(oldest, time.time() - path.stat().st_mtime)
        text = tree.read(path)
        if text is None or "<!DOCTYPE" in text or "<!ENTITY" in text:
            return unavailable(f"{name}: cannot be read as JUnit results")
        try:
            cases = list(ElementTree.fromstring(text).iter("testcase"))  # noqa: S314 - entities are refused above
        except ElementTree.ParseError as error:
            return unavailable(f"{name}: is no XML ({error})")
        tests += len(cases)
        for case in cases:
            title = f"{case.get('classname', '')}.{case.get('name', '')}".strip(".")
            if case.find("failure") is not None or case.find("error") is not None:
                failures.append(title)
            elif case.find("skipped") is not None:
                skipped.append(title)
    passes = tests - len(failures) - len(skipped)
    evidence = {"tests": tests, "passed": passes, "failed": failures[:50], "skipped": skipped[:50]}
    words = f"{passes} of {tests} tests passed"
    if failures:
        return failed(f"{words}, {len(failures)} failed: {', '.join(failures[:3])}", **evidence)
    if len(skipped) > probe.skipped_max:
        limit = probe.skipped_max
        return failed(f"{words}, {len(skipped)} were skipped (limit {limit}): {', '.join(skipped[:3])}", **evidence)
    if tests < probe.tests_min:
        return failed(f"{words}, expected at least {probe.tests_min}", **evidence)
    if oldest > probe.age_max:
        return failed(f"{words}, {oldest / 3600:.0f} h ago (limit {probe.age_max / 3600:.0f} h)", **evidence)
    return passed(f"{words}, {len(skipped)} skipped", **evidence)


GATE = Gate("test-results", "The tests ran lately, none failed, none was quietly skipped.", Phase.PREFLIGHT, check)

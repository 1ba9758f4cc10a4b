"""
Stories of rollouts end the same whatever becomes of the controller: killed, or stalled and replaced by a second one, at
every point at which something lasts. Here a sample of every story; `make kill-points` plays them all.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

SAMPLE = 3
"""Disturbances of each story, drawn with its name as the seed; all of them in `make kill-points`."""


def _beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, module)
    spec.loader.exec_module(module)
    return module


kill_points = _beside("kill_points")
STORIES = kill_points.STORIES


@pytest.mark.parametrize("name", STORIES)
def test_a_disturbed_controller_changes_nothing(name: str) -> None:
    """The same versions, traffic, steps, hooks and answers as undisturbed: see Ending."""
    undisturbed = kill_points.play(STORIES[name])
    everything = list(kill_points.disturbances(name, undisturbed))
    sample = random.Random(name).sample(everything, SAMPLE)
    found = {str(one): kill_points.difference(one, undisturbed) for one in sample}
    assert len(found) == SAMPLE
    assert not {point: what for point, what in found.items() if what}


@pytest.mark.parametrize("name", ["aborted before any traffic", "returned to the version before"])
def test_a_controller_that_slept_neither_starts_nor_stops_a_version(name: str) -> None:
    """Its successor did something else with the same version meanwhile: all is over, or it has the traffic again."""
    undisturbed = kill_points.play(STORIES[name])
    about = [
        one
        for one in kill_points.disturbances(name, undisturbed)
        if one.how == "replaced" and {"start", "stop", "forget"} & set(one.point.split())
    ]
    assert len(about) >= 6
    found = {str(one): kill_points.difference(one, undisturbed) for one in about}
    assert not {point: what for point, what in found.items() if what}


def test_there_are_thousands_of_points(capsys: pytest.CaptureFixture[str]) -> None:
    """Every record, answer, renewal, write at a router, start, stop and hook of every story, and none twice."""
    everything = [
        one for name, story in STORIES.items() for one in kill_points.disturbances(name, kill_points.play(story))
    ]
    kills = [one for one in everything if one.how == "killed"]
    rivals = [one for one in everything if one.how == "replaced"]
    with capsys.disabled():
        print(
            f"\n{len(STORIES)} stories: {len(kills)} points of a kill, {len(rivals)} of a second controller; "
            f"{SAMPLE * len(STORIES)} of them were played here"
        )
    assert len(set(everything)) == len(everything)
    assert len(kills) >= 3000
    assert len(rivals) >= 3000
    kinds = {one.point.split()[0] for one in everything}
    assert kinds == {"before", "within", "after"}

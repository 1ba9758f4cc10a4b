"""The file of a request mix."""

import json
import re
from pathlib import Path

import pytest

from golive.errors import UsageError
from golive.load import LoadPlan, RequestSpec
from golive.load.mix import read_mix


def write(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "mix.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_entries_become_requests(tmp_path: Path) -> None:
    """Defaults are those of a request; JSON bodies say what they are."""
    entries = [
        {"path": "/a"},
        {"method": "post", "path": "/b", "body": {"n": 1}, "weight": 3, "expect": [201, "409"]},
        {"method": "PUT", "body": "text", "headers": {"X-User": "{user}"}, "expect": 204},
        {"method": "POST", "body": [1], "headers": {"Content-Type": "application/x-list"}},
    ]
    requests = read_mix(write(tmp_path, entries))
    assert requests == [
        RequestSpec("GET", "/a"),
        RequestSpec("POST", "/b", {"content-type": "application/json"}, '{"n": 1}', 3.0, ("201", "409")),
        RequestSpec("PUT", "", {"X-User": "{user}"}, "text", 1.0, ("204",)),
        RequestSpec("POST", "", {"Content-Type": "application/x-list"}, "[1]"),
    ]
    LoadPlan("http://127.0.0.1/", requests=requests)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("not JSON", "expected JSON"),
        ({}, "expected a list of requests, got dict"),
        ([], "expected a list of requests, got list"),
        (["/a"], "mix.json/0: expected an object"),
        ([{}, {"url": "/a"}], "mix.json/1: expected an object with some of method, path"),
        ([{"weight": "3"}], "mix.json/0/weight: expected a number > 0, got '3'"),
        ([{"weight": True}], "mix.json/0/weight"),
        ([{"path": 3}], "mix.json/0/path: expected text"),
        ([{"headers": ["a"]}], "mix.json/0/headers: expected an object"),
        ([{"headers": {"a": 1}}], "mix.json/0/headers/a: expected text"),
    ],
)
def test_a_wrong_file_names_the_entry_and_the_key(tmp_path: Path, document: object, message: str) -> None:
    """Never a trace."""
    with pytest.raises(UsageError, match=re.escape(message)):
        read_mix(write(tmp_path, document))


def test_wrong_values_are_refused_by_the_plan(tmp_path: Path) -> None:
    """Weights, statuses and paths are checked where all requests are."""
    for entry in ({"weight": -1}, {"expect": "9xx"}, {"path": "no-slash"}, {"method": "GET /"}):
        with pytest.raises(UsageError):
            LoadPlan("http://127.0.0.1/", requests=read_mix(write(tmp_path, [entry])))


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    """And which option named it."""
    with pytest.raises(UsageError, match="--mix"):
        read_mix(tmp_path / "nowhere.json")

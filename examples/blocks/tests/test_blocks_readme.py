"""The README is executed: each of its curl commands gives the output printed below it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _commands() -> Iterator[tuple[str, list[str]]]:
    """Each command of the console blocks, with the lines printed below it."""
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            first, *printed = command.rstrip("\n").split("\n")
            yield first, printed


def _jq(response: httpx.Response, expression: str) -> list[str]:
    """The two forms of jq the README uses: a field, and a field of every block."""
    document = response.json()
    if expression == ".blocks[].why":
        return [block["why"] for block in document["blocks"]]
    return [document[expression.removeprefix(".")]]


def _filled(command: str, variables: dict[str, str]) -> str:
    for name, value in variables.items():
        command = command.replace(f"${name}", value)
    return command


@pytest.mark.process
def test_every_curl_of_the_readme_prints_what_it_shows(
    service: httpx.Client, curl: Callable[[httpx.Client, str], httpx.Response]
) -> None:
    """Lists may be cut off at the end; an id is another one each time, and names the job from then on."""
    variables: dict[str, str] = {}
    executed = 0
    for command, printed in _commands():
        if assignment := re.fullmatch(r"([A-Z]+)=(\S+)", command):
            variables[assignment[1]] = assignment[2]
        if not command.startswith("curl "):
            continue
        request, _, filtered = _filled(command, variables).partition(" | jq -r ")
        response = curl(service, request)
        got = _jq(response, filtered.strip("'")) if filtered else [response.text]
        if UUID.fullmatch(printed[0]):
            assert UUID.fullmatch(got[0])
            variables["JOB_ID"] = got[0]
            _wait_for_end(service, got[0])
        else:
            assert got[: len(printed)] == printed
        executed += 1
    assert executed >= 5


def _wait_for_end(client: httpx.Client, job: str) -> None:
    """A reader types the next command no sooner than the job has ended."""
    deadline = time.monotonic() + 60
    while client.get(f"/api/blocks/jobs/{job}").json()["status"] in ("pending", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_readme_names_every_file_of_the_package() -> None:
    """And the number of venues is the number of venues."""
    package = Path(__file__).parent.parent / "blocks"
    for file in package.glob("*.py"):
        assert file.name == "__init__.py" or f"`{file.name}`" in README, file.name
    rows = (package / "data" / "venues.csv").read_text().count("\n") - 1
    assert f"{rows} venues" in README

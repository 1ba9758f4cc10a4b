"""cases.tsv: every acceptance case of the chassis has a test that is named by its code and asks a real process."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CASES = [line.split("\t") for line in (HERE / "cases.tsv").read_text().splitlines()]
#: How many cases each letter has.
SIZES = {"H": 13, "D": 11, "T": 7, "C": 7, "R": 13, "I": 21, "B": 6, "M": 10, "L": 7, "E": 6, "A": 6, "S": 4, "P": 3}
#: What makes a process; a test that needs one of them, however far away, asks a real one.
PROCESSES = {"start", "start_shared", "start_once"}


def _fixtures(tree: ast.Module) -> dict[str, set[str]]:
    """The fixtures a module defines, and what each needs."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if "fixture" in ast.unparse(decorator):
                    named = re.search(r"name='(\w+)'", ast.unparse(decorator))
                    found[named[1] if named else node.name] = {argument.arg for argument in node.args.args}
    return found


def _reached(names: set[str], known: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    while names - reached:
        name = (names - reached).pop()
        reached.add(name)
        names = names | known.get(name, set())
    return reached


def _tests() -> dict[str, set[bool]]:
    """Code -> whether its tests ask a real process."""
    room = HERE.parent
    shared = {}
    for conftest in (room / "conftest.py", HERE / "conftest.py"):
        shared.update(_fixtures(ast.parse(conftest.read_text())))
    found: dict[str, set[bool]] = {}
    for path in sorted(room.rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        known = {**shared, **_fixtures(tree)}
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            real = bool(_reached({argument.arg for argument in node.args.args}, known) & PROCESSES)
            for code in re.findall(r"(?<=_)([a-z]\d+)(?=_)", node.name):
                found.setdefault(code.upper(), set()).add(real)
    return found


TESTS = _tests()


def test_the_list_is_whole() -> None:
    """Every number of every letter, once."""
    assert [case[0] for case in CASES] == [f"{letter}{n}" for letter, size in SIZES.items() for n in range(1, size + 1)]


@pytest.mark.parametrize(("code", "where", "words"), CASES, ids=[case[0] for case in CASES])
def test_a_case_has_a_test_that_asks_a_real_process(code: str, where: str, words: str) -> None:
    """Or the list says why it cannot be."""
    assert words
    assert code in TESTS, f"no test is named by {code}"
    if where == "process":
        assert True in TESTS[code], f"{code} is tested inside this process only"
    else:
        assert where.startswith("inside: ")
        assert True not in TESTS[code], f"{code} has a test with a real process: say so in cases.tsv"

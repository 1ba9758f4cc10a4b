"""docs/configuration.md is executed: its settings load, its Python runs, its table of variables is complete."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from golive.config import Settings
from golive.config.render import NOT_YET
from golive.config.variables import ALIASES

Load = Callable[..., Settings]
PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", blocks("toml"))
def test_every_configuration_on_the_page_loads(load: Load, block: str) -> None:
    """As it stands, in the base and in each environment it defines."""
    load(block)
    for name in re.findall(r"\[environments\.(\w+)", block):
        load(block, environment=name)


def test_the_python_on_the_page_runs(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    """Against the environments example, and prints what it says."""
    load(next(block for block in blocks("toml") if "environments" in block))
    (code,) = blocks("python")
    exec(compile(code, "docs/configuration.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "1 day, 0:00:00",
        "error_rate is 3.1%, between target <= 1% and alert if > 5%",
        "golive.toml:8:9",
    ]


def test_the_fault_on_the_page_is_the_fault_golive_tells(faults: Callable[..., list[str]]) -> None:
    """Character by character."""
    (shown,) = blocks("text")
    assert faults('\n\n\n[rollout]\npace = "fats"') == [shown.rstrip("\n")]


def test_every_alias_and_every_setting_without_effect_is_on_the_page() -> None:
    """What can change a setting, and what cannot yet do anything, is written down."""
    assert [name for name in ALIASES if f"`{name}" not in PAGE] == []
    assert [
        path for path in NOT_YET if f"`{'.'.join(map(str, path))}`" not in PAGE and f"`[{path[0]}]`" not in PAGE
    ] == []

"""Whatever stands in the file or the environment: settings, or faults with places. Never a crash."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import golive.config
from golive.config import load_settings
from golive.config.load import check_text
from golive.errors import ConfigError

EXAMPLE = Path(golive.config.__file__).with_name("example.toml").read_text()
LINES = EXAMPLE.split("\n")


def faults(text: str) -> tuple[str, ...]:
    """What is wrong with *text*; anything but a ConfigError is a failure of the test."""
    try:
        check_text(text, Path("golive.toml"))
    except ConfigError as error:
        return error.faults
    return ()


JUNK = st.sampled_from(
    ["1", "-1", "1e400", "nan", '""', "[]", "[[]]", "{}", "{ a = 1 }", "true", "1979-05-27", "'x'", '"${X}"',
     "99999999999999999999", '"< 1%"', '"1000000w"', "[{}]", "[1, 'a', {}]", "'{port'", "'''\n\n'''"]
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, len(LINES) - 1), junk=JUNK)
def test_any_setting_may_hold_anything(number: int, junk: str) -> None:
    """Each line of the example in turn gets a value of any kind; the answer is a configuration or a list of places."""
    line = LINES[number]
    if " = " not in line or line.lstrip().startswith("#"):
        return
    text = "\n".join([*LINES[:number], f"{line.split(' = ')[0]} = {junk}", *LINES[number + 1 :]])
    assert all(fault.startswith("golive.toml") for fault in faults(text)), text


@settings(deadline=None)
@given(st.integers(0, len(EXAMPLE)), st.integers(0, 40), st.text(max_size=5))
def test_any_edit_of_the_example_is_understood_or_refused(at: int, cut: int, new: str) -> None:
    """Half-typed files are what an editor saves."""
    assert all(fault for fault in faults(EXAMPLE[:at] + new + EXAMPLE[at + cut :]))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["SLO", "ROLLOUT", "STAGES", "ERROR_RATE", "TARGET", "ENV", "DEPLOY", "0", "x", "PORT"]),
             min_size=1, max_size=4),
    st.one_of(JUNK, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)),
)  # fmt: skip
def test_any_variable_is_understood_or_refused(project: Path, segments: list[str], value: str) -> None:
    """Names that mean nothing and values that mean nothing."""
    variable = f"GOLIVE_{'__'.join(segments)}"
    found: tuple[str, ...] = ()
    try:
        load_settings(environ={variable: value}, missing_ok=True)
    except ConfigError as error:
        found = error.faults
    assert all(variable in fault for fault in found)

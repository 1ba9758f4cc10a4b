"""One condition of the table: ``< 3s``, ``> 99%``, ``== 0``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from golive.slo.units import Unit, format_quantity, parse_quantity

Op = Literal["<", "<=", "==", ">=", ">"]
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}
_CONDITION = re.compile(r"\s*(?P<op>[<>=!≤≥]+)(?P<quantity>.*)", re.DOTALL)
_EXAMPLE: dict[Unit, str] = {
    "ratio": '"< 1%"',
    "seconds": '"< 300ms" or "< 3s"',
    "usd": '"< $0.01"',
    "bytes": '"< 512MiB"',
    "number": '"< 10"',
}


@dataclass(frozen=True, slots=True)
class Condition:
    """
    A comparison with a limit.

    Attributes:
        op: ``<``, ``<=``, ``==``, ``>=`` or ``>``.
        value: the limit in the base unit: a share in 0..1, seconds, US dollars, bytes, or a count.
        unit: which of these it is.
    """

    op: Op
    value: float
    unit: Unit

    def holds(self, x: float) -> bool:
        """Whether *x*, in the same base unit, satisfies this. NaN satisfies nothing."""
        return _OPERATORS[self.op](x, self.value)

    def overlaps(self, other: Condition) -> bool:
        """Whether some value satisfies both: a target and an alarm that overlap contradict each other."""
        # Whether they hold depends only on the order of x and the two limits: one x of each order suffices.
        low, high = sorted((self.value, other.value))
        return any(self.holds(x) and other.holds(x) for x in (-math.inf, low, (low + high) / 2, high, math.inf))

    def shown(self, x: float) -> str:
        """*x* for a person, to at least four digits and as many as it takes to be on the same side of the limit."""
        for digits in range(4, 17):
            text = format_quantity(x, self.unit, digits)
            rounded = parse_quantity(text)[0] if math.isfinite(x) else x
            if (rounded > self.value, rounded < self.value) == (x > self.value, x < self.value):
                return text
        return format_quantity(x, self.unit)

    def __str__(self) -> str:
        return f"{self.op} {format_quantity(self.value, self.unit)}"


def parse_condition(text: object, unit: Unit | None) -> Condition:
    """
    ``"< 3s"`` as a :class:`Condition`.

    Args:
        unit: what the indicator is measured in; None takes the unit as written (rows with their own query).
            A plain number is a share where a share is due (``"< 0.8"`` is ``"< 80%"``), and never a duration.

    Raises: ValueError saying what was expected and what to write.
    """
    example = _EXAMPLE[unit or "ratio"]
    if not isinstance(text, str):
        raise ValueError(f"expected a condition such as {example}, got {text!r}. Write an operator and quotes.")
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f'expected a condition such as {example}, got "{text}". Begin with <, <=, ==, >= or >.')
    if match["op"] not in _OPERATORS:
        raise ValueError(f'expected one of <, <=, ==, >=, >, got "{match["op"]}" in "{text}".')
    value, written = parse_quantity(match["quantity"])
    if unit == "ratio" and written == "number":
        written = "ratio"
    if unit is not None and written != unit:
        why = "has no unit" if written == "number" else f"is in {written}"
        raise ValueError(f'expected {unit} such as {example}, got "{text}", which {why}.')
    return Condition(cast(Op, match["op"]), value, written)

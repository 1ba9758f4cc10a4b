"""In which order gates run: pure. Names and a catalogue in, waves of gates out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from golive.errors import UsageError, did_you_mean
from golive.gates.gate import Gate


def waves(names: Iterable[str], catalogue: Mapping[str, Gate]) -> list[list[Gate]]:
    """
    The gates *names* and what they depend on, in waves: a wave starts when the one before has ended.

    Gates of one wave run at the same time; an exclusive gate is a wave of its own, after the others that could run.

    Raises: UsageError for a name that is not in *catalogue*, and for gates that depend on each other in a circle.
    """
    left = _closure(names, catalogue)
    done: set[str] = set()
    planned: list[list[Gate]] = []
    while left:
        ready = [gate for gate in left.values() if done.issuperset(gate.depends_on)]
        if not ready:
            raise UsageError(f"gates: {', '.join(sorted(left))} depend on each other in a circle.")
        wave = [gate for gate in ready if not gate.exclusive] or ready[:1]
        planned.append(wave)
        for gate in wave:
            done.add(gate.name)
            del left[gate.name]
    return planned


def _closure(names: Iterable[str], catalogue: Mapping[str, Gate]) -> dict[str, Gate]:
    wanted = list(names)
    found: dict[str, Gate] = {}
    while wanted:
        name = wanted.pop(0)
        if name not in catalogue:
            hint = did_you_mean(name, list(catalogue)) or f". Known: {', '.join(catalogue)}"
            raise UsageError(f'unknown gate "{name}"{hint}')
        if name not in found:
            found[name] = catalogue[name]
            wanted += catalogue[name].depends_on
    return {name: gate for name, gate in catalogue.items() if name in found}  # in the catalogue's order

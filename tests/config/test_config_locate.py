"""The locator: every key of any valid document is found, at the character where it stands."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golive.config.locate import Path, locate

SAMPLE = '''# a comment with [brackets] and "quotes"
title = "a # not a comment"
"quoted key".'literal key' = 1
path."with.dot".end = { a = 1, b.c = [ { d = 2 }, { e = "}" } ] }
text = """
[not.a.table]
key = "nor a key" \\""" """""
raw = \'\'\'it's ''fine\'\'\'\'\'
when = 1979-05-27 07:32:00Z
list = [
  1, # one
  [ 2, 3, ],
  "four, ]",
]

[ table . "sub.table" ]
k = 1
[[stages]]
weight = 10
[[stages.hooks]]
run = "a"
[[stages.hooks]]
run = "b"
[stages.meta]
owner = "ada"
[[stages]]
weight = 100
  [[stages.hooks]]
  run = "c"
'''


def paths(value: object, at: Path = ()) -> set[Path]:
    """Every path of a parsed document, the slow obvious way."""
    children: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    return {(*at, key) for key, _ in children}.union(*(paths(child, (*at, key)) for key, child in children))


def at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def test_every_construct_of_toml_is_found_where_it_stands() -> None:
    """Comments, quoted and dotted keys, inline tables, nested arrays of tables, multi-line strings."""
    spots = locate(SAMPLE)
    assert set(spots) == paths(tomllib.loads(SAMPLE))
    expected = {
        ("quoted key",): '"quoted key"', ("quoted key", "literal key"): "'literal key'",
        ("path", "with.dot", "end", "b", "c", 1, "e"): 'e = "}"', ("list", 1, 1): "3, ]", ("list", 2): '"four, ]"',
        ("table", "sub.table", "k"): "k = 1", ("when",): "when = 1979", ("raw",): "raw =",
        ("stages", 0, "hooks", 1, "run"): 'run = "b"', ("stages", 1, "hooks", 0, "run"): 'run = "c"',
        ("stages", 0, "meta", "owner"): 'owner = "ada"', ("stages", 1): "stages]]\nweight = 100",
    }  # fmt: skip
    for path, text in expected.items():
        assert SAMPLE.startswith(text, spots[path].key), path
    assert SAMPLE.startswith('"""\n[not', spots[("text",)].value)


KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=5)
SCALARS = st.one_of(
    st.integers(-(2**40), 2**40),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12),
    st.text("\"\\\n[]{}#,=. '", max_size=12),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


class Writer:
    """Writes a document in a style drawn at random: headers or inline, bare, quoted or dotted, with noise between."""

    def __init__(self, draw: Any) -> None:
        self.pick = lambda *choices: draw(st.sampled_from(choices))

    def quoted(self, text: str, multiline: bool = False) -> str:
        body = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
        if multiline and self.pick(True, False):
            return f'"""{body}"""'
        literal = text.isprintable() and "'" not in text
        return f"'{text}'" if literal and self.pick(True, False) else f'"{body}"'

    def key(self, name: str) -> str:
        bare = name.isascii() and all(c.isalnum() or c in "-_" for c in name)
        return name if bare and self.pick(True, False) else self.quoted(name)

    def gap(self) -> str:
        return self.pick("", " ", "\n", " # ] } , [x]\n", "\r\n\t")

    def value(self, value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str):
            return self.quoted(value, multiline=True)
        if isinstance(value, list):
            items = ",".join(f"{self.gap()}{self.value(item)}{self.gap()}" for item in value)
            return f"[{items}{self.gap() + ',' + self.gap() if value and self.pick(True, False) else self.gap()}]"
        if isinstance(value, dict):
            pairs = ", ".join(f"{self.key(k)} = {self.value(v)}" for k, v in value.items())
            return f"{{ {pairs} }}"
        return repr(value)

    def table(self, table: dict[str, Any], at: tuple[str, ...] = ()) -> str:
        nested = {k: v for k, v in table.items() if isinstance(v, dict) and self.pick(True, False)}
        arrays = {
            k: v for k, v in table.items()
            if isinstance(v, list) and v and all(isinstance(i, dict) for i in v) and self.pick(True, False)
        }  # fmt: skip
        text = ""
        for k, v in table.items():
            if k in nested or k in arrays:
                continue
            if isinstance(v, dict) and len(v) == 1 and self.pick(True, False):
                (inner, leaf), = v.items()  # fmt: skip
                text += f"{self.key(k)} . {self.key(inner)} = {self.value(leaf)}\n"
            else:
                text += (
                    f"{self.pick('', '  ')}{self.key(k)}={self.pick('', ' ')}{self.value(v)} {self.pick('', '# x')}\n"
                )
        for k, v in nested.items():
            text += f"{self.gap() if self.pick(0, 1) else ''}\n[{self.header((*at, k))}]\n{self.table(v, (*at, k))}"
        for k, v in arrays.items():
            text += "".join(f"\n[[{self.header((*at, k))}]]\n{self.table(item, (*at, k))}" for item in v)
        return text

    def header(self, at: tuple[str, ...]) -> str:
        return self.pick(".", " . ").join(self.key(k) for k in at)


@settings(deadline=None)
@given(document=st.dictionaries(KEYS, VALUES, max_size=4), data=st.data())
def test_the_locator_finds_what_tomllib_reads(document: dict[str, Any], data: st.DataObject) -> None:
    """Any document in any style: the same paths, and at each leaf's spot stands that leaf's text."""
    text = Writer(data.draw).table(document)
    parsed = tomllib.loads(text)
    assert parsed == document
    spots = locate(text)
    assert set(spots) == paths(parsed)
    for path, spot in spots.items():
        leaf = at(parsed, path)
        if not isinstance(leaf, dict | list):
            rest = text[spot.value :]
            assert any(_reads_as(rest[:end], leaf) for end in _ends(rest)), path


def _ends(rest: str) -> list[int]:
    return [end for end in range(1, min(len(rest), 160) + 1) if end == len(rest) or rest[end] in " \r\n,]}#\t"]


def _reads_as(text: str, leaf: object) -> bool:
    try:
        return bool(tomllib.loads(f"v = {text}")["v"] == leaf)
    except tomllib.TOMLDecodeError:
        return False


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "a=1", "a=1 # no newline at the end", "[t]", "[[t]]"])
def test_the_smallest_documents_are_located(text: str) -> None:
    """Nothing before, after or between is needed."""
    assert set(locate(text)) == paths(tomllib.loads(text))


@pytest.mark.parametrize("quotes", ["", '"', '""'])
def test_a_multiline_string_may_end_in_quotes(quotes: str) -> None:
    """Up to two quotes of its own before the three that close it."""
    for mark in ('"', "'"):
        own = quotes.replace('"', mark)
        text = f"a = {mark * 3}x{own}{mark * 3}\nb = {mark * 6}\nc = 2\n"
        assert set(locate(text)) == paths(tomllib.loads(text)) == {("a",), ("b",), ("c",)}

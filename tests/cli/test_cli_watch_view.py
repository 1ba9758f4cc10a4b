"""The picture `golive watch` draws, as a pure function of state, entries, time and width."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from golive.cli.live_model import LiveModel
from golive.cli.live_view import Look, draw, keys_of
from golive.cli.terminal import ASCII, UNICODE, glyphs
from golive.testing.simulator import Faults


def picture(entries, look, *, later=3):
    """The drawn lines as text, some seconds after the last entry."""
    model = LiveModel()
    for entry in entries:
        model.add(entry)
    lines = draw(entries.state, model, entries[-1].at + timedelta(seconds=later), look)
    return "\n".join(line.plain.rstrip() for line in lines)


@pytest.fixture(scope="module")
def healthy(journey):
    """A good release."""
    return journey(Faults(), plain=True)


@pytest.fixture(scope="module")
def broken(journey):
    """A release of which half of all requests fail."""
    return journey(Faults(error_ratio=0.5), plain=True)


@pytest.fixture(scope="module")
def asking(journey):
    """A good release whose second stage somebody has to approve, which happens late."""
    return journey(Faults(people=((900, "approve"),)), approvals=(None, "eng-leads", None, None), plain=True)


def test_a_soaking_rollout_is_drawn_with_its_progress(healthy, golden):
    """The stage bar, the table with both versions' figures, and the journal, at a usual width."""
    golden("watch_soaking", picture(healthy.until("soaking", 1, verdicts=8), Look(100, environment="production")))


def test_why_shows_the_sentence_of_every_row(healthy, golden):
    """`w` adds below each row the sentence the judge wrote."""
    golden("watch_why", picture(healthy.until("soaking", 1, verdicts=8), Look(100, why=True)))


def test_before_any_traffic_nothing_is_claimed(healthy, golden):
    """No evidence is drawn as no evidence, not as a zero."""
    golden("watch_deploying", picture(healthy.until("deploying", -1), Look(100)))


def test_a_rollout_taken_back_says_where_and_why(broken, golden):
    """The failed stage has its own icon and word, the failed row its verdict."""
    golden("watch_rolled_back", picture(broken, Look(100)))


def test_a_finished_rollout_offers_nothing_to_press_but_leaving(healthy, golden):
    """All stages passed; approve, pause and abort are gone."""
    golden("watch_live", picture(healthy, Look(100)))


def test_a_waiting_rollout_names_who_is_asked_and_the_key(asking, golden):
    """The group stands in the reason, the weight beside the key."""
    waiting = asking.until("waiting", 0)
    golden("watch_waiting", picture(waiting, Look(100, environment="production")))
    assert ("a", "approve 25 %") in keys_of(waiting.state)


def test_a_narrow_terminal_loses_columns_and_breaks_nothing(healthy, golden):
    """At 60 columns no line is longer than the terminal and every figure is whole."""
    text = picture(healthy.until("soaking", 1, verdicts=8), Look(60))
    golden("watch_narrow", text)
    assert max(len(line) for line in text.splitlines()) <= 60


def test_without_utf8_every_character_is_ascii(healthy, broken, golden):
    """Icons, bars and spark lines have a plain form; words carry the meaning."""
    text = picture(healthy.until("soaking", 1, verdicts=8), Look(100, glyphs=ASCII))
    golden("watch_ascii", text)
    assert text.isascii()
    assert picture(broken, Look(80, glyphs=ASCII, why=True)).isascii()


@pytest.mark.parametrize("width", [40, 60, 72, 86, 100, 200])
@pytest.mark.parametrize("height", [8, 14, 24, 60])
def test_no_picture_is_larger_than_the_terminal(healthy, broken, asking, width, height):
    """Whatever the size, the picture fits, and keeps its headline and its keys."""
    for entries in (healthy.until("soaking", 2, verdicts=3), broken, asking.until("waiting", 0)):
        for why in (False, True):
            text = picture(entries, Look(width, height, why=why, notice="asking the controller"))
            lines = text.splitlines()
            assert len(lines) <= height
            assert max(len(line) for line in lines) <= width
            assert "web" in lines[0]
            assert "q leave" in text


def test_the_figures_are_those_of_the_judges_sentences(journey):
    """The table counts from the same beginning as the judge, so that nobody has to explain two numbers."""
    model = LiveModel()
    for entry in journey(Faults(error_ratio=0.5)):
        model.add(entry)
    sentence = next(row.sentence for row in model.verdict.rows if row.name == "error_rate")
    stable, canary = model.ledger.totals
    assert f"({sum(canary.errors)} of {sum(canary.requests)})" in sentence
    assert f"({sum(stable.errors)} of {sum(stable.requests):,})" in sentence


def test_state_is_never_colour_alone(healthy, broken):
    """Every verdict in the table is an icon and a word."""
    for entries, word in ((healthy, "✔ pass"), (broken, "✘ fail")):
        assert word in picture(entries, Look(100))


def test_the_locale_decides_on_characters():
    """A locale that is set and not UTF-8 gets ASCII; without one the stream's encoding decides."""

    class Stream:
        encoding = "utf-8"

    class Latin:
        encoding = "latin-1"

    assert glyphs(Stream(), {"LANG": "C"}) is ASCII
    assert glyphs(Stream(), {"LC_ALL": "de_DE.ISO-8859-1", "LANG": "de_DE.UTF-8"}) is ASCII
    assert glyphs(Stream(), {"LANG": "de_DE.UTF-8"}) is UNICODE
    assert glyphs(Stream(), {}) is UNICODE
    assert glyphs(Latin(), {}) is ASCII
    assert os.environ.get("LANG") is None

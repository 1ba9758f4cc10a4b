"""Says in words why a venue is closed at a given time, and when it opens next. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from blocks.city import City, Venue
from blocks.hours import DAY_MINUTES, Openness
from blocks.processor import BlocksProcessorError
from blocks.wire import Wire

State = Literal["open", "not_yet_open", "closed_for_the_day", "between_openings", "closed_all_day", "never_open"]


class Reasoning(Wire):
    """
    The answer about one venue at one moment.

    Attributes:
        state: the reason in one word; ``open`` when there is nothing to explain.
        reason: the reason in one sentence.
        opens_next: when the doors open next; None while they are open, and for a venue that never opens.
    """

    venue: str
    name: str
    is_open: bool
    state: State
    reason: str
    opens_next: datetime | None
    opens_in_minutes: int | None


def explain_closed(city: City, wanted: str, moment: datetime) -> Reasoning:
    """
    Why the venue *wanted* (its id or its name) is closed at *moment*, the city's wall clock.

    Raises: BlocksProcessorError ``venue_not_found`` (404) when the city has no such venue.
    """
    venue = city.find_venue(wanted)
    if venue is None:
        raise BlocksProcessorError(
            "venue_not_found",
            f"venue: expected the id or the name of a venue in {city.name}, got {wanted!r}. Check the spelling.",
            status=404,
        )
    return _reasoning(venue, venue.hours.at(moment), moment)


def _reasoning(venue: Venue, now: Openness, moment: datetime) -> Reasoning:
    state = _state(now, moment)
    waits = not now.is_open and now.minutes_to_change is not None
    return Reasoning(
        venue=venue.id,
        name=venue.name,
        is_open=now.is_open,
        state=state,
        reason=_sentence(venue, state, now, moment),
        opens_next=_after(moment, now.minutes_to_change or 0) if waits else None,
        opens_in_minutes=now.minutes_to_change if waits else None,
    )


def _state(now: Openness, moment: datetime) -> State:
    if now.is_open:
        return "open"
    if now.minutes_to_change is None or now.minutes_since_change is None:
        return "never_open"
    since_midnight = moment.hour * 60 + moment.minute
    was_open_today = now.minutes_since_change < since_midnight
    opens_today = now.minutes_to_change < DAY_MINUTES - since_midnight
    if opens_today:
        return "between_openings" if was_open_today else "not_yet_open"
    return "closed_for_the_day" if was_open_today else "closed_all_day"


def _sentence(venue: Venue, state: State, now: Openness, moment: datetime) -> str:
    here = f"{venue.name} ({venue.block})"
    at = f"at {moment:%H:%M} on {moment:%A}"
    if state == "open":
        until = "and never closes" if now.minutes_to_change is None else f"until {_when(moment, now.minutes_to_change)}"
        return f"{here} is open {at}, {until}."
    if state == "never_open":
        return f"{here} is closed {at}: it lists no opening hours at all."
    assert now.minutes_to_change is not None, "a venue that opens at some time opens again"
    assert now.minutes_since_change is not None, "a venue that opens at some time has closed before"
    opens, closed = _when(moment, now.minutes_to_change), _when(moment, -now.minutes_since_change)
    because = {
        "not_yet_open": "it has not opened yet",
        "between_openings": f"it closed at {closed} and opens again later",
        "closed_for_the_day": f"it closed at {closed} and does not open again today",
        "closed_all_day": f"it does not open on {moment:%A}s",
    }[state]
    return f"{here} is closed {at} because {because}; it opens next at {opens}, in {_span(now.minutes_to_change)}."


def _after(moment: datetime, minutes: int) -> datetime:
    return moment.replace(second=0, microsecond=0) + timedelta(minutes=minutes)


def _when(moment: datetime, minutes: int) -> str:
    """``17:00`` on the same day, ``17:00 on Thursday`` on another."""
    then = _after(moment, minutes)
    return f"{then:%H:%M}" if then.date() == moment.date() else f"{then:%H:%M on %A}"


def _span(minutes: int) -> str:
    """``2 d 3 h``, ``14 h 30 min``, ``5 min``: the two largest units."""
    days, rest = divmod(minutes, DAY_MINUTES)
    parts = [f"{n} {unit}" for n, unit in ((days, "d"), (rest // 60, "h"), (rest % 60, "min")) if n]
    return " ".join(parts[:2])

"""From what users do to one fact for each user and hour."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from mesh_stream import filtered

# A time without its zone could be any of twenty-four.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class UserEvent(msgspec.Struct, frozen=True, gc=False):
    """What we read of an event. Whatever a user does is activity: `action` is not read."""

    occurred_at: Moment
    user_id: str | None = None


class Activity(msgspec.Struct, frozen=True, gc=False):
    user_id: str
    occurred_at: Moment


class Hour(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of a user's hour."""

    first_seen: datetime
    last_seen: datetime
    events: int


class UserActive(msgspec.Struct, frozen=True, gc=False):
    user_id: str
    window_start: datetime
    window_end: datetime
    first_seen: datetime
    last_seen: datetime
    events: int


def activity(event: UserEvent):
    """Visitors who are not signed in are nobody's activity."""
    if event.user_id is None:
        return filtered("anonymous")
    return Activity(event.user_id, event.occurred_at)


def fold(hour: Hour | None, event: Activity) -> Hour | None:
    """Events come in any order: the first seen need not be the first to come."""
    at = event.occurred_at
    if hour is None:
        return Hour(at, at, 1)
    return Hour(min(hour.first_seen, at), max(hour.last_seen, at), hour.events + 1)


def fact(user_id: str, window, hour: Hour) -> UserActive:
    return UserActive(
        user_id, window.start, window.end, hour.first_seen, hour.last_seen, hour.events
    )

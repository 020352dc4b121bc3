"""What every page has around it: head, skip link, alarms, and a heart that beats once a second.

The browser's half is `assets/live.js`: where the beat stays away it says so, and the style sheet
takes the colours and words of all states back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nicegui import ui

from mesh_stream.console.elements import Text, block, mark
from mesh_stream.console.shown import blindness, title
from mesh_stream.console.watch import Watch
from mesh_stream.console.words import moment

BEAT_SECONDS = 1.0

_HEAD = """
<link rel="stylesheet" href="/assets/page.css">
<script src="/assets/live.js" defer></script>
<meta name="description" content="Freshness of every data product">
"""
_LOST = """
<div id="lost" role="alert"></div>
"""


@contextmanager
def framed(watch: Watch, refresh: Callable[[], object], *, home: bool) -> Iterator[None]:
    """Build a page in this block; `refresh` is called once a second while somebody looks.

    Args:
        watch: What is shown.
        refresh: Brings the page up to date.
        home: Whether this is the overview.
    """
    ui.add_head_html(_HEAD)
    ui.add_body_html(_LOST)
    # The library's own header and page are the landmarks `banner` and `main`.
    with ui.header(fixed=False).classes("top"):
        mark(Text("a", "mesh-stream", "brand"), href="/")
        with block("div", "end"):
            clock = Text("span", "", "clock")
            # live.js gives it its name and its effect.
            mark(Text("button", "Auto", "theme"), type="button", id="theme")
    beat = block("div", "unseen", id="beat", aria_hidden="true")
    alarm = Text("div", "", "alarm")
    mark(alarm, role="alert")
    with block("div", "page") as content:
        yield
    ui.skip_link("Skip to the products" if home else "Skip to the product", target=content)

    def turn() -> None:
        shown = watch.shown()
        problem = blindness(shown)
        alarm.say(f"Nothing can be seen of the mesh now: {problem}" if problem else "")
        clock.say(f"as of {moment(time.time())[11:]}")
        refresh()
        # Last: a page that cannot be brought up to date has no pulse, and says so.
        mark(beat, data_beat=f"{time.time():.1f}", data_title=title(shown))

    turn()
    ui.timer(BEAT_SECONDS, turn)

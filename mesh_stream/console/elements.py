"""The parts that pages are made of: plain HTML elements, whose texts are texts.

A text given to an element reaches the browser as a text node: whatever stands in a declaration, a
topic or a header is shown, never obeyed. Nothing here, and nothing in the pages, makes HTML of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from mesh_stream.console.words import ICONS, NONE, link
from mesh_stream.freshness.sli import State


class Text(TextElement):
    """An element with a text in it.

    Args:
        tag: Its HTML tag.
        text: The text.
        style: Its CSS classes.
    """

    def __init__(self, tag: str, text: str = "", style: str = "") -> None:
        super().__init__(tag=tag, text=text)
        if style:
            self.classes(style)

    def say(self, text: str) -> None:
        """Another text; the same one costs nothing."""
        if text != self.text:
            self.text = text


def block(tag: str, style: str = "", **attributes: str) -> ui.element:
    """An element with others in it; an attribute's underscores are dashes."""
    element = ui.element(tag)
    if style:
        element.classes(style)
    mark(element, **attributes)
    return element


def mark(element: ui.element, **attributes: str) -> None:
    """Set attributes; those that are the same cost nothing."""
    for name, value in attributes.items():
        key = name.strip("_").replace("_", "-")
        if element.props.get(key) != value:
            element.props[key] = value


class Chip:
    """A state as icon, word and colour; and what to say once the browser has lost the console."""

    def __init__(self, state: State = State.UNKNOWN) -> None:
        self._chip = block("span", "state", data_state=state)
        with self._chip:
            with block("span", "said"):
                self._icon = Text("span", ICONS[state], "icon")
                mark(self._icon, aria_hidden="true")
                self._word = Text("span", state, "word")
            with block("span", "lost-word", aria_hidden="true"):
                Text("span", ICONS[State.UNKNOWN], "icon")
                Text("span", State.UNKNOWN, "word")

    def say(self, state: State) -> None:
        """Another state."""
        mark(self._chip, data_state=state)
        self._icon.say(ICONS[state])
        self._word.say(state)


class Figure:
    """A figure with its name, and a word on it."""

    def __init__(self, name: str) -> None:
        with block("div", "figure"):
            Text("dt", name)
            with block("dd"):
                self._value = Text("span", NONE, "value")
                self._note = Text("span", "", "note")

    def say(self, value: str, note: str = "") -> None:
        """Another value."""
        self._value.say(value)
        self._note.say(note)


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """A list of names and texts."""
    with block("dl", "pairs"):
        for name, text in rows:
            Text("dt", name)
            anchor(text) if link(text) else Text("dd", text or NONE)


def anchor(url: str) -> None:
    """An address as a link out of the page."""
    with block("dd"):
        mark(Text("a", url), href=url, rel="noopener noreferrer", target="_blank")


class Table:
    """A table whose rows may come and go.

    Args:
        name: What it shows, for those who hear the page.
        columns: Their heads; a `#` before one has its figures aligned.
        empty: What stands there while it has no row.
    """

    def __init__(self, name: str, columns: Sequence[str], empty: str) -> None:
        self._figures = [column.startswith("#") for column in columns]
        self._rows: list[tuple[str, ...]] | None = None
        # Wide tables move under the reader's hand, not the page with them.
        self._frame = block(
            "div", "scroll", tabindex="0", role="region", aria_label=f"{name}, as a table"
        )
        with self._frame, block("table"):
            Text("caption", name, "unseen")
            with block("thead"), block("tr"):
                for column, figure in zip(columns, self._figures, strict=True):
                    head = Text("th", column.removeprefix("#"), "number" if figure else "")
                    mark(head, scope="col")
            self._body = block("tbody")
        self._empty = Text("p", empty, "empty")
        self.say([])

    def say(self, rows: Sequence[tuple[str, ...]]) -> None:
        """Other rows; the first cell of each heads it."""
        if rows == self._rows:
            return
        self._rows = list(rows)
        self._frame.set_visibility(bool(rows))
        self._empty.set_visibility(not rows)
        self._body.clear()
        with self._body:
            for row in rows:
                with block("tr"):
                    for position, (text, figure) in enumerate(zip(row, self._figures, strict=True)):
                        cell = Text("td" if position else "th", text, "number" if figure else "")
                        if not position:
                            mark(cell, scope="row")

"""What a product with state notes beside its committed offsets, as the group's metadata.

Of a partition whose events go on to be keyed: the topic's id, and the highest event time that it
has brought. Of one that states belong to: how many transactions have changed them. Whoever sets an
offset by hand notes nothing, and that shows.
"""

from __future__ import annotations


def source_note(topic_id: str, highest: int) -> str:
    """Returns the note of a source of events.

    Args:
        topic_id: The broker's id of its topic.
        highest: The highest event time that it has brought, in milliseconds.
    """
    return f"{topic_id} {highest}"


def source_of_note(note: str) -> tuple[str, int] | None:
    """Returns what `source_note` was made of; None where the note is another."""
    topic_id, _, highest = note.partition(" ")
    try:
        return topic_id, int(highest)
    except ValueError:
        return None


def states_note(commits: int) -> str:
    """Returns the note of a partition of states that so many transactions have changed."""
    return str(commits)


def commits_of_note(note: str) -> int:
    """Returns what `states_note` was made of; 0 where the note is another."""
    return int(note) if note.isdecimal() else 0

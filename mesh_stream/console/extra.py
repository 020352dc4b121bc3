"""The extra that brings the page's library; asked for when the page is wanted."""

from __future__ import annotations

from importlib.util import find_spec

from mesh_stream.errors import MeshError

LIBRARY = "nicegui"


def require() -> None:
    """See that the extra is there.

    Raises:
        MeshError: The extra is not installed.
    """
    if find_spec(LIBRARY) is None:
        raise MeshError(
            f"the web page needs the extra `console` ({LIBRARY} is missing): "
            f"pip install 'mesh-stream[console]'"
        )

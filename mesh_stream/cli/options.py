"""The options that several commands share, and what they mean together."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from mesh_stream.credentials import MaskingFilter
from mesh_stream.errors import BrokerError, DeclarationError, Fault
from mesh_stream.product.product import Product
from mesh_stream.settings import Settings, products_folder

_F = TypeVar("_F", bound=Callable[..., Any])


def products_option(function: _F) -> _F:
    """`--products DIR`."""
    return click.option(
        "--products",
        metavar="DIR",
        help="The folder of the products.  [default: $MESH_PRODUCTS, else products]",
    )(function)


def settings_of(products: str | None) -> Settings:
    """The settings of this process: options, environment, the stack of this machine.

    Raises:
        DeclarationError: The settings are wrong.
        BrokerError: No broker is named and no stack runs.
    """
    settings = Settings.load(os.environ, products=products, running=_running_stack)
    # On the handlers: a filter on a logger does not see what other loggers hand up to it.
    for handler in logging.getLogger().handlers:
        handler.addFilter(MaskingFilter(settings.masks()))
    return settings


def load(
    products: str | None, names: Sequence[str], domain: str | None = None
) -> tuple[list[Product], Settings]:
    """The products that a command was asked for, and where they run.

    Raises:
        DeclarationError: Every fault of both at once; nothing was connected to.
        click.UsageError: A name or domain that no product has.
        BrokerError: No broker is named and no stack runs.
    """
    from mesh_stream.cli.chosen import load_chosen

    faults: tuple[Fault, ...] = ()
    try:
        chosen = load_chosen(products_folder(os.environ, products), names, domain)
    except DeclarationError as error:
        faults = error.faults
    try:
        settings = settings_of(products)
    except DeclarationError as error:
        faults += error.faults
    except BrokerError:
        if not faults:
            raise
    if faults:
        raise DeclarationError(faults)
    return chosen, settings


def _running_stack() -> tuple[str, str] | None:
    from mesh_stream.local import stack

    found = stack.running()
    return (found.bootstrap_servers, found.registry_url) if found else None


def log_to_stderr(*, verbose: bool) -> None:
    """Send log lines to standard error: one line each, with time and level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO if verbose else logging.WARNING)
    # One line a request is not what anybody asked for; failures come as errors of ours.
    logging.getLogger("httpx").setLevel(logging.WARNING)

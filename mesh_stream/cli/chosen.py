"""Which products a command is about, by name and domain, and how much of the mesh it looks at.

A worker's products are loaded alone: a fault in one domain's product must not stop another's
worker. What the chosen products read is looked into as far as they need it; faults there are theirs
as well. Commands that compare products with each other load the whole mesh and choose from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.draft import FILE
from mesh_stream.product.loader import load_mesh, load_product, product_folders
from mesh_stream.product.product import Mesh, Product
from mesh_stream.product.validation import Faults, did_you_mean


class _Place(NamedTuple):
    """A product's folder, by the names that a command is given."""

    domain: str
    name: str
    folder: Path


def load_chosen(root: Path, names: Sequence[str], domain: str | None) -> list[Product]:
    """Loads the products that a command was asked for; every one where nothing was named.

    Raises:
        DeclarationError: Every fault of these products, of what they read, and of the standards
            that they are held to.
        click.UsageError: A name or domain that no product has, or there is no product.
    """
    if not root.is_dir() or (not names and domain is None):
        return choose(load_mesh(root), names, domain)
    places = list(_places(root))
    chosen = _chosen(places, names, domain, root)
    faults = Faults()
    faults.found += _twins(places, chosen)
    if not names:
        faults.found += _strays(root, chosen[0].domain)
    loaded = [faults.attempt(partial(load_product, place.folder)) for place in chosen]
    faults.raise_any()
    return [product for product in loaded if product is not None]


def choose(mesh: Mesh, names: Sequence[str], domain: str | None) -> list[Product]:
    """Returns the products that a command was asked for; all of them where nothing was named.

    Raises:
        click.UsageError: A name or domain that no product has, or there is no product.
    """
    products = mesh.products.values()
    places = [_Place(product.domain, product.name, product.folder) for product in products]
    chosen = _chosen(places, names, domain, mesh.root)
    return [mesh.products[place.name] for place in chosen]


def _chosen(
    places: Iterable[_Place], names: Sequence[str], domain: str | None, root: Path
) -> list[_Place]:
    """Returns the places asked for, each once: two workers on one slot would fence each other."""
    known: dict[str, _Place] = {}
    for place in places:
        if domain in (None, place.domain):
            known.setdefault(place.name, place)
    if not known:
        domains = sorted({place.domain for place in places})
        if not domains:
            raise click.UsageError(f"no product below {root}; `mesh-stream init` makes one")
        raise click.BadParameter(
            f"no product is in the domain {domain!r}{_closest(domain or '', domains)}; "
            f"there are: {', '.join(domains)}"
        )
    for name in names:
        if name not in known:
            of = "" if domain is None else f" of the domain {domain}"
            raise click.BadParameter(
                f"no product{of} is called {name!r}{_closest(name, known)}; "
                f"there are: {', '.join(sorted(known))}"
            )
    return [known[name] for name in dict.fromkeys(names) or sorted(known)]


def _closest(word: str, known: Iterable[str]) -> str:
    question = did_you_mean(word, known)
    return f", {question}" if question else ""


def _places(root: Path) -> Iterator[_Place]:
    """Finds every product's folder as the loader does, but passes over what is wrong elsewhere."""
    for file in sorted(root.glob(f"*/*/{FILE}")):
        domain, name, _ = file.relative_to(root).parts
        if not domain.startswith((".", "_")) and not name.startswith((".", "_")):
            yield _Place(domain, name, file.parent)


def _twins(places: Iterable[_Place], chosen: Iterable[_Place]) -> Iterator[Fault]:
    """Yields the chosen products whose group and transactional ids another one has as well."""
    for place in chosen:
        for other in places:
            if other.name == place.name and other.folder != place.folder:
                found, expected = f"a second product {place.name}", "names unique in the mesh"
                first = f"{expected} (the other is {other.folder})"
                yield Fault(place.folder / FILE, 0, "", found, first, "rename one of them")


def _strays(root: Path, domain: str) -> Iterator[Fault]:
    """Yields what looks like a product of this domain and is none, so that it would not run."""
    try:
        product_folders(root)
    except DeclarationError as error:
        for fault in error.faults:
            place = fault.path.relative_to(root).parts
            is_product = fault.path.name == FILE and len(place) == 3
            if place[0] == domain and not is_product:
                yield fault

"""`mesh-stream reset`: have a product begin anew; shows what that takes, and does it when told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from mesh_stream.cli.options import load, log_to_stderr, products_option

if TYPE_CHECKING:
    from mesh_stream.mesh.reset import Place, Situation, Step


@click.command()
@click.argument("product")
@click.option(
    "--keep-position", is_flag=True,
    help="Go on where the group is, with an empty state; else all input is read again.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do it; else it is only shown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
@products_option
def reset(product: str, keep_position: bool, yes: bool, as_json: bool, products: str | None) -> int:
    """Have PRODUCT forget what it remembers and where it is; without --yes, show what that means.

    For a product that refuses to go on: its changelog is gone, its input was created anew or has
    other partitions, retention has removed what it had not read yet, its state is of another type
    now. Its workers have to be stopped. Facts that were published stay where they are.

    A reset that was interrupted is run again: until it is through, no worker starts.
    """
    from mesh_stream.errors import MeshError
    from mesh_stream.kafka.client import reached
    from mesh_stream.mesh.reset import carry_out, meaning, refusal, steps, survey

    log_to_stderr(verbose=False)
    (chosen,), settings = load(products, [product])
    admin = reached(settings)
    found = survey(chosen, settings, admin, keep=keep_position)
    planned = steps(found, settings, admin)
    if yes and found.members:
        raise MeshError(refusal(chosen, found.members))
    if yes:
        carry_out(planned, chosen, admin, _quiet if as_json else _print_done)
    if as_json:
        document = _document(found, planned, meaning(found), done=yes)
        click.echo(json.dumps(document, indent=2))
        return 0
    if yes:
        _print_conclusion(found, planned)
        return 0
    for line in (*_found(found), *_outlook(planned, meaning(found))):
        click.echo(line)
    if found.members:
        click.echo(f"not yet: {refusal(chosen, found.members)}")
    elif planned:
        options = " --keep-position" if keep_position else ""
        click.echo(f"nothing was changed; `mesh-stream reset {product}{options} --yes` does it")
    return 0


def _found(found: Situation) -> Iterator[str]:
    yield f"{found.product.name}, group {found.product.group}"
    yield "found:"
    for place in (*found.inputs, *found.passing):
        yield f"  {_place(place)}"
    for one in found.own:
        if one.found is None:
            yield f"  no {one.anew.role} topic {one.anew.topic}"
        else:
            yield (
                f"  {one.anew.role} topic {one.found.name}: {one.found.partitions} partitions, "
                f"{one.records:,} offsets"
            )
    yield f"  stores on this machine: {found.stores or 'none'}"


def _place(place: Place) -> str:
    where = f"{place.topic}[{place.partition}]: offsets {place.first:,} to {place.end:,}"
    if place.committed is None:
        return f"{where}, no position"
    where += f", position {place.committed:,}"
    if place.missed:
        return f"{where}: retention removed {place.missed:,} records before they were read"
    return f"{where}: the topic was created anew" if place.recreated else where


def _outlook(planned: list[Step], meant: list[str]) -> Iterator[str]:
    if not planned:
        yield "nothing to do: every position is there, and nothing is remembered"
        return
    yield "what a reset means:"
    yield from (f"  {sentence}" for sentence in meant)
    yield "what it does:"
    yield from (f"  {number}. {step}" for number, step in enumerate(planned, 1))


def _quiet(_step: Step) -> None:
    """Prints nothing: the JSON document at the end says it all."""


def _print_done(step: Step) -> None:
    click.echo(f"done: {step}")


def _print_conclusion(found: Situation, planned: list[Step]) -> None:
    name = found.product.name
    if not planned:
        click.echo("nothing to do: every position is there, and nothing is remembered")
        return
    if found.own:
        click.echo(
            "stores on other machines are of the changelog that is gone: no worker looks at them, "
            "and they may be removed"
        )
    click.echo(f"{name} begins anew; `mesh-stream run {name}` starts it")


def _document(
    found: Situation, planned: list[Step], meant: list[str], *, done: bool
) -> dict[str, Any]:
    return {
        "product": found.product.name,
        "group": found.product.group,
        "keep_position": found.keep,
        "done": done,
        "members": list(found.members),
        "positions": [
            dataclasses.asdict(place) | {"missed": place.missed, "recreated": place.recreated}
            for place in (*found.inputs, *found.passing)
        ],
        "topics": [
            {
                "topic": one.anew.topic,
                "role": one.anew.role,
                "partitions": one.found.partitions if one.found else None,
                "offsets": one.records if one.found else None,
                "partitions_anew": one.anew.partitions,
            }
            for one in found.own
        ],
        "stores": str(found.stores) if found.stores else None,
        "means": meant if planned else [],
        "steps": [str(step) for step in planned],
    }

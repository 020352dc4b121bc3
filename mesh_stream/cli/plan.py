"""`mesh-stream plan` and `apply`: what broker and registry lack of what is declared; provide it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mesh_stream.cli.options import log_to_stderr, products_option, settings_of

if TYPE_CHECKING:
    from mesh_stream.kafka.client import Admin
    from mesh_stream.kafka.registry import SchemaRegistry
    from mesh_stream.mesh.actions import Action, Plan, Problem
    from mesh_stream.mesh.apply import Applied

MAX_ROUNDS = 3
"""What a new topic gets from the broker's defaults may ask for one more change: a dead letter topic
outlives its input. More rounds than this would mean that something undoes what is done."""

_create_inputs_option = click.option(
    "--create-inputs",
    is_flag=True,
    help="Raw topics that do not exist, too. They belong to their source systems: for development.",
)
_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document, nothing else."
)


@click.command()
@click.argument("products_named", metavar="[PRODUCT...]", nargs=-1)
@click.option("--domain", metavar="DOMAIN", help="Only the products of this domain.")
@_create_inputs_option
@_json_option
@products_option
def plan(
    products_named: tuple[str, ...],
    domain: str | None,
    create_inputs: bool,
    as_json: bool,
    products: str | None,
) -> int:
    """Show what `apply` would change on broker and registry, and what stands in the way.

    Changes nothing. Topics and subjects that no product declares are not looked at, and nothing is
    ever deleted. Exits 0, or 1 where something stands in the way.
    """
    with _planner(products_named, domain, products, create_inputs=create_inputs) as connected:
        planned = connected.plan()
    if as_json:
        _print_json(actions=_described(planned.actions), problems=_described(planned.problems))
    else:
        _print_plan(planned, connected.names)
    return 1 if planned.problems else 0


@click.command()
@click.argument("products_named", metavar="[PRODUCT...]", nargs=-1)
@click.option("--domain", metavar="DOMAIN", help="Only the products of this domain.")
@_create_inputs_option
@_json_option
@products_option
def apply(
    products_named: tuple[str, ...],
    domain: str | None,
    create_inputs: bool,
    as_json: bool,
    products: str | None,
) -> int:
    """Provision topics and register schemas, as `plan` shows.

    A product that has a problem is left as it is; the others are provisioned. May be repeated: what
    is there already stays untouched. Exits 0 if nothing is left to do.
    """
    from mesh_stream.mesh.apply import Applied

    applied = Applied((), (), ())
    with _planner(products_named, domain, products, create_inputs=create_inputs) as connected:
        planned = connected.plan()
        for _ in range(MAX_ROUNDS):
            if not planned.applicable():
                break
            applied = _joined(applied, connected.apply(planned, _quiet if as_json else _print_done))
            if applied.failed:
                # Not asked again: it may be the broker itself that failed.
                break
            planned = connected.plan()
    if as_json:
        _print_json(
            done=_described(applied.done),
            failed=[
                {**_description(failure.action), "error": str(failure.error)}
                for failure in applied.failed
            ],
            skipped=_described(applied.skipped),
            problems=_described(planned.problems),
        )
    else:
        _print_applied(applied, planned, connected.names)
    if applied.failed:
        return applied.failed[0].error.exit_code
    return 1 if planned.problems or planned.applicable() else 0


@dataclasses.dataclass(frozen=True, slots=True)
class _Connected:
    """The chosen products, and the two places that are compared with them."""

    names: tuple[str, ...]
    plan: Callable[[], Plan]
    admin: Admin
    registry: SchemaRegistry

    def apply(self, planned: Plan, progress: Callable[[Action], None]) -> Applied:
        from mesh_stream.mesh.apply import apply as carry_out

        return carry_out(
            planned.applicable(), admin=self.admin, registry=self.registry, progress=progress
        )


@contextmanager
def _planner(
    named: tuple[str, ...], domain: str | None, products: str | None, *, create_inputs: bool
) -> Iterator[_Connected]:
    from mesh_stream.cli.chosen import choose
    from mesh_stream.kafka.client import reached
    from mesh_stream.kafka.registry import SchemaRegistry
    from mesh_stream.mesh.plan import plan as compare
    from mesh_stream.product.loader import load_mesh
    from mesh_stream.settings import products_folder

    log_to_stderr(verbose=False)
    # The declarations first: their faults need no broker to be found.
    mesh = load_mesh(products_folder(os.environ, products))
    chosen = choose(mesh, named, domain)
    settings = settings_of(products)
    client = reached(settings)
    with SchemaRegistry(settings) as registry:

        def planned() -> Plan:
            return compare(
                mesh, chosen, admin=client, registry=registry, create_inputs=create_inputs
            )

        yield _Connected(tuple(one.name for one in chosen), planned, client, registry)


def _joined(before: Applied, after: Applied) -> Applied:
    return dataclasses.replace(
        after,
        done=before.done + after.done,
        failed=before.failed + after.failed,
        skipped=before.skipped + after.skipped,
    )


def _print_plan(planned: Plan, names: tuple[str, ...]) -> None:
    from mesh_stream.mesh.actions import NO_PRODUCT

    blocked = {problem.product for problem in planned.problems}
    for name in (*names, NO_PRODUCT):
        actions = [action for action in planned.actions if action.product == name]
        problems = [problem for problem in planned.problems if problem.product == name]
        if not actions and not problems:
            continue
        click.echo(_whose(name))
        for action in actions:
            click.echo(f"  + {action}")
        for problem in problems:
            click.echo(f"  ! {problem}")
    changes = len(planned.applicable())
    if not planned.actions and not planned.problems:
        click.echo(f"no changes: {_products(names)} provisioned as declared")
        return
    if changes:
        click.echo(f"{changes} change{'' if changes == 1 else 's'}; `mesh-stream apply` makes them")
    if blocked:
        click.echo(
            f"nothing is changed for {', '.join(map(_whose, sorted(blocked)))} until ! is solved"
        )


def _quiet(_action: Action) -> None:
    """Prints nothing: the JSON document at the end says it all."""


def _print_done(action: Action) -> None:
    click.echo(f"{_whose(action.product)}: {action}")


def _print_applied(applied: Applied, planned: Plan, names: tuple[str, ...]) -> None:
    for failure in applied.failed:
        click.echo(
            f"{_whose(failure.action.product)}: failed to {failure.action}: {failure.error}",
            err=True,
        )
    for action in applied.skipped:
        click.echo(f"{_whose(action.product)}: not done: {action}", err=True)
    for problem in planned.problems:
        click.echo(f"{_whose(problem.product)}: {problem}", err=True)
    if not applied.failed and not planned.problems:
        done = len(applied.done)
        changes = f"{done} change{'' if done == 1 else 's'} made" if done else "no changes"
        click.echo(f"{changes}: {_products(names)} provisioned as declared")


def _whose(product: str) -> str:
    """Names a product, and what is nobody's own."""
    return product or "the mesh"


def _products(names: tuple[str, ...]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{len(names)} products are"


def _print_json(**parts: Any) -> None:
    click.echo(json.dumps(parts, indent=2))


def _described(parts: Iterable[Action | Problem]) -> list[dict[str, Any]]:
    return [_description(part) for part in parts]


def _description(part: Action | Problem) -> dict[str, Any]:
    # CreateTopic -> create_topic: the word that scripts look for.
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(part).__name__).lower()
    return {"kind": kind, **dataclasses.asdict(part), "text": str(part)}

"""`mesh-stream up` and `mesh-stream down`: the embedded broker and registry, in the background."""

from __future__ import annotations

import json
from pathlib import Path

import click

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="MESH_DATA",
    show_envvar=True,
    help="The stack's data folder; by default one in the user's data folder.",
)


@click.command()
@click.option(
    "--brokers",
    type=click.IntRange(1, 9),
    help="How many brokers; by default as many as the data is of, one for new data. With 3, "
    "topics have 3 replicas and any broker may fail.",
)
@click.option(
    "--fresh",
    is_flag=True,
    help="Delete the topics and schemas of earlier runs first; a stack that runs on them is ended.",
)
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one JSON document.")
def up(brokers: int | None, fresh: bool, data: Path | None, as_json: bool) -> None:
    """Start an embedded Kafka broker and schema registry, in the background.

    They run until `mesh-stream down`, on 127.0.0.1 only, at the usual ports (9092 and 8081) or at
    free ones where those are taken. Where the stack runs already, this only says where. Topics and
    schemas are kept from run to run.

    The first run downloads about 200 MB.
    """
    from mesh_stream.local.stack import start

    stack = start(data, brokers=brokers, fresh=fresh)
    addresses = {"bootstrap_servers": stack.bootstrap_servers, "registry_url": stack.registry_url}
    if as_json:
        click.echo(json.dumps(addresses))
        return
    click.echo(
        f"broker    {stack.bootstrap_servers}\n"
        f"registry  {stack.registry_url}\n"
        f"data      {stack.data}\n"
        f"logs      {stack.data / 'logs'}\n"
        "stop it with `mesh-stream down`",
        err=True,
    )


@click.command()
@data_option
def down(data: Path | None) -> None:
    """Stop the embedded broker and registry; their data stays for the next `up`."""
    from mesh_stream.local.stack import stop

    stopped = stop(data)
    click.echo("stopped" if stopped else "nothing was running", err=True)

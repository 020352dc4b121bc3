"""The commands: parse, call, and map what went wrong to an exit code.

| code | means                                                          |
| ---- | -------------------------------------------------------------- |
| 0    | done                                                           |
| 1    | failed                                                         |
| 2    | a declaration or the usage is wrong                            |
| 3    | broker, registry or another part of the platform is unreachable |
| 4    | access denied                                                  |
| 5    | fenced: another process runs the same slot                     |

Standard output carries results, and with `--json` nothing but JSON; everything else goes to
standard error. Each command lives in a module of its own that is imported when it is called: a
worker does not pay for what the demo needs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import version

import click

from mesh_stream.errors import DeclarationError, MeshError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("demo", "The whole mesh on this machine, fed and shown live."),
    "up": ("stack", "Start the embedded broker and registry, in the background."),
    "down": ("stack", "Stop them."),
    "init": ("products", "Generate a product that validates, tests and runs."),
    "validate": ("validate", "Every fault of every declaration, at once."),
    "test": ("products", "Run the products' examples and tests, without a broker."),
    "plan": ("plan", "What would change on broker and registry, and what stands in the way."),
    "apply": ("plan", "Do it: provision topics, register schemas."),
    "run": ("run", "Run products' workers until stopped."),
    "monitor": ("monitor", "Freshness of every product, measured from outside the workers."),
    "console": ("console", "The web page: every product, live."),
    "replay": ("replay", "Put a JSON-lines or CSV file onto a raw topic."),
    "state": ("state", "Print what a product remembers, by key, from its changelog."),
    "reset": ("reset", "Have a product begin anew; shown first, done with --yes."),
    "slo": ("slo", "Write Prometheus rules and Grafana dashboards from the declared SLAs."),
    "tail": ("tail", "Print a product's facts, decoded, read-committed."),
}
"""Command -> (module of this package, what it does); the command object has the command's name."""

HIDDEN: Mapping[str, tuple[str, str]] = {
    "worker": ("run", "One slot; started by `run`."),
}


class _Commands(click.Group):
    """Imports a command when it is called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        found = COMMANDS.get(name) or HIDDEN.get(name)
        if found is None:
            return None
        module = importlib.import_module(f"mesh_stream.cli.{found[0]}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from difflib import get_close_matches

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = get_close_matches(args[0], COMMANDS, n=1)
            if close:
                error.message += f" Did you mean {close[0]!r}?"
            raise


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `mesh-stream demo`, or `mesh-stream init DOMAIN/PRODUCT`.",
)
@click.version_option(version("mesh-stream"), prog_name="mesh-stream")
def cli() -> None:
    """Streaming data products on Kafka: one folder is a product, exactly once, with an SLA."""


def main() -> None:
    """Run the command line; exits with the code of what happened."""
    sys.exit(outcome_of(sys.argv[1:]))


def outcome_of(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        result = cli.main(args=arguments, prog_name="mesh-stream", standalone_mode=False)
    except DeclarationError as error:
        click.echo(str(error), err=True)
        count = len(error.faults)
        click.echo(f"{count} fault{'' if count == 1 else 's'}", err=True)
        return error.exit_code
    except MeshError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("stopped", err=True)
        return 1
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        sys.stderr.close()
        return 0
    return result if isinstance(result, int) else 0

"""Does what a plan says, and says what was done and what was not.

Every action is idempotent: what another has done meanwhile counts as done. A registry or ACL that
refuses one product's action ends that product's; the others go on. A platform that does not answer
ends them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mesh_stream.errors import AccessDeniedError, MeshError, PlatformError, SchemaRefusedError
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import Admin
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.mesh.actions import (
    Action,
    AddPartitions,
    AlterTopic,
    CreateTopic,
    RegisterSchema,
    SetCompatibility,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An action that failed, and why."""

    action: Action
    error: MeshError


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a plan's actions; each is in exactly one of the three."""

    done: tuple[Action, ...]
    failed: tuple[Failure, ...]
    skipped: tuple[Action, ...]


def apply(
    actions: Iterable[Action],
    *,
    admin: Admin,
    registry: SchemaRegistry,
    progress: Callable[[Action], None] = lambda _action: None,
) -> Applied:
    """Carries out actions in their order; does not raise for what a platform answers.

    Args:
        actions: From a plan.
        admin: The broker's client.
        registry: The registry's client.
        progress: Is told of each action once it is done.
    """
    done: list[Action] = []
    failed: list[Failure] = []
    skipped: list[Action] = []
    for action in actions:
        if _stopped(action, failed):
            skipped.append(action)
            continue
        try:
            _carry_out(action, admin, registry)
        except (PlatformError, SchemaRefusedError) as error:
            failed.append(Failure(action, error))
        else:
            done.append(action)
            progress(action)
    return Applied(tuple(done), tuple(failed), tuple(skipped))


def _stopped(action: Action, failed: Iterable[Failure]) -> bool:
    return any(
        failure.action.product == action.product
        or not isinstance(failure.error, SchemaRefusedError | AccessDeniedError)
        for failure in failed
    )


def _carry_out(action: Action, admin: Admin, registry: SchemaRegistry) -> None:
    match action:
        case CreateTopic():
            topics.create(
                admin,
                action.topic,
                partitions=action.partitions,
                replicas=action.replicas,
                settings=action.settings,
            )
        case AlterTopic():
            changes = {change.name: change.after for change in action.changes}
            topics.alter(admin, action.topic, changes)
        case AddPartitions():
            topics.add_partitions(admin, action.topic, action.after)
        case SetCompatibility():
            registry.set_compatibility(action.subject, action.after)
        case RegisterSchema():
            registry.register(action.subject, action.schema)

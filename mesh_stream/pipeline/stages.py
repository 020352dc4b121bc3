"""The last stages of the path, quality and encode, for whatever type of record comes to them.

And what a broken rule means: nothing here knows whether the record is a transformation's result or
what a fold has come to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mesh_stream.errors import ContractError, HaltError
from mesh_stream.pipeline.encode import Encode, compile_encode
from mesh_stream.pipeline.quality import Judge, compile_rules
from mesh_stream.pipeline.record import Filtered, Message, Outcome, where
from mesh_stream.pipeline.shape import Shape
from mesh_stream.product.product import Action, Product, Rule

# Reasons become label values of a metric, so that their number is bounded whatever a product does.
MAX_REASONS = 50

_UNDECIDED = Filtered("unspecified")


class StagesByType(dict[type, tuple[Judge, Encode]]):
    """The last two stages for each type of record, compiled on first sight of the type.

    Attributes:
        finish: What is made of the last one.
    """

    def __init__(self, product: Product, schema_id: int) -> None:
        super().__init__()
        self._product = product
        self._schema_id = schema_id
        self.finish: Callable[[Encode], Encode] = lambda encode: encode

    def __missing__(self, record_type: type) -> tuple[Judge, Encode]:
        product = self._product
        shape = Shape(record_type)
        judge = compile_rules(product.rules, contract=product.contract, shape=shape)
        encode = compile_encode(
            product.contract,
            output=product.output,
            schema_id=self._schema_id,
            record_bytes=product.limits.record_bytes,
            shape=shape,
            of_fold=product.state is not None,
        )
        stages = (judge, self.finish(encode))
        self[record_type] = stages
        return stages


def count_filtered(outcome: Outcome, record: Filtered | None) -> None:
    """Count a record that makes no fact, on purpose."""
    reason = (record or _UNDECIDED).reason
    if len(outcome.filtered) >= MAX_REASONS and reason not in outcome.filtered:
        reason = "other"
    outcome.filtered[reason] += 1


def count_tolerated(outcome: Outcome, broken: Sequence[Rule]) -> None:
    """Count rules that a fact breaks and is published all the same."""
    for rule in broken:
        outcome.tolerated[rule.name, rule.action.value] += 1


def enforce(broken: Sequence[Rule], message: Message) -> None:
    """Do what the broken rules' actions say; returns where the fact is published all the same.

    Raises:
        HaltError: The action of one is `fail`.
        ContractError: The action of one is `dlq`.
    """
    for rule in broken:
        if rule.action is Action.FAIL:
            raise HaltError(
                f"{where(message)} breaks the rule {rule.name}, whose action is `fail`; "
                f"mend the record's source or the rule, then start the product again",
                rule=rule.name,
            )
    enforced = [rule for rule in broken if rule.action is Action.DLQ]
    if enforced:
        names = ", ".join(rule.name for rule in enforced)
        raise ContractError(f"breaks the quality rule {names}", rule=enforced[0].name)

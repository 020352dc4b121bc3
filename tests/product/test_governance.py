from __future__ import annotations

from pathlib import Path

import pytest

from mesh_stream.product.governance import Defaults, Governance, load_governance
from mesh_stream.product.loader import load_mesh, load_product
from tests.product.seed import FILES, declaration, faults_of, the_fault_of, write


def govern(root: Path, text: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / "governance.yaml").write_text(f"governance:\n{text}")
    return root


def test_without_a_file_the_documented_defaults_hold(tmp_path: Path) -> None:
    standards = load_governance(tmp_path)

    assert standards == Governance()
    assert (standards.defaults.decimal.precision, standards.defaults.decimal.scale) == (18, 2)
    assert standards.defaults.compatibility == "BACKWARD"
    assert standards.policies.require == ()


def test_defaults_fill_in_what_a_product_leaves_out(tmp_path: Path) -> None:
    govern(
        tmp_path,
        "  defaults:\n"
        "    decimal: {precision: 20, scale: 4}\n"
        "    compatibility: FULL\n"
        "    partitions: 3\n"
        "    retention: 7_days\n"
        "    settings: {min.insync.replicas: 2}\n",
    )
    files = {name: text for name, text in FILES.items() if not name.startswith("schema/")}
    product = load_product(write(tmp_path, "orders/orders-completed", files))

    assert product.contract.fields["total_amount"]["precision"] == 20
    assert product.contract.compatibility == "FULL"
    assert product.output.partitions == 3
    assert product.output.settings == {"min.insync.replicas": "2", "retention.ms": "604800000"}


def test_what_a_product_says_goes_before_the_defaults(tmp_path: Path) -> None:
    govern(
        tmp_path,
        "  defaults:\n    partitions: 3\n    retention: 7_days\n"
        "    settings: {min.insync.replicas: 2}\n",
    )
    more = "output: {partitions: 9, retention: forever, settings: {min.insync.replicas: 1}}"
    files = {**FILES, "data_product.yaml": declaration(more=more)}
    product = load_product(write(tmp_path, "orders/orders-completed", files))

    assert product.output.partitions == 9
    assert product.output.settings == {"min.insync.replicas": "1", "retention.ms": "-1"}


POLICIES = [
    ("require: [documentation]", "documentation: https", "documentation: # https", "documentation"),
    ("owner: '[a-z]+-guild'", "", "", "owner"),
    ("domains: [customers]", "", "", "domain"),
    ("compatibility: [FULL]", "", "", "schema"),
    ("max_freshness: 5_minutes", "", "", "sla.freshness"),
    ("min_availability: 99.99%", "", "", "sla.availability"),
    ("max_retention: 30_days", "documentation:", "output: {retention: 31_days}\n  documentation:",
     "output.retention"),
    ("max_retention: 30_days", "documentation:", "output: {retention: forever}\n  documentation:",
     "output.retention"),
    ("require: [field_descriptions]", "", "", "schema"),
    ("require: [tags]", "", "", "tags"),
    ("require: [support]", "", "", "support"),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "before", "after", "field"), POLICIES)
def test_a_policy_has_teeth(
    tmp_path: Path, policy: str, before: str, after: str, field: str
) -> None:
    govern(tmp_path, f"  policies:\n    {policy}\n")
    text = declaration()
    if before:
        assert before in text
        text = text.replace(before, after)
    write(tmp_path, "orders/orders-completed", {**FILES, "data_product.yaml": text})

    fault = the_fault_of(lambda: load_mesh(tmp_path))

    assert fault.field == f"data_product.{field}"
    assert fault.expected.endswith("by the policies of governance.yaml")


def test_a_product_without_rules_breaks_the_policy_that_asks_for_some(tmp_path: Path) -> None:
    govern(tmp_path, "  policies: {require: [quality]}\n")
    write(tmp_path, "orders/orders-completed", {"data_product.yaml": declaration()})

    assert the_fault_of(lambda: load_mesh(tmp_path)).field == "data_product.quality"


def test_a_product_that_keeps_every_policy_loads(tmp_path: Path) -> None:
    govern(
        tmp_path,
        "  policies:\n"
        "    require: [documentation, quality]\n"
        "    owner: '[a-z]+-team'\n"
        "    domains: [orders]\n"
        "    compatibility: [BACKWARD]\n"
        "    max_freshness: 15_minutes\n"
        "    min_availability: 99.9%\n"
        "    max_retention: 90_days\n",
    )
    write(tmp_path, "orders/orders-completed", FILES)

    assert set(load_mesh(tmp_path).products) == {"orders-completed"}


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("  policys: {}\n", "governance.policys"),
        ("  defaults: {decimal: {precision: 2, scale: 4}}\n", "governance.defaults.decimal"),
        ("  defaults: {decimal: {precision: 99}}\n", "governance.defaults.decimal.precision"),
        ("  defaults: {compatibility: SOME}\n", "governance.defaults.compatibility"),
        ("  defaults: {settings: {retention: 1}}\n", "governance.defaults.settings"),
        ("  policies: {owner: '('}\n", "governance.policies.owner"),
        ("  policies: {require: [everything]}\n", "governance.policies.require[0]"),
        ("  policies: {domains: []}\n", "governance.policies.domains"),
        ("  policies: {max_freshness: 5}\n", "governance.policies.max_freshness"),
    ],
)
def test_faulty_standards_are_a_fault_of_their_own(tmp_path: Path, text: str, field: str) -> None:
    govern(tmp_path, text)

    fault = the_fault_of(lambda: load_governance(tmp_path))

    assert (fault.path, fault.field) == (tmp_path / "governance.yaml", field)


def test_faulty_standards_do_not_hide_the_faults_of_products(tmp_path: Path) -> None:
    govern(tmp_path, "  policys: {}\n")
    text = declaration(more="foo: 1")
    write(tmp_path, "orders/orders-completed", {**FILES, "data_product.yaml": text})

    assert {fault.path.name for fault in faults_of(lambda: load_mesh(tmp_path))} == {
        "governance.yaml",
        "data_product.yaml",
    }


def test_defaults_alone_are_valid() -> None:
    assert Defaults().retention is None

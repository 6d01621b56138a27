"""The table of complaints names tests and figures that are there, an answer and a proof for each of the 25."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "complaints.md"

_ROW = re.compile(r"^\| (\d+) \|(.*)\|(.*)\|(.*)\|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
_FIGURE = re.compile(r"`([\w-]+\.json)`")

ROWS = {int(number): (complaint, answer, proof) for number, complaint, answer, proof in _ROW.findall(TABLE.read_text())}


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_there_are_25() -> None:
    assert sorted(ROWS) == list(range(1, 26))


@pytest.mark.parametrize("number", ROWS)
def test_each_has_an_answer_and_tests_and_figures_that_are_there(number: int) -> None:
    complaint, answer, proof = ROWS[number]

    assert complaint.strip()
    assert answer.strip()
    named = _TEST.findall(proof)
    assert named
    for file, name in named:
        assert name in functions(ROOT / "tests" / file)
    for figure in _FIGURE.findall(proof):
        assert (ROOT / "benchmarks" / "results" / figure).is_file()


def test_tests_that_are_named_outside_of_the_table_are_there_too() -> None:
    for file, name in _TEST.findall(TABLE.read_text()):
        assert name in functions(ROOT / "tests" / file)


def test_the_readme_leads_there() -> None:
    assert "`docs/complaints.md`" in (ROOT / "README.md").read_text()

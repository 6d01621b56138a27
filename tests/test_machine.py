"""What a report says about the machine."""

from __future__ import annotations

import json

from benchmarks import machine


def test_a_description_names_processor_system_and_versions_and_fits_json() -> None:
    facts = json.loads(json.dumps(machine.describe()))

    assert set(facts) == {"processor", "cores", "load", "system", "python", "packages"}
    assert facts["processor"]
    assert facts["cores"] >= 1
    assert "numpy" in facts["packages"]


def test_a_package_that_is_not_installed_is_left_out() -> None:
    assert "tensorrt-of-nobody" not in machine.installed()
    assert set(machine.installed()) <= set(machine.PACKAGES)

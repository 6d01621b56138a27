"""These tests belong into the small machine: `make test-vm` takes them there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm.cameras import MODEL, REAL, VIRTUAL


@pytest.fixture(autouse=True, scope="session")
def machine() -> None:
    """Fails where the devices are not."""
    missing = [path for path in (VIRTUAL, REAL, str(MODEL)) if not Path(path).exists()]
    assert not missing, f"expected the small machine, which has {', '.join(missing)}; run: make test-vm"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tells of a failure at once: the console is all that is seen of the machine, and the end may be minutes away."""
    if report.failed:
        print(f"\n{report.longreprtext}\n", flush=True)

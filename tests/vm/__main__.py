"""Boots the small machine and runs the tests of this folder inside it.

python -m tests.vm                        all of them; the last line says how many passed
python -m tests.vm -k on_demand           what pytest takes, handed on
"""

from __future__ import annotations

import compileall
import os
import shlex
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from tests.vm.machine import CACHE, CHECKOUT, MachineFault, prepare
from tests.vm.passthrough import save_passthrough

TIMEOUT = 3000.0  # seconds, for a machine that has much else to do; a quiet one with two cores needs a tenth of them
# No plugins and no conftest of the other tests: importing them would take a minute there.
GUEST = """
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/tmp LC_ALL=C.UTF-8 OMP_NUM_THREADS=1
export PYTHONPATH={checkout} PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONUNBUFFERED=1
cd {checkout}
exec {python} -m pytest -v --tb=short --color=no -p no:cacheprovider -c /dev/null --rootdir {here} -o markers=vm \
    --junitxml /exchange/report.xml {arguments} {here}
"""


def main(arguments: list[str]) -> int:
    """Returns 0 when every test ran and passed; a test that was skipped has failed."""
    began = time.monotonic()
    try:
        machine = prepare()
        print(f"machine ready after {time.monotonic() - began:.0f} s", flush=True)
        exchange = CACHE / "exchange"
        exchange.mkdir(exist_ok=True)
        report = exchange / "report.xml"
        report.unlink(missing_ok=True)
        save_passthrough(exchange / "passthrough.onnx", width=64, height=36)
        compileall.compile_dir(CHECKOUT / "rtmatte", quiet=1)  # the guest cannot keep what it compiles
        status = machine.run(_command(arguments), exchange, timeout=TIMEOUT)
    except MachineFault as fault:
        print(f"tests.vm: {fault}\n0 passed, 1 failed")
        return 1
    passed, failed = verdict(report)
    times = os.times()
    worked = times.children_user + times.children_system
    print(f"took {time.monotonic() - began:.0f} s, and {worked:.0f} s of processor time")
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed and status == 0 else 1


def _command(arguments: list[str]) -> str:
    quoted = {"checkout": str(CHECKOUT), "python": sys.executable, "here": str(Path(__file__).parent)}
    return GUEST.format(**{name: shlex.quote(text) for name, text in quoted.items()}, arguments=shlex.join(arguments))


def verdict(report: Path) -> tuple[int, int]:
    """Returns how many tests passed and how many did not, skipped ones among them, by pytest's report."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite")) if report.exists() else []
    total, failed = (
        sum(int(suite.get(name, "0")) for suite in suites for name in names)
        for names in (("tests",), ("failures", "errors", "skipped"))
    )
    return total - failed, failed if total else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

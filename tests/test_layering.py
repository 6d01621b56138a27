"""The layers of the package, as a list, and the check that every import follows it. No code of the package runs here
but `import rtmatte`."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rtmatte"

BASE = frozenset({"errors", "clock", "colour", "ring", "frame", "imaging", "latency", "modelfile", "contract", "graph"})
BASE |= {"resampling"}
BELOW_FRONTS = BASE | {"assets", "backends", "compose", "engine", "models", "network", "pipeline", "session"}
BELOW_FRONTS |= {
    "api",
    "control",
    "cuda",
    "ladder",
    "live",
    "outputs",
    "plan",
    "settings",
    "sinks",
    "sources",
    "step",
    "targets",
    "torch_device",
}

# What each room of rtmatte may import, function-level imports included; a room is a top-level module or package.
SEES: dict[str, frozenset[str]] = {
    "__init__": frozenset(),
    # base
    "errors": frozenset(),
    "clock": frozenset(),
    "colour": frozenset(),
    "ring": frozenset(),
    "latency": frozenset({"errors"}),
    "frame": frozenset({"errors"}),
    "resampling": frozenset(),
    "settings": frozenset({"errors"}),
    "imaging": frozenset({"errors", "frame", "resampling"}),
    "modelfile": frozenset({"errors"}),
    "contract": frozenset({"errors", "modelfile"}),
    "graph": frozenset({"contract", "errors", "modelfile"}),
    # compute: `step` holds the protocol, `engine` is the door that looks down at what fulfils it
    "step": BASE,
    "cuda": BASE,
    "plan": BASE | {"cuda"},
    "lending": BASE | {"cuda"},
    "resident": BASE | {"step", "cuda", "plan", "lending"},
    "torch_device": BASE | {"cuda"},
    "network": BASE,
    "models": BASE,
    "backends": BASE | {"step", "network", "cuda", "plan", "resident", "torch_device"},
    "handover": BASE | {"step"},
    "engine": BASE | {"step", "backends", "handover", "models"},
    # meaning: an engine is its protocol
    "targets": BASE | {"step"},
    "control": BASE | {"settings", "targets"},
    "rows": BASE | {"step"},
    "follower": BASE | {"rows", "targets"},
    "session": BASE | {"step", "targets", "rows", "follower"},
    "compose": BASE | {"torch_device"},
    # edges
    "sources": BASE,
    "sinks": BASE,
    # flow
    "mailbox": BASE,
    "parcel": BASE,
    "pipeline": BASE | {"mailbox", "parcel", "compose"},
    "ladder": frozenset(),
    "outputs": BASE,
    "live": BASE | {"compose", "control", "ladder", "pipeline", "session", "settings", "sources", "step", "targets"},
    "api": BASE | {"compose", "control", "live", "settings", "sources", "targets"},
    # fronts
    "serve": BELOW_FRONTS | {"mailbox"},
    "cli": BELOW_FRONTS | {"serve"},
    "__main__": frozenset({"cli"}),
}

# Packages whose modules are siblings: each may use the package itself, never another sibling.
FOLDERS_OF_SIBLINGS = frozenset({"backends", "sources", "sinks"})

OTHER_ROOMS = frozenset({"training", "export", "engines", "benchmarks", "tests"})

# Heavy packages and the rooms that own them.
OWNERS: dict[str, frozenset[str]] = {
    "cv2": frozenset({"imaging", "compose", "sources", "sinks", "targets", "serve"}),
    "av": frozenset({"sources", "sinks", "serve"}),
    "typer": frozenset({"cli"}),
    "rich": frozenset({"cli"}),
    "torch": frozenset({"network", "backends", "torch_device", "compose"}),
    "onnxruntime": frozenset({"backends", "targets"}),
    "openvino": frozenset({"backends"}),
    "tensorrt": frozenset({"backends", "plan"}),
    "cuda": frozenset({"cuda"}),
    "pyvirtualcam": frozenset({"sinks"}),
    "pygame": frozenset({"sinks"}),
    "aiortc": frozenset({"serve"}),
    "aioice": frozenset({"serve"}),
    "aiohttp": frozenset({"serve"}),
}


def imports_of(source: str) -> Iterator[str]:
    """Yields the absolute name of everything `source` imports, at any depth; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that a room is read off the line"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def broken_rules(module: str, source: str) -> list[str]:
    """Returns a sentence for every import in `source`, the text of rtmatte.`module`, that goes against the lists."""
    room, part = (*module.split("."), "")[:2]
    seen = SEES.get(room, frozenset())
    found = []
    for name in imports_of(source):
        top, *inner = name.split(".")
        if top in OTHER_ROOMS:
            found.append(f"{module} imports {name}: it is not in the wheel")
        elif top in OWNERS and room not in OWNERS[top]:
            found.append(f"{module} imports {top}: it belongs to {sorted(OWNERS[top])}")
        elif top == "rtmatte" and inner and inner[0] != room and inner[0] not in seen:
            found.append(f"{module} imports {name}: {room} sees {sorted(seen)}")
        elif top == "rtmatte" and is_sibling(room, part, inner):
            found.append(f"{module} imports its sibling {name}")
    return found


def is_sibling(room: str, part: str, imported: list[str]) -> bool:
    """Whether `imported` is inside another module of the folder `room` than `part`, whose own door may open them."""
    if room not in FOLDERS_OF_SIBLINGS or part == "__init__" or imported[:1] != [room] or len(imported) < 2:
        return False
    other = PACKAGE / room / imported[1]
    return imported[1] != part and (other.is_dir() or other.with_suffix(".py").exists())


def modules() -> list[str]:
    return sorted(".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py"))


NETWORK = frozenset({"urllib", "http", "socket", "ssl", "ftplib", "requests", "aiohttp", "httpx"})


@pytest.mark.parametrize("module", [module for module in modules() if module.split(".")[0] == "plan"])
def test_a_plan_is_never_downloaded(module: str) -> None:
    path = PACKAGE / module.replace(".", "/")
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()

    assert not NETWORK & {name.split(".")[0] for name in imports_of(source)}


@pytest.mark.parametrize("module", modules())
def test_module_imports_only_what_its_layer_sees(module: str) -> None:
    source = (PACKAGE / f"{module.replace('.', '/')}.py").read_text()

    assert broken_rules(module, source) == []


def test_every_room_is_in_the_list() -> None:
    assert {module.partition(".")[0] for module in modules()} <= set(SEES)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("frame", "from rtmatte.session import Session"),
        ("session", "from rtmatte.sources.file import FileSource"),
        ("session", "def f():\n    from rtmatte.backends.ort import OrtEngine"),
        ("sources.file", "from rtmatte.compose import host"),
        ("pipeline", "import rtmatte.cli"),
        ("engine", "import torch"),
        ("sinks.file", "import benchmarks.latency"),
    ],
)
def test_an_import_against_the_layers_is_found(module: str, line: str) -> None:
    assert len(broken_rules(module, line)) == 1


def test_a_sibling_import_is_found() -> None:
    assert len(broken_rules("sources.file", "from rtmatte.sources.camera import CameraSource")) == 1
    assert len(broken_rules("sinks.video.sound", "from rtmatte.sinks.folder import FolderSink")) == 1
    assert broken_rules("sinks.video.sound", "from rtmatte.sinks.video.encoding import Encoding") == []
    assert broken_rules("sources.file", "from rtmatte.sources import Source") == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = sorted({*OWNERS, "tensorrt_rtx", "onnx"})
    code = f"import sys, rtmatte; print(*[name for name in {heavy} if name in sys.modules])"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert loaded.stdout.split() == []

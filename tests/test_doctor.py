"""What doctor and devices say about machines of several kinds, none of them this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmatte import models
from rtmatte.cli import machine, main
from rtmatte.cli.machine import BackendProbe, VirtualCamera, cameras, virtual_cameras
from rtmatte.errors import ModelError
from rtmatte.sources.camera import CameraInfo

LOOPBACK = VirtualCamera("/dev/null", "rtmatte", exclusive=True)


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Linux machine with everything that a meeting needs; each test takes something away."""
    monkeypatch.setattr(machine, "names_cameras", lambda: True)
    monkeypatch.setattr(models, "listing", tuple)
    monkeypatch.setattr(
        machine, "installed", lambda package: None if package in ("opencv-python", "onnxruntime-gpu") else "1"
    )
    monkeypatch.setattr(machine, "probe_backends", lambda: [BackendProbe("cpu", runs="onnxruntime cpu")])
    monkeypatch.setattr(machine, "gpus", list)
    monkeypatch.setattr(machine, "cameras", lambda: [CameraInfo("/dev/null", "Webcam")])
    monkeypatch.setattr(machine, "virtual_cameras", lambda: [LOOPBACK])
    return monkeypatch


@pytest.mark.usefixtures("healthy")
def test_a_machine_with_everything_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0

    said = capsys.readouterr().out
    assert said.endswith("healthy\n")
    assert "bad" not in said


def test_no_camera(healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    healthy.setattr(machine, "cameras", list)

    assert main(["doctor"]) == 2

    assert "camera: none" in capsys.readouterr().out


def test_a_camera_of_another_user(healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    healthy.setattr(machine, "cameras", lambda: [CameraInfo("/dev/video-of-nobody", "Webcam")])

    assert main(["doctor"]) == 2

    assert "usermod -aG video" in capsys.readouterr().out


def test_no_loopback_module(healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    healthy.setattr(machine, "virtual_cameras", list)

    assert main(["doctor"]) == 2

    assert "sudo modprobe v4l2loopback devices=1 exclusive_caps=1" in capsys.readouterr().out


def test_a_loopback_that_browsers_pass_over(healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    healthy.setattr(machine, "virtual_cameras", lambda: [VirtualCamera("/dev/null", "dummy", exclusive=False)])

    assert main(["doctor"]) == 2

    assert "exclusive_caps" in capsys.readouterr().out


def test_no_backend(healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    healthy.setattr(machine, "probe_backends", lambda: [BackendProbe("cpu", reason="ONNX Runtime is not installed")])

    assert main(["doctor"]) == 2

    assert "pip install 'rtmatte[cpu]'" in capsys.readouterr().out


def test_rival_packages(healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    healthy.setattr(machine, "installed", lambda package: "1")

    assert main(["doctor"]) == 2

    assert "overwrite each other" in capsys.readouterr().out


def test_a_model_list_that_is_gone(healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def gone() -> None:
        raise ModelError("the list of bundled models is damaged")

    healthy.setattr(models, "listing", gone)

    assert main(["doctor"]) == 2

    assert "is damaged" in capsys.readouterr().out


def test_an_idle_gpu_is_a_note_and_no_illness(healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    healthy.setattr(machine, "gpus", lambda: ["NVIDIA T4, 15360 MiB, 580.65.06"])

    assert main(["doctor"]) == 0

    assert "rtmatte[gpu]" in capsys.readouterr().out


@pytest.mark.usefixtures("healthy")
def test_devices_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0

    shown = capsys.readouterr().out
    assert all(word in shown for word in ("Webcam", "rtmatte", "onnxruntime cpu", "none"))


def test_loopbacks_are_virtual_and_other_nodes_are_cameras(tmp_path: Path) -> None:
    for kind, node, name in (("real", "video0", "Webcam"), ("real", "video10", "out"), ("virtual", "video10", "out")):
        folder = tmp_path / kind / node
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
    (tmp_path / "exclusive_caps").write_text("Y,N,N,N,N,N,N,N\n")

    found = virtual_cameras(tmp_path / "virtual", tmp_path / "exclusive_caps")

    assert found == [VirtualCamera("/dev/video10", "out", exclusive=True)]
    assert cameras(tmp_path / "real", tmp_path / "virtual") == [CameraInfo("/dev/video0", "Webcam")]


def test_a_machine_without_the_module_has_no_loopbacks(tmp_path: Path) -> None:
    assert virtual_cameras(tmp_path / "none", tmp_path / "no_parameters") == []

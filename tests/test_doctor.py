"""What doctor and devices say about machines of several kinds, none of them this one."""

from __future__ import annotations

import platform
from functools import partial
from pathlib import Path

import pytest

from rtmatte import models
from rtmatte.cli import machine, main
from rtmatte.cli.machine import BackendProbe, VirtualCamera, cameras, virtual_cameras
from rtmatte.errors import ModelError
from rtmatte.sinks.virtualcam import LOAD_MODULE, RELOAD_MODULE
from rtmatte.sources.camera import CameraInfo

LOOPBACK = VirtualCamera("/dev/null", "rtmatte", exclusive=True)


LOOKS = ("idle_gpu", "cameras", "virtual_cameras", "loopback_module", "secure_boot", "pipewire", "boxed_obs")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The root of a Linux system without any device, in which a test puts what it is about; all packages are there."""
    monkeypatch.setattr(machine, "names_cameras", lambda: True)
    monkeypatch.setattr(models, "listing", tuple)
    monkeypatch.setattr(
        machine, "installed", lambda package: None if package in ("opencv-python", "onnxruntime-gpu") else "1"
    )
    monkeypatch.setattr(machine, "probe_backends", lambda: [BackendProbe("cpu", runs="onnxruntime cpu")])
    monkeypatch.setattr(machine, "gpus", list)
    for look in LOOKS:
        monkeypatch.setattr(machine, look, partial(getattr(machine, look), tmp_path))
    return tmp_path


@pytest.fixture
def healthy(bare: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Linux machine with everything that a meeting needs; each test takes something away."""
    monkeypatch.setattr(machine, "cameras", lambda: [CameraInfo("/dev/null", "Webcam")])
    monkeypatch.setattr(machine, "virtual_cameras", lambda: [LOOPBACK])
    return monkeypatch


def put(path: Path, text: str = "") -> None:
    """Writes a file of a made system, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


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


@pytest.mark.usefixtures("bare")
def test_a_machine_without_camera_module_and_gpu_is_told_how_to_get_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 2

    said = capsys.readouterr().out
    for found, fix in (
        ("GPU: none of NVIDIA's: models run on the CPU", "rtmatte[gpu]"),
        ("camera: none", "plug one in"),
        ("virtual camera: v4l2loopback is not installed for this kernel", "sudo apt install v4l2loopback-dkms"),
    ):
        assert found in said
        assert fix in said.partition(found)[2].splitlines()[1]
    assert "2 of 4 things to fix" in said


def test_a_module_that_is_installed_has_to_be_loaded(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(bare / f"lib/modules/{platform.release()}/modules.dep", "updates/dkms/v4l2loopback.ko: kernel/videodev.ko\n")

    assert main(["doctor"]) == 2

    said = capsys.readouterr().out
    assert f"v4l2loopback is not loaded\n      {LOAD_MODULE}\n" in said
    assert "Secure Boot" not in said


def test_a_module_without_devices_is_loaded_anew(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bare / "sys/module/v4l2loopback").mkdir(parents=True)

    assert main(["doctor"]) == 2

    assert f"has no devices\n      {RELOAD_MODULE}\n" in capsys.readouterr().out


@pytest.mark.parametrize(("value", "told"), [(1, True), (0, False)])
def test_secure_boot_is_told_while_the_module_is_not_loaded(
    bare: Path, capsys: pytest.CaptureFixture[str], value: int, told: bool
) -> None:
    path = bare / machine.SECURE_BOOT
    put(path)
    path.write_bytes(bytes((6, 0, 0, 0, value)))

    main(["doctor"])

    assert ("mokutil --import" in capsys.readouterr().out) is told


def test_programs_that_may_not_see_the_virtual_camera_are_told(
    healthy: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "run/user/1000/pipewire-0")
    for place in machine.BOXED_OBS.values():
        (tmp_path / place).mkdir(parents=True)

    assert main(["doctor"]) == 0

    said = capsys.readouterr().out
    assert all(fix in said for fix in ("restart wireplumber", "snap connect obs-studio:camera", "flatpak override"))


def test_a_gpu_without_a_driver_is_told(
    healthy: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for device, vendor, kind in (("0000:00:02.0", "0x8086", "0x030000"), ("0000:01:00.0", "0x10de", "0x030200")):
        put(tmp_path / machine.PCI_DEVICES / device / "vendor", f"{vendor}\n")
        put(tmp_path / machine.PCI_DEVICES / device / "class", f"{kind}\n")

    assert main(["doctor"]) == 0

    assert "install NVIDIA's driver" in capsys.readouterr().out


@pytest.mark.parametrize("labels", [["Dummy video device (0x0000)"], ["rtmatte", "rtmatte"]])
def test_a_label_that_tells_nothing_is_a_note(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], labels: list[str]
) -> None:
    healthy.setattr(
        machine, "virtual_cameras", lambda: [VirtualCamera("/dev/null", label, exclusive=True) for label in labels]
    )

    assert main(["doctor"]) == 0

    said = capsys.readouterr().out
    assert said.count("tells nobody what it is") == len(labels)
    assert 'card_label="rtmatte"' in said


@pytest.mark.parametrize("platform_name", ["darwin", "win32"])
def test_elsewhere_the_virtual_camera_is_obs(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], platform_name: str
) -> None:
    healthy.setattr(machine, "names_cameras", lambda: False)
    healthy.setattr("sys.platform", platform_name)

    assert main(["doctor"]) == 0

    assert "install OBS Studio" in capsys.readouterr().out


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


@pytest.mark.parametrize(("torch", "told"), [(None, True), ("2.13.0+cpu", True), ("2.13.0", False)])
def test_who_runs_models_on_a_gpu_is_told_what_draws_there(
    torch: str | None, told: bool, healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy.setattr(machine, "gpus", lambda: ["NVIDIA T4, 15360 MiB, 580.65.06"])
    healthy.setattr(machine, "probe_backends", lambda: [BackendProbe("cuda", runs="onnxruntime cuda on NVIDIA T4")])
    others = machine.installed
    healthy.setattr(machine, "installed", lambda package: torch if package == "torch" else others(package))

    assert main(["doctor"]) == 0

    assert ("composites are drawn on the CPU" in capsys.readouterr().out) == told


@pytest.mark.usefixtures("healthy")
def test_devices_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0

    shown = capsys.readouterr().out
    assert all(word in shown for word in ("Webcam", "rtmatte", "onnxruntime cpu", "none"))


def test_loopbacks_are_virtual_and_other_nodes_are_cameras(tmp_path: Path) -> None:
    for folder, node, name in (
        (machine.CAMERAS, "video0", "Webcam"),
        (machine.CAMERAS, "video10", "out"),
        (machine.LOOPBACKS, "video10", "out"),
    ):
        put(tmp_path / folder / node / "name", f"{name}\n")
    put(tmp_path / machine.LOOPBACK_MODULE / "parameters/exclusive_caps", "Y,N,N,N,N,N,N,N\n")

    assert virtual_cameras(tmp_path) == [VirtualCamera("/dev/video10", "out", exclusive=True)]
    assert cameras(tmp_path) == [CameraInfo("/dev/video0", "Webcam")]


def test_a_machine_without_the_module_has_no_loopbacks(tmp_path: Path) -> None:
    assert virtual_cameras(tmp_path) == []

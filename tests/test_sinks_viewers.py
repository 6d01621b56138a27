"""Who watches: inotify on a plain file stands for the device, a folder for what the module tells of its users."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from rtmatte.errors import EnvironmentFault
from rtmatte.sinks.virtualcam.viewers import Viewers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only v4l2loopback tells who watches")


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "video9"
    path.touch()
    return path


def module(sysfs: Path, *, users: int, devices: int) -> Path:
    """Returns a system folder of a loaded module with so many users and devices."""
    folder = sysfs / "module/v4l2loopback"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "refcnt").write_text(f"{users}\n")
    for number in range(devices):
        (sysfs / f"devices/virtual/video4linux/video{number}").mkdir(parents=True, exist_ok=True)
    return sysfs


def becomes(viewers: Viewers, count: int) -> bool:
    """Whether the count gets there; the kernel's news come when they come."""
    deadline = time.monotonic() + 10
    while viewers.count() != count and time.monotonic() < deadline:
        time.sleep(0.01)
    return viewers.count() == count


def test_opens_and_closes_are_counted(device: Path, tmp_path: Path) -> None:
    with Viewers(str(device), sysfs=tmp_path) as viewers:
        assert viewers.count() == 0
        with device.open():
            assert becomes(viewers, 1)
            with device.open("r+"):
                assert becomes(viewers, 2)
            assert becomes(viewers, 1)
        assert becomes(viewers, 0)


def test_this_process_is_no_viewer_of_its_own(device: Path, tmp_path: Path) -> None:
    with device.open("r+"), Viewers(str(device), sysfs=module(tmp_path, users=1, devices=1)) as viewers:
        assert viewers.count() == 0


def test_with_one_device_the_users_of_the_module_are_exact(device: Path, tmp_path: Path) -> None:
    with device.open("r+"), Viewers(str(device), sysfs=module(tmp_path, users=3, devices=1)) as viewers:
        assert viewers.count() == 2  # they were there before

        module(tmp_path, users=1, devices=1)

        assert viewers.count() == 0


def test_with_several_devices_the_users_of_the_module_are_a_limit(device: Path, tmp_path: Path) -> None:
    with Viewers(str(device), sysfs=module(tmp_path, users=3, devices=2)) as viewers:
        assert viewers.count() == 0  # all three have the other device
        with device.open():
            assert becomes(viewers, 1)

            module(tmp_path, users=0, devices=2)

            assert viewers.count() == 0  # whatever the events said


def test_a_device_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="No such file or directory"):
        Viewers(str(tmp_path / "video9"))


def test_other_systems_do_not_tell(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    with pytest.raises(EnvironmentFault, match="only v4l2loopback on Linux"):
        Viewers(str(device))

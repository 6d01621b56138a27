"""A small virtual machine with a real v4l2loopback and a real capture device (vivid), for hosts that have neither.

QEMU emulates it in software: no KVM, no disk image. Its kernel and modules are Debian's, unpacked and not installed;
its file tree is the host's, read-only, under a layer of memory. What is built is kept under build/vm.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
CACHE = CHECKOUT / "build" / "vm"

# What has to be installed here, by the program that shows it; the guest uses the same ones.
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "modprobe": "kmod",
    "make": "make",
    "gcc": "gcc",
    "strip": "binutils",
    "v4l2-ctl": "v4l-utils",
    "ffmpeg": "ffmpeg",
}
KERNEL_PACKAGE = "linux-image-amd64"  # names the kernel of this release of Debian
# Loaded in this order, each after what it needs, which modprobe knows.
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "videodev", "vivid")
LOOPBACK, CAMERA = "/dev/video10", "/dev/video20"
OPTIONS = {
    "vivid": "n_devs=1 node_types=0x1 vid_cap_nr=20",
    "v4l2loopback": "devices=1 video_nr=10 card_label=rtmatte exclusive_caps=1 max_buffers=2",
}
MEMORY_MB, CORES = 2048, 2
# Nehalem is the least that NumPy accepts and the fastest to emulate of what it accepts.
PROCESSOR = "Nehalem"


class MachineFault(Exception):
    """The machine cannot be built or does not come up; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A kernel and the file system that it starts from."""

    kernel: Path
    initramfs: Path

    def run(self, command: str, exchange: Path, *, timeout: float) -> int:
        """Returns the exit status of the shell script `command`, run in the guest, where the host's tree is as here.

        The guest sees the folder `exchange` as /exchange and may write there. What the guest prints is printed.
        Raises MachineFault when the machine takes longer than `timeout` seconds or ends without a status.
        """
        status = exchange / "status"
        status.unlink(missing_ok=True)
        (exchange / "command").write_text(command)
        try:
            subprocess.run(self._command_line(exchange), stdin=subprocess.DEVNULL, check=True, timeout=timeout)
        except subprocess.TimeoutExpired as reason:
            raise MachineFault(f"expected the machine to end within {timeout:.0f} s") from reason
        except subprocess.CalledProcessError as reason:
            raise MachineFault(f"QEMU ended with status {reason.returncode}") from reason
        if not status.exists():
            raise MachineFault("the machine went off before its command had ended; read what it printed above")
        return int(status.read_text())

    def _command_line(self, exchange: Path) -> list[str]:
        shares = [
            "-virtfs",
            "local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap",
            "-virtfs",
            f"local,path={exchange},mount_tag=exchange,security_model=none",
        ]
        return [
            "qemu-system-x86_64",
            *("-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", PROCESSOR),
            *("-m", str(MEMORY_MB), "-smp", str(CORES)),
            *("-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio", "-monitor", "none"),
            *("-kernel", str(self.kernel), "-initrd", str(self.initramfs)),
            *("-append", "console=ttyS0 loglevel=1 panic=-1 mitigations=off"),
            *shares,
        ]


def prepare() -> Machine:
    """Returns the machine, from the cache when it was built by this very recipe; MachineFault when it cannot be."""
    _install_programs()
    recipe = Path(__file__).read_bytes() + (HERE / "init.sh").read_bytes()
    folder = CACHE / hashlib.sha256(recipe).hexdigest()[:12]
    machine = Machine(folder / "vmlinuz", folder / "initramfs.gz")
    if not (machine.kernel.exists() and machine.initramfs.exists()):
        shutil.rmtree(CACHE, ignore_errors=True)
        tree = folder / "tree"
        tree.mkdir(parents=True)
        release = _unpack_packages(tree)
        machine.initramfs.write_bytes(gzip.compress(_archive(tree, release, folder / "root")))
        shutil.move(tree / "boot" / f"vmlinuz-{release}", machine.kernel)
        shutil.rmtree(tree)
    return machine


def _install_programs() -> None:
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))  # modprobe's place
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None})
    if missing and not _may_install():
        raise MachineFault(f"expected {', '.join(missing)}; run: sudo apt-get install {' '.join(missing)}")
    if missing:
        _apt(["install", "--yes", "--no-install-recommends", *missing], Path.cwd())


def _may_install() -> bool:
    return os.access("/var/lib/dpkg", os.W_OK)


def _apt(arguments: list[str], folder: Path) -> None:
    """Runs apt-get in `folder`, a second time with fresh lists if the first fails and they may be fetched."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}

    def runs(*words: str) -> bool:
        return subprocess.run(["apt-get", "-qq", *words], cwd=folder, env=environment, check=False).returncode == 0

    if not (runs(*arguments) or (_may_install() and runs("update") and runs(*arguments))):
        raise MachineFault(f"apt-get {' '.join(arguments)} failed; the machine needs Debian's packages")


def _unpack_packages(tree: Path) -> str:
    """Unpacks the kernel, its headers and v4l2loopback's source into `tree`; returns the kernel's release."""
    named = re.search(r"linux-image-(\d\S+)", _output(["apt-cache", "depends", KERNEL_PACKAGE]))
    if named is None:
        raise MachineFault(f"expected a Debian whose {KERNEL_PACKAGE} names a kernel; the machine needs its packages")
    release = named[1]
    headers = f"linux-headers-{release}"
    needed = re.findall(r"Depends: (linux-(?:headers|kbuild)-\S+)", _output(["apt-cache", "depends", headers]))
    _apt(["download", f"linux-image-{release}", headers, *needed, "v4l2loopback-dkms"], tree)
    for package in tree.glob("*.deb"):
        _run(["dpkg", "-x", str(package), str(tree)])
        package.unlink()
    return release


def _archive(tree: Path, release: str, root: Path) -> bytes:
    """Returns the first file system: busybox, the modules in the order in which to load them, and init."""
    modules = root / "modules"
    modules.mkdir(parents=True)
    (root / "bin").mkdir()
    shutil.copy(shutil.which("busybox") or "", root / "bin" / "busybox")
    shutil.copy(HERE / "init.sh", root / "init")
    (root / "init").chmod(0o755)
    paths = _dependencies(tree, release)
    paths.append(_build_loopback(tree, release))
    for path in paths:
        _run(["strip", "--strip-debug", "-o", str(modules / path.name), str(path)])
    order = "".join(f"{path.name} {OPTIONS.get(path.stem, '')}\n" for path in paths)
    (modules / "order").write_text(order)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    packed = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=names.encode(), capture_output=True, check=True
    )
    return packed.stdout


def _dependencies(tree: Path, release: str) -> list[Path]:
    _run(["depmod", "-b", str(tree), release])
    found: dict[Path, None] = {}
    for module in MODULES:
        shown = _output(["modprobe", "-d", str(tree), "-S", release, "--show-depends", module])
        found |= {Path(line.split()[1]): None for line in shown.splitlines() if line.startswith("insmod")}
    return list(found)


def _build_loopback(tree: Path, release: str) -> Path:
    """Returns v4l2loopback.ko, compiled against the unpacked headers."""
    headers = tree / "usr" / "src" / f"linux-headers-{release}"
    makefile = headers / "Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src", str(tree / "usr" / "src")))
    source = next((tree / "usr" / "src").glob("v4l2loopback-*"))
    _run(["make", "-C", str(headers), f"M={source}", "modules"])
    return source / "v4l2loopback.ko"


def _run(command: list[str]) -> None:
    _output(command)


def _output(command: list[str]) -> str:
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MachineFault(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout

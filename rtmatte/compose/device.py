"""Composites drawn on a GPU: what the network left there is drawn where it lies, and only the composite comes back.

With PyTorch rather than a graph of our own for the engines: looks, backgrounds and sizes change between two frames, a
plan takes seconds to build for each, and PyTorch captures the same work into one CUDA graph in milliseconds. Whoever
runs plans without PyTorch has composites drawn on the CPU.

It draws plain edges, with any despill. A look that moves, softens or steadies the edge, or lets light through, is the
host compositor's; so are the cut-out and the alpha alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rtmatte import imaging
from rtmatte.compose.backgrounds import Background, Still
from rtmatte.compose.blur import Blur
from rtmatte.compose.drawing import Drawing
from rtmatte.compose.look import Look
from rtmatte.compose.scratch import Bytes, Scratch
from rtmatte.errors import EngineError
from rtmatte.frame import Alpha, Matte, OnDevice
from rtmatte.imaging import Size
from rtmatte.torch_device import TorchDevice

PLAIN = Look()


class DeviceDrawing:
    """The `compose.host.Drawing` of a device; it belongs to one thread.

    After a failure of the device `fault` says what it was, and nothing is drawn here any more.
    """

    def __init__(self, device: TorchDevice) -> None:
        self.fault = ""
        self._device = device
        self._canvas: _Canvas | None = None
        self._scratch = Scratch()

    def draw(self, matte: Matte, background: Background, look: Look, out: Bytes, *, at: float) -> bool:
        """Draws the person of `matte`, whose alpha is not None, over `background` into `out` (H, W, 3).

        False says that it is not drawn, and `out` holds anything: the look asks for more, or the device failed.
        """
        if self.fault or replace(look, despill=PLAIN.despill) != PLAIN or matte.alpha is None:
            return False
        alpha, size = matte.alpha, matte.frame.size
        if size[0] < alpha.shape[1] or size[1] < alpha.shape[0]:
            alpha = imaging.resize(alpha, size, self._scratch.array("alpha", size[::-1], np.float32))
        try:
            canvas = self._canvas_for(size, alpha.shape[::-1], background)
            if matte.on_device is not None and alpha is matte.alpha:
                canvas.take(matte.on_device)
            else:
                canvas.upload(self._scratch.as_bytes(matte.frame.pixels), alpha)
            canvas.draw(background, look.despill, out, at=at)
        except EngineError as error:
            self.fault, self._canvas = f"composites are drawn on the CPU from here on ({error})", None
            return False
        return True

    def close(self) -> None:
        """Frees what lies on the device."""
        self._canvas = None
        self._device.close()

    def _canvas_for(self, size: Size, working: tuple[int, ...], background: Background) -> _Canvas:
        blur = background if isinstance(background, Blur) else None
        key = (size, working, None if blur is None else blur.strength)
        if self._canvas is None or self._canvas.key != key:
            self._canvas = None  # first free, then take
            self._canvas = _Canvas(key, blur, self._device)
        return self._canvas


class _Canvas:
    """Memory for composites of one size over one kind of background, on both sides, and the work captured once.

    Frame, alpha and strength go up in one block each frame, what is behind when it changes.
    """

    def __init__(self, key: tuple[Size, tuple[int, ...], float | None], blur: Blur | None, device: TorchDevice) -> None:
        (width, height), (columns, rows), _ = self.key = key
        self._device = device
        self._blurs = blur is not None
        self._behind: Background | None = None  # whose picture lies on the device, for good
        picture = (height, width, 3)
        self._frame = _Block(device, picture, "uint8")
        self._alpha = _Block(device, (rows, columns), "float32")
        self._alpha_in_bytes = _Block(device, (rows, columns), "uint8")
        self._strength = _Block(device, (1,), "float32")
        self._under = _Block(device, (1, 1, 3) if self._blurs else picture, "uint8")
        self._drawn = _Block(device, picture, "uint8")
        self._graph: Any = None
        self._capturable, self._ran = device.captures, False
        with device.computing():
            self._drawing = Drawing(key[0], (columns, rows), blur, device.torch)

    def take(self, lent: OnDevice) -> None:
        """Takes frame and alpha from where they lie on the device."""
        self._frame.take(lent.pixels)
        if not lent.in_bytes:
            self._alpha.take(lent.alpha)
            return
        self._alpha_in_bytes.take(lent.alpha)
        with self._device.computing():
            torch.mul(self._alpha_in_bytes.tensor, 1 / 255, out=self._alpha.tensor)

    def upload(self, pixels: Bytes, alpha: Alpha) -> None:
        """Takes frame and alpha from the host."""
        self._frame.upload(pixels)
        self._alpha.upload(alpha)

    def draw(self, background: Background, despill: float, out: Bytes, *, at: float) -> None:
        """Draws what was taken last over `background` into `out`, and returns when it is there."""
        if self._strength.host[0] != despill or not self._ran:
            self._strength.host[0] = despill
            self._strength.send()
        if not self._blurs and self._behind is not background:
            background.plain(self._under.host, at=at)
            self._under.send()
            self._behind = background if isinstance(background, Still) else None
        self._run()
        self._drawn.fetch()
        self._device.mark()
        self._device.wait()
        np.copyto(out, self._drawn.host)

    def _run(self) -> None:
        if self._ran and self._capturable and self._graph is None:
            self._graph = self._device.capture(self._compute)
            self._capturable = self._graph is not None  # else it will not be tried again
        if self._graph is not None:
            self._device.launch(self._graph)
        else:
            self._compute()
        self._ran = True

    def _compute(self) -> None:
        with self._device.computing():
            taken = (block.tensor for block in (self._frame, self._alpha, self._strength, self._under))
            self._drawn.tensor.copy_(self._drawing(*taken))


class _Block:
    """One array on the device, its page-locked counterpart here, and the copies between them."""

    def __init__(self, device: TorchDevice, shape: tuple[int, ...], dtype: str) -> None:
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._device = device
        self._memory = device.allocate(nbytes)
        self._bytes = device.pinned(nbytes)
        self.host: NDArray[Any] = self._bytes.view(dtype).reshape(shape)
        self.tensor = device.tensor(self._memory.address, shape, dtype)

    def upload(self, values: NDArray[Any]) -> None:
        np.copyto(self.host, values)
        self.send()

    def send(self) -> None:
        self._device.upload(self._bytes, self._memory.address)

    def take(self, address: int) -> None:
        self._device.copy(address, self._memory.address, self._bytes.nbytes)

    def fetch(self) -> None:
        self._device.download(self._memory.address, self._bytes)

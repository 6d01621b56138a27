"""Plans where there is no GPU; what their engine does is in `test_resident`, on one that records."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmatte.backends.trt import open_trt
from rtmatte.cuda import find_gpu
from rtmatte.errors import BackendMissing


def test_without_a_gpu_the_error_says_what_to_install() -> None:
    try:
        find_gpu()
    except BackendMissing:
        with pytest.raises(BackendMissing, match=r"nvidia\.com/drivers|rtmatte\[rtx\]|nvidia-smi|macOS"):
            open_trt(Path("lite.onnx"), "rtx")
    else:
        pytest.skip("there is a GPU here")

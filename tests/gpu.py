"""Where tests that need an NVIDIA GPU skip, and where they must not: RTMATTE_REQUIRE_GPU=1 promises one."""

from __future__ import annotations

import os

import pytest

from rtmatte.cuda import Gpu, find_gpu
from rtmatte.errors import BackendMissing


def gpu_or_skip() -> Gpu:
    """Returns the GPU; without one the test is skipped, or fails where one was promised."""
    try:
        return find_gpu()
    except BackendMissing as error:
        if os.environ.get("RTMATTE_REQUIRE_GPU") == "1":
            pytest.fail(f"a GPU was promised here: {error}")
        pytest.skip(str(error))

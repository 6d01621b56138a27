"""PyTorch on an NVIDIA GPU: the modules of a checkpoint, in channels-last layout, captured into CUDA graphs.

The backend of GPUs that no TensorRT serves. Modules compute in the precision they were made in: which variant of a
network runs is decided where the checkpoint is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rtmatte.contract import Contract
from rtmatte.plan.api import PlanTensor
from rtmatte.resident import ResidentEngine, whole
from rtmatte.torch_device import TorchDevice

if TYPE_CHECKING:
    from torch import Tensor, nn


class TorchPlan:
    """A module behind the Plan protocol: it takes the inputs, then the states of `contract`, and gives its results."""

    def __init__(self, module: nn.Module, contract: Contract, device: TorchDevice) -> None:
        self._module = module
        self._device = device
        self._taken = [spec.name for spec in (*contract.inputs, *contract.states)]
        self._given = [spec.name for spec in contract.results]
        self._bound: dict[str, Tensor] = {}
        taken = [PlanTensor(spec.name, spec.shape, spec.dtype, True) for spec in (*contract.inputs, *contract.states)]
        given = [PlanTensor(spec.name, spec.shape, spec.dtype, False) for spec in contract.results]
        self.tensors = {tensor.name: tensor for tensor in (*taken, *given)}

    def bind(self, name: str, address: int) -> None:
        """Makes the module read or write the tensor `name` at `address` from the next run on."""
        self._bound[name] = self._device.tensor(address, self.tensors[name].shape, self.tensors[name].dtype)

    def enqueue(self, stream: int) -> None:
        """Puts one run on the device's stream; EngineError when PyTorch refuses."""
        with self._device.computing():
            results = self._module(*(self._bound[name] for name in self._taken))
            for name, result in zip(self._given, results, strict=True):
                self._bound[name].copy_(result)

    def capturable(self, stream: int) -> bool:
        """Whether a run may be captured: on a GPU, always; what cannot be shows when it is tried."""
        return self._device.captures

    def close(self) -> None:
        """Nothing to keep."""


def open_eager_cuda(parts: Sequence[tuple[nn.Module, Contract]]) -> ResidentEngine:
    """Returns the engine of a step, or of a head and its tail, on PyTorch's current GPU."""
    device = TorchDevice()
    return resident(parts, device, backend=f"torch on {device.name}")


def resident(parts: Sequence[tuple[nn.Module, Contract]], device: TorchDevice, *, backend: str) -> ResidentEngine:
    """Returns the engine of modules that are moved to `device`."""
    plans = [TorchPlan(device.moved(module), contract, device) for module, contract in parts]
    return ResidentEngine(whole(parts[0][1]), plans, device, backend=backend)

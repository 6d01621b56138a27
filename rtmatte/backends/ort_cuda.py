"""ONNX Runtime on an NVIDIA GPU: graphs as plans, run on our own stream between states that stay on the card.

With CUDA it captures CUDA graphs by itself, one for each set of addresses; where a graph cannot be captured it runs
without. With NVIDIA's provider plugin, TensorRT for RTX runs below it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rtmatte.contract import read_contract
from rtmatte.cuda import CudaDevice, Device, find_gpu
from rtmatte.errors import BackendError, BackendMissing, EngineError, first_line
from rtmatte.graph import check_operators
from rtmatte.plan.api import PlanTensor
from rtmatte.plan.build import graphs_of
from rtmatte.resident import ResidentEngine, whole

try:
    import onnxruntime
except ImportError as error:
    raise BackendMissing(f"ONNX Runtime is not installed ({error}); pip install 'rtmatte[gpu]'") from error

PROVIDER = "CUDAExecutionProvider"
PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"

OpenSession = Callable[[Path, int], Any]  # of a file, for a stream
_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


class OrtPlan:
    """A session behind the Plan protocol. What it is bound to is made ready once for each set of addresses."""

    def __init__(self, session: Any) -> None:
        self.tensors: Mapping[str, PlanTensor] = {
            node.name: PlanTensor(node.name, tuple(node.shape), _DTYPES.get(node.type, node.type), taken)
            for nodes, taken in ((session.get_inputs(), True), (session.get_outputs(), False))
            for node in nodes
        }
        self._session = session
        self._addresses: dict[str, int] = {}
        self._runs: dict[tuple[int, ...], tuple[Any, Any]] = {}

    def bind(self, name: str, address: int) -> None:
        """Makes the graph read or write the tensor `name` at `address` from the next run on."""
        self._addresses[name] = address

    def enqueue(self, stream: int) -> None:
        """Puts one run on the stream that the session was opened for; EngineError when it cannot."""
        addresses = tuple(self._addresses[name] for name in self.tensors)
        run = self._runs.get(addresses)
        if run is None:
            run = self._runs[addresses] = (self._binding(), _run_options(len(self._runs) + 1))
        try:
            self._session.run_with_iobinding(*run)
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise EngineError(f"ONNX Runtime cannot run the graph ({first_line(error)})") from error

    def capturable(self, stream: int) -> bool:
        """Never by others: ONNX Runtime allocates while it runs, and captures by itself."""
        return False

    def close(self) -> None:
        """Frees the session."""
        self._runs.clear()
        self._session = None

    def _binding(self) -> Any:
        binding = self._session.io_binding()
        for name, tensor in self.tensors.items():
            bind = binding.bind_input if tensor.taken else binding.bind_output
            bind(name, "cuda", 0, np.dtype(tensor.dtype).type, tensor.shape, self._addresses[name])
        return binding


def open_ort_cuda(path: Path) -> ResidentEngine:
    """Returns the engine of an ONNX file; of a head, with the tail whose name differs in that word alone.

    BackendMissing without ONNX Runtime for GPUs or without a GPU, BackendError when the GPU does not take the graph,
    ContractError or ModelError for a file that cannot be used.
    """
    found = onnxruntime.get_available_providers()
    if PROVIDER not in found:
        raise BackendMissing(
            f"expected ONNX Runtime with {PROVIDER}, found only {', '.join(found)}; "
            "for a GPU: pip uninstall onnxruntime, pip install 'rtmatte[gpu]'"
        )
    return _on_gpu(path, with_cuda, "cuda")


def open_ort_rtx(path: Path) -> ResidentEngine:
    """Returns the engine of an ONNX file, as `open_ort_cuda` does, on TensorRT for RTX by its provider plugin.

    BackendMissing without the plugin, an ONNX Runtime that takes plugins, or a GPU.
    """
    try:
        plugin = importlib.import_module(PLUGIN)
    except (ImportError, OSError) as error:
        raise BackendMissing(
            f"{PLUGIN} does not load ({error}); pip install onnxruntime-ep-nv-tensorrt-rtx-cu13, "
            "beside onnxruntime, not onnxruntime-gpu"
        ) from error
    if not hasattr(onnxruntime, "register_execution_provider_library"):
        raise BackendMissing(f"expected ONNX Runtime 1.24, found {onnxruntime.__version__}; pip install -U onnxruntime")
    return _on_gpu(path, with_plugin(plugin), "TensorRT for RTX")


def _on_gpu(path: Path, open_session: OpenSession, name: str) -> ResidentEngine:
    gpu, graphs = find_gpu(), graphs_of(path)
    device = CudaDevice()
    try:
        return resident(graphs, device, open_session, backend=f"onnxruntime {name} on {gpu.name}")
    except Exception:
        device.close()
        raise


def resident(graphs: tuple[Path, ...], device: Device, open_session: OpenSession, *, backend: str) -> ResidentEngine:
    """Returns the engine of graphs that run on the stream of `device`."""
    for graph in graphs:
        check_operators(graph)
    plans = [OrtPlan(open_session(graph, device.stream)) for graph in graphs]
    return ResidentEngine(whole(read_contract(graphs[0])), plans, device, backend=backend)


def with_cuda(path: Path, stream: int) -> Any:
    """Returns a session that puts its work on `stream`, with CUDA graphs where the graph runs on the GPU whole."""
    error: Exception | None = None
    for captured in ("1", "0"):
        settings = {"device_id": "0", "user_compute_stream": str(stream), "enable_cuda_graph": captured}
        try:
            session = onnxruntime.InferenceSession(str(path), _options(), providers=[(PROVIDER, settings)])
        except Exception as refused:
            error = refused
            continue
        if session.get_providers()[0] != PROVIDER:  # it falls back to the CPU without an error
            raise BackendError("ONNX Runtime found no usable CUDA device; check the driver with nvidia-smi")
        session.disable_fallback()
        return session
    assert error is not None
    raise BackendError(f"ONNX Runtime cannot open {path} on cuda ({first_line(error)})") from error


def with_plugin(plugin: Any) -> OpenSession:
    """Returns what opens sessions on the devices of a provider plugin.

    Without CUDA graphs: the plugin keeps one a session, and we swap two sets of addresses.
    """
    name = plugin.get_ep_name()

    def open_session(path: Path, stream: int) -> Any:
        settings = {"has_user_compute_stream": "1", "user_compute_stream": str(stream), "enable_cuda_graph": "0"}
        try:
            if not _devices_of(name):
                onnxruntime.register_execution_provider_library(name, plugin.get_library_path())
            devices = _devices_of(name)
            if not devices:
                raise BackendError(f"{name} finds no GPU that it can use; see nvidia-smi, or take --device cuda")
            options = _options()
            options.add_provider_for_devices(devices[:1], settings)
            return onnxruntime.InferenceSession(str(path), options)
        except BackendError:
            raise
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise BackendError(f"ONNX Runtime cannot open {path} with {name} ({first_line(error)})") from error

    return open_session


def _devices_of(name: str) -> list[Any]:
    return [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised as well, and one report is enough
    return options


def _run_options(graph: int) -> Any:
    """Returns what a run of the captured graph of that number is told: not to wait for the stream, as we do."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph))
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options

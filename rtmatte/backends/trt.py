"""TensorRT plans, of `tensorrt` or `tensorrt_rtx`: a `step`, or a `head` and its `tail`, found, checked and loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rtmatte.cuda import CudaDevice, Gpu, find_gpu
from rtmatte.errors import BackendError, PlanMissing
from rtmatte.plan.api import Api, Runtime, check_installed, open_api
from rtmatte.plan.build import graphs_of
from rtmatte.plan.cache import PlanCache
from rtmatte.plan.kernels import kernels_path
from rtmatte.plan.sidecar import SUFFIX, Sidecar, read_plan
from rtmatte.resident import ResidentEngine, whole


def open_trt(path: Path, runtime: Runtime) -> ResidentEngine:
    """Returns the engine of an ONNX file or a plan; of a head, with the tail whose name differs in that word alone.

    A plan of an ONNX file comes from the cache: PlanMissing where it is not there yet. BackendMissing without a library
    or a GPU, PlanError for a plan that may not be loaded, BackendError when the GPU does not take it.
    """
    check_installed(runtime)
    gpu, api = find_gpu(), open_api(runtime)
    if api.targets and gpu.target not in api.targets:
        raise BackendError(f"{api} runs on {', '.join(api.targets)}, this is {gpu.name} ({gpu.target}); use TensorRT")
    graphs = graphs_of(path)
    found = [_plan_of(file, api, gpu, graphs) for file in graphs]
    device = CudaDevice()
    try:
        plans = [api.load(each.content, kernels=kernels_path(each.plan)) for each in found]
        contract = whole(found[0].sidecar.contract)
        return ResidentEngine(contract, plans, device, backend=f"{api} on {gpu.name}")
    except Exception:
        device.close()
        raise


@dataclass(frozen=True, slots=True)
class _Found:
    """A plan that may be loaded: its file, its sidecar and its bytes."""

    plan: Path
    sidecar: Sidecar
    content: bytes


def _plan_of(path: Path, api: Api, gpu: Gpu, graphs: tuple[Path, ...]) -> _Found:
    if path.suffix == SUFFIX:
        return _Found(path, *read_plan(path, runtime=api.runtime, version=api.version, gpu=gpu))
    cache = PlanCache()
    found = cache.find(path, api, gpu)
    if found is None:
        raise PlanMissing(
            f"no plan of {path.name} for {gpu.name} yet; rtmatte build {path} --runtime {api.runtime}",
            lambda: [cache.obtain(graph, api, gpu) for graph in graphs],
            quick=bool(api.targets),
        )
    return _Found(cache.path_of(path, api, gpu), *found)

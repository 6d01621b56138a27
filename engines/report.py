"""What a plan is made of, as lines for people and as JSON for records; and what no graph for a GPU may hold."""

from __future__ import annotations

from pathlib import Path

from rtmatte.plan.sidecar import Sidecar

# Layers that wait for the host or have shapes of their own: they end a captured graph, and stall the stream.
HOST_BOUND = frozenset({"NON_ZERO", "SHAPE", "CONDITION", "LOOP_OUTPUT", "RECURRENCE", "ITERATOR", "TRIP_LIMIT"})
FOREIGN = frozenset({"PLUGIN", "PLUGIN_V2", "PLUGIN_V3"})


def refused_layers(sidecar: Sidecar) -> tuple[str, ...]:
    """Returns the kinds of layers in the plan's network that none of our graphs may have."""
    return tuple(sorted(set(sidecar.layers) & (HOST_BOUND | FOREIGN)))


def lines(plan: Path, sidecar: Sidecar) -> list[str]:
    """Returns the report on a plan: what it is, what it runs on, layers, precisions, memory and size."""
    contract = sidecar.contract
    width, height = contract.size
    megabyte = 1e6
    tested = "built, never run" if sidecar.self_test is None else f"self-test off by {sidecar.self_test:.1e} at most"
    return [
        f"{plan.name}: {sidecar.plan_bytes / megabyte:.1f} MB, built in {sidecar.seconds:.1f} s, {tested}",
        f"  model       {contract.model} {contract.variant} {contract.role}, {width}x{height}, batch {contract.batch}",
        f"  runs on     {sidecar.gpu or ', '.join(sidecar.targets)}, {sidecar.runtime} {sidecar.runtime_version}",
        f"  state       {contract.state_bytes / megabyte:.1f} MB, held twice",
        f"  activations {sidecar.activation_bytes / megabyte:.1f} MB, weights {sidecar.weight_bytes / megabyte:.1f} MB",
        f"  layers      {sum(sidecar.layers.values())}: {_counts(sidecar.layers)}",
        f"  precisions  {_counts(sidecar.precisions)}",
        f"  from        ONNX sha256 {sidecar.onnx_sha256}",
    ]


def _counts(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {name.lower()}" for name, count in ordered)

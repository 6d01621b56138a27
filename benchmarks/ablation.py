"""Switches parts of lite off and measures what each was worth: on plain clips, and when the person comes back.

python -m benchmarks.ablation runs/lite/averaged.pt --data clips.npz --json ablation.json
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from benchmarks import report
from benchmarks.clips import Clip, find_clips
from benchmarks.network import Network, Opened
from benchmarks.quality.evaluate import evaluate
from benchmarks.recovery import INTERRUPTIONS, recover
from rtmatte.backends.eager import EagerEngine
from rtmatte.engine import sha256_of
from rtmatte.imaging import Size
from rtmatte.network import lite_step
from rtmatte.network.lite import Bank, Last, Lite, Reader, ReadOut
from rtmatte.network.lite_step import LiteStep, contract_of

Read = Callable[[Reader, Tensor, Bank, Last], ReadOut]


class _OtherReader(nn.Module):
    """The network's reader with another way to read."""

    def __init__(self, reader: Reader, read: Read) -> None:
        super().__init__()
        self.reader, self.read = reader, read

    def forward(self, key: Tensor, bank: Bank, last: Last) -> ReadOut:
        return self.read(self.reader, key, bank, last)


def _bank_mean(reader: Reader, key: Tensor, bank: Bank, last: Last) -> ReadOut:
    """Every cell reads the mean of all stored cells: the bank still says how much person there was, not where."""
    filled_BTPV = bank.value * bank.valid[:, :, None, None]
    cells = bank.valid.sum(1).clamp(min=1)[:, None, None] * bank.value.shape[2]
    mean_BPV = (filled_BTPV.sum((1, 2))[:, None] / cells).expand(-1, bank.value.shape[2], -1)
    everywhere = Bank(bank.key, mean_BPV[:, None].expand_as(bank.value), bank.valid)
    return reader(key, everywhere, last)  # type: ignore[no-any-return]


def _last_only(_: Reader, key: Tensor, bank: Bank, last: Last) -> ReadOut:
    return ReadOut(last.value, last.value, torch.zeros_like(key[:, :1]))


def _bank_only(reader: Reader, key: Tensor, bank: Bank, last: Last) -> ReadOut:
    memory = reader.attend(key, bank)
    return ReadOut(memory, memory, torch.zeros_like(key[:, :1]))


class _Blind(nn.Module):
    """The decoder without one of the things it remembers of the last frame."""

    def __init__(self, decoder: nn.Module, forgotten: tuple[str, ...]) -> None:
        super().__init__()
        self.decoder, self.forgotten = decoder, forgotten

    def forward(self, features: Any, memory: Tensor, fused: Tensor, last: Last) -> Any:
        lost = {name: torch.zeros_like(getattr(last, name)) for name in self.forgotten}
        return self.decoder(features, memory, fused, last._replace(**lost))


def variants(net: Lite) -> dict[str, Lite]:
    """Returns the network as it is and with one part switched off, by name."""
    made = {"as trained": net}
    for name, read in (
        ("bank replaced by its mean", _bank_mean),
        ("U = 0: bank never read", _last_only),
        ("U = 1: bank only", _bank_only),
    ):
        made[name] = deepcopy(net)
        made[name].reader = _OtherReader(net.reader, read)  # type: ignore[assignment]
    for name, forgotten in (("no last alpha", ("alpha",)), ("no recurrent memory", ("memory16", "memory8"))):
        made[name] = deepcopy(net)
        made[name].decoder = _Blind(net.decoder, forgotten)  # type: ignore[assignment]
    return made


def reading_the_bank_only(net: Lite) -> Lite:
    """Returns the network with U = 1: nothing of the last frame's value is read."""
    other = deepcopy(net)
    other.reader = _OtherReader(net.reader, _bank_only)  # type: ignore[assignment]
    return other


def network_of(net: Lite, sha256: str) -> Network:
    """Returns the network behind a session, run by PyTorch at the size of the frames."""

    def open_for(size: Size) -> Opened:
        width, height = size
        step = LiteStep(net, width=width, height=height)
        return Opened(EagerEngine(step, contract_of(net, width=width, height=height)), sha256)

    return Network("lite", open_for)


def score(net: Lite, clips: list[Clip], sha256: str) -> dict[str, float]:
    """Returns the mean MAD x 1e3 over plain clips, and of the fifth frame after each kind of interruption."""
    network = network_of(net, sha256)
    rows: dict[str, list[float]] = {"plain": []}
    for clip in clips:
        rows["plain"].append(float(np.mean(evaluate(network, clip, rounds=1).per_frame["mad"])))
        for interruption in INTERRUPTIONS:
            judged = recover(network, clip, interruption).judged
            rows.setdefault(f"5th after {interruption.name}", []).append(judged)
    return {name: float(np.mean(values)) for name, values in rows.items()}


def main(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of lite.")],
    data: Annotated[Path, typer.Option(help="Clips with known alpha.")],
    only: Annotated[str, typer.Option(help="Names of the clips to take, with * and ?.")] = "*",
    json: Annotated[Path | None, typer.Option(help="Report to write.")] = None,
) -> None:
    """Measure what each part of the network is worth."""
    clips = find_clips(data, only)
    sha256 = sha256_of(checkpoint)
    table = Table("variant", "plain", *(f"5th after {one.name}" for one in INTERRUPTIONS), title="MAD x 1e3")
    scores = {}
    for name, net in track(variants(lite_step.load(checkpoint)).items(), "variants"):
        scores[name] = report.rounded(score(net.eval(), clips, sha256), 2)
        table.add_row(name, *(f"{value:.1f}" for value in scores[name].values()))
    Console().print(table)
    if json:
        body = {"sha256": sha256, "clips": [clip.name for clip in clips], "mad": scores}
        report.write_json(json, "benchmarks.ablation", body)


if __name__ == "__main__":
    report.run(main)

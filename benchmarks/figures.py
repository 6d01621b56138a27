"""Draws the tables and pictures of the README and of the model card, from committed reports only.

    python -m benchmarks.figures                 writes them anew
    python -m benchmarks.figures --check         says whether a document and its reports still agree, and writes nothing

A document asks for a table with a pair of comments, and the text between them is ours:
`<!-- figures: quality-val.json -->` and `<!-- end of figures -->`. The name is of a report in benchmarks/results, as a
benchmark wrote it with --json. Pictures of quality reports are written beside them under the same name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import numpy as np
import typer
from matplotlib import pyplot as plt

from benchmarks import report
from rtmatte.errors import InputError

matplotlib.use("Agg")

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "rtmatte" / "models" / "README.md",
    ROOT / "training" / "strategies.md",
    ROOT / "docs" / "complaints.md",
)
LISTED_CLIPS = 12  # more are told in short
SHOWN = ("mad", "mse", "grad", "dtssd", "core", "conn")
TITLES = {"mad": "MAD", "mse": "MSE", "grad": "Grad", "dtssd": "dtSSD", "core": "core", "conn": "Conn"}
PERCENTILES = {"p50": "p50 ms", "p95": "p95 ms", "p99": "p99 ms"}

_BLOCK = re.compile(r"(<!-- figures: (?P<name>[\w.-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)

Report = Mapping[str, Any]
Rows = list[Sequence[str]]


def redrawn(text: str, results: Path) -> str:
    """Returns a document with every table it asks for made anew from the reports in `results`."""

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}{table_of(read_report(results / match['name']))}{match[3]}"

    return _BLOCK.sub(block, text)


def table_of(found: Report) -> str:
    """Returns the report as a Markdown table, with what it was measured on and the command that makes it again."""
    command = str(found["command"])
    module = command.split()[2]
    if module not in TABLES:
        raise InputError(f"expected a report of {', '.join(TABLES)}, found one of {module}")
    head, *rows = TABLES[module](found)
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]
    machine = found["machine"]
    made = f"`{command}`, on {machine['processor']}, {machine['cores']} cores, Python {machine['python']}."
    remark = [found["note"]] if "note" in found else []  # by hand, where a report is not as its command wrote it
    return "\n".join([*lines, "", made, *remark, ""])


def read_report(path: Path) -> Report:
    """Returns a report that a benchmark wrote; InputError when there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"expected a benchmark's report at {path}, found none: {error}; write it with --json"
        ) from error
    if "command" not in found or "machine" not in found:
        raise InputError(f"expected a benchmark's report at {path}, found other JSON; write it with --json")
    return found


def draw_quality(found: Report, path: Path) -> None:
    """Writes a picture of a quality report: a group of bars for each metric, a bar for each method."""
    methods = found["methods"]
    metrics = [name for name in SHOWN if name in next(iter(methods.values()))["mean"]]
    figure, axes = plt.subplots(1, len(metrics), figsize=(2.2 * len(metrics), 3), layout="constrained")
    for axis, metric in zip(np.atleast_1d(axes), metrics, strict=True):
        values = [scored["mean"][metric] for scored in methods.values()]
        bars = axis.bar(range(len(values)), values, color=[f"C{n}" for n in range(len(values))])
        axis.bar_label(bars, fmt="%.2g", fontsize=7)
        axis.set(title=TITLES[metric], xticks=[])
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(bars, methods, loc="outside lower center", ncols=len(methods), fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _grid(corner: str, titles: Mapping[str, str], of: Mapping[str, Mapping[str, float]], form: str) -> Rows:
    """Returns the titles, then a row for each name in `of`: its figure under every title, all in one form."""
    return [(corner, *titles.values()), *((name, *(f"{one[c]:{form}}" for c in titles)) for name, one in of.items())]


def _quality(found: Report) -> Rows:
    methods = found["methods"]
    metrics = [name for name in SHOWN if name in next(iter(methods.values()))["mean"]]
    timed = all(scored.get("step_ms") for scored in methods.values())
    rows: Rows = [("method", *(TITLES[name] for name in metrics), *(["ms"] if timed else []))]
    for name, scored in methods.items():
        cells = [f"{scored['mean'][metric]:.2f}" for metric in metrics]
        rows.append((name, *cells, *([f"{scored['step_ms']['p50']:.1f}"] if timed else [])))
    published = found.get("published", {"methods": {}})
    for name, means in published["methods"].items():
        cells = [f"{means[metric]:.2f}" if metric in means else "" for metric in metrics]
        rows.append((f"{name}, published", *cells, *([""] if timed else [])))
    return rows


def _latency(found: Report) -> Rows:
    head = ("model", "size", "backend", "threads", *PERCENTILES.values())
    times = [f"{found['step_ms'][name]:.1f}" for name in PERCENTILES]
    return [head, (found["model"], found["size"], found["backend"], str(found["threads"]), *times)]


def _recovery(found: Report) -> Rows:
    shares = found["recovered_share"]
    return [("interruption", "recovered"), *((name, f"{share:.0%}") for name, share in shares.items())]


def _drift(found: Report) -> Rows:
    titles = {
        "first": "core, first second",
        "same": "same pictures as the last, first time",
        "last": "core, last second",
    }
    clips = found["core"]
    shown = {name: title for name, title in titles.items() if all(name in one for one in clips.values())}
    return _grid("clip", shown, clips, ".2f")


def _person(found: Report) -> Rows:
    overlaps: Mapping[str, float] = found["iou"]
    rows: Rows = [("clip", "IoU at frame 10")]
    if len(overlaps) <= LISTED_CLIPS:
        rows += [(clip, f"{value:.3f}") for clip, value in overlaps.items()]
    else:
        low, middle = np.percentile(list(overlaps.values()), (5, 50))
        rows += [(f"worst twentieth of {len(overlaps)}, at most", f"{low:.3f}"), ("middle", f"{middle:.3f}")]
    return [*rows, ("mean", f"{found['mean']:.3f}")]


def _ablation(found: Report) -> Rows:
    scores = found["mad"]
    return _grid("variant", {column: column for column in next(iter(scores.values()))}, scores, ".1f")


def _identity(found: Report) -> Rows:
    rows: Rows = [("question", "case", "answer")]
    for kind, shares in found["returns"].items():
        right = f"beside {shares['with_others']} others the right person in {shares['right_share']:.1%}"
        answer = f"found in {shares['found_share']:.1%} of {shares['clips']}, {right}"
        rows.append(("gone for 30 frames, back within 10", kind, answer))
    kept = found["swaps"]
    rows.append(("two people alike", f"{kept['pairs']} clips", f"never swapped in {kept['kept_share']:.1%}"))
    for name, figures in found["masks"].items():
        core = f"core {figures['core']:.2f}, {figures['ratio_of_means']:.2f}x"
        rows.append((f"first mask, of {found['mask_clips']} clips", name, core))
    return rows


def _bank(found: Report) -> Rows:
    rows: Rows = [(f"30 frames without the person, {found['clips']} clips", "not found", "error")]
    for name, one in found["variants"].items():
        rows.append((name, f"{one['missed_share']:.1%}", f"{one['error']:.3f}"))
    return rows


def _strategies(found: Report) -> Rows:
    means = {name: one["mean"] for name, one in found["strategies"].items()}
    return _grid("strategy", {metric: TITLES[metric] for metric in next(iter(means.values()))}, means, ".2f")


def _webrtc(found: Report) -> Rows:
    busy = f", beside {found['burners']} busy loops" if found["burners"] else ""
    head = f"{found['size']} at {found['fps']} a second{busy}"
    rows: Rows = [(head, "back after p50 ms", "p95 ms", "p99 ms", "older by the end ms", "encoding, CPU ms")]
    for name in ("plain aiortc", "rtmatte"):
        one = found[name]
        times = (*(one["latency_ms"][part] for part in PERCENTILES), one["growth_ms"])
        rows.append((name, *(f"{value:,.0f}" for value in times), f"{one['encode_cpu_ms']:.1f}"))
    return rows


def _compositing(found: Report) -> Rows:
    return _grid("part", PERCENTILES, {name: one["wall_ms"] for name, one in found["parts"].items()}, ".1f")


def _end_to_end(found: Report) -> Rows:
    return _grid(f"{found['video']}, {found['size']}: {found['fps']} frames/s", PERCENTILES, found["stages_ms"], ".1f")


def _loop(found: Report) -> Rows:
    rows: Rows = [(f"age at the sink, {found['size']}", *PERCENTILES.values(), "sent/s")]
    for name, run in found["runs"].items():
        rows.append((name, *(f"{run['age_ms'][part]:.0f}" for part in PERCENTILES), str(run["fps_sent"])))
    return rows


def _thin(found: Report) -> Rows:
    rows: Rows = [("method", "parts", "recall", "gone", "longest gap, frames")]
    for method, widths in found["methods"].items():
        for width, one in widths.items():
            cells = (f"{one['recall']:.1%}", f"{one['lost_share']:.1%}", str(one["longest_gap"])) if one else ("-",) * 3
            rows.append((method, f"{one.get('parts', 0)} {width}", *cells))
    return rows


def _streams(found: Report) -> Rows:
    rows: Rows = [(f"sessions of one engine, {found['size']}, {found['threads']} thread", "CPU ms a frame", "to one's")]
    rows += [(count, f"{one['cpu_ms']:.1f}", f"{one['to_one']:.2f}") for count, one in found["sessions"].items()]
    memory = (f"{what}: {size:.0f} MB" for what, size in found["memory_mb"].items())
    return [*rows, ("; ".join(memory), "", "")]


def _picture(found: Report) -> Rows:
    colours, blur = found["colour_error_in_band_levels"], found["blur_error_outside_band_levels"]
    rows: Rows = [(f"{found['scenes']} scenes at 1280x720", "plainly", "as it is drawn")]
    for matte, one in colours.items():
        rows.append((f"colour error at the edge, {matte}", f"{one['as they are']:.1f}", f"{one['decontaminated']:.1f}"))
    for metric in ("mad", "grad"):
        cells = (f"{found['upsampling'][way][metric]:.2f}" for way in ("linear", "guided"))
        rows.append((f"{TITLES[metric]} of an alpha made larger from 512x288", *cells))
    rows += [(f"error of the blurred room, {of}", "", f"{blur[of]:.2f}") for of in ("mean", "p99")]
    return rows


def _backends(found: Report) -> Rows:
    rows: Rows = [(f"{found['model']}, {found['size']}, one thread", "CPU ms, p50", "times as fast as the first")]
    for name, row in found["backends"].items():
        rows.append((name, f"{row['cpu_ms']['p50']:.0f}", f"{row['times_as_fast']['p50']:.2f}"))
    return rows


TABLES: Mapping[str, Callable[[Report], Rows]] = {
    "benchmarks.quality": _quality,
    "benchmarks.latency": _latency,
    "benchmarks.recovery": _recovery,
    "benchmarks.drift": _drift,
    "benchmarks.identity": _identity,
    "benchmarks.identity.bank": _bank,
    "benchmarks.strategies": _strategies,
    "benchmarks.webrtc": _webrtc,
    "benchmarks.person": _person,
    "benchmarks.ablation": _ablation,
    "benchmarks.compositing": _compositing,
    "benchmarks.end_to_end": _end_to_end,
    "benchmarks.loop": _loop,
    "benchmarks.backends": _backends,
    "benchmarks.thin": _thin,
    "benchmarks.streams": _streams,
    "benchmarks.picture": _picture,
}


def main(
    results: Annotated[Path, typer.Option(help="Folder of committed reports.")] = RESULTS,
    document: Annotated[list[Path], typer.Option(help="A document to draw into; again for more.")] = list(DOCUMENTS),  # noqa: B006
    check: Annotated[bool, typer.Option("--check", help="Only compare.")] = False,
) -> None:
    """Brings documents and reports together."""
    for path in document:
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        new = redrawn(text, results)
        if new != text and check:
            raise InputError(f"{path.name} does not show what its reports say; run python -m benchmarks.figures")
        if new != text:
            path.write_text(new, encoding="utf-8")
            typer.echo(f"drew {path.name}")
    for path in () if check else sorted(results.glob("*.json")):
        found = read_report(path)
        if str(found["command"]).split()[2] == "benchmarks.quality":
            draw_quality(found, path.with_suffix(".png"))
            typer.echo(f"drew {path.with_suffix('.png').name}")


if __name__ == "__main__":
    report.run(main)

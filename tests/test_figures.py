"""Tables and pictures of documents, drawn from reports written here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.figures import DOCUMENTS, RESULTS, draw_quality, main, read_report, redrawn, table_of
from rtmatte.errors import InputError

MACHINE = {"processor": "Abacus 3000", "cores": 2, "python": "3.11.9"}
DOCUMENT = "# Title\n\n<!-- figures: q.json -->\nold\n<!-- end of figures -->\n\nafter\n"


def written(folder: Path, name: str, module: str, body: dict[str, Any]) -> Path:
    path = folder / name
    path.write_text(json.dumps({"command": f"python -m {module} --data val", "machine": MACHINE, **body}))
    return path


def quality(folder: Path) -> Path:
    means = {"ours": {"mad": 2.5, "core": 0.4}, "held mask": {"mad": 40.25, "core": 30.0}}
    methods = {name: {"mean": mean, "step_ms": {"p50": 12.34}} for name, mean in means.items()}
    return written(folder, "q.json", "benchmarks.quality", {"methods": methods})


def test_a_document_gets_the_table_between_its_comments_and_nothing_else_changes(tmp_path: Path) -> None:
    quality(tmp_path)

    text = redrawn(DOCUMENT, tmp_path)

    assert text.startswith(
        "# Title\n\n<!-- figures: q.json -->\n| method | MAD | core | ms |\n| --- | ---: | ---: | ---: |\n"
    )
    assert "| ours | 2.50 | 0.40 | 12.3 |\n| held mask | 40.25 | 30.00 | 12.3 |\n" in text
    assert "`python -m benchmarks.quality --data val`, on Abacus 3000, 2 cores" in text
    assert text.endswith("<!-- end of figures -->\n\nafter\n")
    assert "old" not in text
    assert redrawn(text, tmp_path) == text


def test_a_report_that_is_not_as_its_command_wrote_it_says_so_below_its_table(tmp_path: Path) -> None:
    found = dict(read_report(quality(tmp_path)))
    found["note"] = "Copied by hand from a log."

    assert table_of(found).endswith("Python 3.11.9.\nCopied by hand from a log.\n")


def test_published_figures_are_told_apart(tmp_path: Path) -> None:
    found = dict(read_report(quality(tmp_path)))
    found["published"] = {"source": "a paper", "methods": {"RVM": {"mad": 6.08}}}

    assert "| RVM, published | 6.08 |  |  |" in table_of(found)


@pytest.mark.parametrize(
    ("module", "body", "row"),
    [
        (
            "benchmarks.latency",
            {"model": "lite", "size": "512x288", "backend": "cpu", "threads": 2}
            | {"step_ms": {"p50": 10.04, "p95": 11, "p99": 12}},
            "| lite | 512x288 | cpu | 2 | 10.0 | 11.0 | 12.0 |",
        ),
        ("benchmarks.recovery", {"recovered_share": {"dark": 0.925}}, "| dark | 92% |"),
        (
            "benchmarks.thin",
            {
                "methods": {
                    "ours": {
                        "fingers": {},
                        "hands": {"recall": 0.875, "lost_share": 0.01, "longest_gap": 2, "parts": 40},
                    }
                }
            },
            "| ours | 0 fingers | - | - | - |\n| ours | 40 hands | 87.5% | 1.0% | 2 |",
        ),
        (
            "benchmarks.streams",
            {
                "size": "64x48",
                "threads": 1,
                "sessions": {"2": {"cpu_ms": 9.04, "to_one": 1.1}},
                "memory_mb": {"each further session": 4.9},
            },
            "| 2 | 9.0 | 1.10 |\n| each further session: 5 MB |  |  |",
        ),
        (
            "benchmarks.picture",
            {
                "scenes": 2,
                "colour_error_in_band_levels": {"true matte": {"as they are": 30.04, "decontaminated": 10.0}},
                "upsampling": {way: {"mad": value, "grad": value} for way, value in (("linear", 2), ("guided", 1))},
                "blur_error_outside_band_levels": {"mean": 0.25, "p99": 0.805},
            },
            "| error of the blurred room, mean |  | 0.25 |",
        ),
        ("benchmarks.ablation", {"mad": {"U = 0": {"plain": 5.0, "5th after away": 9.25}}}, "| U = 0 | 5.0 | 9.2 |"),
        (
            "benchmarks.end_to_end",
            {
                "video": "a.mp4",
                "size": "64x36",
                "fps": 31.5,
                "stages_ms": {"network": {"p50": 9, "p95": 10, "p99": 11}},
            },
            "| network | 9.0 | 10.0 | 11.0 |",
        ),
        (
            "benchmarks.loop",
            {"size": "64x36", "runs": {"paced": {"age_ms": {"p50": 20, "p95": 30, "p99": 40}, "fps_sent": 30.0}}},
            "| paced | 20 | 30 | 40 | 30.0 |",
        ),
        (
            "benchmarks.identity",
            {
                "returns": {"away": {"clips": 8, "found_share": 0.75, "with_others": 4, "right_share": 1.0}},
                "swaps": {"pairs": 2, "kept_share": 0.5},
                "mask_clips": 3,
                "masks": {"too large": {"core": 1.5, "ratio_of_means": 1.25}},
            },
            "| away | found in 75.0% of 8, beside 4 others the right person in 100.0% |",
        ),
        (
            "benchmarks.identity.bank",
            {"clips": 2, "variants": {"as trained": {"missed_share": 0.005, "error": 0.0312}}},
            "| as trained | 0.5% | 0.031 |",
        ),
        (
            "benchmarks.strategies",
            {"strategies": {"no-core": {"mean": {"mad": 70.9, "core": 54.0}}}},
            "| no-core | 70.90 | 54.00 |",
        ),
        (
            "benchmarks.webrtc",
            {"size": "64x36", "fps": 30, "burners": 8}
            | {
                name: {"latency_ms": {"p50": 12.4, "p95": 19, "p99": 25}, "growth_ms": 4099.5, "encode_cpu_ms": 4.62}
                for name in ("plain aiortc", "rtmatte")
            },
            "| rtmatte | 12 | 19 | 25 | 4,100 | 4.6 |",
        ),
        (
            "benchmarks.person",
            {"iou": {str(n): n / 20 for n in range(21)}, "mean": 0.5},
            "| worst twentieth of 21, at most | 0.050 |",
        ),
        ("benchmarks.drift", {"core": {"a": {"first": 0.5, "last": 0.6}}}, "| a | 0.50 | 0.60 |"),
        (
            "benchmarks.backends",
            {
                "model": "lite",
                "size": "64x48",
                "backends": {"onnxruntime int8": {"cpu_ms": {"p50": 35.4}, "times_as_fast": {"p50": 2.875}}},
            },
            "| onnxruntime int8 | 35 | 2.88 |",
        ),
        ("benchmarks.person", {"iou": {"a": 0.9}, "mean": 0.9}, "| mean | 0.900 |"),
    ],
)
def test_every_kind_of_report_has_its_table(tmp_path: Path, module: str, body: dict[str, Any], row: str) -> None:
    assert row in table_of(read_report(written(tmp_path, "r.json", module, body)))


def test_a_missing_report_and_one_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"report at .*q\.json"):
        redrawn(DOCUMENT, tmp_path)
    with pytest.raises(InputError, match=r"benchmarks\.quality"):
        table_of(read_report(written(tmp_path, "x.json", "benchmarks.unheard_of", {})))
    (tmp_path / "q.json").write_text("{}")
    with pytest.raises(InputError, match="other JSON"):
        redrawn(DOCUMENT, tmp_path)


def test_a_check_writes_nothing_and_tells_what_is_out_of_date(tmp_path: Path) -> None:
    quality(tmp_path)
    document = tmp_path / "README.md"
    document.write_text(DOCUMENT)

    with pytest.raises(InputError, match=r"README\.md does not show"):
        main(tmp_path, [document], check=True)
    assert document.read_text() == DOCUMENT
    assert not list(tmp_path.glob("*.png"))

    main(tmp_path, [document], check=False)
    main(tmp_path, [document], check=True)
    assert (tmp_path / "q.png").stat().st_size > 1000


def test_a_picture_is_the_same_every_time(tmp_path: Path) -> None:
    found = read_report(quality(tmp_path))

    for name in ("one.png", "two.png"):
        draw_quality(found, tmp_path / name)

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_report_of_a_benchmark_can_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["person", "--data", "val"])
    report.write_json(tmp_path / "p.json", "benchmarks.person", {"iou": {"a": 0.9}, "mean": 0.9})

    assert "| a | 0.900 |" in table_of(read_report(tmp_path / "p.json"))


def test_our_own_documents_show_what_the_committed_reports_say() -> None:
    for path in DOCUMENTS:
        if path.exists():
            text = path.read_text(encoding="utf-8")
            assert redrawn(text, RESULTS) == text

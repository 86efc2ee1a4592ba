"""How fast are exported models in onnxruntime, beside PyTorch?

    python benchmarks/export.py --out export.json

Models with random weights, of the sizes that ``train`` chooses by itself for long and for short
examples, and a larger one, are exported. The loop of ``run_onnx.py`` and ``predict_codes`` take
turns on the same random DNA, each with one thread; the fastest of ``--rounds`` counts. Times are
seconds of the processor, which other programs on the machine change less than those of a clock.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rmt_genomics.export import export_onnx
from rmt_genomics.export.onnx_runner import Model
from rmt_genomics.model import ClassifierConfig, RMTClassifier

SHARED: dict[str, Any] = {
    "classes": ("a", "b"), "task": "binary", "heads": 4, "num_memory_tokens": 8, "pooling": "mean",
    "segment_length": 128, "features": ("kmer:4",),
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "long examples": {"dim": 64, "depth": 1, "stem_width": 11, "stem_pool": 16},
    "short examples": {"dim": 128, "depth": 1, "stem_width": 19, "stem_pool": 4},
    "larger": {"dim": 256, "depth": 4, "stem_width": 11, "stem_pool": 8},
}
INPUTS = {"64 x 1 kb": (64, 1_000), "8 x 30 kb": (8, 30_000), "1 x 250 kb": (1, 250_000)}


def main() -> None:
    """Measure each model on each input, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="Write the figures here, as JSON.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print("| model | input | PyTorch, s | ONNX, s | PyTorch over ONNX | largest difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, sizes in MODELS.items():
        torch.manual_seed(0)
        model = RMTClassifier(ClassifierConfig(**SHARED, **sizes)).eval()
        with tempfile.TemporaryDirectory() as folder:
            export_onnx(model, folder)
            runner = Model(Path(folder), threads=1)
        for text, (count, length) in INPUTS.items():
            row = {
                "model": name,
                "input": text,
                **_measure(model, runner, count, length, options.rounds),
            }
            rows.append(row)
            print(
                f"| {name} | {text} | {row['torch']:.3f} | {row['onnx']:.3f} | "
                f"{row['torch'] / row['onnx']:.1f} | {row['difference']:.0e} |",
                flush=True,
            )
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n")


def _measure(
    model: RMTClassifier, runner: Model, count: int, length: int, rounds: int
) -> dict[str, float]:
    generator = np.random.default_rng(0)
    codes = [generator.integers(0, 4, length, dtype=np.uint8) for _ in range(count)]
    seconds: dict[str, list[float]] = {"torch": [], "onnx": []}
    for _ in range(rounds):
        expected = _timed(seconds["torch"], lambda: model.predict_codes(codes))
        found = _timed(
            seconds["onnx"], lambda: list(runner.outputs([("", each) for each in codes]))
        )
    difference = np.abs(np.stack([each["outputs"] for each in found]) - expected).max()
    return {**{name: min(each) for name, each in seconds.items()}, "difference": float(difference)}


def _timed(seconds: list[float], compute: Callable[[], Any]) -> Any:
    start = time.process_time()
    result = compute()
    seconds.append(time.process_time() - start)
    return result


if __name__ == "__main__":
    main()

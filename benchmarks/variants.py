"""What do effects of variants cost, with the reading of the reference shared and without?

    python benchmarks/variants.py --out variants.json

A model with random weights, segments of 512 bases. Of two modes, whole records (one of
``--record-bp``) and windows (of ``--window-bp``, with ``--per-window`` variants in each): processor
time per variant on one core, by ``variant_effects``, and one by one: the whole sequence with ALT is
predicted for each variant, and that with REF once per variant or once per window. Both must give
the same logits. At last the time of ``--number`` variants in windows, by that of ``--measured``.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rmt_genomics.dna import Interval
from rmt_genomics.dna.alphabet import Codes, decode
from rmt_genomics.interpretation import variant_effects
from rmt_genomics.interpretation.variants import Change
from rmt_genomics.interpretation.vcf import Reference, VcfLine
from rmt_genomics.model import ClassifierConfig, RMTClassifier

SETTINGS: dict[str, Any] = {
    "dim": 64, "depth": 1, "heads": 4, "segment_length": 64, "stem_pool": 8, "stem_width": 25,
    "num_memory_tokens": 8, "pooling": "mean",
}  # fmt: skip
Listed = list[tuple[str, int, str, str]]


def main() -> None:
    """Measure both modes, and print a table."""
    options = _options()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    features = {"features": tuple(options.features)} if options.features else {}
    model = RMTClassifier(
        ClassifierConfig(classes=("a", "b"), task="binary", **SETTINGS, **features)
    ).eval()
    random = np.random.default_rng(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for mode in options.modes:
            is_record = mode == "records"
            window = None if is_record else options.window_bp
            size = options.record_bp if is_record else options.measured // options.per_window
            length = size if is_record else size * options.window_bp
            codes = random.integers(0, 4, length).astype(np.uint8)
            number = options.per_record if is_record else options.measured
            fasta = Path(folder) / f"{mode}.fa"
            fasta.write_text(f">{mode}\n{decode(codes)}\n")
            listed = _variants(mode, codes, number, random)
            rows.append({"mode": mode, **_measure(model, listed, fasta, window, options)})
            if not is_record:
                seconds = rows[-1]["shared_s"] * options.number
                rows[-1][f"hours_for_{options.number}"] = round(seconds / 3600, 2)
    names = list(dict.fromkeys(name for row in rows for name in row))
    print(f"| {' | '.join(names)} |", "| --- " * len(names) + "|", sep="\n")
    for row in rows:
        print(f"| {' | '.join(str(row.get(name, '-')) for name in names)} |")
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--modes", nargs="*", choices=["records", "windows"], default=["records", "windows"])
    add("--record-bp", type=int, default=1_000_000)
    add("--per-record", type=int, default=64, help="variants in the record")
    add("--window-bp", type=int, default=100_000)
    add("--per-window", type=int, default=10, help="variants in a window")
    add("--measured", type=int, default=40, help="variants in windows that are measured")
    add("--alone", type=int, default=8, help="variants that are read one by one")
    add("--number", type=int, default=10_000, help="variants whose time is extrapolated")
    add("--features", nargs="*", default=[], help="of the whole sequence, such as kmer:6")
    add("--out", type=Path, help="results as JSON")
    return parser.parse_args()


def _variants(record: str, codes: Codes, number: int, random: np.random.Generator) -> Listed:
    """Return substitutions, and of each ten an insertion and a deletion of up to five bases."""
    letters = decode(codes)
    listed = []
    for index, start in enumerate(np.sort(random.choice(len(codes) - 10, number, replace=False))):
        ref = letters[start : start + (int(random.integers(2, 7)) if index % 10 == 8 else 1)]
        more = "ACGTA"[: random.integers(1, 6)] if index % 10 == 4 else ""
        alt = ref[0] if len(ref) > 1 else (ref if more else "ACGT"[("ACGT".index(ref) + 1) % 4])
        listed.append((record, int(start) + 1, ref, alt + more))
    return listed


def _measure(
    model: RMTClassifier, listed: Listed, fasta: Path, window: int | None, options: Any
) -> dict[str, Any]:
    effects: list[Any] = []
    shared = _seconds(lambda: effects.extend(variant_effects(model, listed, fasta, window=window)))
    chosen = np.linspace(0, len(listed) - 1, min(options.alone, len(listed))).astype(int)
    reference = Reference(fasta, window)
    found: list[np.ndarray] = []
    records = list(islice(_edited(reference, [listed[index] for index in chosen]), len(chosen)))
    alone = _seconds(lambda: found.extend(_logits(model, codes) for _, codes in records))
    once = _seconds(lambda: _logits(model, records[0][0]))
    difference = max(
        float(np.abs(effects[index].logits_alt - own).max())
        for index, own in zip(chosen, found, strict=True)
    )
    per_variant, per_alt = shared / len(listed), alone / len(chosen)
    windows = 1 if window is None else len(listed) / options.per_window
    return {
        "bp": len(records[0][0]),
        "variants": len(listed),
        "shared_s": round(per_variant, 3),
        "alone_s": round(per_alt + once, 3),
        "alone_reference_once_s": round(per_alt + once * windows / len(listed), 3),
        "faster": round((per_alt + once) / per_variant, 2),
        "faster_reference_once": round((per_alt + once * windows / len(listed)) / per_variant, 2),
        "largest_difference": f"{difference:.1e}",
    }


def _edited(reference: Reference, listed: Listed) -> Iterator[tuple[Codes, Codes]]:
    """Yield what is read around each variant, with REF and with ALT."""
    for chrom, pos, ref, alt in listed:
        window = reference.window_of(VcfLine([], chrom, pos, ref, (alt,)))
        assert isinstance(window, Interval)
        codes = reference.codes(window)
        yield codes, Change.of(pos - 1 - window.start, ref, alt).applied_to(codes)


def _logits(model: RMTClassifier, codes: Codes) -> np.ndarray:
    with torch.inference_mode():
        found: np.ndarray = model(torch.from_numpy(codes)[None], [len(codes)])[0].double().numpy()
    return found


def _seconds(run: Callable[[], object]) -> float:
    """Return the processor time: other processes do not count."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


if __name__ == "__main__":
    main()

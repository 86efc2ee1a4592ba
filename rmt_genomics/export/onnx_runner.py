"""Predict the labels of FASTA records: python run_onnx.py contigs.fasta.gz > predictions.tsv

Needs onnxruntime and NumPy only. segment.onnx reads a segment of each strand and hands on a memory,
head.onnx turns what was read into probabilities, model.json is what the loop needs.
"""

import argparse
import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from itertools import chain, compress
from pathlib import Path

import numpy as np

N, CODES = 4, np.full(256, 255, np.uint8)  # A 0, C 1, G 2, T 3, N 4; 255 is not DNA
for code, letters in enumerate(("A", "C", "G", "TU", "NRYSWKMBDHV")):
    CODES[list((letters + letters.lower()).encode())] = code
BATCH_RECORDS, BATCH_BP = 64, 1 << 18  # predicted together, or one longer record
Record = tuple[str, np.ndarray]


def read_fasta(path: str) -> Iterator[Record]:
    """Yield name and base codes of the records of a file, plain or gzip; - is stdin."""
    name, pieces, names = None, list[bytes](), set[str]()
    with open(0 if path == "-" else path, "rb") as raw:  # noqa: PTH123
        file = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw
        for line in chain(file, [b">"]):  # one more, which ends the last record
            if not line.startswith(b">"):
                pieces.append(line.translate(None, b" \t\r\n\v\f"))
                continue
            codes = CODES[np.frombuffer(b"".join(pieces), np.uint8)]
            if name is None and (len(codes) or line == b">"):
                sys.exit(f"Error: {path}: is not a FASTA file, which must start with '>'.")
            if name is not None:
                if not name or name in names or not len(codes) or codes.max() > N:
                    sys.exit(f"Error: {path}: record {name!r} needs a unique name and DNA letters.")
                names.add(name)
                yield name, codes
            name, pieces = line[1:].decode().partition(" ")[0].split("\t")[0].strip(), []


def batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Group consecutive records."""
    batch: list[Record] = []
    for record in records:
        total_bp = sum(len(codes) for _, codes in [*batch, record])
        if batch and (len(batch) == BATCH_RECORDS or total_bp > BATCH_BP):
            yield batch
            batch = []
        batch.append(record)
    yield batch


def tokenize(codes: np.ndarray, k: int, stride: int) -> np.ndarray:
    """Return the tokens of a strand: bases if k is 0, or k-mers and the bases after the last."""
    if not k:
        return codes
    kmers = np.lib.stride_tricks.sliding_window_view(np.append(codes, [N] * k), k)
    kmers = kmers[: max(0, len(codes) - k + 1) : stride]
    numbers = np.where((kmers == N).any(axis=1), 4**k + N, kmers @ 4 ** np.arange(k)[::-1])
    covered = (len(kmers) - 1) * stride + k if len(kmers) else 0
    return np.concatenate([numbers, codes[covered:] + np.int64(4**k)])


class Model:
    """The two programs, and the settings of the loop over segments."""

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.config = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.segment = onnxruntime.InferenceSession(folder / "segment.onnx", options)
        self.head = onnxruntime.InferenceSession(folder / "head.onnx", options)

    def read_segments(self, rows: list[np.ndarray]) -> np.ndarray:
        """Return the pooled read-outs of rows of tokens, the longest row first."""
        (left, right), size = self.config["halo"], self.config["segment_tokens"]
        memory = np.zeros((len(rows), *self.config["memory_shape"]), np.float32)
        pooled = np.zeros((len(rows), memory.shape[2] + 2), np.float32)
        for start in range(0, len(rows[0]), size):
            active = sum(len(row) > start for row in rows)  # the others have ended
            width = min(size, len(rows[0]) - start)
            shape = (active, left + width + -width % self.config["stem_pool"] + right)
            tokens, keep = np.zeros(shape, np.int64), np.zeros(shape, bool)
            first = max(0, start - left)
            for index, row in enumerate(rows[:active]):
                part = row[first : start + width + right]
                inside = slice(first - start + left, first - start + left + len(part))
                tokens[index, inside], keep[index, inside] = part, True
            feed = {"tokens": tokens, "keep": keep, "memory": memory[:active]}
            results = self.segment.run(None, {**feed, "pooled": pooled[:active]})
            memory[:active], pooled[:active] = results
        return pooled

    def outputs(self, batch: list[Record]) -> Iterator[dict[str, np.ndarray]]:
        """Yield what the head returns for each record."""
        k, stride = self.config["k"], self.config["stride"]
        pairs = [(codes, np.where(codes < N, 3 - codes, N)[::-1]) for _, codes in batch]
        rows = [tokenize(strand, k, stride) for pair in pairs for strand in pair]
        names = [each.name for each in self.head.get_outputs()]
        order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
        pooled = self.read_segments([rows[index] for index in order])[np.argsort(order)]
        for index, (_, codes) in enumerate(batch):
            feed = {"pooled": pooled[None, 2 * index : 2 * index + 2]}
            if self.config["head_reads_codes"]:
                feed["codes"] = np.full((1, max(33, -(-len(codes) // 3) * 3)), N, np.int64)
                feed["codes"][0, : len(codes)] = codes
            yield {name: out[0] for name, out in zip(names, self.head.run(None, feed), strict=True)}

    def row(self, record: Record, outputs: dict[str, np.ndarray], shown: np.ndarray) -> list[str]:
        """Return a row of the table; ``shown`` are the probabilities, or the value."""
        (name, codes), config = record, self.config
        is_unknown, longest = codes.min() == N, config["max_train_bp"]
        holds = [is_unknown, len(codes) < config["min_train_bp"], len(codes) > longest > 0]
        note = "; ".join(compress(config["notes"], [*holds, *outputs.get("notes", [])]))
        values = [f"{value:.6g}" for value in shown]
        if config["task"] != "regression":
            called = outputs["called"]
            score = f"{shown[called].min():.6g}" if called.any() else ""
            values = [";".join(compress(config["classes"], called)), score, *values]
        return [name, str(len(codes)), *(["NA"] * len(values) if is_unknown else values), note]


def main() -> None:
    """Read the command line, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fasta", help="plain or gzip; - is stdin")
    parser.add_argument("--calibrated", action="store_true", help="calibrated probabilities")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    arguments = parser.parse_args()
    model = Model(Path(__file__).parent, arguments.threads)
    chosen = "calibrated" if arguments.calibrated else "outputs"
    if chosen not in [each.name for each in model.head.get_outputs()]:
        sys.exit("Error: --calibrated: the model had no calibration. Leave it out.")
    print("\t".join(model.config["columns"]))
    try:
        for batch in batches(read_fasta(arguments.fasta)):
            for record, outputs in zip(batch, model.outputs(batch), strict=True):
                print("\t".join(model.row(record, outputs, outputs[chosen])))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        sys.exit(f"Error: {arguments.fasta}: {error}")


if __name__ == "__main__":
    main()

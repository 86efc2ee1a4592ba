"""Everything that is read and checked before the first training step."""

import platform
import shlex
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from rmt_genomics import __version__
from rmt_genomics.datasets import EncodedStore, LabelScheme, LabelSource, Split, split_examples
from rmt_genomics.datasets.label_kinds import warn_of_regression
from rmt_genomics.datasets.leakage import Audit, audit, warn_of
from rmt_genomics.datasets.names import in_file
from rmt_genomics.datasets.rows import as_cell
from rmt_genomics.errors import ConfigError
from rmt_genomics.training.config import ExperimentConfig

_PACKAGES = ("torch", "pytorch-lightning", "numpy", "scikit-learn", "biopython")


@dataclass(frozen=True, slots=True)
class Prepared:
    """The data of a run, checked."""

    store: EncodedStore
    split: Split
    scheme: LabelScheme
    audit: Audit

    def split_table(self) -> str:
        """Write how each example is used, as a labels file that ``read_labels`` reads.

        Coordinates are 0-based and half-open. The group column is there if there are groups.
        """
        parts = {name: getattr(self.split, name) for name in ("train", "validation", "test")}
        has_groups = any(each.group is not None for part in parts.values() for each in part)
        columns = ["record", "start", "end", "strand", "label", *["group"] * has_groups, "split"]
        lines = ["\t".join(columns)]
        for name, examples in parts.items():
            for each in examples:
                place = each.interval
                cells = [place.record, str(place.start), str(place.end), place.strand]
                groups = [each.group or ""] * has_groups
                row = [*cells, ";".join(each.labels), *groups, name]
                lines.append("\t".join(map(as_cell, row)))
        return "\n".join(lines) + "\n"


def prepare(
    fasta: Path,
    labels: LabelSource,
    config: ExperimentConfig,
    *,
    seed: int,
    strict: bool = False,
) -> Prepared:
    """Read the data, divide it, and warn if its parts leak into each other.

    Raises:
        DataError: At the first thing that breaks a rule; if ``strict``, a leak does.
    """
    labels.check()  # at once, not after encoding a long FASTA file
    store = EncodedStore.open(fasta, progress=sys.stderr.isatty())
    task = config.data.task
    examples = labels.read(store.records(), group_column=config.data.group, task=task)
    labels.check_classes(examples)
    with in_file(str(labels)):
        split = split_examples(
            examples,
            how=config.data.split,
            validation_fraction=config.data.validation_fraction,
            seed=seed,
            task=task,
        )
        scheme = LabelScheme.of(examples, task)
    if scheme.task == "regression" and config.training.class_weights == "none":
        raise ConfigError(
            "training.class_weights is 'none', but has no effect: the labels are numbers, which "
            "have no classes to be weighted. Leave it out."
        )
    warn_of_regression(str(labels), scheme.task, task)
    found = audit(store, split, scheme)
    warn_of(found, strict=strict)
    return Prepared(store, split, scheme, found)


def environment(prepared: Prepared, *, device: str, seed: int) -> str:
    """Describe what a run ran on, for those who want to repeat it."""
    gpu = torch.cuda.get_device_name() if device == "cuda" else "none"
    facts = {
        "command": shlex.join(sys.argv),
        "seed": str(seed),
        "fasta_sha256": prepared.store.sha256,
        "python": platform.python_version(),
        "rmt-genomics": __version__,
        **{name: version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": str(torch.get_num_threads()),
        "device": device,
        "gpu": gpu,
    }
    return "".join(f"{name}: {value}\n" for name, value in facts.items())

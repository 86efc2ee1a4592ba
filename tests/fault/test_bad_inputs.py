"""Bad input to every command: the files, the command, and the expected error message."""

import gzip
from pathlib import Path

import pytest

from tests.cli.toys import run
from tests.prediction.toys import saved_model
from tests.sequence_files import CSV, EMBL, FASTA, FASTQ, GENBANK

COLUMNS = b"record\tlabel\tsplit\tgroup\n"
HEADERS = GENBANK[: GENBANK.index(b"ORIGIN")], EMBL[: EMBL.index(b"SQ ")]
NUMBERS = [f"n{number}\t{number / 8}" for number in range(40)]

FILES = {  # all of them are written; a case names those it uses
    "good.fa": FASTA,
    "good.csv": CSV.replace(b"at,chr1", b"gc,chr1"),
    "many.fa": "".join(f">n{number}\nACGT\n" for number in range(42)).encode(),
    "good.tsv": b"record\tlabel\nchr1\tat\nchr2.3\tgc\n",
    "cut.gb": GENBANK[:-20],
    "no_letters.gb": HEADERS[0] + b"CONTIG      join(AB1:1..14)\n//\n",
    "cut_features.gb": HEADERS[0] + b"//\n",
    "no_letters.embl": HEADERS[1] + b"//\n",
    "page.gb": b"<!DOCTYPE html>\n<html>Error 404</html>\n",
    "twice.gb": GENBANK + GENBANK,
    "cut.embl": EMBL[:-30],
    "quality.fq": FASTQ[:-3],
    "twice.fq": FASTQ + FASTQ,
    "cut.fq.gz": gzip.compress(FASTQ)[:-9],
    "cut.fa.gz": gzip.compress(FASTA)[:-9],
    "twice.fa": FASTA + FASTA,
    "page.fa": b"<!DOCTYPE html>\n<html>Error 404</html>\n",
    "variants.vcf": b"##fileformat=VCFv4.2\n#CHROM\tPOS\n",
    "workbook.csv": b"PK\x03\x04\x14\x00\x06\x00\xff\xfe",
    "no_sequence.csv": b"seq,label\nACGT,1\n",
    "utf16.csv": "sequence,label\nACGT,1\n".encode("utf-16"),
    "ragged.csv": b"sequence,label\nACGT,1\nACGT\n",
    "protein.csv": b"sequence,label\nACGT,1\nMKLV,0\n",
    "header_only.csv": b"sequence,label\n",
    "twice.csv": b"name,sequence,label\na,ACGT,1\na,ACGG,1\n",
    "empty.fastq": b"",
    "empty.fa.gz": gzip.compress(b""),
    "mixed/a.fa": FASTA,
    "mixed/b.fq": FASTQ,
    "nothing/README.md": b"# About\n",
    "wrong_genome.bed": b"1\t0\t4\tat\nMT\t0\t4\tgc\n",
    "past_end.bed": b"chr1\t0\t4\tat\nchr1\t8\t15\tgc\n",
    "longer.bed": b"chr1\t0\t1000\tat\nchr2.3\t0\t1000\tgc\n",
    "backwards.bed": b"chr1\t9\t4\tat\nchr2.3\t0\t4\tgc\n",
    "nothing_inside.bed": b"chr1\t4\t4\tat\n",
    "negative.bed": b"chr1\t-1\t4\tat\n",
    "points.bed": b"chr1\t0.0\t4.0\tat\n",
    "strand.bed": b"chr1\t0\t4\tat\t0\tx\n",
    "twice.bed": b"chr1\t0\t4\tat\nchr1\t0\t4\tgc\n",
    "no_label.bed": b"chr1\t0\t4\nchr1\t8\t12\n",
    "genes.gff": b"chr1\t.\tgene\t1\t9\t.\t+\t.\tat\n",
    "one_based.bed": b"chr1\t1\t14\tat\nchr2.3\t1\t180\tgc\n",
    "mixed_kinds.tsv": b"record\tlabel\nchr1\t1\nchr2.3\tNA\n",
    "gaps.tsv": "\n".join(["record\tlabel", *NUMBERS, "n40\tNA", "n41\thigh\n"]).encode(),
    "commas.tsv": "\n".join(["record\tlabel", *NUMBERS, "n40\t1,5", "n41\t2,5\n"]).encode(),
    "empty_label.tsv": b"record\tlabel\nchr1\tat\nchr2.3\t\n",
    "empty_group.tsv": b"record\tlabel\tgroup\nchr1\tat\tg\nchr2.3\tgc\t\n",
    "empty_split.tsv": b"record\tlabel\tsplit\nchr1\tat\ttrain\nchr2.3\tgc\t\n",
    "headers.tsv": b"record\tlabel\n>chr1\tat\n>chr2.3\tgc\n",
    "whole_headers.tsv": b"record\tlabel\nchr1 described\tat\nchr2.3 described\tgc\n",
    "file_names.tsv": b"record\tlabel\nchr1.fa\tat\nchr2.3.fa\tgc\n",
    "quote.tsv": b'record\tlabel\nchr1\t"at\nchr2.3\tgc\n',
    "utf16.tsv": "record\tlabel\nchr1\tat\n".encode("utf-16"),
    "workbook.tsv": b"PK\x03\x04\x14\x00\x06\x00\xff\xfe",
    "cut.tsv.gz": gzip.compress(b"record\tlabel\nchr1\tat\n" * 99)[:-9],
    "empty.tsv": b"",
    "one_class.csv": CSV,
    "class_left_out.tsv": COLUMNS + b"chr1\tat\ttrain\tg\nchr2.3\tgc\ttest\th\n",
    "no_train.tsv": COLUMNS + b"chr1\tat\ttest\tg\nchr2.3\tgc\ttest\th\n",
    "group_in_two.tsv": b"record\tstart\tend\tlabel\tsplit\tgroup\nchr1\t0\t4\tat\ttrain\tg\n"
    b"chr1\t4\t8\tgc\ttrain\tg\nchr2.3\t0\t4\tgc\tval\tg\n",
    "one_group.tsv": b"record\tlabel\tgroup\nchr1\tat\tg\nchr2.3\tgc\tg\n",
    "member_in_two.clusters": b"chr1\tchr1\nchr2.3\tchr2.3\nchr2.3\tchr1\n",
    "cyclic.clusters": b"chr1\tchr2.3\nchr2.3\tchr1\n",
    "missing.clusters": b"chr1\tchr1\n",
    "empty.clusters": b"",
    "three_columns.clusters": b"a\tb\tc\n",
    "cut.clstr": b">Cluster 0\n0\t14nt, >chr1... at +/90%\n",
}
SEQUENCES = [  # each for inspect, predict, evaluate and train
    ("missing.fa", "missing.fa: there is no such file, but it must be a sequence file"),
    ("cut.gb", "record 2 breaks the GenBank format (Premature end of file in sequence data)"),
    ("no_letters.gb", "no_letters.gb: record 1: record 'chr1' has no sequence, but must have at l"),
    ("cut_features.gb", "record 1 breaks the GenBank format (Premature end of features table"),
    ("no_letters.embl", "no_letters.embl: record 1 breaks the EMBL format (Footer format unexpect"),
    ("page.gb", "page.gb: the file begins with '<!DOCTYPE html>' and has no line that begins with"),
    (
        "twice.gb",
        "twice.gb: record 3: record 'chr1' was already at record 1, but record names must b",
    ),
    ("cut.embl", "record 2 breaks the EMBL format (Premature end of file in sequence data)"),
    ("quality.fq", "record 2 breaks the FASTQ format (Lengths of sequence and quality values"),
    (
        "twice.fq",
        "twice.fq: record 3: record 'chr1' was already at record 1, but record names must b",
    ),
    (
        "cut.fq.gz",
        "cut.fq.gz: the compressed file is truncated or damaged (the file ends before the c",
    ),
    (
        "cut.fa.gz",
        "cut.fa.gz: the compressed file is truncated or damaged (the file ends before the c",
    ),
    ("twice.fa", "twice.fa:5: record 'chr1' was already at line 1, but record names must be uniqu"),
    (
        "page.fa",
        "page.fa:1: the first record is preceded by '<!DOCTYPE html>', but a FASTA file mu",
    ),
    ("variants.vcf", "variants.vcf:1: the first record is preceded by '##fileformat=VCFv4.2', but"),
    ("workbook.csv", "workbook.csv:1: the columns are pk"),
    (
        "no_sequence.csv",
        "no_sequence.csv:1: the columns are seq, label, but one must be 'sequence'",
    ),
    ("utf16.csv", "The file is UTF-16 text: save it as UTF-8, or: iconv -f utf-16 -t utf-8."),
    ("ragged.csv", "ragged.csv:3: the number of cells is 1, but must be 2 as in the header: seque"),
    ("protein.csv", "protein.csv: record 'protein:1': position 2 holds 'L', but a DNA letter is o"),
    ("header_only.csv", "header_only.csv: the file is empty, but must have at least one row below"),
    ("twice.csv", "twice.csv:3: record 'a' was already at line 2, but record names must be uniqu"),
    ("empty.fastq", "the file is empty, but must have at least one FASTQ record."),
    ("empty.fa.gz", "empty.fa.gz: the file is empty, but must have at least one FASTA record."),
    ("good.tsv", "good.tsv:1: the columns are record, label, but one must be 'sequence'. Rename"),
    ("mixed", "a.fa is FASTA and b.fq is FASTQ, but a folder must have one format."),
    ("nothing", "the folder has no sequence file (FASTA, FASTQ, GenBank, EMBL, or CSV or TSV"),
]
LABELS = [  # sequences, labels, message; each for inspect, evaluate, train and split
    ("good.fa", "missing.tsv", "missing.tsv: there is no such file, but it must be a labels file"),
    ("good.fa", "wrong_genome.bed", "2 of 2 records named here ('1' (line 1), 'MT' (line 2)), but"),
    ("good.fa", "wrong_genome.bed", "1 would match but for the prefix chr: '1' here, 'chr1' in"),
    ("good.fa", "past_end.bed", "past_end.bed:2: chr1:8-15 must satisfy start < end <= 14, the le"),
    ("good.fa", "longer.bed", "longer.bed:1: chr1:0-1000 must satisfy start < end <= 14, the leng"),
    ("good.fa", "backwards.bed", "backwards.bed:1: chr1:9-4 must satisfy 0 <= start < end. Coordi"),
    ("good.fa", "nothing_inside.bed", "nothing_inside.bed:1: chr1:4-4 must satisfy 0 <= start < e"),
    ("good.fa", "negative.bed", "negative.bed:1: start '-1' must be a whole number, 0 or more."),
    ("good.fa", "points.bed", "points.bed:1: start '0.0' must be a whole number, 0 or more."),
    ("good.fa", "strand.bed", "strand.bed:1: strand 'x' is unknown, but must be one of + - ."),
    ("good.fa", "twice.bed", "twice.bed:2: chr1:0-4(+) was already at line 1, but must have one l"),
    ("good.fa", "no_label.bed", "In a BED file, the label is the fourth column."),
    (
        "good.fa",
        "genes.gff",
        "genes.gff:1: this looks like GFF or GTF (1-based coordinates), but",
    ),
    ("good.fa", "empty.tsv", "empty.tsv: the file is empty, but must have a header line"),
    ("good.fa", "empty_label.tsv", "empty_label.tsv:3: the label is empty, but every line must "),
    ("good.fa", "empty_group.tsv", "empty_group.tsv:3: the group is empty, but every line must "),
    ("good.fa", "empty_split.tsv", "empty_split.tsv:3: the split is empty, but every line must "),
    ("good.fa", "headers.tsv", "2 would match but for the '>' of a header: '>chr1' here, 'chr1' i"),
    ("good.fa", "whole_headers.tsv", "2 would match but for the description after the first space"),
    ("good.fa", "file_names.tsv", "2 would match but for the file name suffix: 'chr1.fa' here"),
    (
        "good.fa",
        "quote.tsv",
        "quote.tsv:2: a cell in 'chr1\\t\"at' begins with a quote that is not cl",
    ),
    ("good.fa", "utf16.tsv", "utf16.tsv: the file is UTF-16 text, but must be UTF-8. Save it as U"),
    (
        "good.fa",
        "workbook.tsv",
        "workbook.tsv: this is an Excel workbook or another zip file, but ",
    ),
    (
        "good.fa",
        "cut.tsv.gz",
        "cut.tsv.gz: the compressed file is truncated or damaged (the file ends before",
    ),
    ("good.fa", "good.fa", "This looks like FASTA: was it given as the labels?"),
    ("good.fa", "column", "--labels column: no label for 2 of 2 records ('chr1', 'chr2.3')"),
    ("good.fa", "header", "--labels header: no label for 2 of 2 records"),
]
SPLITS = [  # command, message: valid labels that cannot be trained on or split
    (
        "train one_class.csv --labels column --out out",
        "'at', but there must be at least two classes",
    ),
    (
        "train good.fa --labels class_left_out.tsv --out out",
        "class_left_out.tsv: no example in train for 1 of 2 classes (such as 'gc'), but every",
    ),
    (
        "train good.fa --labels no_train.tsv --out out",
        "no_train.tsv: the split column has no example for train, but training needs some.",
    ),
    (
        "train good.fa --labels group_in_two.tsv --out out",
        "group_in_two.tsv: the group 'g' is in train and in validation, but a group must stay in",
    ),
    (
        "train good.fa --labels one_group.tsv --out out",
        "one_group.tsv: a validation part cannot be made from 2 examples in 1 group, but",
    ),
    (
        "train good.fa --labels good.tsv --out out --set data.group=genus",
        "good.tsv:1: the header lacks 'genus', but data.group names it as the column of groups.",
    ),
    (
        "train good.fa --labels good.tsv --out out --set data.split=column",
        "good.tsv: no split for 2 of 2 examples (such as chr1), but data.split 'column' needs",
    ),
    (
        "train good.fa --labels good.tsv --out out --set data.split=group",
        "good.tsv: chr1 has no group, but a split by group needs one for every example.",
    ),
    (
        "train good.fa --labels good.tsv --out out --set data.task=regression",
        "good.tsv: 2 of 2 labels cannot be read as numbers ('at' at line 2, 'gc' at line 3), but",
    ),
    (
        "split good.fa --labels good.tsv --out out --by stratified",
        "good.tsv: a test part cannot be made from 2 examples, as each class has one example, but",
    ),
    (
        "split good.fa --labels group_in_two.tsv --out out",
        "group_in_two.tsv: the group 'g' is in train and in validation, but a group must stay in",
    ),
    (
        "split good.fa --labels one_group.tsv --out out --by homology",
        "the labels have a group column, but a split by homology would replace it.",
    ),
    *(
        (f"split good.fa --labels good.tsv --out out --clusters {name}", message)
        for name, message in [
            ("missing", "missing: there is no such file, but it must be a clusters file"),
            ("member_in_two.clusters", ":3: 'chr1' is in the cluster of 'chr2.3', but was in that"),
            (
                "cyclic.clusters",
                ":2: 'chr1' is in the cluster of 'chr2.3', but was in that of 'chr",
            ),
            ("missing.clusters", "no cluster for 1 of 2 labelled records ('chr2.3'), but each "),
            ("empty.clusters", "empty.clusters: the file is empty, but must hold a representative"),
            ("three_columns.clusters", ":1: the line is 'a\\tb\\tc', but a clusters file must be"),
            ("cut.clstr", "cut.clstr:1: '>Cluster 0' has no representative, but one of its lines "),
        ]
    ),
    (
        "predict model good.fa --intervals past_end.bed --out out",
        "past_end.bed:2: chr1:8-15 must satisfy start < end <= 14, the length of chr1.",
    ),
    (
        "predict model good.fa --intervals good.tsv --out out",
        "good.tsv:1: the header lacks start, end, but intervals need record, start and end.",
    ),
    (
        "predict model good.fa --window 10 --step 20 --out out",
        "the windows are 10 bp long with a step of 20 bp, but the step must be at least 1 bp",
    ),
    *(
        (f"{command} many.fa --labels {name}{rest}", message)
        for command, rest in (("inspect", ""), ("train", " --out out"), ("split", " --out out"))
        for name, message in [
            ("gaps.tsv", "gaps.tsv: 2 of 42 labels cannot be read as numbers ('NA' at line 42"),
            ("commas.tsv", "others can (such as '0.0') and labels must be of one kind. Write"),
        ]
    ),
    (
        "evaluate model good.fa --labels mixed_kinds.tsv --out out",
        "chr1: the label '1' is unknown, but must be one of at, gc.",
    ),
]
WARNED = [  # command, message: valid but suspicious input
    (
        "inspect good.fa --labels one_based.bed",
        "all coordinates look 1-based with the end included",
    ),
    (
        "inspect good.fa --labels mixed_kinds.tsv",
        "the label is a name in 1 of 2 examples (such as ",
    ),
    (
        "predict model good.fa --window 100",
        "1 of 2 records are shorter than a window of 100 bp; each ",
    ),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write all files and a model. Commands that fail must leave them as they are."""
    folder = tmp_path_factory.mktemp("bad")
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    saved_model(folder / "model")
    return folder


@pytest.fixture
def folder(written: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(written)
    return written


def check_refused(message: str, *arguments: object) -> None:
    """Run a command that must fail, with one line of error and no new files."""
    before = sorted(Path().rglob("*"))

    result = run(*arguments)

    *_, line = result.stderr.splitlines()
    assert result.exit_code == 1, result.output
    assert line.startswith("Error: "), line
    assert message in line
    assert sorted(Path().rglob("*")) == before


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("fasta", "message"), SEQUENCES)
@pytest.mark.parametrize(
    "command",
    [
        "inspect FASTA",
        "predict model FASTA",
        "evaluate model FASTA --labels column --out out",
        "train FASTA --labels column --out out",
    ],
)
def test_bad_sequences_are_refused(command: str, fasta: str, message: str) -> None:
    check_refused(message, *command.replace("FASTA", fasta).split())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("fasta", "labels", "message"), LABELS)
@pytest.mark.parametrize(
    "command",
    [
        "inspect FASTA --labels LABELS",
        "evaluate model FASTA --labels LABELS --out out",
        "train FASTA --labels LABELS --out out",
        "split FASTA --labels LABELS --out out",
    ],
)
def test_bad_labels_are_refused(command: str, fasta: str, labels: str, message: str) -> None:
    check_refused(message, *command.replace("FASTA", fasta).replace("LABELS", labels).split())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("command", "message"), SPLITS)
def test_valid_input_that_a_command_cannot_use_is_refused(command: str, message: str) -> None:
    check_refused(message, *command.split())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("command", "message"), WARNED)
def test_suspicious_input_gives_one_warning(command: str, message: str) -> None:
    result = run(*command.split())

    assert result.exit_code == 0, result.output
    assert result.stderr.count(message) == 1


@pytest.mark.usefixtures("folder")
def test_the_unchanged_files_are_accepted() -> None:
    """So the commands above fail for what was changed in the files."""
    for fasta in ("good.fa", "good.csv", "many.fa"):
        assert run("inspect", fasta).exit_code == 0
    assert run("inspect", "good.csv", "--labels", "column").exit_code == 0
    assert run("inspect", "good.fa", "--labels", "good.tsv").exit_code == 0

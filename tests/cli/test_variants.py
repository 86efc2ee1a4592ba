"""``variants``: a table or VCF; the same bytes after a stop and from shards; bad input named."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmt_genomics.dna.alphabet import decode, encode
from rmt_genomics.interpretation import variants
from rmt_genomics.model import RMTClassifier
from tests.cli.toys import fail, run, succeed
from tests.interpretation.toys import logits, random_codes, toy
from tests.prediction.toys import write_fasta

RECORDS = {"one": decode(random_codes(60, seed=1)), "two": decode(random_codes(20, seed=2))}
HEADER = """##fileformat=VCFv4.2
##contig=<ID=one>
##INFO=<ID=AF,Number=A,Type=Float,Description="frequency">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tsample
"""


def base(chrom: str, pos: int, *, size: int = 1) -> str:
    return RECORDS[chrom][pos - 1 : pos - 1 + size]


def others(chrom: str, pos: int) -> list[str]:
    return [each for each in "ACGT" if each != base(chrom, pos)]


def variant(chrom: str, pos: int, alt: str, *, ref: str | None = None, info: str = ".") -> str:
    ref = ref or base(chrom, pos)
    return f"{chrom}\t{pos}\tid\t{ref}\t{alt}\t9\tPASS\t{info}\tGT\t0/1\n"


LINES = [
    variant("one", 30, ",".join(others("one", 30)[:2]), info="AF=0.1,0.2"),
    variant("one", 3, base("one", 3) + "ACG"),
    variant("two", 4, base("two", 4), ref=base("two", 4, size=3)),
    variant("one", 50, f"<DEL>,{others('one', 50)[0]},*"),
    variant("one", 52, "N[two:3["),
    variant("one", 53, "."),
    variant("one", 60, base("one", 60), ref=base("one", 60) + "A"),
    variant("three", 4, "A", ref="C"),
    variant("one", 24, others("one", 24)[0], ref=base("one", 24, size=3)),
    *(variant("one", pos, others("one", pos)[0]) for pos in range(1, 24, 4)),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    toy(pooling="mean", depth=1).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fasta(tmp_path_factory.mktemp("fasta") / "x.fa", RECORDS)


@pytest.fixture
def vcf(tmp_path: Path) -> Path:
    path = tmp_path / "x.vcf"
    path.write_text(HEADER + "".join(LINES))
    return path


def rows(path: Path) -> list[dict[str, str]]:
    header, *lines = [line.split("\t") for line in path.read_text().splitlines()]
    return [dict(zip(header, line, strict=True)) for line in lines]


@pytest.mark.slow
def test_a_table_has_a_row_per_alternative(
    model: Path, fasta: Path, vcf: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.tsv"

    result = succeed("variants", model, vcf, "--fasta", fasta, "--window", 24, "--out", out)

    found = rows(out)
    assert list(found[0])[:7] == [
        "chrom",
        "pos",
        "ref",
        "alt",
        "logit_ref_a",
        "logit_alt_a",
        "delta_a",
    ]
    assert list(found[0])[-2:] == ["delta_c", "note"]
    assert [each["alt"] for each in found] == [
        alt for line in LINES for alt in line.split("\t")[4].split(",")
    ]
    assert (
        "6 of 18 variants are skipped, with a note: chromosome is not in the reference: 1 (three),"
        in result.stderr
    )
    assert "symbolic allele: 1, breakend: 1, allele *: 1, no alternative: 1." in result.stderr
    assert (
        result.stderr.splitlines()[-1] == f"18 variants in 18 rows of the output. Written to {out}."
    )
    loaded = RMTClassifier.from_pretrained(model).double()
    notes = [each["note"] for each in found]
    assert [each for each in notes if each] == [
        "symbolic allele", "allele *", "breakend", "no alternative",
        "position is outside of the record", "chromosome is not in the reference",
    ]  # fmt: skip
    for each in found:
        numbers = [each[name] for name in each if name.startswith(("logit", "delta"))]
        if each["note"]:
            assert numbers == ["NA"] * 9
            continue
        start, letters = int(each["pos"]) - 1, RECORDS[each["chrom"]]
        window = {24: 12}.get(start + 1, start // 24 * 24)
        window = 36 if start >= 48 else window
        letters = letters[window : window + 24] if each["chrom"] == "one" else letters
        at = start - window if each["chrom"] == "one" else start
        edited = letters[:at] + each["alt"] + letters[at + len(each["ref"]) :]
        for name, column in (("ref", letters), ("alt", edited)):
            expected = logits(loaded, encode(column))
            shown = [float(each[f"logit_{name}_{label}"]) for label in "abc"]
            np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-6)
        delta = float(each["logit_alt_b"]) - float(each["logit_ref_b"])
        assert float(each["delta_b"]) == pytest.approx(delta, abs=1e-6)


def test_vcf_has_the_lines_of_the_input_with_more_info(
    model: Path, fasta: Path, vcf: Path, tmp_path: Path
) -> None:
    out, table, again = tmp_path / "out.vcf", tmp_path / "out.tsv", tmp_path / "again.vcf"
    for each in (out, table):
        succeed("variants", model, vcf, "--fasta", fasta, "--out", each)

    lines = out.read_text().splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert header[0] == "##fileformat=VCFv4.2"
    assert header[-1] == HEADER.splitlines()[-1]
    assert set(HEADER.splitlines()) < set(header)
    field = "##INFO=<ID=delta_b,Number=A,Type=Float,Description="
    assert f'{field}"logit of b with ALT less that with REF">' in header
    numbers = iter(rows(table))
    for before, line in zip(LINES, lines[len(header) :], strict=True):
        old, new = before.rstrip().split("\t"), line.split("\t")
        assert old[:7] + old[8:] == new[:7] + new[8:]
        info = dict(each.split("=") for each in new[7].split(";"))
        assert info.get("AF") == dict([old[7].split("=")] if "=" in old[7] else []).get("AF")
        own = [next(numbers) for _ in old[4].split(",")]
        for name in ("logit_alt_b", "delta_b"):
            assert info[name].split(",") == [each[name].replace("NA", ".") for each in own]
        notes = [each["note"].replace(" ", "_") or "." for each in own]
        assert info.get("variant_note", ",".join(["."] * len(own))).split(",") == notes
    succeed("variants", model, out, "--fasta", fasta, "--out", again)
    assert again.read_bytes() == out.read_bytes()  # its own fields are replaced, not doubled


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "window"), [("tsv", ("--window", 24)), ("vcf", ())])
def test_shards_and_a_resumed_run_give_the_same_file(
    model: Path,
    fasta: Path,
    vcf: Path,
    tmp_path: Path,
    ending: str,
    window: tuple[Any, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(variants, "TASK_ROWS", 3)
    monkeypatch.setattr(variants, "BUFFER_ROWS", 10)
    command = ("variants", model, vcf, "--fasta", fasta, *window)
    whole, joined, resumed = (tmp_path / f"{name}.{ending}" for name in ("a", "b", "c"))
    succeed(*command, "--out", whole)

    shards = [tmp_path / f"shard{number}.{ending}" for number in (1, 2)]
    for number, shard in enumerate(shards, 1):
        succeed(*command, "--out", shard, "--shard", f"{number}/2")
    succeed("join", *reversed(shards), "--out", joined)

    assert joined.read_bytes() == whole.read_bytes()
    written = [len(shard.read_text().splitlines()) for shard in shards]
    assert all(count > written[0] // 2 for count in written)
    _stopped(monkeypatch, command, resumed)
    succeed(*command, "--out", resumed, "--resume")
    assert resumed.read_bytes() == whole.read_bytes()
    succeed(*command, "--out", joined, "--overwrite")  # also VCF is known as output of ours


def _stopped(monkeypatch: pytest.MonkeyPatch, command: tuple[Any, ...], out: Path) -> None:
    """Run until the third task, and stop there as Ctrl-C does; a row is cut in the middle."""
    compute, calls = variants._Windows.effects, []

    def stop(*arguments: Any) -> Any:
        calls.append(0)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return compute(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(variants._Windows, "effects", stop)
        assert run(*command, "--out", out).exit_code == 130
    partial = out.with_name(f"{out.name}.part")
    lines = partial.read_bytes().splitlines(keepends=True)
    assert len(lines) > 3
    partial.write_bytes(b"".join(lines[:-1]) + lines[-1][:5])
    assert "Add --resume" in fail(*command, "--out", out)


@pytest.mark.slow
def test_compressed_files_and_files_without_a_header_give_the_same_table(
    model: Path, fasta: Path, vcf: Path, tmp_path: Path
) -> None:
    content = vcf.read_bytes()
    plain = HEADER.splitlines()
    headerless = "".join(LINES).replace("\n", "\r\n").encode()
    block = gzip.compress(content)  # as bgzip writes it: a field with the size of each block
    bgzip = b"".join(_bgzip_block(each) for each in (content[:300], content[300:], b""))
    outputs = []
    for name, each in (
        ("a.vcf", content),
        ("b.vcf.gz", block),
        ("c.vcf.bgz", bgzip),
        ("d", headerless),
    ):
        path = tmp_path / name
        path.write_bytes(each)
        out = tmp_path / f"{name}.tsv"
        succeed("variants", model, path, "--fasta", fasta, "--out", out)
        outputs.append(out.read_bytes())

    assert outputs == [outputs[0]] * 4
    annotated = tmp_path / "d.vcf"
    succeed("variants", model, tmp_path / "d", "--fasta", fasta, "--out", annotated)
    columns = [line for line in annotated.read_text().splitlines() if line.startswith("#CHROM")]
    assert columns == [plain[-1].replace("sample", "SAMPLE_1")]


def _bgzip_block(content: bytes) -> bytes:
    import struct
    import zlib

    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = packer.compress(content) + packer.flush()
    size = len(body) + 25
    head = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff\x06\x00BC\x02\x00" + struct.pack("<H", size)
    return head + body + struct.pack("<II", zlib.crc32(content), len(content))


BAD: list[tuple[str, str]] = [
    ("", "x.vcf: is empty, but a VCF file has a header or variants. Make it again."),
    ("BCF\x02\x02", "x.vcf: line 1: is BCF, but must be VCF, as text or compressed."),
    ("#CHROM POS\n", "x.vcf: line 1: is '#CHROM POS', but the header of a VCF file ends with"),
    ("one 3 . A C\n", "x.vcf: line 1: has 1 column separated by tabs, but a variant has #CHROM"),
    ("one\tx\t.\tA\tC\n", "line 1: has chromosome 'one' and position 'x', but must have a name"),
    ("one\t3\t.\tA\tC,\n", "line 1: has ALT '', but an allele is letters of DNA"),
    ("one\t3\t.\t-\tC\n", "line 1: has REF '-', but an allele is letters of DNA"),
    (
        "one\t3\t.\t" + base("one", 3) + "\tC\n##late\n",
        "line 2: is a header line after variants, but the header is at the start",
    ),
    (
        "1\t3\t.\tA\tC\n2\t3\t.\tA\tC\n",
        "x.vcf: has variants of 1, 2, but ",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD)
def test_what_is_not_vcf_is_refused(
    model: Path, fasta: Path, tmp_path: Path, content: str, message: str
) -> None:
    path, out = tmp_path / "x.vcf", tmp_path / "out.tsv"
    path.write_text(content)

    assert message in fail("variants", model, path, "--fasta", fasta, "--out", out)
    assert sorted(tmp_path.iterdir()) == [path]


def test_variants_of_another_genome_are_refused_with_counts_and_examples(
    model: Path, fasta: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "x.vcf", tmp_path / "out.tsv"
    wrong = [variant("one", pos, "A", ref=others("one", pos)[0]) for pos in range(1, 8)]
    path.write_text(HEADER + "".join(LINES + wrong))

    message = fail("variants", model, path, "--fasta", fasta, "--out", out)

    assert message.startswith(
        f"{path}: REF of 7 of 23 variants differs from {fasta} (one:1 has REF "
    )
    assert message.count(" has REF ") == 5
    path.write_text(HEADER + "".join(LINES + wrong[:1]))
    result = succeed("variants", model, path, "--fasta", fasta, "--out", out)
    assert "REF differs from the reference: 1 (one:1 has REF" in result.stderr
    assert rows(out)[-1]["note"] == "REF differs from the reference"


def test_positions_outside_of_the_records_are_refused_as_of_another_genome(
    model: Path, fasta: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "x.vcf", tmp_path / "out.tsv"
    path.write_text(HEADER + "".join(variant("one", pos, "A", ref="C") for pos in (900, 800)))

    message = fail("variants", model, path, "--fasta", fasta, "--out", out)

    assert message.startswith(
        f"{path}: the positions of 2 of 2 variants are outside of the records of {fasta} (one:900 "
        "of a record of 60 bp; one:800 of a record of 60 bp), but variants must be of this"
    )
    assert not out.exists()


def test_a_byte_order_mark_is_no_part_of_the_header(
    model: Path, fasta: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "x.vcf", tmp_path / "out.vcf"
    path.write_text("\ufeff" + HEADER + LINES[0], encoding="utf-8")

    succeed("variants", model, path, "--fasta", fasta, "--out", out)

    assert out.read_bytes().startswith(b"##fileformat=VCFv4.2\n")


def test_a_file_without_variants_gives_a_table_without_rows(
    model: Path, fasta: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "x.vcf", tmp_path / "out.tsv"
    path.write_text(HEADER)

    result = succeed("variants", model, path, "--fasta", fasta, "--out", out)

    assert "has no variants, so there are no results" in result.stderr
    assert len(out.read_text().splitlines()) == 1


def test_long_ref_of_a_window_and_positions_outside_are_noted(
    model: Path, fasta: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "x.vcf", tmp_path / "out.tsv"
    path.write_text(
        variant("one", 1, "A", ref=base("one", 1, size=30))
        + variant("one", 61, "A", ref="C")
        + variant("one", 0, "A", ref="C")
        + "".join(variant("one", pos, base("one", pos)) for pos in range(1, 21))
    )

    succeed("variants", model, path, "--fasta", fasta, "--out", out, "--window", 24)

    assert [each["note"] for each in rows(out)][:3] == [
        "REF is longer than a window", *["position is outside of the record"] * 2
    ]  # fmt: skip


def test_wrong_usage_and_files_that_are_not_ours(
    model: Path, fasta: Path, vcf: Path, tmp_path: Path
) -> None:
    command = ("variants", model, vcf, "--fasta", fasta, "--out")
    result = run(*command, tmp_path / "x.vcf.gz")
    assert result.exit_code == 2
    assert "must end in .tsv or .vcf" in result.output
    assert "is also an input" in fail(*command, vcf, "--overwrite")
    other = tmp_path / "other.vcf"
    other.write_text(HEADER)
    assert "is not output of this command" in fail(*command, other, "--overwrite")
    missing = fail(
        "variants", model, tmp_path / "no.vcf", "--fasta", fasta, "--out", other, "--overwrite"
    )
    assert "is not output of this command" in missing
    assert "no.vcf: there is no such file, but it must be a VCF file" in fail(
        "variants", model, tmp_path / "no.vcf", "--fasta", fasta, "--out", tmp_path / "y.tsv"
    )

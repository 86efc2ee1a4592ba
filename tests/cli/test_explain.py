"""``explain``: tracks in files, a summary on stdout, and one sentence for what cannot be used."""

import json
from pathlib import Path

import numpy as np
import pytest

from rmt_genomics.dna.alphabet import decode, encode
from rmt_genomics.interpretation import attribute
from rmt_genomics.model import RMTClassifier
from tests.cli.toys import fail, run, succeed
from tests.interpretation.toys import random_codes, toy
from tests.prediction.toys import write_fasta

LENGTH = 22  # three segments of six bases and a part of one
LETTERS = {
    name: decode(random_codes(LENGTH, seed=seed)) for seed, name in enumerate(("one", "two"))
}


@pytest.fixture(autouse=True)
def _few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """What integrated gradients are worth is tested elsewhere."""
    monkeypatch.setattr("rmt_genomics.interpretation.gradients.MOST_POINTS", 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    toy(pooling="mean", features=("kmer:2", "protein:1"), orf_codons=3).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fasta(tmp_path_factory.mktemp("fasta") / "x.fa", LETTERS)


def rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def values(path: Path, record: str) -> np.ndarray:
    """The values of a bedGraph, one per base; every base of the record has one."""
    found = np.full(LENGTH, np.nan)
    for name, start, end, value in rows(path):
        if name == record:
            assert np.isnan(found[int(start) : int(end)]).all()
            found[int(start) : int(end)] = float(value)
    return found


@pytest.mark.slow
def test_tracks_of_all_records_are_written(model: Path, fasta: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    result = succeed("explain", model, fasta, "--class", "b", "--out", out, "--device", "cpu")

    loaded = RMTClassifier.from_pretrained(model)
    for name, letters in LETTERS.items():
        for method in ("gradient", "integrated_gradients"):
            expected = attribute(loaded, letters, method=method, class_name="b")
            found = values(out / f"{method}.bedgraph", name)
            np.testing.assert_allclose(found, expected.values, rtol=1e-4, atol=1e-9)
            with np.load(out / f"{name}.npz") as arrays:
                assert arrays["one_hot"].shape == arrays[method].shape == (1, 4, LENGTH)
                assert (arrays["one_hot"][0].argmax(axis=0) == encode(letters)).all()
                projected = (arrays["one_hot"] * arrays[method]).sum(axis=1)[0]
                np.testing.assert_allclose(projected, expected.values, rtol=1e-4, atol=1e-9)
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not np.isnan(values(out / "occlusion.bedgraph", "two")).any()
    assert result.stdout == (out / "summary.tsv").read_text()
    header, *summary = rows(out / "summary.tsv")
    assert header[-3:] == ["network", "kmer", "protein"]
    assert [row[:4] for row in summary[:3]] == [
        ["one", str(LENGTH), "b", method]
        for method in ("gradient", "integrated_gradients", "occlusion")
    ]
    integrated = dict(zip(header, summary[1], strict=True))
    difference = float(integrated["score"]) - float(integrated["score_of_N"])
    assert float(integrated["unexplained"]) == pytest.approx(
        difference - float(integrated["explained"]), abs=2e-4
    )
    segments = rows(out / "segments.tsv")
    assert segments[0] == ["record", "start", "end", "method", "effect", "through_memory", "share"]
    assert len(segments) == 1 + 2 * 4
    for name, start, end, *_ in rows(out / "top_regions.bed"):
        assert name in LETTERS
        assert 0 <= int(start) < int(end) <= LENGTH
    manifest = json.loads((out / "explain.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == manifest["files"]


def test_an_interval_is_explained_in_the_context_of_its_record(
    model: Path, fasta: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    methods = [f"--method={name}" for name in ("mutagenesis", "gradient", "occlusion")]
    part = ["--interval", "two:8-14", *methods]

    succeed("explain", model, fasta, *part, "--out", out)

    loaded = RMTClassifier.from_pretrained(model)
    for method in ("mutagenesis", "gradient"):
        expected = attribute(loaded, LETTERS["two"], method=method, interval=(8, 14))
        found = values(out / f"{method}.bedgraph", "two")
        np.testing.assert_allclose(found[8:14], expected.values, rtol=1e-4, atol=1e-9)
        assert np.isnan(np.delete(found, range(8, 14))).all()
    pieces = rows(out / "occlusion.bedgraph")
    assert (pieces[0][1], pieces[-1][2]) == ("6", "18")  # the segments that overlap it
    with np.load(out / "two.npz") as arrays:
        assert arrays["mutagenesis"].shape == (1, 4, 6)
        assert arrays["start"] == 8
    assert not (out / "one.npz").exists()
    succeed("explain", model, fasta, *part, "--piece", 2, "--overwrite", "--out", out)
    assert [row[1:3] for row in rows(out / "occlusion.bedgraph")] == [
        ["8", "10"], ["10", "12"], ["12", "14"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--class", "d"], "class 'd' is unknown, but must be a class of the model: a, b, c."),
        (["--interval", "two:2-23"], "two:2-23 must satisfy start < end <= 22"),
        (["--interval", "three:0-10"], "there is no record 'three', but --interval is a part"),
        (["--interval", "two:20"], "'two:20' is not an interval, but must look like chr1:0-100"),
        (["--interval", "two:20-30(-)"], "has a strand, but tracks are those of both strands"),
        (
            ["--piece", 4, "--method", "gradient", "--method", "mutagenesis", "--interval=two:2-9"],
            "--piece 4: is the length of a piece for occlusion, but --method is gradient and muta",
        ),
    ],
)
def test_what_cannot_be_explained_is_refused_in_one_sentence(
    arguments: list[str | int], words: str, model: Path, fasta: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    assert words in fail("explain", model, fasta, *arguments, "--out", out)

    assert not out.exists()


def test_a_model_or_file_that_is_not_there_is_refused(
    model: Path, fasta: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    assert "there is no such folder" in fail("explain", tmp_path / "no", fasta, "--out", out)
    assert "no.fa" in fail("explain", model, tmp_path / "no.fa", "--out", out)
    usage = run("explain", model, fasta, "--out", out, "--method", "mutagenesis")
    assert usage.exit_code == 2
    assert "--method mutagenesis needs --interval" in usage.stderr


def test_only_files_of_an_earlier_run_are_replaced(
    model: Path, fasta: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    gradient = ["explain", model, fasta, "--method", "gradient", "--out", out]
    succeed(*gradient)
    (out / "notes.txt").write_text("mine")

    assert "Add --overwrite, or give another --out." in fail(*gradient)
    succeed(*gradient, "--overwrite", "--interval", "one:5-9")

    names = {path.name for path in out.iterdir()}
    assert names == {
        *("explain.json", "gradient.bedgraph", "notes.txt", "one.npz", "one.png"),
        *("summary.tsv", "top_regions.bed"),
    }
    assert (out / "notes.txt").read_text() == "mine"
    (out / "two.png").write_text("mine too")
    message = fail(*gradient, "--overwrite")
    assert "two.png: would be replaced, but is not of an earlier run." in message
    assert (out / "two.png").read_text() == "mine too"

    other = tmp_path / "other"
    other.mkdir()
    (other / "gradient.bedgraph").write_text("mine")
    message = fail("explain", model, fasta, "--overwrite", "--out", other)
    assert "has no explain.json of an earlier run" in message
    assert (other / "gradient.bedgraph").read_text() == "mine"


def test_records_of_one_base_or_without_a_known_one_are_explained(
    model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.fa"
    path.write_text(">n\nNNNNNNNNN\n>a\nA\n")
    out = tmp_path / "out"

    result = succeed("explain", model, path, "--class", "a", "--out", out)

    assert "n: no known base" in result.stderr
    found = {(row[0], row[3]): row for row in rows(out / "summary.tsv")[1:]}
    for method in ("gradient", "integrated_gradients", "occlusion"):
        score, of_n, explained = found["n", method][4:7]
        assert score == of_n
        assert float(explained) == 0
    assert float(found["a", "occlusion"][7]) == pytest.approx(0, abs=1e-4)
    assert {row[0] for row in rows(out / "top_regions.bed")} == {"a"}


def test_a_record_without_a_known_base_has_no_class_and_a_warning(
    model: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "x.fa", tmp_path / "out"
    path.write_text(f">n\nNNNNNNNNN\n>one\n{LETTERS['one']}\n")

    result = succeed("explain", model, path, "--method", "gradient", "--out", out)

    assert "n: no known base, so nothing is predicted and" in result.stderr
    assert "one: no known base" not in result.stderr
    _, n, one = rows(out / "summary.tsv")
    assert (n[2], n[4:6], float(n[6])) == ("NA", ["NA", "NA"], 0)
    assert n[7:9] == ["NA", "NA"]
    assert "NA" not in one


def test_names_that_are_no_file_names_are_changed(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    path.write_text(f">a/b\n{LETTERS['one']}\n>a|b\n{LETTERS['two']}\n>..\n{LETTERS['two']}\n")

    succeed("explain", model, path, "--method", "gradient", "--out", tmp_path / "out")

    names = {each.name for each in (tmp_path / "out").glob("*.npz")}
    assert names == {"a_b.npz", "a_b_2.npz", "record.npz"}


def test_bigwig_has_the_values_of_the_bedgraph(model: Path, fasta: Path, tmp_path: Path) -> None:
    pybigtools = pytest.importorskip("pybigtools", reason="needs pybigtools, the extra bigwig")
    out = tmp_path / "out"

    succeed("explain", model, fasta, "--method", "gradient", "--bigwig", "--out", out)

    track = pybigtools.open(str(out / "gradient.bw"))
    assert track.chroms() == {"one": LENGTH, "two": LENGTH}
    expected = values(out / "gradient.bedgraph", "two")
    np.testing.assert_allclose(track.values("two", 0, LENGTH, fillna=None), expected, rtol=1e-5)


def test_without_its_package_bigwig_is_refused(
    model: Path, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rmt_genomics.interpretation.tracks.find_spec", lambda _: None)

    message = fail("explain", model, fasta, "--bigwig", "--out", tmp_path / "out")

    assert "pip install 'rmt-genomics[bigwig]'" in message

"""Effects of variants are those of full predictions of each edited sequence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmt_genomics.dna.alphabet import Codes, decode, encode
from rmt_genomics.errors import ConfigError
from rmt_genomics.interpretation import variant_effects, variants
from rmt_genomics.interpretation.occlusion import PrefixMemory
from rmt_genomics.interpretation.variants import Change, logits_of_changes
from tests.interpretation.toys import logits, random_codes, toy
from tests.prediction.toys import write_fasta

EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}
MODELS: list[tuple[int, dict[str, Any]]] = [  # lengths in bp; segments have six tokens
    (48, {}),
    (43, {"stem_width": 5}),  # the last segment is shorter than the halo
    (48, {"pooling": "mean", "strand_head": "symmetric", "stem_width": 0}),
    (45, {"pooling": "attention", "readout": "carried", "memory_gate": False}),
    (45, {"pooling": "max", "stem_pool": 3, "segment_length": 3}),
    (48, {"pooling": "mean", "memory_reset": "segment"}),
    # The last segment has one token, a single base, which is in a k-mer if bases follow.
    (50, {"tokenizer_kind": "kmer", "k": 3, "stride": 2, "segment_length": 4}),
    (45, {"tokenizer_kind": "kmer", "k": 3, "stride": 3, "segment_length": 2, "stem_width": 0}),
    (45, {"features": ("kmer:2", "protein:1", "wide:3"), "orf_codons": 3, "pooling": "mean"}),
    (
        45,
        {
            "features": ("stranded-kmer:2", "protein:1"),
            "orf_codons": 3,
            "feature_head": "regression",
        },
    ),
]


def changes_of(codes: Codes) -> list[Change]:
    """Substitutions, insertions and deletions at both ends, on borders of segments and inside."""
    letters, found = decode(codes), []
    for start in (0, 17, len(codes) - 1):
        other = "T" if letters[start] != "T" else "A"
        found.append(Change.of(start, letters[start], other))
        found.append(Change.of(start, letters[start], letters[start] + "GATTACAGA"))
    for start, size in ((0, 4), (12, 6), (len(codes) - 9, 9)):
        found.append(Change.of(start, letters[start : start + size], "ACGTAC"[: size - 3]))
    return found


@pytest.mark.parametrize(("length", "changes"), MODELS)
def test_logits_of_changes_are_those_of_full_predictions(
    length: int, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "SEGMENTS_AT_ONCE", 3)
    model, codes = toy(depth=1, **changes), random_codes(length)
    edits = changes_of(codes)

    found = logits_of_changes(PrefixMemory(model, codes), edits).numpy()

    expected = np.array([logits(model, edit.applied_to(codes)) for edit in edits])
    np.testing.assert_allclose(found, expected, **EXACT)
    assert np.abs(found - logits(model, codes)).max() > 1e-3


@given(
    ref=st.text("ACGT", min_size=1, max_size=5),
    alt=st.text("ACGT", min_size=1, max_size=5),
    start=st.integers(0, 7),
)
def test_a_change_is_the_least_that_gives_the_same_sequence(ref: str, alt: str, start: int) -> None:
    before, after = "ACGTACGT"[:start], "TTGCA"
    change = Change.of(start, ref, alt)

    assert decode(change.applied_to(encode(before + ref + after))) == before + alt + after
    if ref != alt and change.codes.size and change.end > change.start:
        assert encode(before + ref)[change.start] != change.codes[0]
        assert encode(before + ref)[change.end - 1] != change.codes[-1]


@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_any_change_gives_the_same_logits(data: st.DataObject) -> None:
    model, codes = toy(pooling="mean", stem_width=0), random_codes(data.draw(st.integers(1, 40)))
    start = data.draw(st.integers(0, len(codes) - 1))
    ref = decode(codes)[start : start + data.draw(st.integers(1, 14))]
    change = Change.of(start, ref, data.draw(st.text("ACGT", min_size=1, max_size=14)))

    (found,) = logits_of_changes(PrefixMemory(model, codes), [change]).numpy()

    np.testing.assert_allclose(found, logits(model, change.applied_to(codes)), **EXACT)


def test_only_segments_from_the_variant_on_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model, codes = toy(stem_width=0), random_codes(48)  # eight whole segments
    letters, read = decode(codes), []
    edits = [Change.of(at, letters[at], "A" if letters[at] != "A" else "C") for at in (1, 20, 47)]
    edits += [Change.of(at, letters[at], letters[at] + "ACGTAC") for at in (1, 20)]
    prefix = PrefixMemory(model, codes)
    step = type(model.encoder.step).forward
    monkeypatch.setattr(
        type(model.encoder.step),
        "forward",
        lambda own, segment, memory, *rest: (
            read.append(len(memory)),
            step(own, segment, memory, *rest),
        )[1],
    )

    logits_of_changes(prefix, edits)

    # of 8 segments, forward s..7 and on the other strand 7-s..7: 9 instead of 16 in all
    substitutions = 3 * 9
    insertions = (9 + 2) + (6 + 5)  # nine segments then; from 0 and 7 on, from 3 and 4 on
    assert sum(read) == substitutions + insertions


# Windows of 24 bp of a record of 60 bp, and one that is shorter than a window.
RECORDS = {"one": decode(random_codes(60, seed=1)), "two": decode(random_codes(20, seed=2))}
VARIANTS = [
    ("one", 3, 0, "X"),
    ("one", 30, 0, "X"),
    ("one", 24, 2, "X"),  # its three bases cross the border after base 24
    ("one", 59, 0, "X"),  # the last window ends with the record
    ("two", 20, 0, "XAC"),
    ("one", 40, 4, "X"),
    ("one", 2, 0, "XACGT"),
]
PLACES = [(0, 24), (24, 48), (12, 36), (36, 60), (0, 20), (24, 48), (0, 24)]


def given_variants() -> list[tuple[str, int, str, str]]:
    """The variants of the table, with bases of the reference; X is another base."""
    found = []
    for record, pos, more, alt in VARIANTS:
        ref = RECORDS[record][pos - 1 : pos + more]
        found.append((record, pos, ref, alt.replace("X", "A" if ref[0] != "A" else "G")))
    return found


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lower = {name: letters.lower() for name, letters in RECORDS.items()}
    return write_fasta(tmp_path_factory.mktemp("fasta") / "x.fa", lower)


@pytest.mark.parametrize("window", [None, 24])
@pytest.mark.parametrize("rows", [1, 3, 64])
def test_effects_are_those_of_each_edited_window(
    fasta: Path, window: int | None, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "TASK_ROWS", rows)
    monkeypatch.setattr(variants, "BUFFER_ROWS", rows + 1)
    model, listed = toy(pooling="mean", features=("kmer:2", "wide:3")), given_variants()

    found = list(variant_effects(model, listed, fasta, window=window))

    assert [(each.chrom, each.pos, each.ref, each.alt) for each in found] == listed
    for effect, (start, end) in zip(found, PLACES, strict=True):
        if window is None:
            start, end = 0, len(RECORDS[effect.chrom])
        letters, at = RECORDS[effect.chrom][start:end], effect.pos - 1 - start
        edited = letters[:at] + effect.alt + letters[at + len(effect.ref) :]
        np.testing.assert_allclose(effect.logits_ref, logits(model, encode(letters)), **EXACT)
        np.testing.assert_allclose(effect.logits_alt, logits(model, encode(edited)), **EXACT)
        assert (effect.delta == effect.logits_alt - effect.logits_ref).all()
        assert effect.note == ""


def test_a_window_is_read_once(fasta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(
        variants, "PrefixMemory", lambda *each: (made.append(len(each[1])), PrefixMemory(*each))[1]
    )

    list(variant_effects(toy(), given_variants(), fasta, window=24))
    assert made == [24, 24, 24, 24, 20]

    monkeypatch.setattr(variants, "TASK_ROWS", 1)
    made.clear()
    list(variant_effects(toy(), given_variants()[::6], fasta, window=24))
    assert made == [24]  # two tasks, one window


def test_a_regression_has_the_unit_of_its_label(fasta: Path) -> None:
    settings_: dict[str, Any] = {"classes": ("ph",), "task": "regression"}
    model = toy(**settings_, target_mean=7.0, target_std=2.0)

    (scaled, *_), (plain, *_) = (
        list(variant_effects(each, given_variants(), fasta)) for each in (model, toy(**settings_))
    )

    assert scaled.logits_ref == pytest.approx(7 + 2 * plain.logits_ref)
    assert scaled.delta == pytest.approx(2 * plain.delta)


def test_n_and_equal_alleles_are_read_and_noted(tmp_path: Path) -> None:
    path, letters = tmp_path / "n.fa", "ACGTNNNNACGTACGTACGT"
    path.write_text(f">x\n{letters}\n")
    model = toy()

    same, other, unknown = variant_effects(
        model, [("x", 1, "a", "A"), ("x", 9, "A", "t"), ("x", 5, "N", "A")], path
    )

    assert same.note == "ALT is REF; 20% of the bases read are N"
    assert (same.delta == 0).all()
    np.testing.assert_allclose(other.logits_ref, logits(model, encode(letters)), **EXACT)
    edited = logits(model, encode("ACGTNNNNTCGTACGTACGT"))
    np.testing.assert_allclose(other.logits_alt, edited, **EXACT)
    assert other.note == "20% of the bases read are N"
    edited = logits(model, encode("ACGTANNNACGTACGTACGT"))
    np.testing.assert_allclose(unknown.logits_alt, edited, **EXACT)


def test_a_window_has_at_least_one_base(fasta: Path) -> None:
    with pytest.raises(ConfigError, match="window is 0, but must be at least 1, in bp"):
        list(variant_effects(toy(), given_variants(), fasta, window=0))

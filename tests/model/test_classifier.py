"""``RMTClassifier`` as a notebook uses it, and as a folder."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jaxtyping
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rmt_genomics.dna import encode
from rmt_genomics.errors import CheckpointError, ConfigError, DataError
from rmt_genomics.model import RMTClassifier, classifier
from rmt_genomics.model.batching import batches_of_similar_length, pad
from rmt_genomics.model.bidirectional_encoder import encode_long
from rmt_genomics.model.classifier import Encoding
from tests.model.toys import toy

SEQUENCES = ["ACGTACGTTT", "G", "TTGACANNACGTTGACA" * 5, "gattaca"]


def test_probabilities_come_in_the_order_given() -> None:
    model = toy()
    rows = model.predict_proba(SEQUENCES)
    assert rows.shape == (4, 3)
    assert rows.dtype == np.float64
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    for row, sequence in zip(rows, SEQUENCES, strict=True):
        np.testing.assert_allclose(model.predict_proba([sequence])[0], row, rtol=1e-10)


def test_labels_are_names() -> None:
    model = toy()
    best = model.predict_proba(SEQUENCES).argmax(axis=1)
    assert model.predict(SEQUENCES) == [model.classes_[place] for place in best]


def test_several_labels_are_joined() -> None:
    model = toy(task="multilabel")
    assert model.label_of(np.array([0.9, 0.1, 0.5])) == "a;c"
    assert model.label_of(np.array([0.1, 0.1, 0.1])) == ""
    assert ((model.predict_proba(SEQUENCES) > 0) & (model.predict_proba(SEQUENCES) < 1)).all()


def test_predicting_leaves_the_mode_and_no_graph() -> None:
    model = toy(dropout=0.5).train()
    np.testing.assert_array_equal(model.predict_proba(["ACGT"]), model.predict_proba(["ACGT"]))
    assert model.training


@pytest.mark.parametrize("trains", [True, False])
def test_parts_frozen_in_evaluation_mode_stay_so(*, trains: bool) -> None:
    model = toy(dropout=0.5).train(trains)
    model.encoder.train(not trains)
    before = {name: each.training for name, each in model.named_modules()}

    np.testing.assert_array_equal(model.predict_proba(["ACGT"]), model.predict_proba(["ACGT"]))

    assert {name: each.training for name, each in model.named_modules()} == before


def test_the_modes_are_put_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy().train()
    monkeypatch.setattr(model, "outputs", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.predict_proba(["ACGT"])
    assert all(each.training for each in model.modules())


def test_no_sequences_give_no_rows() -> None:
    assert toy().predict_proba([]).shape == (0, 3)


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ("ACGT", "got one string, but needs a list of strings"),
        (["ACGT", ""], "sequence 1: is empty, but must have at least 1 bp"),
        (["ACGT", "ACXT"], "sequence 1: .*'X'"),
    ],
)
def test_a_sequence_that_cannot_be_read_is_named(sequences: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        toy().predict_proba(sequences)


def test_what_is_not_text_is_named_by_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is for users

    with pytest.raises(DataError, match="sequence 1: is a NoneType, but must be text, such as"):
        toy().predict_proba(["ACGT", cast("str", None)])


@pytest.mark.parametrize(
    ("codes", "lengths", "message"),
    [
        (torch.zeros(1, 4, dtype=torch.uint8), [5], "must be between 1 and 4, the width of codes"),
        (torch.zeros(1, 4, dtype=torch.uint8), [0], "must be between 1 and 4, the width of codes"),
        (torch.zeros(0, 4, dtype=torch.uint8), [], "codes has shape .0, 4., but must be"),
    ],
)
def test_lengths_beyond_the_codes_are_refused(
    codes: torch.Tensor, lengths: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        toy()(codes, torch.tensor(lengths, dtype=torch.long))


def test_a_sequence_without_a_base_is_refused() -> None:
    with pytest.raises(ValueError, match="lengths lie between 0 and 3, but must be between 1"):
        toy().predict_codes([np.zeros(3, dtype=np.uint8), np.zeros(0, dtype=np.uint8)])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        *({"features": (item,)} for item in ("kmer:2", "stranded-kmer:2", "wide:2,5")),
        {"features": ("protein:1",), "orf_codons": 2},
    ],
)
def test_codes_beyond_a_length_are_never_read(changes: dict[str, Any]) -> None:
    model, lengths = toy(**changes), torch.tensor([20, 13, 1])
    if model.wide is not None:
        torch.nn.init.normal_(model.wide.weight)
    ends_in_n, ends_in_bases = torch.randint(0, 4, (2, 3, 20), dtype=torch.uint8)
    beyond = torch.arange(20) >= lengths[:, None]
    ends_in_n = ends_in_n.masked_fill(beyond, 4)
    ends_in_bases = torch.where(beyond, ends_in_bases, ends_in_n)

    assert torch.equal(model(ends_in_n, lengths), model(ends_in_bases, lengths))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (
            torch.tensor([4]),
            r"of shape \(1,\), but must be whole numbers of shape \(2,\): one per row",
        ),
        (torch.tensor([4, 4, 4]), r"of shape \(3,\), but must be whole numbers of shape \(2,\)"),
        (torch.tensor([[4], [4]]), r"of shape \(2, 1\), but must be whole numbers of shape \(2,\)"),
        (torch.tensor(4), r"of shape \(\), but must be whole numbers of shape \(2,\)"),
        (torch.tensor([4.0, 3.0]), r"lengths is torch.float32 of shape \(2,\), but must be whole"),
        (torch.tensor([True, True]), r"lengths is torch.bool of shape \(2,\), but must be whole"),
        ([True, True], r"lengths is torch.bool of shape \(2,\), but must be whole numbers"),
        (np.array([4.0, 3.0]), r"lengths is torch.float64 of shape \(2,\), but must be whole"),
        ([5, 3], "lengths lie between 3 and 5, but must be between 1 and 4, the width of codes"),
    ],
)
def test_lengths_are_one_whole_number_a_row(
    monkeypatch: pytest.MonkeyPatch, lengths: torch.Tensor, message: str
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is for users

    with pytest.raises(ValueError, match=message):
        toy()(torch.zeros(2, 4, dtype=torch.uint8), lengths)


@pytest.mark.parametrize("kind", [list, tuple, np.uint8, np.uint16, np.uint64, np.int32])
def test_lengths_may_be_a_list_or_an_array(kind: Callable[[list[int]], object]) -> None:
    model, codes = toy(), torch.randint(0, 4, (2, 20), dtype=torch.uint8)

    assert torch.equal(model(codes, kind([20, 13])), model(codes, torch.tensor([20, 13])))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (
            torch.tensor([[0, 4, 1], [0, 7, 9]], dtype=torch.uint8),
            "position 1 of row 1 holds 7, but",
        ),
        (torch.tensor([[0, 4, 1], [-1, 2, 3]]), "position 0 of row 1 holds -1, but base codes are"),
        (torch.tensor([[0, 4, 260], [1, 2, 3]]), "position 2 of row 0 holds 260, but base codes"),
        (
            torch.tensor([[0.5, 1, 2], [1, 2, 3]]),
            "codes is torch.float32, but base codes are whole",
        ),
        (torch.tensor([[True] * 3] * 2), "codes is torch.bool, but base codes are whole numbers"),
    ],
)
def test_what_is_not_a_base_code_is_refused(
    monkeypatch: pytest.MonkeyPatch, codes: torch.Tensor, message: str
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is for users

    with pytest.raises(ValueError, match=message):
        toy()(codes, torch.tensor([3, 3]))


def test_other_whole_numbers_are_base_codes_and_padding_may_hold_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    model, lengths = toy().eval(), torch.tensor([3, 2])
    codes = torch.tensor([[0, 4, 1], [2, 3, 4]], dtype=torch.uint8)
    other = torch.tensor([[0, 4, 1], [2, 3, -9]])

    assert torch.equal(model(codes, lengths), model(other, lengths))


@pytest.mark.parametrize("length", [10, 300])
def test_arrays_that_are_not_base_codes_are_refused(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr("rmt_genomics.model.classifier.LONG_BP", 100)
    codes = np.zeros(length, dtype=np.uint8)
    codes[7] = 9

    with pytest.raises(DataError, match="position 7 holds 9, but base codes are whole numbers"):
        toy().predict_codes([codes])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ("a",)}, "must be two or more distinct names"),
        ({"task": "binary"}, "task is 'binary' with 3 classes, but must have 2"),
        ({"heads": 3}, r"dim \(8\) must be a multiple of heads \(3\)"),
        (
            {"pooling": "sum"},
            "pooling is 'sum', but must be 'last' or 'mean' or 'max' or 'attention'",
        ),
        ({"stem_width": 4}, "stem_width is 4, but must be odd"),
        ({"segment_length": 0}, "segment_length is 0, but must be a whole number of at least 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        toy(**settings)


def test_batches_hold_every_sequence_once_and_stay_small() -> None:
    lengths = [5, 900, 3, 40, 41, 1000, 7]
    batches = batches_of_similar_length(lengths, max_rows=3, max_bp=120)
    assert sorted(place for batch in batches for place in batch) == list(range(7))
    for batch in batches:
        assert len(batch) <= 3
        assert len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= 120


class TestAFolder:
    """Law 6: a saved model is the model."""

    def test_the_same_logits_come_back(self, tmp_path: Path) -> None:
        model = toy().float()
        model.save_pretrained(tmp_path / "model")
        again = RMTClassifier.from_pretrained(tmp_path / "model")
        np.testing.assert_array_equal(
            again.predict_proba(SEQUENCES), model.predict_proba(SEQUENCES)
        )
        assert again.config == model.config
        assert not again.training

    @pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
    def test_the_number_type_is_kept(self, tmp_path: Path, kind: torch.dtype) -> None:
        model = toy().to(kind)
        model.save_pretrained(tmp_path / "model")
        again = RMTClassifier.from_pretrained(tmp_path / "model")
        assert {each.dtype for each in again.parameters()} == {kind}
        for here, there in zip(model.parameters(), again.parameters(), strict=True):
            assert torch.equal(here, there)

    @pytest.mark.slow
    def test_the_same_logits_come_back_in_another_process(self, tmp_path: Path) -> None:
        model = toy().float()
        model.save_pretrained(tmp_path / "model")
        program = (
            "import sys, torch; torch.set_num_threads(1)\n"
            "from rmt_genomics import RMTClassifier\n"
            "rows = RMTClassifier.from_pretrained(sys.argv[1]).predict_proba(sys.argv[2:])\n"
            "print(rows.tolist())"
        )
        run = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "model"), *SEQUENCES],
            capture_output=True,
            text=True,
            check=True,
        )
        np.testing.assert_array_equal(json.loads(run.stdout), model.predict_proba(SEQUENCES))

    @pytest.mark.gpu
    def test_the_same_logits_come_back_on_another_device(
        self, tmp_path: Path, device: torch.device
    ) -> None:
        model = toy().float()
        model.save_pretrained(tmp_path / "model")
        again = RMTClassifier.from_pretrained(tmp_path / "model", device=device)
        np.testing.assert_allclose(
            again.predict_proba(SEQUENCES), model.predict_proba(SEQUENCES), atol=1e-4
        )

    def test_it_holds_no_pickle_and_nothing_half_written(self, tmp_path: Path) -> None:
        toy().save_pretrained(tmp_path)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == ["README.md", "config.json", "model.safetensors"]

    def test_an_existing_model_card_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "README.md").write_text("mine")
        toy().save_pretrained(tmp_path)
        assert (tmp_path / "README.md").read_text() == "mine"

    def test_a_failed_save_leaves_the_old_model(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toy().save_pretrained(tmp_path)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("safetensors.torch.save_file", full)
        with pytest.raises(OSError, match="No space left"):
            toy(dim=16).save_pretrained(tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def broken(tmp_path: Path, name: str, content: bytes | None) -> Path:
    """A model folder in which one file is replaced, or gone."""
    toy().save_pretrained(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "has no config.json, but a model folder holds"),
        ("model.safetensors", None, "has no model.safetensors, but a model folder holds"),
        ("config.json", b"{", "is not valid JSON"),
        ("config.json", b"[]", "lacks 'classes' or 'task'"),
        ("config.json", b'{"classes": ["a", "b"]}', "lacks 'classes' or 'task'"),
        (
            "config.json",
            b'{"classes": ["a", "b"], "task": "binary", "dimm": 3}',
            "unknown key 'dimm'. Did you mean 'dim'",
        ),
        (
            "config.json",
            b'{"classes": ["a", "b"], "task": "binary", "heads": 5}',
            r"dim \(64\) must be a multiple of heads \(5\)",
        ),
        (
            "config.json",
            b'{"classes": ["a", "b"], "task": "binary", "dim": "x"}',
            "dim is 'x', but must be a whole number of at least 1",
        ),
        ("model.safetensors", b"\x80\x04.", "is not a complete safetensors file"),
        (
            "config.json",
            b'{"classes": ["a", "b"], "task": "binary"}',
            "The two files are of different models|does not belong to config.json",
        ),
    ],
)
def test_a_broken_folder_says_what_is_wrong(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    folder = broken(tmp_path, name, content)
    with pytest.raises(CheckpointError, match=message):
        RMTClassifier.from_pretrained(folder)


@pytest.mark.parametrize("source", ["no/such/folder", "./nothing", "nobody/nothing"])
def test_a_missing_model_is_named(source: str) -> None:
    with pytest.raises(CheckpointError, match=source):
        RMTClassifier.from_pretrained(source)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the hub, which has nothing; note who was asked for."""
    asked: list[str] = []

    def download(hub_id: str, **_: object) -> None:
        asked.append(hub_id)
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return asked


@pytest.mark.parametrize(
    "source",
    ["rml", "./nope", "../a/b", "/no/where", "owner/name", "a/b/c", "rml/", "~/a", "a" * 999],
)
def test_a_missing_folder_is_not_looked_for_on_the_hub(hub: list[str], source: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        RMTClassifier.from_pretrained(source)

    assert str(caught.value).startswith(
        f"{source}: there is no such folder, but a model is a folder, or hf://owner/name on the hub"
    )
    assert hub == []


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("runs/frist", r"Did you mean .*runs/first\?"),
        ("rusn/first", r"Did you mean .*runs/first\?"),
        ("rusn/other", r"Did you mean .*runs\?"),
        ("runs/other", r"The nearest folder that exists is .*runs\."),
    ],
)
def test_the_nearest_folder_is_named(tmp_path: Path, missing: str, words: str) -> None:
    (tmp_path / "runs/first").mkdir(parents=True)

    with pytest.raises(CheckpointError, match=words):
        RMTClassifier.from_pretrained(tmp_path / missing)


@pytest.mark.parametrize("source", ["hf://owner-1/my.model_2", Path("hf://owner-1/my.model_2")])
def test_owner_and_name_are_looked_for_on_the_hub(hub: list[str], source: str | Path) -> None:
    with pytest.raises(CheckpointError, match="could not be downloaded from the hub"):
        RMTClassifier.from_pretrained(source)

    assert hub == ["owner-1/my.model_2"]


def save_weights(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    """Save a model, one tensor of which was changed."""
    toy().save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    weights["head.weight"] = change(weights["head.weight"])
    save_file(weights, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    folder = save_weights(tmp_path, lambda tensor: tensor.index_fill(1, torch.tensor([1]), value))

    with pytest.raises(CheckpointError, match=r"safetensors: tensor 'head\.weight' holds NaN"):
        RMTClassifier.from_pretrained(folder)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.float8_e4m3fn, torch.bool])
def test_weights_that_are_not_floats_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = save_weights(tmp_path, lambda tensor: tensor.to(dtype))

    with pytest.raises(CheckpointError, match=r"holds weights of type .*, but must hold floats"):
        RMTClassifier.from_pretrained(folder)


def test_weights_of_several_types_are_not_rounded(tmp_path: Path) -> None:
    folder = save_weights(tmp_path, lambda tensor: tensor.float())

    assert RMTClassifier.from_pretrained(folder).head.weight.dtype == torch.float64


@pytest.mark.parametrize(
    "setting", [{"depth": 100_000}, {"dim": 2**13}, {"num_memory_tokens": 10**8}, {"k": 12}]
)
def test_a_config_that_does_not_fit_the_weights_costs_neither_time_nor_memory(
    tmp_path: Path, setting: dict[str, int]
) -> None:
    toy().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"tokenizer_kind": "kmer", **setting}
    (tmp_path / "config.json").write_text(json.dumps(config))

    started = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"of different models|does not belong to"):
        RMTClassifier.from_pretrained(tmp_path)

    assert time.monotonic() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_embeddings_are_what_the_head_reads_in_the_order_given() -> None:
    model, sequences = toy(), ["ACGT" * 20, "GATTACA", "CCC"]
    embedded = model.embed(sequences)
    assert embedded.shape == (3, 2 * model.config.dim)
    assert embedded.dtype == np.float32
    logits = model.head(model.hidden(torch.from_numpy(embedded).double()))
    found = model.outputs(logits).detach().numpy()
    np.testing.assert_allclose(found, model.predict_proba(sequences), atol=1e-6)


def test_a_long_sequence_is_read_in_blocks_with_the_same_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, sequence = toy(), ["ACGGTTGCAT" * 30]
    whole, read = model.predict_proba(sequence), []
    monkeypatch.setattr(classifier, "LONG_BP", 50)
    monkeypatch.setattr(
        classifier, "encode_long", lambda *a, **k: read.append(1) or encode_long(*a, **k)
    )
    np.testing.assert_allclose(model.predict_proba(sequence), whole, atol=1e-12)
    assert read


def test_the_encoding_that_the_head_reads_is_dropped_in_training_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = toy(dropout=0.5, head_layers=1)
    encoding = torch.ones(1, 16, dtype=torch.float64)
    monkeypatch.setattr(model, "encode", lambda *_, **__: Encoding(encoding, None, None))
    batch = pad([encode("ACGT")])

    answers = {tuple(model.train()(*batch)[0].tolist()) for _ in range(5)}
    sure = model.eval()(*batch)

    assert len(answers) > 1
    assert torch.equal(sure, model.head(encoding))


def test_a_model_without_memory_is_saved_as_one(tmp_path: Path) -> None:
    model = toy(memory_reset="segment", pooling="mean")
    model.save_pretrained(tmp_path)

    loaded = RMTClassifier.from_pretrained(tmp_path)

    sequence, other = "ACGTTGCAACGT" * 3, "T" * 6 + ("ACGTTGCAACGT" * 3)[6:]
    assert loaded.config.memory_reset == "segment"
    np.testing.assert_array_equal(
        loaded.predict_proba([sequence, other]), model.eval().predict_proba([sequence, other])
    )
    plain = toy(pooling="mean").eval()
    assert not np.allclose(loaded.predict_proba([sequence]), plain.predict_proba([sequence]))


def test_a_model_is_shown_in_one_line() -> None:
    model = toy(stem_pool=4)

    assert repr(model) == (
        "RMTClassifier(multiclass: a, b, c; dim 8, depth 2, segments of 24 bp, 2 memory tokens, "
        f"{sum(each.numel() for each in model.parameters()):,} weights, on cpu)"
    )
    many = toy(classes=tuple(f"c{number}" for number in range(30)))
    assert "c3, c4, and 25 more; " in repr(many)
    kmers = toy(tokenizer_kind="kmer", k=4, stride=2)
    assert kmers.config.segment_bp == 5 * 2 + 4

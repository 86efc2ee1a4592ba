"""What a model takes from the one it starts from: the encoder, and the head if it is kept."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rmt_genomics.errors import CheckpointError, ConfigError
from rmt_genomics.model import ClassifierConfig, RMTClassifier, pretrained
from rmt_genomics.model.initial_weights import SIZES, InitialModel
from tests.model.toys import TINY


def model(seed: int = 0, **changes: Any) -> RMTClassifier:
    torch.manual_seed(seed)
    return RMTClassifier(ClassifierConfig(**{**TINY, **changes}))


def saved(folder: Path, seed: int = 1, **changes: Any) -> InitialModel:
    model(seed, **changes).save_pretrained(folder)
    return InitialModel.read(str(folder))


PRETRAINED: dict[str, Any] = {"classes": (), "task": "pretraining"}


@pytest.mark.parametrize("changes", [{}, PRETRAINED, {"features": ("kmer:2",)}])
@pytest.mark.parametrize("own", [{}, {"pooling": "attention", "strand_head": "symmetric"}])
def test_exactly_the_tensors_of_the_encoder_are_loaded(
    tmp_path: Path, changes: dict[str, Any], own: dict[str, Any]
) -> None:
    initial, new, untouched = saved(tmp_path, **changes), model(**own), model(**own)

    message = initial.load_into(new, keep_head=False)

    for name, tensor in new.state_dict().items():
        is_encoder = name.startswith("encoder.step.")
        expected = initial.weights[name] if is_encoder else untouched.state_dict()[name]
        assert torch.equal(tensor, expected), name
    assert "tensors loaded" in message
    assert "new: " in message
    assert "head." in message


def test_a_kept_head_has_the_rows_of_old_classes_and_fresh_ones_of_new_classes(
    tmp_path: Path,
) -> None:
    for number, changes in enumerate(({}, {"strand_head": "symmetric", "pooling": "attention"})):
        initial = saved(tmp_path / str(number), classes=("b", "d"), task="binary", **changes)
        new, untouched = model(classes=("a", "b", "c", "d"), **changes), None
        untouched = model(classes=("a", "b", "c", "d"), **changes).state_dict()

        message = initial.load_into(new, keep_head=True)

        head = [name for name in untouched if name.startswith("head.")]
        for name, tensor in new.state_dict().items():
            if name in head:
                assert torch.equal(tensor[[1, 3]], initial.weights[name])
                assert torch.equal(tensor[[0, 2]], untouched[name][[0, 2]])
            else:
                assert torch.equal(tensor, initial.weights[name]), name
        assert "with the head of b, d (rows of a, c are new); new: 0 tensors" in message


@pytest.mark.parametrize(
    ("of_model", "of_labels", "message"),
    [
        (PRETRAINED, {}, "was pretrained without labels, but --keep-head needs one with classes"),
        ({"classes": ("a", "z"), "task": "binary"}, {}, "the labels lack its class 'z', but"),
        ({"classes": ("label",), "task": "regression"}, {}, "the task of the model is regression"),
        ({"task": "multilabel"}, {}, "is multilabel, and that of the labels multiclass"),
        ({"features": ("kmer:2",)}, {}, "reads features through a hidden layer"),
    ],
)
def test_a_head_that_cannot_be_kept_is_refused(
    tmp_path: Path, of_model: dict[str, Any], of_labels: dict[str, Any], message: str
) -> None:
    initial, new = saved(tmp_path, **of_model), model(**of_labels)
    before = {name: each.clone() for name, each in new.state_dict().items()}

    with pytest.raises(ConfigError) as caught:
        initial.load_into(new, keep_head=True)

    assert message in str(caught.value)
    assert all(torch.equal(each, before[name]) for name, each in new.state_dict().items())


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    initial = saved(tmp_path)

    with pytest.raises(CheckpointError, match=r"the encoder differs in encoder\.step\..* from the"):
        initial.load_into(model(dim=16), keep_head=False)


def test_the_sizes_are_all_settings_that_the_shape_of_the_encoder_depends_on() -> None:
    """Other settings change no tensor of the encoder: so loading cannot meet another shape."""
    others = {
        **{"dropout": 0.5, "pooling": "max", "readout": "carried", "strand_head": "symmetric"},
        **{"head_layers": 1, "memory_reset": "segment", "features": ("kmer:2", "wide:2-3")},
    }
    shapes = [
        {name: each.shape for name, each in one.encoder.step.state_dict().items()}
        for one in (model(), model(**others))
    ]

    assert shapes[0] == shapes[1]
    known = {*SIZES.values(), *others, "classes", "task", "target_mean", "target_std"}
    known |= {"min_train_bp", "max_train_bp", "feature_head", "orf_codons"}
    known |= {"backbone"}  # a model with one is refused
    assert set(ClassifierConfig.model_fields) == known | {"thresholds", "thresholds_from"}


def test_weights_in_half_precision_are_loaded(tmp_path: Path) -> None:
    model(1).half().save_pretrained(tmp_path)
    new = model()

    InitialModel.read(str(tmp_path)).load_into(new, keep_head=False)

    assert {each.dtype for each in new.parameters()} == {torch.float32}


def test_a_model_that_comes_with_the_package_has_a_bare_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(1).save_pretrained(tmp_path / "shipped" / "tiny-model")
    monkeypatch.setattr(pretrained, "SHIPPED", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)

    assert pretrained.find_model_folder("tiny-model") == tmp_path / "shipped" / "tiny-model"
    (tmp_path / "tiny-model").mkdir()
    assert pretrained.find_model_folder("tiny-model") == Path("tiny-model")
    with pytest.raises(CheckpointError, match="there is no such folder"):
        InitialModel.read("../shipped/tiny-model")


def test_the_shipped_model_is_small_and_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    initial = InitialModel.read("bacteria-small")

    model = RMTClassifier.from_pretrained("bacteria-small")

    assert (
        sum(path.stat().st_size for path in pretrained.SHIPPED.rglob("*") if path.is_file()) < 4e6
    )
    assert initial.config.task == "pretraining"
    assert {each.dtype for each in initial.weights.values()} == {torch.float16}
    assert next(model.parameters()).dtype == torch.float32  # as CPUs compute fast
    assert "licence" in (pretrained.SHIPPED / "bacteria-small/README.md").read_text().lower()

    with pytest.raises(CheckpointError, match="Did you mean bacteria-small"):
        InitialModel.read("bacteria-smal")

"""``config.json`` of a saved model: its format stays, and what is broken in it is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmt_genomics.errors import CheckpointError, ConfigError
from rmt_genomics.model import ClassifierConfig
from rmt_genomics.model.pretrained import read_config
from tests.model.toys import TINY, toy

BASE = {"classes": ["a", "b"], "task": "binary"}


def write(folder: Path, text: str) -> Path:
    path = folder / "config.json"
    path.write_text(text)
    return path


def test_the_file_has_the_keys_in_their_order_and_lists(tmp_path: Path) -> None:
    toy(features=("wide:2-3",)).save_pretrained(tmp_path)

    assert (tmp_path / "config.json").read_text() == (
        json.dumps(
            {
                **{"classes": ["a", "b", "c"], "task": "multiclass", "target_mean": 0.0},
                **{"target_std": 1.0, "min_train_bp": 0, "max_train_bp": 0},
                **{"tokenizer_kind": "base", "k": 1, "stride": 1, "dim": 8},
                **{"depth": 2, "heads": 2, "segment_length": 6, "num_memory_tokens": 2},
                **{"stem_width": 3, "stem_pool": 1, "dropout": 0.0, "readout": "written"},
                **{
                    "memory_gate": True,
                    "memory_reset": "never",
                    "strand_head": "concat",
                    "head_layers": 2,
                    "pooling": "last",
                },
                **{"features": ["wide:2-3"], "feature_head": "hidden", "orf_codons": 100},
            },
            indent=2,
        )
        + "\n"
    )


def test_a_file_of_an_earlier_version_with_fewer_keys_is_read(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, json.dumps({**BASE, "dim": 8, "dropout": 0})))

    # what the first version did
    old = {"readout": "carried", "memory_gate": False, "head_layers": 1}
    assert config == ClassifierConfig(classes=("a", "b"), task="binary", dim=8, dropout=0.0, **old)
    assert isinstance(config.dropout, float)


def test_lists_and_numbers_of_numpy_are_taken() -> None:
    config = ClassifierConfig(**{**TINY, "classes": ["a", "b", "c"], "dim": np.int64(8)})

    assert config == ClassifierConfig(**TINY)
    assert (type(config.classes), type(config.dim)) == (tuple, int)


def test_a_setting_that_no_classifier_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^unknown key 'dims'\. Did you mean 'dim'\?$"):
        ClassifierConfig(**{**TINY, "dims": 8})
    with pytest.raises(ConfigError, match=r"^task is not set, but must be 'binary' or 'multiclass"):
        ClassifierConfig(classes=("a", "b"))  # type: ignore[call-arg]


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"dim": "8"}, "dim is '8', but must be a whole number of at least 1."),
    ({"dim": 8.0}, "dim is 8.0, but must be a whole number of at least 1."),
    ({"dim": True}, "dim is true, but must be a whole number of at least 1."),
    ({"dim": None}, "dim is None, but must be a whole number of at least 1."),
    ({"dim": [8]}, "dim is [8], but must be a whole number of at least 1."),
    ({"dim": {"x": {"y": 1}}}, "dim is {'x': {'y': 1}}, but must be a whole number of at least 1."),
    ({"dim": 10**12}, "dim is 1000000000000, but must be at most 1,000,000,000."),
    ({"dim": 10**8}, "dim is 100000000 and depth is 3: about "),
    ({"dim": 0}, "dim is 0, but must be a whole number of at least 1."),
    (
        {"dim": 6, "heads": 2},
        "dim (6) divided by heads (2) is 3, but must be even: rotary positions",
    ),
    ({"heads": 5}, "dim (64) must be a multiple of heads (5). Change one of them."),
    ({"segment_length": 0}, "segment_length is 0, but must be a whole number of at least 1."),
    ({"stem_width": 4}, "stem_width is 4, but must be odd, or 0 for no stem."),
    ({"stem_width": -1}, "stem_width is -1, but must be a whole number of at least 0."),
    ({"dropout": float("nan")}, "is not valid JSON ('NaN' is not a finite number"),
    ({"dropout": "0.1"}, "dropout is '0.1', but must be a number at least 0 and below 1."),
    ({"dropout": 1}, "dropout is 1, but must be a number at least 0 and below 1."),
    ({"memory_gate": 1}, "memory_gate is 1, but must be true or false or 'hard'."),
    ({"memory_gate": "soft"}, "memory_gate is 'soft', but must be true or false or 'hard'."),
    ({"tokenizer_kind": "bpe"}, "tokenizer_kind is 'bpe', but must be 'base' or 'kmer'."),
    ({"tokenizer_kind": "kmer", "k": 99}, "tokenizer.k is 99, but must be 1 to 12: "),
    (
        {"task": "ranking"},
        "task is 'ranking', but must be 'binary' or 'multiclass' or 'multilabel'",
    ),
    ({"task": ["binary"]}, "task is ['binary'], but must be 'binary' or "),
    ({"classes": "ab"}, "classes is 'ab', but must be a list, each element text."),
    ({"classes": ["a", 1]}, "classes is ['a', 1], but must be a list, each element text."),
    ({"classes": {"a": 1}}, "classes is {'a': 1}, but must be a list, each element text."),
    ({"classes": ["a", "a"]}, "classes is ('a', 'a'), but must be two or more distinct names."),
    (
        {"classes": ["a", "\x1b[31mb"]},
        r"classes has '\x1b[31mb', but names must be printable text.",
    ),
    ({"wide_k": 6}, "wide_k is 6, but must be a list, each element a whole number of at least 1 "),
    ({"wide_k": [6, [8]]}, "wide_k is [6, [8]], but must be a list, each element a whole number"),
    ({"target_std": 0}, "target_std is 0, but must be a number above 0."),
    ({"target_mean": 1e400}, "is not valid JSON ('Infinity' is not a finite number"),
    ({"target_mean": 5}, "target_mean is 5.0 and target_std 1.0, but they have no effect: the ta"),
    ({"orf_codons": 30}, "orf_codons is 30, but has no effect: features has no item protein:K,"),
    ({"features": "kmer:4"}, "features is 'kmer:4', but must be a list, each element text."),
    ({"features": ["kmer:9"]}, "features has 'kmer:9', but K must be a whole number from 1 to 8."),
    ({"features": ["kmer:2"], "wide_k": [2]}, "wide_k is set beside features, but is its older f"),
    (
        {"num_memory_token": 3},
        "unknown key 'num_memory_token'. Did you mean 'num_memory_tokens'? A new",
    ),
    ({"qqq": 3}, "unknown key 'qqq'. Known keys: classes, task, "),
]


@pytest.mark.parametrize(("changes", "message"), BROKEN, ids=[str(case) for case, _ in BROKEN])
def test_broken_settings_give_one_sentence(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, json.dumps({**BASE, **changes}))

    with pytest.raises(CheckpointError) as error:
        read_config(path)

    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)
    assert str(error.value).endswith((".", "?"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"dim": 8, "dim": 9}', "is not valid JSON ('dim' is there twice)"),
        ('{"dim": ' + "9" * 5000 + "}", "is not valid JSON ('9999"),
        ("[" * 99999, "is not valid JSON (it is nested too deeply)"),
        ("[1]", "lacks 'classes' or 'task'"),
    ],
    ids=["duplicate", "digits", "brackets", "list"],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)

    with pytest.raises(CheckpointError) as error:
        read_config(path)

    assert str(error.value).startswith(f"{path}: {message}")
    assert len(str(error.value)) < 500

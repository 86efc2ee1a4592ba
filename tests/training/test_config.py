import pytest

from rmt_genomics.errors import ConfigError
from rmt_genomics.training.config import (
    PRESETS,
    ExperimentConfig,
    ModelSettings,
    TokenizerSettings,
    TrainingSettings,
)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_in_what_is_left_open(name: str) -> None:
    model = ExperimentConfig(model=ModelSettings(preset=name)).resolved().model

    assert (model.dim, model.depth, model.heads) == (
        PRESETS[name].dim,
        PRESETS[name].depth,
        PRESETS[name].heads,
    )
    assert model.segment_length == PRESETS[name].segment_length
    assert model.num_memory_tokens == PRESETS[name].num_memory_tokens


def test_an_explicit_key_wins_over_the_preset() -> None:
    config = ExperimentConfig(model=ModelSettings(preset="base", depth=2))

    assert config.resolved().model.depth == 2
    assert config.resolved().model.dim == PRESETS["base"].dim
    assert config.classifier(("a", "b"), "binary").depth == 2


def test_resolving_leaves_nothing_open_and_changes_nothing_when_repeated() -> None:
    resolved = ExperimentConfig().resolved()

    assert None not in resolved.flat().values()
    assert resolved.resolved() == resolved


def test_resolving_does_not_change_the_model() -> None:
    config = ExperimentConfig(model=ModelSettings(preset="tiny", heads=4))

    assert config.resolved().classifier(("a", "b"), "binary") == config.classifier(
        ("a", "b"), "binary"
    )


def test_model_and_tokenizer_settings_reach_the_classifier() -> None:
    config = ExperimentConfig(
        model=ModelSettings(
            dim=12,
            depth=2,
            heads=3,
            segment_length=7,
            num_memory_tokens=5,
            strand_head="symmetric",
            pooling="max",
            stem_width=5,
            dropout=0.25,
            memory_gate=True,
        ),
        tokenizer=TokenizerSettings(kind="kmer", k=3, stride=2),
    )

    built = config.classifier(("a", "b", "c"), "multiclass")

    assert built.classes == ("a", "b", "c")
    assert (built.dim, built.depth, built.heads) == (12, 2, 3)
    assert (built.segment_length, built.num_memory_tokens) == (7, 5)
    assert (built.strand_head, built.pooling, built.stem_width) == ("symmetric", "max", 5)
    assert (built.dropout, built.memory_gate) == (0.25, True)
    assert (built.tokenizer_kind, built.k, built.stride) == ("kmer", 3, 2)


def test_sizes_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^model\.dim \(10\) must be a multiple of model.*\(4\)"):
        ExperimentConfig(model=ModelSettings(dim=10))
    with pytest.raises(ConfigError, match=r"^model\.dim \(12\) divided by model\.heads \(4\) is 3"):
        ExperimentConfig(model=ModelSettings(dim=12))
    with pytest.raises(ConfigError, match=r"^model\.stem_width is 4, but must be odd"):
        ExperimentConfig(model=ModelSettings(stem_width=4))


def test_a_tokenizer_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.k is 6 .* must be 1 for tokenizer\.kind 'b"):
        TokenizerSettings(k=6)


def test_a_value_out_of_range_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"training\.learning_rate is 0\.0, but must be .* above 0"
    ):
        TrainingSettings(learning_rate=0.0)

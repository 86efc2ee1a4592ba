import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.errors import ConfigError
from rmt_genomics.training.automatic import TrainingPart, choose
from rmt_genomics.training.config import (
    CurriculumSettings,
    DataSettings,
    ExperimentConfig,
    ModelSettings,
    TokenizerSettings,
    TrainingSettings,
)
from rmt_genomics.training.config_file import (
    KEYS,
    parse_setting,
    read_config,
    template,
    to_toml,
)
from tests.cli.toys import succeed

positive = st.floats(min_value=0, max_value=1e6, exclude_min=True, exclude_max=True)
fractions = st.floats(min_value=0, max_value=1, exclude_max=True)
counts = st.integers(min_value=1, max_value=10**6)
booleans = st.booleans()

# Plain values, since beartype must not check calls while hypothesis draws: both use `random`.
tables = st.fixed_dictionaries(
    {
        "model": st.fixed_dictionaries(
            {
                "preset": st.sampled_from(["tiny", "small", "base"]),
                "dim": st.none() | st.sampled_from([4, 8, 64]),
                "depth": st.none() | st.integers(min_value=1, max_value=1000),
                "heads": st.none() | st.sampled_from([1, 2]),
                "segment_length": st.none() | counts,
                "num_memory_tokens": st.none() | counts,
                "strand_head": st.sampled_from(["concat", "symmetric"]),
                "pooling": st.sampled_from(["last", "mean", "max", "attention"]),
                "stem_width": st.sampled_from([0, 1, 11]),
                "dropout": fractions,
                "memory_gate": booleans | st.just("hard"),
                "readout": st.sampled_from(["written", "carried"]),
                "head_layers": st.sampled_from([1, 2]),
                "memory_reset": st.sampled_from(["never", "segment"]),
                "features": st.sampled_from(["auto", "none", ("kmer:2", "wide:2,5")]),
            }
        ).filter(lambda model: model["dim"] != 4 or model["heads"]),
        "tokenizer": st.sampled_from([{}, {"kind": "kmer", "k": 6, "stride": 3}]),
        "training": st.fixed_dictionaries(
            {
                "max_epochs": counts,
                "learning_rate": positive,
                "batch_size": counts,
                "accumulate_batches": counts,
                "precision": st.sampled_from(["fp32", "bf16"]),
                "bptt_depth": st.just("all") | counts,
                "replay": st.just("auto") | booleans,
                "weight_decay": positive,
                "warmup_fraction": fractions,
                "gradient_clip": positive,
                "patience": counts,
                "class_weights": st.sampled_from(["balanced", "none"]),
            }
        ),
        "data": st.fixed_dictionaries(
            {
                "split": st.sampled_from(["auto", "column", "group", "stratified"]),
                "group": st.text(st.characters(codec="utf-8")),
                "validation_fraction": st.floats(0, 1, exclude_min=True, exclude_max=True),
            }
        ),
        "curriculum": st.sampled_from(
            [{}, {"segments": (1, 2, 4), "shorten": "around", "advance_at": 0.5, "mix": 0.0}]
        ),
    }
)


def make_config(values: dict[str, dict[str, Any]]) -> ExperimentConfig:
    return ExperimentConfig(
        model=ModelSettings(**values["model"]),
        tokenizer=TokenizerSettings(**values["tokenizer"]),
        training=TrainingSettings(**values["training"]),
        data=DataSettings(**values["data"]),
        curriculum=CurriculumSettings(**values["curriculum"]),
    )


def parsed(text: str) -> ExperimentConfig:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_text(text, encoding="utf-8", newline="")
        return read_config(file)


@given(tables)
def test_written_settings_are_read_back(values: dict[str, Any]) -> None:
    config = make_config(values)

    assert parsed(to_toml(config)) == config
    assert parsed(to_toml(config.resolved())) == config.resolved()


@given(tables)
def test_different_settings_are_written_differently(values: dict[str, Any]) -> None:
    config = make_config(values)

    assert (to_toml(config) == to_toml(ExperimentConfig())) == (config == ExperimentConfig())


def test_a_file_of_the_first_version_keeps_its_read_out_and_head() -> None:
    """A run's ``config.toml`` and a printed template list every setting of their version."""
    newer = ("readout", "head_layers")
    printed = re.sub(r"(chosen by the data; [^.]+\.\n)# ", r"\1", template())
    printed = printed.replace("# preset = ", "preset = ")
    for text in (to_toml(ExperimentConfig().resolved()), printed):
        lines = [line for line in text.splitlines() if not line.startswith(newer)]
        model = parsed("\n".join(lines)).model
        assert (model.readout, model.head_layers) == ("carried", 1)
        assert model.memory_gate is True  # as the file says
        assert (model.features == "auto") == (text == printed)
    few = parsed('[model]\npooling = "mean"\nmemory_gate = false').model
    assert (few.readout, few.head_layers) == ("written", 2)


def test_the_keys_are_the_documented_ones() -> None:
    assert set(KEYS) == {
        *("model.preset", "model.dim", "model.depth", "model.heads", "model.segment_length"),
        *("model.num_memory_tokens", "model.strand_head", "model.pooling", "model.stem_width"),
        *("model.backbone", "model.backbone_weights", "model.backbone_frozen_layers"),
        *("model.backbone_lora", "model.backbone_checkpointing", "model.trust_remote_code"),
        *("model.stem_pool", "training.shift_bp", "training.weight_average"),
        *("model.dropout", "model.memory_gate", "model.memory_reset"),
        *("model.readout", "model.head_layers"),
        *("model.features", "model.feature_head", "model.orf_codons", "training.time_budget"),
        *("tokenizer.kind", "tokenizer.k", "tokenizer.stride"),
        *("training.max_epochs", "training.learning_rate", "training.batch_size"),
        *("training.accumulate_batches", "training.precision", "training.bptt_depth"),
        *("training.compile", "training.checkpoint_minutes"),
        *("training.examples_per_epoch", "training.validation_examples", "training.time_budget"),
        *("training.replay", "training.weight_decay", "training.warmup_fraction"),
        *("training.gradient_clip", "training.patience", "training.class_weights"),
        "training.threshold",
        *("training.init_from", "training.freeze", "training.keep_head"),
        "training.encoder_lr_factor",
        *("pretraining.mask_fraction", "pretraining.span_fraction", "pretraining.span_bp"),
        *("data.split", "data.group", "data.validation_fraction", "data.task"),
        *("data.window_bp", "data.step_bp", "data.identity"),
        *("data.unlabelled", "data.min_class_size", "data.duplicate_names", "data.full_names"),
        *("simulation.task", "simulation.length_bp", "simulation.examples_per_epoch"),
        *("simulation.validation_examples", "simulation.gc_difference", "simulation.groups"),
        *("curriculum.segments", "curriculum.shorten", "curriculum.metric"),
        *("curriculum.advance_at", "curriculum.patience", "curriculum.mix"),
        *("simulation.task", "simulation.length_bp", "simulation.examples_per_epoch"),
        *("simulation.validation_examples", "simulation.groups", "simulation.gc_difference"),
    }


def test_without_file_and_changes_settings_are_the_defaults() -> None:
    assert read_config(None) == ExperimentConfig()


def test_set_overrides_the_file_and_the_last_set_overrides_the_first(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[training]\nmax_epochs = 3\nbatch_size = 2\n")

    config = read_config(file, ["training.max_epochs=4", "training.max_epochs=5"])

    assert (config.training.max_epochs, config.training.batch_size) == (5, 2)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("model.dim=8", 8),
        ("training.learning_rate=1e-4", 1e-4),
        ("training.replay=false", False),
        ("training.replay=auto", "auto"),
        ("data.group=my column", "my column"),
        ("curriculum.segments=[1, 2]", [1, 2]),
        ('data.group="12"', "12"),
        ("data.group = a=b", "a=b"),
    ],
)
def test_a_value_on_the_command_line_is_toml_or_text(text: str, value: object) -> None:
    key, read = parse_setting(text)

    assert read == value
    assert type(read) is type(value)
    assert key == text.partition("=")[0].strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[model]\nnum_mem_tokens = 4",
            "unknown key 'model.num_mem_tokens'. Did you mean 'model.n",
        ),
        ("[trainng]\nmax_epochs = 4", "unknown key 'trainng.max_epochs'. Did you mean 'training.m"),
        ("[modle]\n", "'modle' is {}, but settings must be in the tables [model], [tokenizer]"),
        (
            "learning_rate = 4",
            "'learning_rate' is 4, but settings must be in .* Did you mean 'train",
        ),
        ("[model.dim]\nx = 1", "model.dim is {'x': 1}, but must be a whole number"),
        ("[qqq]\nzzz = 1", "unknown key 'qqq.zzz'. Known keys are those of the tables model, "),
        ("[model]\ndim = ", "is not valid TOML ("),
        ("[model]\ndim = 0", "model.dim is 0, but must be a whole number of at least 1"),
        ("[model]\npreset = 'huge'", "model.preset is 'huge', but must be 'tiny' or 'small' or"),
        ("[training]\nprecision = 16", "training.precision is 16, but must be 'fp32' or 'bf16'"),
        ("[training]\nbptt_depth = 0", "training.bptt_depth is 0, but must be a whole number of"),
        ("[data]\nvalidation_fraction = 1", "must be a number above 0 and below 1"),
    ],
)
def test_a_mistake_in_the_file_is_reported(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)

    with pytest.raises(ConfigError) as error:
        read_config(file)

    assert str(error.value).startswith(f"{file}: ")
    for part in message.split(" .* "):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.dims=4", "--set: unknown key 'model.dims'. Did you mean 'model.dim'?"),
        ("dim=4", "--set: unknown key 'dim'. Did you mean 'model.dim'?"),
        ("model.dim", "--set model.dim: must be KEY=VALUE. For example: --set training.max_epoch"),
        ("model.dim=", "--set model.dim=: must be KEY=VALUE"),
        ("model.dim=-1", "--set: model.dim is -1, but must be a whole number of at least 1"),
        ("model.dim=wide", "--set: model.dim is 'wide', but must be a whole number"),
    ],
)
def test_a_mistake_on_the_command_line_is_reported(setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_config(None, [setting])

    assert message in str(error.value)


def test_the_source_of_a_wrong_value_is_reported_and_not_the_other(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text("[model]\ndim = 8\n")
    bad.write_text("[model]\ndepth = 0\n")

    with pytest.raises(ConfigError, match=r"^--set: model\.depth is 0"):
        read_config(good, ["model.depth=0"])
    with pytest.raises(ConfigError, match=r"bad\.toml: model\.depth is 0"):
        read_config(bad, ["model.dim=8"])
    good.write_text('[model]\nfeatures = ["protein:4"]\norf_codons = 300\n')
    with pytest.raises(ConfigError, match=r"^--set: model\.orf_codons is 300, but has no effect"):
        read_config(good, ["model.features=kmer:2"])


BROKEN = [
    ("model = 3", "'model' is 3, but settings must be in the tables [model], [tokenizer], "),
    ("model = []", "'model' is [], but settings must be in the tables "),
    ("[[model]]\ndim = 8", "'model' is [{'dim': 8}], but settings must be in the tables "),
    ("[x.y.z]\na = 1", "unknown key 'x.y'. Known keys are those of the tables model, "),
    ("[model.size]\ndim = 8", "unknown key 'model.size'. Did you mean "),
    ("[training]\ndim = 8", "unknown key 'training.dim'. Did you mean 'model.dim'?"),
    ('[""]\n"model.dim" = 8', "unknown key '.model.dim'. Did you mean 'model.dim'?"),
    ('[model]\n"di\\nm" = 8', "unknown key 'model.di\\nm'. Did you mean 'model.dim'?"),
    ("[model]\ndim = [8]", "model.dim is [8], but must be a whole number of at least 1."),
    ("[model]\ndim = 8.0", "model.dim is 8.0, but must be a whole number of at least 1."),
    ("[model]\ndim = 1e400", "model.dim is inf, but must be a whole number of at least 1."),
    ("[model]\ndim = true", "model.dim is true, but must be a whole number of at least 1."),
    ("[model]\ndim = '8'", "model.dim is '8', but must be a whole number of at least 1."),
    ("[model]\ndim = 2020-01-02", "model.dim is datetime.date(2020, 1, 2), but must be a whole"),
    ("[model]\ndim = 10_000_000_000", "model.dim is 10000000000, but must be at most 1,000,000,0"),
    ("[model]\ndim = 0x" + "f" * 5000, "model.dim is a whole number of about 6021 digits, but mu"),
    ("[model]\ndim = " + "9" * 5000, "is not valid TOML (a number has too many digits), but "),
    ("[model]\ndim = 100_000_000", "model.dim is 100000000 and depth is 4: about "),
    ("[model]\nwide_k = " + "[" * 9999, "is not valid TOML (it is nested too deeply), but "),
    ("[model]\nwide_k = [6, [8]]", "model.wide_k is [6, [8]], but must be a list, each element "),
    (
        "[model]\nfeatures = 6",
        "model.features is 6, but must be 'auto' or 'none' or a list, each e",
    ),
    ("[model]\nfeatures = ['kmer:6', 6]", "model.features is ['kmer:6', 6], but must be 'auto' o"),
    ("[model]\nfeatures = 'all'", "model.features has 'all', but its items must be kmer:K, "),
    ("[model]\nfeatures = ['wide:8-6']", "model.features has 'wide:8-6', but its lengths must be"),
    (
        "[model]\nfeatures = ['stranded-kmer:2']\nstrand_head = 'symmetric'",
        "model.features has 'stranded-kmer:2', which differs between the strands, but strand_head",
    ),
    (
        "[model]\norf_codons = 9",
        "model.orf_codons is 9, but has no effect: features has no item pr",
    ),
    ("[model]\nwide_k = [8, 6]", "model.wide_k is [8, 6], but must increase: each length above"),
    ("[model]\nstem_width = 4", "model.stem_width is 4, but must be odd, or 0 for no stem."),
    ("[model]\nstem_width = 0\nstem_pool = 2", "model.stem_pool is 2, but must be 1 where stem_wi"),
    (
        "[model]\ncomposition_k = 9",
        "model.composition_k is 9, but must be a whole number of at least 0 and b",
    ),
    (
        "[model]\npreset = 'huge'",
        "model.preset is 'huge', but must be 'tiny' or 'small' or 'base'.",
    ),
    ("[tokenizer]\nkind = 'kmer'\nk = 99", "tokenizer.k is 99, but must be 1 to 12: the vocabula"),
    ("[tokenizer]\nkind = 'kmer'\nk = 3\nstride = 4", "tokenizer.stride is 4, but must be 1 to 3 "),
    ("[training]\nlearning_rate = nan", "training.learning_rate is nan, but must be a number abov"),
    ("[training]\nlearning_rate = 1e400", "training.learning_rate is inf, but must be a number ab"),
    ("[training]\ncompile = 'False'", "training.compile is 'False', but must be true or false."),
    ("[training]\nreplay = 1", "training.replay is 1, but must be true or false or 'auto'."),
    ("[data]\ngroup = 1", "data.group is 1, but must be text."),
    ("[curriculum]\nadvance_at = -inf", "curriculum.advance_at is -inf, but must be a number."),
    ("[curriculum]\nmix = 0.5", "curriculum.mix is 0.5, but has no effect: curriculum.segments "),
    ("[model]\ndim = 8\ndim = 9", "is not valid TOML (Cannot overwrite a value (at end of "),
    ("[model]\ndim = 8\n[model]", "is not valid TOML (Cannot declare ('model',) twice (at line 3"),
    ("[model\ndim = 8", "is not valid TOML (Expected ']' at the end of a table declaration"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN, ids=[text[:40] for text, _ in BROKEN])
def test_broken_settings_give_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)

    with pytest.raises(ConfigError) as error:
        read_config(file)

    assert str(error.value).startswith(f"{file}: {message}")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1500
    assert str(error.value)[-1] in ".?"


@pytest.mark.parametrize("digits", ["9" * 5000, "[" * 9999])
def test_what_toml_cannot_read_on_the_command_line_is_text(digits: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^--set: model\.dim is '.*', but must be a whole number"
    ):
        read_config(None, [f"model.dim={digits}"])


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read \(No such file"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"binary\.toml: is not text in UTF-8"):
        read_config(binary)


@pytest.mark.parametrize("path", sorted(Path("benchmarks/configs").glob("*.toml")), ids=str)
def test_the_settings_of_the_benchmarks_can_be_read(path: Path) -> None:
    assert read_config(path) != ExperimentConfig()


def test_settings_of_sequence_features_reach_the_model() -> None:
    changes = ['model.features=["wide:3,5", "protein:2"]', "model.orf_codons=30"]

    model = read_config(None, changes).classifier(("a", "b"), "binary")

    assert (model.features, model.orf_codons) == (("protein:2", "wide:3,5"), 30)


def test_features_are_written_in_one_way_and_auto_is_settled() -> None:
    texts = ["auto", "none", "[]", "kmer:6", '["wide:2,3", "kmer:6"]']
    written = [read_config(None, [f"model.features={text}"]).model for text in texts]

    assert [model.features for model in written] == [
        *("auto", "none", "none", ("kmer:6",)),
        ("kmer:6", "wide:2-3"),
    ]
    assert [model.resolved().features for model in written[:2]] == ["none", "none"]
    assert 'features = "none"' in to_toml(ExperimentConfig().resolved())
    assert '\nfeatures = "auto"\n' in template()


OLD_KEYS = "composition_k = 6\nprotein_k = 4\nwide_k = [6, 8, 10, 12]"
NO_FEATURES = "composition_k = 0\nprotein_k = 0\nwide_k = []"


@pytest.mark.parametrize(
    ("text", "settings", "features"),
    [
        (OLD_KEYS, [], ("kmer:6", "protein:4", "wide:6,8,10,12")),
        (NO_FEATURES, [], "none"),
        ("composition_k = 6", ["model.wide_k=[6, 7, 8]"], ("kmer:6", "wide:6-8")),
        (NO_FEATURES, ["model.composition_k=3"], ("kmer:3",)),
        (OLD_KEYS, ["model.composition_k=0", "model.wide_k=[]"], ("protein:4",)),
        (OLD_KEYS, ["model.features=stranded-kmer:4"], ("stranded-kmer:4",)),
        (NO_FEATURES, ["model.features=auto"], "auto"),
        ("dim = 8", ["model.protein_k=3"], ("protein:3",)),
        ('features = ["kmer:6"]\nwide_k = [2]', ["model.features=none"], "none"),
    ],
)
def test_older_keys_mean_what_they_meant(
    tmp_path: Path, text: str, settings: list[str], features: object
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[model]\n{text}")

    config = read_config(file, settings)

    assert config.model.features == features
    assert parsed(to_toml(config)) == config
    assert not any(key in to_toml(config) for key in ("composition_k", "protein_k", "wide_k"))
    assert config.given()["model.features"] == features


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ('features = "none"\ncomposition_k = 0', []),
        ('features = ["kmer:2"]\nwide_k = [2]', []),
        ('features = ["kmer:2"]', ["model.protein_k=2"]),
        ("", ["model.protein_k=2", "model.features=none"]),
        ("protein_k = 2", ["model.protein_k=2", "model.features=none"]),
    ],
)
def test_older_keys_beside_features_are_refused(
    tmp_path: Path, text: str, settings: list[str]
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[model]\n{text}")

    with pytest.raises(ConfigError) as error:
        read_config(file, settings)

    source = re.escape(str(file)) if "\n" in text else "--set"
    assert re.match(
        rf"{source}: model\.\w+_k is set beside model\.features, but is its older form: only one "
        r"of them may be set\. Remove \w+_k, and say it in features\.$",
        str(error.value),
    )


def test_a_complete_file_from_before_there_were_features_has_none() -> None:
    """Not "auto", which may choose some: a resumed run is what it was."""
    lines = to_toml(ExperimentConfig().resolved()).splitlines()
    text = "\n".join(line for line in lines if not line.startswith("features"))

    assert parsed(text).model.features == "none"
    assert parsed("[model]\ndim = 64").model.features == "auto"


def test_list_settings_prints_the_defaults() -> None:
    assert parsed(succeed("train", "--list-settings").stdout) == ExperimentConfig()


def test_the_template_gives_nothing_that_would_be_chosen_otherwise() -> None:
    keys = parsed(template()).given().keys()
    short = TrainingPart([100] * 5000, 100)

    assert keys.isdisjoint(choose(ExperimentConfig(), short))
    assert keys.isdisjoint(("model.preset", "data.window_bp", "data.validation_fraction"))


def test_the_uncommented_template_is_the_preset() -> None:
    text = re.sub(r"(chosen by the data; [^.]+\.\n)# (?!\w+_examples|examples_)", r"\1", template())

    assert parsed(text).resolved() == ExperimentConfig().resolved()
    assert "\ndim = 128\n" in text


def test_every_setting_has_a_description_and_a_rule() -> None:
    section, keys = "", []
    for block in template().split("\n\n"):
        *comment, line = [text for text in block.splitlines() if not text.startswith("[")]
        section = next((text[1:-1] for text in block.splitlines() if text[0] == "["), section)
        keys.append(f"{section}.{line.removeprefix('# ').partition(' = ')[0]}")
        description = " ".join(comment)
        assert re.search(r"^# .+[.)] # May be .+\.$", description), block

    assert tuple(keys) == KEYS


def test_the_template_has_short_lines_without_backticks() -> None:
    assert all(len(line) <= 90 for line in template().splitlines())
    assert "``" not in template()

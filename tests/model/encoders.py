"""Tiny pretrained encoders with random weights, saved as folders of transformers."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import torch

from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model.backbone_step import random_letters
from rmt_genomics.model.backbones import pretrained_weights, read_backbone

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 66,
    "initializer_range": 0.3,  # so that the order of tokens matters as in a trained encoder
}
DISTILBERT = {
    "dim": 16,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 24,
    "max_position_embeddings": 66,
    "initializer_range": 0.3,
}
ESM = {**SIZES, "emb_layer_norm_before": False, "token_dropout": True, "pad_token_id": 0}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", SIZES),
    "roberta": ("roberta", {**SIZES, "pad_token_id": 0}),
    "distilbert": ("distilbert", DISTILBERT),
    "esm": ("esm", {**ESM, "position_embedding_type": "absolute", "mask_token_id": 2}),
    "esm-rotary": ("esm", {**ESM, "position_embedding_type": "rotary", "mask_token_id": 2}),
    "modernbert": ("modernbert", {**SIZES, "local_attention": 16, "pad_token_id": 0}),
    "nomic": ("nomic_bert", SIZES),
    "megatron": ("megatron-bert", SIZES),
    "bigbird": (
        "big_bird",
        {**SIZES, "block_size": 4, "num_random_blocks": 1, "max_position_embeddings": 64},
    ),
    "longformer": ("longformer", {**SIZES, "attention_window": 8, "pad_token_id": 0}),
}
COMPUTES_IN_FLOAT32 = ("esm-rotary", "modernbert", "nomic")  # their rotary positions
TOKENIZERS = ("characters", "kmers", "bpe")
SPECIAL = ("[PAD]", "[UNK]", "[MASK]", "[CLS]", "[SEP]")


def make_tokenizer(kind: str) -> Any:
    """A fast tokenizer of single bases, of words of three bases, or of byte pairs."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
        trainer = trainers.BpeTrainer(
            vocab_size=64,
            special_tokens=list(SPECIAL),
            initial_alphabet=list("ACGTN"),
            show_progress=False,
        )
        tokenizer.train_from_iterator([random_letters(4000, seed) for seed in range(3)], trainer)
    else:
        k = 1 if kind == "characters" else 3
        words = ["".join(word) for word in product("ACGT", repeat=k)]
        words += [] if k == 1 else [a + b for a in "ACGTN" for b in ("", *"ACGT")]
        vocabulary = {word: i for i, word in enumerate(dict.fromkeys((*SPECIAL, *words)))}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        split = pre_tokenizers.Split(Regex(f"[ACGT]{{{k}}}|."), behavior="isolated")
        tokenizer.pre_tokenizer = split
    ids = {name: tokenizer.token_to_id(name) for name in SPECIAL}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{f"{name[1:-1].lower()}_token": name for name in SPECIAL},
        model_max_length=66,
    )


def save_encoder(folder: Path, name: str = "bert", tokenizer: str = "bpe", **changes: Any) -> str:
    """Save a seeded encoder for masked language modelling with its tokenizer; return the folder."""
    from transformers import AutoConfig, AutoModelForMaskedLM

    words = make_tokenizer(tokenizer)
    kind, settings = ENCODERS[name]
    config = AutoConfig.for_model(kind, vocab_size=len(words), **{**settings, **changes})
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(config)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return str(folder)


def with_settings(folder: str, **changes: Any) -> str:
    """Change settings in a saved encoder; None removes one."""
    path = Path(folder, "config.json")
    settings = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))
    return folder


def classifier_of(folder: str, **changes: Any) -> RMTClassifier:
    """A seeded classifier in float64 around a saved encoder, with its weights."""
    backbone = read_backbone(folder)
    settings = {
        "classes": ("a", "b", "c"),
        "task": "multiclass",
        "dim": 16,
        "depth": 2,
        "heads": 2,
        "segment_length": 30,
        "num_memory_tokens": 2,
        "stem_width": 0,
        "pooling": "mean",
    }
    torch.manual_seed(0)
    model = RMTClassifier(ClassifierConfig(**{**settings, "backbone": backbone, **changes}))
    step = model.encoder.step
    step.backbone.load_state_dict(pretrained_weights(backbone), strict=False)
    step.initialise_memory()
    return model.double()

"""What the recurrence adds to a pretrained encoder: time and memory of a step beside the encoder's.

One step (segment of bases, memory) is compared with the encoder itself on as many positions, with
the same attention mask: forward, and forward with backward. The encoder has random weights, and a
tokenizer of single bases, so that a segment has as many tokens as bases.

    python benchmarks/backbone.py --batch 16 --tokens 512 --dim 128 --depth 2

needs the extra hf (transformers and, to make the tokenizer, tokenizers).
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from rmt_genomics.model.backbone_step import BackboneStep, random_letters
from rmt_genomics.model.backbones import Backbone
from rmt_genomics.rmt import RMTConfig, Segment
from rmt_genomics.rmt.runtime import measure_saved_bytes

MEMORY_TOKENS = 8


def backbone(kind: str, dim: int, depth: int, positions: int) -> Backbone:
    """Return an encoder of these sizes whose tokens are single bases."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[PAD]", "[UNK]", "[MASK]", *"ACGTN"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", behavior="isolated")
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    settings = {
        "model_type": kind,
        "vocab_size": len(words),
        "hidden_size": dim,
        "num_hidden_layers": depth,
        "num_attention_heads": dim // 64,
        "intermediate_size": 4 * dim,
        "max_position_embeddings": positions,
        "pad_token_id": 0,
        "mask_token_id": 2,
    }
    return Backbone(
        source="random",
        settings=json.dumps(settings),
        tokenizer={
            "tokenizer.json": tokenizer.to_str(),
            "tokenizer_config.json": json.dumps(
                {"tokenizer_class": "PreTrainedTokenizerFast", **names}
            ),
        },
    )


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Return the time of one run, when all of it is computed."""
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def main() -> None:
    """Print a table: median times of the step and of the encoder, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kind", default="bert")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device, total = torch.device(options.device), options.tokens + 2 * MEMORY_TOKENS
    torch.manual_seed(0)
    config = RMTConfig(
        num_tokens=5,
        num_memory_tokens=MEMORY_TOKENS,
        dim=options.dim,
        seq_len=options.tokens,
        causal=False,
        memory_gate=True,
        add_write_to_next_write_mem=True,
        next_write_mem_stop_grad=False,
    )
    step = BackboneStep(config, backbone(options.kind, options.dim, options.depth, total + 8))
    step = step.to(device).eval()
    rows = [random_letters(options.tokens, seed) for seed in range(options.batch)]
    codes = torch.tensor([["ACGT".index(letter) for letter in row] for row in rows])
    segment = Segment(codes.to(torch.uint8).to(device), None, 0, options.tokens)
    memory = torch.randn(options.batch, MEMORY_TOKENS, options.dim, device=device)
    ids = torch.randint(3, 7, (options.batch, total), device=device)
    mask = torch.ones_like(ids)

    def encoder_forward() -> torch.Tensor:
        hidden: torch.Tensor = step.backbone(input_ids=ids, attention_mask=mask)[0]
        return hidden[:, : 2 * MEMORY_TOKENS]

    def step_forward() -> torch.Tensor:
        step.tokenizer.forget()  # what has been tokenized before
        return step.read(segment, memory).memory

    print("pass\tencoder_s\tstep_s\tratio")
    for name, has_backward in (("forward", False), ("forward and backward", True)):

        def run(forward: Callable[[], torch.Tensor], *, backward: bool = has_backward) -> None:
            with torch.set_grad_enabled(backward):
                output = forward()
                if backward:
                    output.sum().backward()

        times: dict[str, list[float]] = {"encoder": [], "step": []}
        for repeat in range(options.repeats + 1):  # in turn, so that a busy machine slows both
            for who, forward in (("encoder", encoder_forward), ("step", step_forward)):
                elapsed = seconds(lambda forward=forward: run(forward), device)
                if repeat:
                    times[who].append(elapsed)
        own, other = (statistics.median(times[who]) for who in ("encoder", "step"))
        print(f"{name}\t{own:.4f}\t{other:.4f}\t{other / own:.3f}")
    sizes = [measure_saved_bytes(forward)[1] for forward in (encoder_forward, step_forward)]
    print(f"bytes kept for backward\t{sizes[0]}\t{sizes[1]}\t{sizes[1] / sizes[0]:.3f}")


if __name__ == "__main__":
    main()

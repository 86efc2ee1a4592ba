"""Masked bases: which are masked, and the loss of predicting them with memory on both strands."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model.masked_bases import (
    PretrainingSettings,
    mask_codes,
    mask_random,
    masked_base_loss,
    masked_base_losses,
)
from rmt_genomics.model.tokenization import N, reverse_complement
from rmt_genomics.rmt.segments import Segment

SIZES: dict[str, Any] = {"dim": 8, "depth": 2, "heads": 2, "num_memory_tokens": 2}
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def toy(**changes: Any) -> RMTClassifier:
    """A seeded model in float64 with segments of six bases."""
    torch.manual_seed(0)
    sizes = {**SIZES, "segment_length": 6, "stem_width": 3, **changes}
    model = RMTClassifier(ClassifierConfig(classes=(), task="pretraining", **sizes)).double()
    with torch.no_grad():  # so that the memory matters in an untrained model
        gate = model.encoder.step.memory.gate
        assert gate is not None
        gate.bias.zero_()
    return model


def batch(*lengths: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes, targets and lengths of random sequences with a third of the bases masked."""
    random = np.random.default_rng(seed)
    codes = np.full((len(lengths), max(lengths)), N, np.uint8)
    targets = codes.copy()
    settings = PretrainingSettings(mask_fraction=0.3, span_bp=3)
    for row, length in enumerate(lengths):
        masked = mask_codes(random.integers(0, 5, length).astype(np.uint8), settings, random)
        codes[row, :length], targets[row, :length] = masked.codes, masked.targets
    return torch.from_numpy(codes), torch.from_numpy(targets), torch.tensor(lengths)


def value_and_gradients(model: RMTClassifier, lengths: list[int], **options: Any) -> list[Tensor]:
    loss = masked_base_loss(model.encoder, model.head, *batch(*lengths), **options)
    weights = list(model.parameters())
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return [loss.detach(), *gradients]


@pytest.mark.parametrize("bptt_depth", [None, 2])
@pytest.mark.parametrize("changes", [{}, {"stem_pool": 3, "segment_length": 4, "dropout": 0.3}])
def test_replay_gives_value_and_gradients_of_unroll(
    changes: dict[str, Any], bptt_depth: int | None
) -> None:
    model, lengths = toy(**changes), [38, 9, 61]
    torch.manual_seed(1)
    plain = value_and_gradients(model, lengths, replay=False, bptt_depth=bptt_depth)
    torch.manual_seed(1)
    replayed = value_and_gradients(model, lengths, replay=True, bptt_depth=bptt_depth)

    torch.testing.assert_close(replayed, plain, **EXACT)
    used = dict(zip(dict(model.named_parameters()), plain[1:], strict=True))
    assert used["encoder.step.memory.write_identity"].abs().max() > 0
    assert used["head.weight"].abs().max() > 0


def plain_losses(model: RMTClassifier, codes: Tensor, targets: Tensor) -> Tensor:
    """Predict base by base, one strand of one sequence: the slow twin."""
    step, p = model.encoder.step, model.config.stem_pool
    size, (left_halo, right_halo) = model.config.rmt().tokens_per_segment, model.config.rmt().halo
    memory, losses = step.memory.initial(1), torch.zeros(len(codes), dtype=torch.float64)
    for start in range(0, len(codes), size):
        stop = min(start + size, len(codes))
        left, right = min(left_halo, start), min(right_halo, len(codes) - stop)
        window = codes[None, start - left : stop + right]
        segment = Segment(window, None, left, stop - start, is_start=start == 0)
        memory, _, states = step.read(segment, memory, return_tokens=True)
        assert states is not None
        for position in range(start, stop):
            token, within = divmod(position - start, p)
            logits = model.head(states[0, token])[4 * within : 4 * within + 4]
            if targets[position] < 4:
                losses[position] = -logits.log_softmax(dim=0)[int(targets[position])]
    return losses.detach()


@pytest.mark.parametrize("changes", [{}, {"stem_pool": 3, "segment_length": 4}])
def test_the_loss_of_each_base_is_that_of_a_plain_loop_over_both_strands(
    changes: dict[str, Any],
) -> None:
    model = toy(**changes).eval()
    codes, targets, lengths = batch(38, 9)

    losses = masked_base_losses(model.encoder, model.head, codes, targets, lengths)

    for row, length in enumerate(lengths.tolist()):
        one, masked = codes[row, :length], targets[row, :length]
        at = lengths[row : row + 1]
        other, other_masked = (reverse_complement(each[None], at)[0] for each in (one, masked))
        forward = plain_losses(model, one, masked)
        reverse = plain_losses(model, other, other_masked).flip(0)
        expected = (forward + reverse) / 2
        torch.testing.assert_close(losses[row, :length].double(), expected, rtol=1e-5, atol=1e-6)
        assert not losses[row, length:].any()
    total = masked_base_loss(model.encoder, model.head, codes, targets, lengths)
    torch.testing.assert_close(losses.double().sum(), total.detach(), rtol=1e-5, atol=1e-6)


def test_the_other_strand_has_the_same_loss() -> None:
    model = toy()
    codes, targets, lengths = batch(38, 9)

    loss = masked_base_loss(model.encoder, model.head, codes, targets, lengths)
    codes, targets = reverse_complement(codes, lengths), reverse_complement(targets, lengths)
    other = masked_base_loss(model.encoder, model.head, codes, targets, lengths)

    torch.testing.assert_close(loss, other, **EXACT)


def test_the_loss_of_a_sequence_does_not_depend_on_its_batch() -> None:
    model = toy().eval()
    codes, targets, lengths = batch(38, 9, 61)

    together = masked_base_losses(model.encoder, model.head, codes, targets, lengths)
    alone = masked_base_losses(
        model.encoder, model.head, codes[1:2, :9], targets[1:2, :9], lengths[1:2]
    )

    torch.testing.assert_close(together[1:2, :9], alone, rtol=1e-5, atol=1e-6)


def test_without_memory_only_sequences_of_one_segment_keep_their_loss() -> None:
    model = toy().eval()
    codes, targets, lengths = batch(6, 30)

    with_memory, without = (
        masked_base_losses(
            model.encoder, model.head, codes, targets, lengths, reset_memory=reset_memory
        )
        for reset_memory in (False, True)
    )

    torch.testing.assert_close(with_memory[0], without[0], rtol=0, atol=0)
    assert (with_memory[1] - without[1]).abs().max() > 1e-4


def saved_bytes(num_segments: int, *, replay: bool) -> int:
    """Bytes of distinct storage that backward needs, without parameters and sequences."""
    model, storages = toy(), {}
    codes, targets, lengths = batch(6 * num_segments)

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if tensor.dtype == torch.float64:
            storages[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        masked_base_loss(model.encoder, model.head, codes, targets, lengths, replay=replay)
    return sum(size for size, _ in storages.values())


def test_replay_keeps_one_memory_per_segment() -> None:
    strands, memory_tokens, dim, float64 = 2, 2, 8, 8

    growth = saved_bytes(40, replay=True) - saved_bytes(10, replay=True)

    assert growth == 30 * strands * memory_tokens * dim * float64
    assert saved_bytes(20, replay=False) - saved_bytes(10, replay=False) > 10 * growth


@pytest.mark.parametrize("span_fraction", [0.0, 0.5, 1.0])
def test_about_the_wanted_fractions_are_masked(span_fraction: float) -> None:
    settings = PretrainingSettings(mask_fraction=0.15, span_fraction=span_fraction)
    codes = np.random.default_rng(0).integers(0, 5, 200_000).astype(np.uint8)

    masked = mask_codes(codes, settings, np.random.default_rng(1))

    is_masked = masked.targets < N
    is_known = codes < N
    assert is_masked[is_known].mean() == pytest.approx(0.15, abs=0.01)
    assert masked.in_span[is_masked].mean() == pytest.approx(span_fraction, abs=0.05)
    assert not is_masked[~is_known].any()
    np.testing.assert_array_equal(masked.targets[is_masked], codes[is_masked])
    assert (masked.codes[is_masked] == N).all()
    is_read = masked.codes < N
    np.testing.assert_array_equal(masked.codes[is_read], codes[is_read])
    assert not (is_read & is_masked).any()
    changes = np.flatnonzero(np.diff(np.concatenate([[0], masked.in_span, [0]])))
    lengths = (changes[1::2] - changes[::2])[1:-1]  # the first and the last may be cut
    assert (lengths >= 10).all()


def test_a_base_is_masked_of_any_sequence_that_has_one() -> None:
    settings = PretrainingSettings(mask_fraction=0.001)
    for seed in range(20):
        random = np.random.default_rng(seed)
        masked = mask_codes(np.array([N, 2, N], np.uint8), settings, random)
        assert masked.targets.tolist() == [N, 2, N]
        assert masked.codes.tolist() == [N, N, N]
    nothing = mask_codes(np.full(5, N, np.uint8), settings, np.random.default_rng(0))
    assert nothing.targets.tolist() == [N] * 5


def test_other_bases_are_masked_in_each_epoch_and_always_the_same_in_validation() -> None:
    numbers = [
        mask_random(0, name, epoch).random()
        for name, epoch in (("a", None), ("a", None), ("b", None), ("a", 0), ("a", 1))
    ]

    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 4


def test_a_pretrained_model_embeds_but_has_nothing_to_predict() -> None:
    model = toy().float().eval()

    assert model.embed(["ACGTACGT", "GG"]).shape == (2, 16)
    with pytest.raises(ValueError, match="was pretrained without labels, so it has no classes"):
        model.predict_proba(["ACGT"])
    assert "pretraining; dim 8" in repr(model)

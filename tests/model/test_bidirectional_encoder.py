"""Laws 2 and 3: the other strand swaps the halves, and the batch changes nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import encode, reverse_complement
from rmt_genomics.model.batching import pad
from rmt_genomics.model.pooling import POOLINGS
from tests.model.toys import toy

EXACT = {"rtol": 1e-12, "atol": 1e-12}
batches = st.lists(st.text(alphabet="ACGTN", min_size=1, max_size=40), min_size=1, max_size=3)
poolings = st.sampled_from(sorted(POOLINGS))
readouts = st.sampled_from(["written", "carried"])
tokenizers = st.sampled_from(
    [
        {},
        {"stem_pool": 3},
        {"tokenizer_kind": "kmer", "k": 3},
        {"tokenizer_kind": "kmer", "k": 3, "stride": 2, "stem_pool": 2},
    ]
)


@given(sequences=batches, pooling=poolings, tokenizer=tokenizers)
def test_the_other_strand_swaps_the_halves(
    sequences: list[str], pooling: str, tokenizer: dict[str, object]
) -> None:
    model = toy(pooling=pooling, **tokenizer)
    here = model.encode(*pad([encode(each) for each in sequences])).concatenated()
    there = model.encode(
        *pad([encode(reverse_complement(each)) for each in sequences])
    ).concatenated()
    torch.testing.assert_close(there, here.roll(8, dims=-1), **EXACT)


def test_two_different_strands_have_different_encodings() -> None:
    """The check can fail: the halves themselves differ."""
    first, second = toy().encode(*pad([encode("AACCGTTAGGA")])).concatenated().chunk(2, dim=-1)
    assert not torch.allclose(first, second)


@given(sequences=batches)
def test_with_the_symmetric_head_both_strands_have_equal_logits(sequences: list[str]) -> None:
    model = toy(strand_head="symmetric")
    here = model(*pad([encode(each) for each in sequences]))
    there = model(*pad([encode(reverse_complement(each)) for each in sequences]))
    torch.testing.assert_close(there, here, **EXACT)


def test_the_symmetric_head_is_exact_to_the_last_bit() -> None:
    head = toy(strand_head="symmetric").head
    encoding = torch.randn(4, 16, dtype=torch.float64)
    assert torch.equal(head(encoding), head(encoding.roll(8, dims=-1)))


@given(sequences=batches, pooling=poolings, tokenizer=tokenizers, readout=readouts)
def test_the_batch_changes_nothing(
    sequences: list[str], pooling: str, tokenizer: dict[str, object], readout: str
) -> None:
    model = toy(pooling=pooling, readout=readout, **tokenizer)
    together = model(*pad([encode(each) for each in sequences]))
    for row, sequence in enumerate(sequences):
        alone = model(*pad([encode(sequence)]))
        torch.testing.assert_close(together[row : row + 1], alone, **EXACT)


@pytest.mark.parametrize("readout", ["written", "carried"])
@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_replay_unroll_and_streaming_give_one_answer(pooling: str, readout: str) -> None:
    model = toy(pooling=pooling, readout=readout)
    batch = pad([encode("ACGTTGCANN" * 8), encode("GATTACA")])
    gradients = []
    for use_replay in (True, False):
        model.zero_grad()
        logits = model(*batch, replay=use_replay)
        logits.square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(model(*batch), logits, **EXACT)


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_streaming_in_many_chunks_equals_one(pooling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = toy(pooling=pooling), pad([encode("ACGTTGCANN" * 9), encode("GATTACAG")])
    with torch.no_grad():
        whole = model(*batch)
        monkeypatch.setattr("rmt_genomics.model.bidirectional_encoder.SEGMENTS_AT_ONCE", 4)
        torch.testing.assert_close(model(*batch), whole, **EXACT)


def test_beyond_a_few_segments_replay_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[str] = []
    for name in ("replay_with_outputs", "unroll_with_outputs"):
        real = getattr(
            __import__("rmt_genomics.model.bidirectional_encoder", fromlist=[name]), name
        )

        def spy(*args: object, name: str = name, real: object = real, **kwargs: object) -> object:
            used.append(name.removesuffix("_with_outputs"))
            return real(*args, **kwargs)

        monkeypatch.setattr(f"rmt_genomics.model.bidirectional_encoder.{name}", spy)
    model = toy()
    model(*pad([encode("ACGT" * 3)]))
    model(*pad([encode("ACGT" * 20)]))
    model(*pad([encode("ACGT" * 20)]), replay=False)
    model(*pad([encode("ACGT" * 3)]), bptt_depth=1)
    assert used == ["unroll", "replay", "unroll", "replay"]


@pytest.mark.parametrize("bptt_depth", [1, 2])
@pytest.mark.parametrize("readout", ["written", "carried"])
def test_with_bptt_depth_replay_equals_unroll_and_the_batch_changes_no_gradient(
    readout: str, bptt_depth: int
) -> None:
    model = toy(readout=readout)
    sequences = [encode("ACGTTGCANN" * 4), encode("GATTACA")]  # the second ends five segments early
    gradients = []
    for batches, use_replay in (([sequences], True), ([sequences], False), (sequences, False)):
        model.zero_grad()
        for batch in batches:
            codes = pad(batch if isinstance(batch, list) else [batch])
            model(*codes, replay=use_replay, bptt_depth=bptt_depth).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for others in gradients[1:]:
        torch.testing.assert_close(others, gradients[0], rtol=1e-10, atol=1e-12)


def test_the_default_read_out_is_what_a_segment_wrote_before_the_gate() -> None:
    """By hand: the mean over memory tokens of what the last segment wrote, and of what it kept."""
    codes = pad([encode("ACGTTGCAGG")])
    written, carried = toy(), toy(readout="carried")
    step = written.encoder.step
    assert written.config.readout == "written"
    outputs = []
    step.layers.register_forward_hook(lambda *args: outputs.append(args[-1][0][:, -2:]))
    with torch.no_grad():
        by_hand = written.encode(*codes).strands
        kept = carried.encode(*codes).strands
        memory = step.memory.update(step.memory.initial(2), outputs[0])
        memory = step.memory.update(memory, outputs[1])
    torch.testing.assert_close(by_hand, outputs[1].mean(dim=1).flatten()[None], **EXACT)
    torch.testing.assert_close(kept, memory.mean(dim=1).flatten()[None], **EXACT)


def test_bptt_depth_stops_the_gradient() -> None:
    model, batch = toy(), pad([encode("ACGTTG" * 8)])
    found = []
    for depth in (None, 2):
        model.zero_grad()
        model(*batch, bptt_depth=depth).square().sum().backward()
        found.append(model.encoder.step.embed.embedding.weight.grad)
    assert not torch.allclose(*found)

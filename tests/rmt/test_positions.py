"""Rotary positions: float32 in every model, memory not rotated, only distance matters."""

import torch
from torch._subclasses import FakeTensorMode

from rmt_genomics.rmt.positions import PositionCounts, cached_rotation, rotate, rotation_of

CPU = torch.device("cpu")


def test_phases_stay_float32_in_a_bfloat16_model() -> None:
    exact = rotation_of(PositionCounts(0, 2, 64, 2), 8, CPU, torch.float64)
    half = rotation_of(PositionCounts(0, 2, 64, 2), 8, CPU, torch.bfloat16)
    assert half.cos.dtype == torch.float32
    torch.testing.assert_close(half.cos.double(), exact.cos, rtol=0, atol=1e-7)


def test_memory_positions_are_not_rotated() -> None:
    features = torch.randn(1, 1, 7, 8)
    rotated = rotate(features, rotation_of(PositionCounts(0, 2, 3, 2), 8, CPU, torch.float32))
    assert torch.equal(rotated[:, :, [0, 1, 5, 6]], features[:, :, [0, 1, 5, 6]])
    assert not torch.allclose(rotated[:, :, 2:5], features[:, :, 2:5])


def test_only_the_distance_between_tokens_matters() -> None:
    query, key = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    rotation = rotation_of(PositionCounts(0, 0, 9, 0), 8, CPU, torch.float64)
    queries, keys = (
        rotate(query.expand(1, 1, 9, 8), rotation),
        rotate(key.expand(1, 1, 9, 8), rotation),
    )
    scores = (queries @ keys.mT)[0, 0]
    for distance in range(-8, 9):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))


def test_rotation_keeps_the_norm_of_a_vector() -> None:
    features = torch.randn(2, 3, 10, 8, dtype=torch.float64)
    rotated = rotate(features, rotation_of(PositionCounts(0, 0, 10, 0), 8, CPU, torch.float64))
    torch.testing.assert_close(rotated.norm(dim=-1), features.norm(dim=-1))


def test_only_real_tensors_are_cached() -> None:
    counts = PositionCounts(0, 2, 64, 2)

    def scaled(factor: torch.Tensor) -> torch.Tensor:
        return (factor * rotation_of(counts, 8, CPU, torch.float32).cos).sum()

    for is_cached_before in (False, True):
        cached_rotation.cache_clear()
        if is_cached_before:
            scaled(torch.ones(()))
        with FakeTensorMode():
            scaled(torch.ones(()))
        torch.func.grad(scaled)(torch.ones(()))

        table = rotation_of(counts, 8, CPU, torch.float32).cos

        assert type(table) is torch.Tensor
        assert torch.func.debug_unwrap(table) is table

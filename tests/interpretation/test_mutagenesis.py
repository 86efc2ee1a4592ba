"""In-silico mutagenesis is the naive loop over full predictions."""

import numpy as np
import pytest

from rmt_genomics.dna.alphabet import decode
from rmt_genomics.errors import ConfigError, DataError
from rmt_genomics.interpretation import attribute
from tests.interpretation.toys import logits, random_codes, toy


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_changes_are_those_of_full_predictions(task: str) -> None:
    model, codes = toy(task=task, features=("kmer:2",)), random_codes(num_bases=5)

    found = attribute(model, decode(codes), method="mutagenesis", class_name="c", interval=(17, 22))

    changes = np.zeros((4, 5))
    for position in range(17, 22):
        for base in range(4):
            mutant = codes.copy()
            if codes[position] < 4:
                mutant[position] = base
            changes[base, position - 17] = logits(model, mutant)[2] - logits(model, codes)[2]
    expected = changes - changes.mean(axis=0)
    assert found.by_base is not None
    np.testing.assert_allclose(found.by_base, expected, rtol=1e-4, atol=1e-7)
    known = codes[17:22] < 4
    own = expected[codes[17:22][known], np.flatnonzero(known)]
    np.testing.assert_allclose(found.values[known], own, rtol=1e-4, atol=1e-7)
    assert (found.values[~known] == 0).all()
    assert np.abs(found.values).max() > 1e-5
    assert found.explained is None
    assert found.starts.tolist() == list(range(17, 22))


def test_what_has_no_meaning_is_refused() -> None:
    model = toy()
    with pytest.raises(ConfigError, match="mutagenesis reads the record three times"):
        attribute(model, "ACGT", method="mutagenesis")
    with pytest.raises(ConfigError, match="method is 'magic', but must be one of gradient, int"):
        attribute(model, "ACGT", method="magic")
    with pytest.raises(DataError, match=r"sequence:2-5 must satisfy start < end <= 4"):
        attribute(model, "ACGT", interval=(2, 5))
    with pytest.raises(ConfigError, match="piece_bp is 0, but must be at least 1"):
        attribute(model, "ACGT", method="occlusion", piece_bp=0)
    for method in ("gradient", "mutagenesis"):
        with pytest.raises(ConfigError, match=f"method {method} gives a value to each base, not"):
            attribute(model, "ACGT", method=method, interval=(0, 4), piece_bp=2)
    with pytest.raises(ConfigError, match="class 'd' is unknown, but must be a class of the mod"):
        attribute(model, "ACGT", class_name="d")

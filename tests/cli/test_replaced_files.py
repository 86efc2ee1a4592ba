"""A file at --out is only replaced if its content proves that the same command has written it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.toys import fail, succeed
from tests.prediction.toys import saved_model, two_kinds

Words = list[object]
COMMANDS: dict[str, Callable[[Path], Words]] = {
    "embed.tsv": lambda at: ["embed", at / "model", at / "toy.fa", "--window", 30],
    "embed.npy": lambda at: ["embed", at / "model", at / "toy.fa"],
    "embed.npz": lambda at: ["embed", at / "model", at / "toy.fa"],
    "split.tsv": lambda at: ["split", at / "toy.fa", "--labels", at / "labels.tsv", *BY],
    "predict.tsv": lambda at: ["predict", at / "model", at / "toy.fa", "--window", 30],
    "predict.bed": lambda at: ["predict", at / "model", at / "toy.fa", "--format", "bed"],
    "predict.wig": lambda at: ["predict", at / "model", at / "toy.fa", "--format", "bedgraph"],
    "shard.tsv": lambda at: ["predict", at / "model", at / "toy.fa", "--shard", "1/1"],
    "join.tsv": lambda at: ["join", at / "1.tsv"],
}
BY = ("--by", "stratified")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("replaced")
    two_kinds(at, splits="")
    saved_model(at / "model")
    succeed("predict", at / "model", at / "toy.fa", "--shard", "1/1", "--out", at / "1.tsv")
    return at


def foreign_files(path: Path) -> list[bytes]:
    """Return contents that could be of another program, for a file of this name."""
    contents = [b"record\tscore\tnotes\nr1\t0.5\tmine\n", b"\xff\xfe\0\x1f\x8b"]
    for array in (np.zeros(3), np.zeros((2, 2), dtype=np.int64)):
        with path.open("wb") as file:
            np.save(file, array)
        contents.append(path.read_bytes())
    with path.open("wb") as file:
        np.savez(file, embedding=np.zeros((2, 2), dtype=np.float32))
    return [*contents, path.read_bytes()]


@pytest.mark.parametrize("name", COMMANDS)
def test_only_output_of_the_same_kind_is_replaced(name: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / name
    command = [*COMMANDS[name](folder), "--out", out]
    for content in foreign_files(tmp_path / name):
        out.write_bytes(content)

        message = fail(*command, "--overwrite")

        assert message == (
            f"{out}: is not output of this command, but nothing else is replaced. Move it away, or "
            "give another --out."
        )
        assert out.read_bytes() == content
    out.write_bytes(b"")  # nothing is lost
    succeed(*command, "--overwrite")
    written = out.read_bytes()
    assert "the file exists" in fail(*command)
    succeed(*command, "--overwrite")
    assert len(written) == len(out.read_bytes()) > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]

"""Shards of the predictions, joined again: each row once, in input order, or an error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.errors import DataError
from rmt_genomics.prediction.sharding import joined_lines


def write(
    folder: Path,
    rows: list[list[int]],
    *,
    model: str = "m",
    total: int | None = None,
    checksums: str = "xxxx",
) -> list[Path]:
    """Write one shard for each list of rows."""
    paths = []
    for number, indices in enumerate(rows, start=1):
        header = [f"#rmt-genomics shard {number}/{len(rows)} {model}", "#header a\tb"]
        lines = [*header, *(f"{row}\tr{row}\tx" for row in indices)]
        num_rows = sum(map(len, rows)) if total is None else total
        lines.append(f"#end {num_rows} {checksums[number - 1]}")
        paths.append(folder / f"{model}{number}")
        paths[-1].write_text("".join(f"{line}\n" for line in lines))
    return paths


@given(owners=st.lists(st.integers(0, 3), max_size=20))
def test_joined_shards_are_the_whole_in_order(
    tmp_path_factory: pytest.TempPathFactory, owners: list[int]
) -> None:
    rows = [[row for row, owner in enumerate(owners) if owner == shard] for shard in range(4)]
    paths = write(tmp_path_factory.mktemp("shards"), rows)

    found = list(joined_lines(list(np.random.default_rng(0).permutation(paths))))

    assert found == ["a\tb", *(f"r{row}\tx" for row in range(len(owners)))]


def test_a_shard_that_is_missing_doubled_or_of_another_run_is_named(tmp_path: Path) -> None:
    one, two, three = write(tmp_path, [[0], [1], [2]])
    other = write(tmp_path, [[0], [1], [2]], model="other")[2]

    with pytest.raises(DataError, match="m1: is one of 3 shards, but shard 2, 3 is not among"):
        list(joined_lines([one]))
    with pytest.raises(DataError, match=r"m1: is shard 1/3, but so is .*m1\. Give each"):
        list(joined_lines([one, two, one]))
    with pytest.raises(DataError, match=r"other3: is of another run than .*m1, but"):
        list(joined_lines([one, two, other]))
    with pytest.raises(DataError, match="m4: there is no such file, but it must be a shard"):
        list(joined_lines([one, two, three, tmp_path / "m4"]))


@pytest.mark.parametrize("lines_left", [1, 2, 3])
def test_an_incomplete_shard_is_named(tmp_path: Path, lines_left: int) -> None:
    one, two = write(tmp_path, [[0], [1]])
    two.write_text("".join(two.read_text().splitlines(keepends=True)[:lines_left]))

    with pytest.raises(DataError, match="m2: the shard is incomplete, but must end with"):
        list(joined_lines([one, two]))


@pytest.mark.parametrize("content", ["", "record\tlength\n", "#rmt-genomics shard 1 of 2\n"])
def test_a_file_that_is_not_a_shard_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.tsv").write_text(content)

    with pytest.raises(DataError, match=r"a\.tsv: is not a shard, but must be a file that predict"):
        list(joined_lines([tmp_path / "a.tsv"]))


def test_rows_that_do_not_add_up_are_an_error(tmp_path: Path) -> None:
    for rows, words in (
        ([[0, 1], [1]], "row 1 is there twice"),
        ([[0], [2]], "row 1 is missing"),
    ):
        with pytest.raises(DataError, match=f"{words}, but the shards must hold each row once"):
            list(joined_lines(write(tmp_path, rows)))
    with pytest.raises(DataError, match="says that there are 3 rows, but the shards hold 2"):
        list(joined_lines(write(tmp_path, [[0], [1]], total=3)))


def test_shards_of_another_input_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"m2: its input has another checksum than that of .*m1"):
        list(joined_lines(write(tmp_path, [[0], [1]], checksums="xy")))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"0\tr0", b"x\tr0", "a line does not begin with the index of its row"),
        (b"0\tr0", b"\xd9\xa0\tr0", "a line does not begin with the index of its row"),
        (b"0\tr0", b"9" * 5000 + b"\tr0", "a line does not begin with the index of its row"),
        (b"0\tr0", b"\xe9\tr0", "it is not UTF-8 text"),
        (b"x\n#end", b"x\n0\tr0\tx\n#end", "row 0 is there twice"),
        (b"#end 1", b"#end " + b"1" * 5000, "the shard is incomplete"),
        (b"#end 1 x\n", b"#end 1 x\nmore\n", "there are lines after its end"),
        (b"1/1", b"1/" + b"1" * 5000, "is not a shard"),
    ],
)
def test_a_damaged_shard_is_named(tmp_path: Path, old: bytes, new: bytes, words: str) -> None:
    (path,) = write(tmp_path, [[0]])
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))

    with pytest.raises(DataError, match=words):
        list(joined_lines([path]))

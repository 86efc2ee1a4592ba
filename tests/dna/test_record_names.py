"""Names that are twice in a file, in several files, or longer than one word."""

from pathlib import Path

import pytest

from rmt_genomics.dna import NameOptions, RecordNames, read_encoded, read_records
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning

NUMBER = NameOptions("number")
FULL = NameOptions(full=True)


def write(folder: Path, texts: dict[str, str]) -> list[Path]:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def names_of(files: list[Path], options: NameOptions = NameOptions()) -> list[str]:
    names = RecordNames(files, options)
    return [record.name for file in files for record in read_records(file, names)]


def test_names_in_several_files_get_the_name_of_the_file(tmp_path: Path) -> None:
    files = write(tmp_path, {"a.fa": ">c1\nAC\n>x\nA\n", "b.fa.txt": ">c1\nGT\n>y\nC\n"})

    with pytest.warns(RMTGenomicsWarning) as caught:
        found = names_of(files)

    assert found == ["a:c1", "x", "b.fa:c1", "y"]
    assert str(caught[0].message) == (
        "1 record name is in several files, so the name of the file is put before it, as in 'a:c1'."
    )


@pytest.mark.parametrize(
    ("paths", "prefixes"),
    [
        (["a/x.fa", "b/x.fa"], ["a/x", "b/x"]),
        (["x.fa", "x.fna"], ["x.fa", "x.fna"]),
        (["in/a/x.fa.gz.txt", "in/b/y.fa"], ["x.fa.gz", "y"]),
    ],
)
def test_the_prefix_is_as_short_as_it_may_be(
    tmp_path: Path, paths: list[str], prefixes: list[str]
) -> None:
    files = write(tmp_path, dict.fromkeys(paths, ">c\nACGT\n"))

    with pytest.warns(RMTGenomicsWarning, match="1 record name is in several files"):
        assert names_of(files) == [f"{prefix}:c" for prefix in prefixes]


def test_names_of_different_files_stay_as_they_are(tmp_path: Path) -> None:
    files = write(tmp_path, {"a.fa": ">c1\nAC\n", "b.fa": ">c2\nGT\n"})

    assert names_of(files) == ["c1", "c2"]


REPEATS = ">a one\nAC\n>b\nA\n>a one\nGT\n>a one\nAC\n>a one\ngt\n>a two\nAC\n"


def test_repeats_are_numbered_and_copies_left_out(tmp_path: Path) -> None:
    (file,) = write(tmp_path, {"x.fa": REPEATS})

    for read in (read_records, read_encoded):
        with pytest.warns(RMTGenomicsWarning) as caught:
            found = [record.name for record in read(file, names=RecordNames([file], NUMBER))]

        # The last has another header, which may be another label.
        assert found == ["a", "b", "a_2", "a_3"]
        assert [str(each.message) for each in caught] == [
            f"{file}: 2 repeats of a name numbered (such as 'a_2', a repeat of 'a'), 2 copies with "
            "the same name, header and sequence left out (--duplicate-names number)."
        ]


def test_a_number_that_is_taken_is_not_given(tmp_path: Path) -> None:
    (file,) = write(tmp_path, {"x.fa": ">a\nA\n>a_2\nAC\n>a\nG\n"})

    with pytest.warns(RMTGenomicsWarning, match="such as 'a_3'"):
        assert names_of([file], NUMBER) == ["a", "a_2", "a_3"]


def test_a_name_that_was_given_to_a_repeat_is_refused(tmp_path: Path) -> None:
    (file,) = write(tmp_path, {"x.fa": ">a\nA\n>a\nAC\n>a_2\nG\n"})

    with pytest.raises(DataError, match=r"x\.fa:5: record 'a_2' has the name that was given to a"):
        names_of([file], NUMBER)


def test_numbered_names_of_several_files_differ(tmp_path: Path) -> None:
    files = write(tmp_path, {"x.fa": ">a\nA\n>a\nAC\n", "y.fa": ">b\nA\n>b\nC\n>a\nT\n"})

    with pytest.warns(RMTGenomicsWarning):
        found = names_of(files, NUMBER)

    assert found == ["x:a", "x:a_2", "b", "y:b_2", "y:a"]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (">a x\nA\n>a x\nC\n", "Pass --duplicate-names number to number the repeats"),
        (">a x\nA\n>a y\nC\n", "The headers differ, but names end at the first blank: pass --full"),
        ("@a 1:N\nA\n+\nI\n@a 2:N\nC\n+\nI\n", "names end at the first blank: pass --full-names"),
    ],
)
def test_the_remedy_is_the_option_that_helps(tmp_path: Path, text: str, remedy: str) -> None:
    (file,) = write(tmp_path, {"x.fa": text})

    with pytest.raises(DataError, match=f"record 'a' was already at .*{remedy}"):
        names_of([file])


def test_full_names_are_whole_headers(tmp_path: Path) -> None:
    (file,) = write(tmp_path, {"x.fa": ">hCoV-19/Hong Kong/1\tx\nA\n>hCoV-19/Hong Kong/2 \nC\n"})

    records = list(read_records(file, RecordNames([file], FULL)))

    assert [record.name for record in records] == ["hCoV-19/Hong Kong/1 x", "hCoV-19/Hong Kong/2"]
    assert {record.description for record in records} == {""}


def test_full_names_may_be_twice_as_well(tmp_path: Path) -> None:
    (file,) = write(tmp_path, {"x.fa": ">a b\nA\n>a b\nC\n"})

    with pytest.raises(DataError, match=r"record 'a b' was already at line 1.*Pass --duplicate-n"):
        names_of([file], FULL)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="--duplicate-names is 'keep', but must be one of error"):
        NameOptions("keep")


def test_a_pipe_with_a_name_of_another_file_is_refused(tmp_path: Path) -> None:
    import os

    (file,) = write(tmp_path, {"a.fa": ">c1\nAC\n"})
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    names = RecordNames([file, pipe])

    with pytest.raises(DataError, match=r"record 'c1' is also in .*a\.fa, .* Save it to a file"):
        names.check_pipe("c1", pipe)

"""Ways to damage a file: each is a function from the bytes of a valid file to those of a bad one.

All of them are deterministic, so a case of the corpus is the same in every run.
"""

import gzip
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

Mutation = Callable[[bytes], bytes]

DIGITS = "9" * 5000  # more than int() reads: 4,300
DEEP = 100_000
_CONTROLS = {"escape": 0x1B, "bell": 0x07, "vertical_tab": 0x0B, "form_feed": 0x0C, "nul": 0}


def _insert(content: bytes, position: float, piece: bytes) -> bytes:
    """Insert bytes at a fraction of the length."""
    index = int(len(content) * position)
    return content[:index] + piece + content[index:]


def _flip(content: bytes, position: float) -> bytes:
    if not content:
        return b"\xff"
    index = min(int(len(content) * position), len(content) - 1)
    return content[:index] + bytes([content[index] ^ 0x55]) + content[index + 1 :]


def _zip(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("content"), content)
    return stream.getvalue()


BYTES: dict[str, Mutation] = {
    "empty": lambda _: b"",
    "one_byte": lambda content: content[:1],
    "cut_half": lambda content: content[: len(content) // 2],
    "cut_last_byte": lambda content: content[:-1],
    "cut_first_byte": lambda content: content[1:],
    "flip_start": lambda content: _flip(content, 0),
    "flip_third": lambda content: _flip(content, 1 / 3),
    "flip_two_thirds": lambda content: _flip(content, 2 / 3),
    "flip_end": lambda content: _flip(content, 1),
    "nul_bytes": lambda content: _insert(content, 0.5, b"\0" * 8),
    "all_nul": lambda content: b"\0" * len(content),
    "twice": lambda content: content + content,
    "garbage": lambda _: random.Random(1).randbytes(2000),
    "garbage_after": lambda content: content + random.Random(2).randbytes(50),
    "picture": lambda _: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(40),
    "zip": _zip,
    "pickle": lambda _: b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93.",
}
"""For any file."""

TEXT: dict[str, Mutation] = {
    "blank": lambda _: b"\n \n\t\n",
    "latin1": lambda content: _insert(content, 0.4, b"\xe9\xfc"),
    "latin1_start": lambda content: _insert(content, 0.05, b"\xe9"),
    "bom": lambda content: b"\xef\xbb\xbf" + content,
    "utf16": lambda content: content.decode().encode("utf-16"),
    "crlf": lambda content: content.replace(b"\n", b"\r\n"),
    "cr": lambda content: content.replace(b"\n", b"\r"),
    "no_line_end": lambda content: content.rstrip(b"\n"),
    "long_line": lambda content: _insert(content, 0.5, b"A" * 140_000),
    "long_first_line": lambda content: b"x" * 140_000 + b"\n" + content,
    "blank_lines": lambda content: content.replace(b"\n", b"\n\n"),
    "spaces_before": lambda content: b"  \n\x0c\n" + content,
    "surrogate": lambda content: _insert(content, 0.3, b"\xed\xa0\x80"),
    "web_page": lambda _: b"<!DOCTYPE html>\n<html>Error 404</html>\n",
    **{
        f"{name}_at_{place}": lambda content, code=code, place=place: _insert(
            content, place / 10, bytes([code])
        )
        for name, code in _CONTROLS.items()
        for place in (1, 6)
    },
}
"""For text files."""

GZIP: dict[str, Mutation] = {
    "twice_compressed": lambda content: gzip.compress(content, mtime=0),
    "end_missing": lambda content: content[:-8],
    "wrong_checksum": lambda content: content[:-8] + bytes(8),
    "newline_after": lambda content: content + b"\n",
    "zeros_after": lambda content: content + bytes(512),
    "huge": lambda _: gzip.compress(bytes(30_000_000), mtime=0),
    "of_nothing": lambda _: gzip.compress(b"", mtime=0),
    "reserved_flags": lambda content: content[:3] + b"\xff" + content[4:],
}
"""For gzip files, beside those for any file."""

_WRONG_VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    10**30,
    0.5,
    -1e308,
    "",
    "x",
    "\x1b[31m",
    "\udcff",
    [],
    ["x"],
    [1],
    [[1]],
    {},
    {"a": 1},
    "a\tb\nc",
]


def json_mutations(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield mutations of a JSON object: a few wrong values of each key, and texts that are none."""
    value = json.loads(content)
    chosen = random.Random(3)
    for path, old in leaves(value):
        name = ".".join(map(str, path))
        for wrong in chosen.sample(_WRONG_VALUES, 3):
            if wrong != old:
                changed = replaced(value, path, wrong)
                yield f"{name}={_short(wrong)}", json.dumps(changed).encode()
        text = json.dumps(replaced(value, path, "@@"))
        literal = chosen.choice([DIGITS, "1e400", "NaN", "-Infinity", "[" * DEEP])
        yield f"{name}={literal[:9]}", text.replace('"@@"', literal).encode()
        if isinstance(path[-1], str):
            yield f"{name}_removed", json.dumps(replaced(value, path, _REMOVED)).encode()
    yield from json_texts(content)


def json_texts(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield texts that are no JSON, or another JSON than an object."""
    first = next(iter(json.loads(content)), "a")
    yield "key_twice", content.replace(b"{", b'{"%s": 1, ' % first.encode(), 1)
    yield "unknown_key", content.replace(b"{", b'{"\\u001b[31m": 1, ', 1)
    yield "deep_list", b"[" * DEEP
    yield "deep_objects", b'{"a":' * DEEP
    yield "many_digits", DIGITS.encode()
    for text in ("null", "[]", "{}", '"text"', "1e400", "NaN", "[{}]", "{'a': 1}", "{,}"):
        yield f"is_{text}", text.encode()


_REMOVED = object()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the paths of an object's values, and of the first element of each list."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:1])
    for key, each in items:
        yield (*path, key), each
        if isinstance(each, dict | list) and len(path) < 2:
            yield from leaves(each, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy in which the value at a path is another, or is removed."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and new is _REMOVED:
        del copy[path[0]]
    else:
        copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def _short(value: object) -> str:
    return ascii(value).replace("\\", "").replace(" ", "")[:20]


_CELLS = {
    "empty": "",
    "blank": " ",
    "digits": DIGITS,
    "infinite": "1e400",
    "nan": "nan",
    "minus": "-5",
    "huge": "9" * 25,
    "exponent": "1e+05",
    "tab": "a\tb",
    "quote": '"a',
    "escape": "\x1b[31mred",
    "vertical_tab": "a\x0bb",
    "zero_width": "a\u200bb",
    "semicolons": ";;",
    "unicode": "Ω²",
    "arabic_digit": "٣",
    "superscript": "²",
    "underscore": "1_0",
    "nul": "a\0b",
    "long": "L" * 140_000,
}


def table_mutations(content: bytes, separator: str = "\t") -> Iterator[tuple[str, bytes]]:
    """Yield mutations of a table: a cell of its last line in each column, and its lines."""
    *lines, last = content.decode().rstrip("\n").split("\n")
    cells = last.split(separator)
    for column in range(len(cells)):
        for name, cell in _CELLS.items():
            changed = separator.join([*cells[:column], cell, *cells[column + 1 :]])
            yield f"cell{column}_{name}", "\n".join([*lines, changed, ""]).encode()
    yield "line_twice", content + f"{last}\n".encode()
    yield "cell_more", content.rstrip(b"\n") + separator.encode() + b"x\n"
    yield "cell_fewer", "\n".join([*lines, separator.join(cells[:-1]), ""]).encode()
    yield "header_only", content.split(b"\n")[0] + b"\n"
    yield "no_header", content.split(b"\n", 1)[1]
    header, rest = content.split(b"\n", 1)
    first, more = header.partition(separator.encode())[::2]
    yield "column_twice", b"\t".join([first, first]) + b"\n" + rest
    yield "column_unknown", b"\x1b[1mcolumn" + separator.encode() + more + b"\n" + rest
    yield "comment", b"# a comment\n" + content
    yield "semicolons", content.replace(separator.encode(), b";")


def safetensors_mutations(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield mutations of a safetensors file: its header, the types and values of its tensors."""
    (size,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]

    def whole(changed: Any, body: bytes = data) -> bytes:
        text = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
        return struct.pack("<Q", len(text)) + text + body

    yield "header_length_huge", struct.pack("<Q", 1 << 60) + content[8:]
    yield "header_length_zero", struct.pack("<Q", 0) + content[8:]
    yield "header_deep", whole(b'{"a":' * 20_000)
    yield "header_not_json", whole(b"{" + b" " * 50)
    yield "no_tensors", whole({"__metadata__": header.get("__metadata__", {})}, b"")
    yield "no_metadata", whole({name: each for name, each in header.items() if name[0] != "_"})
    for key in header.get("__metadata__", {}):
        for wrong in ("", "x", "[1]", '["\\u001b"]', DIGITS, "-1", "1e400", "null", "[" * 5000):
            metadata = {**header["__metadata__"], key: wrong}
            yield f"metadata_{key}={wrong[:9]}", whole({**header, "__metadata__": metadata})
        metadata = {name: each for name, each in header["__metadata__"].items() if name != key}
        yield f"metadata_{key}_removed", whole({**header, "__metadata__": metadata})
    names = [name for name in header if name != "__metadata__"]
    for name in (names[0], names[-1]):
        yield from _tensor_mutations(name, header, whole)
    is_double = header[names[0]]["dtype"] == "F64"
    for number in ("nan", "inf"):
        fill = struct.pack("<d" if is_double else "<f", float(number))
        yield f"all_{number}", whole(header, fill * (len(data) // len(fill)))
        yield f"one_{number}", whole(header, fill + data[len(fill) :])
    swapped = {
        key: each if key == "__metadata__" else {**each, "dtype": "I64" if is_double else "I32"}
        for key, each in header.items()
    }
    yield "all_integers", whole(swapped)


def _tensor_mutations(
    name: str, header: dict[str, Any], whole: Callable[..., bytes]
) -> Iterator[tuple[str, bytes]]:
    tensor = header[name]
    rest = {key: each for key, each in header.items() if key != name}
    yield f"{name}_renamed", whole({**rest, "\x1b[31mother": tensor})
    same_size = {"F64": "I64", "F32": "I32"}[tensor["dtype"]]
    yield f"{name}_{same_size}", whole({**rest, name: {**tensor, "dtype": same_size}})
    for key, wrong in (
        ("shape", [-1]),
        ("shape", [*tensor["shape"], 1]),
        ("shape", [1 << 62, 4]),
        ("shape", "text"),
        ("data_offsets", [0, 1 << 62]),
        ("data_offsets", [8, 0]),
        ("dtype", "Q7"),
    ):
        changed = {**rest, name: {**tensor, key: wrong}}
        yield f"{name}_{key}={_short(wrong)}", whole(changed)

"""JSON lines as rows that keep their bytes, so that what is written is what `verbatim dedup` writes."""

from __future__ import annotations

import os
import pathlib
import tempfile
from typing import List, Union

import pyarrow as pa
import pyarrow.compute as pc

from verbatim import _verbatim

Place = Union[str, "os.PathLike[str]"]

SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.large_binary(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("n_bytes", pa.int64(), nullable=False),
    ]
)
"""The file below its folder, the line with its end, the text in it, and the length of the line without its end."""

FILE = b"verbatim.file"
"""Where the schema of a table names the file that it was read from, which may have no rows left."""


def files(folder: Place) -> List[str]:
    """The files `*.jsonl` below a folder, in the order in which the program reads them."""
    found = []
    for path in pathlib.Path(folder).rglob("*.jsonl"):
        name = path.relative_to(folder)
        is_ours = any(part == "_verbatim" or part.startswith(".") for part in name.parts)
        if path.is_file() and not path.is_symlink() and not is_ours:
            found.append(str(name))
    return sorted(found, key=os.fsencode)


def read(folder: Place, file: str, text: str = "text") -> pa.Table:
    """The lines of a file, found and checked as the program does it.

    Raises ValueError, with file:line:byte, for a line that is no JSON object with a string in the field `text`, and OSError
    for a file that cannot be read.
    """
    rows = _verbatim.read_jsonl(os.path.join(folder, file), text)
    columns = [pa.repeat(pa.scalar(file), rows.num_rows), *rows.columns]
    return pa.table(columns, schema=SCHEMA.with_metadata({FILE: file}))


def names(table: pa.Table) -> List[str]:
    """The files that rows of a table are of, and the one that it was read from."""
    read_from = (table.schema.metadata or {}).get(FILE)
    found = set(table["file"].unique().to_pylist())
    return sorted(found | ({read_from.decode()} if read_from else set()))


def write(folder: Place, file: str, *tables: pa.Table) -> None:
    """Writes the lines of a file, one table after the other: all of it, or nothing."""
    path = pathlib.Path(folder, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as out:
            for table in tables:
                for chunk in table.filter(pc.equal(table["file"], file))["line"].cast(pa.large_binary()).chunks:
                    out.write(joined(chunk))
            out.flush()
            os.fsync(out.fileno())
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def joined(lines: pa.LargeBinaryArray) -> memoryview:
    """The bytes of all lines, which lie one after the other."""
    ends, data = (memoryview(buffer or b"") for buffer in lines.buffers()[1:])
    ends = ends.cast("q")[lines.offset : lines.offset + len(lines) + 1]
    return data[ends[0] : ends[-1]] if lines else data[:0]

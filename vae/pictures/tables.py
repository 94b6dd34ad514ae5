"""attributes.csv: what is known of each picture, as columns."""

import csv
import io
from pathlib import PurePosixPath

import numpy as np

from vae.errors import BadInput

MAX_COLUMNS = 100  # of a table of attributes
MAX_WORD = 60  # characters of an attribute: numpy gives every row of a column as much room as the longest needs


def attributes_of(text: str, names: list[str]) -> dict[str, np.ndarray]:
    wanted = {*names, *(PurePosixPath(name).name for name in names)}
    try:
        rows = {row["file"]: row for row in csv.DictReader(io.StringIO(text)) if row.get("file") in wanted}
    except csv.Error as error:
        raise BadInput(f"attributes.csv cannot be read: {error}.") from error
    missing = [name for name in names if name not in rows and PurePosixPath(name).name not in rows]
    if missing:
        raise BadInput(f"attributes.csv has no row for {missing[0]}; it needs a column named file and a row a picture.")
    ordered = [rows.get(name) or rows[PurePosixPath(name).name] for name in names]
    kept = [key for key in ordered[0] if key not in (None, "file")]
    if len(kept) > MAX_COLUMNS:
        raise BadInput(f"attributes.csv has {len(kept):,} columns of attributes; {MAX_COLUMNS} is the limit.")
    columns = {}
    for column in kept:
        values = [row[column] or "" for row in ordered]
        if max(map(len, values)) > MAX_WORD:
            raise BadInput(f"attributes.csv has text of over {MAX_WORD} characters in the column {column[:40]}.")
        try:
            columns[column] = np.array([value or "nan" for value in values], dtype=np.float64)
        except ValueError:
            columns[column] = np.array(values)
    return columns

"""attributes.csv: what is known of each picture, as columns. Read as Excel, Numbers and pandas write it."""

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterator

import numpy as np

from vae.data import LARGEST, MOST_VALUES
from vae.errors import BadInput

MAX_COLUMNS = 100  # of a table of attributes
MAX_WORD = 60  # characters of an attribute: numpy gives every row of a column as much room as the longest needs
# Headings of the column that names the pictures, in any case; the last are what pandas makes of an index.
FILE_COLUMNS = ("file", "filename", "file_name", "file name", "image", "image_id", "picture", "path", "name")
INDEX_COLUMNS = ("", "unnamed: 0")
YES, NO = {"yes", "true", "y", "ja"}, {"no", "false", "n", "nein"}
GAPS = {"", "nan", "na", "n/a", "#n/a", "null"}


def read_table(data: bytes, names: list[str]) -> tuple[dict[str, np.ndarray], int, int]:
    """A table's bytes and N pictures' names -> columns (N,), how many pictures have no row, how many rows no picture.

    A row belongs to the picture of that path, else to the only one whose path ends like it. Columns are float64 with NaN for
    a gap, or str with "": yes and no are 1 and 0, a few whole numbers are words. Raises BadInput for a table that
    cannot be read, is too large, or has a row for no picture.
    """
    try:
        heading, is_decimal_comma, rows = _rows(data)
        lower = [word.lower() for word in heading]
        at = next((lower.index(word) for word in (*FILE_COLUMNS, *INDEX_COLUMNS) if word in lower), None)
        words = ["label" if word.lower() == "label" else word for word in heading]
        kept = {word: i for i, word in enumerate(words) if i != at and lower[i] not in INDEX_COLUMNS}
        if len(kept) > MAX_COLUMNS:
            raise BadInput(f"attributes.csv has {len(kept):,} columns of attributes; {MAX_COLUMNS} is the limit.")
        if any(len(word) > MAX_WORD for word in kept):
            raise BadInput(f"attributes.csv has a column whose name is over {MAX_WORD} characters long.")
        known = {_tidy(name): n for n, name in enumerate(names)}
        by_file: dict[str, set[str]] = {}
        for name in known:
            by_file.setdefault(name.rpartition("/")[2], set()).add(name)
        exact: dict[int, list[str]] = {}
        alike: dict[int, list[str]] = {}
        unused = 0
        for row in rows:
            path = _tidy(row[at]) if at is not None and at < len(row) else ""
            others = by_file.get(path.rpartition("/")[2], set())
            name = next(iter(others)) if len(others) == 1 else ""
            if path in known:
                exact[known[path]] = row
            elif name and (f"/{name}".endswith(f"/{path}") or f"/{path}".endswith(f"/{name}")):
                alike[known[name]] = row
            else:
                unused += any(row)
        found = {**alike, **exact}
    except csv.Error as error:
        raise BadInput(f"attributes.csv cannot be read: {error}.") from error
    if not found:
        raise BadInput(
            f"attributes.csv has no row for {names[0][-80:]} or any other picture; it needs a column named file."
        )
    columns = {}
    for word, i in kept.items():
        values = [found[n][i].strip() if n in found and i < len(found[n]) else "" for n in range(len(names))]
        if max(map(len, values)) > MAX_WORD:
            raise BadInput(f"attributes.csv has text of over {MAX_WORD} characters in the column {word}.")
        columns[word] = _column(values, is_decimal_comma)
    return columns, len(names) - len(found), unused


def _rows(data: bytes) -> tuple[list[str], bool, Iterator[list[str]]]:
    """-> the heading's words, whether numbers have a decimal comma, the rows below."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", errors="replace")
    text = text.lstrip("\r\n")
    first = text[: csv.field_size_limit()].splitlines()[:1] or [""]
    separator = max(",;\t", key=first[0].count)
    rows = csv.reader(io.StringIO(text, newline=None), delimiter=separator, skipinitialspace=True)
    return [word.strip() for word in next(rows, [])], separator != ",", rows


def _tidy(path: str) -> str:
    return unicodedata.normalize("NFC", path.strip().replace("\\", "/")).removeprefix("./")


def _column(values: list[str], is_decimal_comma: bool) -> np.ndarray:
    lower = [value.lower() for value in values]
    given = set(lower) - GAPS
    if given and given <= YES | NO:
        return np.array([np.nan if value in GAPS else float(value in YES) for value in lower])
    if is_decimal_comma:
        lower = [value.replace(",", ".") for value in lower]
    try:
        numbers = np.array([np.nan if value in GAPS else float(value) for value in lower])
    except ValueError:
        return np.array(values)
    numbers[~(np.abs(numbers) < LARGEST)] = np.nan
    kinds = np.unique(numbers[np.isfinite(numbers)])
    if 2 < len(kinds) <= MOST_VALUES and (kinds == kinds.round()).all():
        return np.array(["" if np.isnan(number) else f"{number:.0f}" for number in numbers])
    return numbers

"""A Parquet file that is there whole or not at all, written row group by row group."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import pyarrow as pa
from pyarrow import parquet

# Rows sorted together and written at once. DuckDB reads row groups of about this many side by side; while they wait
# they take some 300 B each, 40 MB in all.
ROW_GROUP_ROWS_MAX = 122_880


class NotWritten(Exception):
    """A file cannot be written; the message names it and says why."""


class RowFile:
    """A context manager that collects rows into the file at `path`; left without an error, the file is there.

    Until then it stands beside it under a name that no pattern of `*.parquet` matches. `rows` counts what was added.
    Raises NotWritten.
    """

    def __init__(
        self, path: Path, schema: pa.Schema, sorted_by: str, few_values: Sequence[str], told: Mapping[str, str]
    ) -> None:
        self.rows = 0
        self._path = path
        self._unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
        self._sorted_by = sorted_by
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet.ParquetWriter(
                self._unfinished,
                schema.with_metadata(dict(told)),
                compression="zstd",
                use_dictionary=list(few_values),
                sorting_columns=[parquet.SortingColumn(schema.get_field_index(sorted_by))],
            )

    def add(self, rows: pa.RecordBatch) -> None:
        """Add some rows, far fewer than a row group has."""
        self.rows += rows.num_rows
        self._waiting_rows += rows.num_rows
        self._waiting.append(rows)
        if self._waiting_rows >= ROW_GROUP_ROWS_MAX:
            self._write()

    def _write(self) -> None:
        if self._waiting_rows:
            table = pa.Table.from_batches(self._waiting).sort_by(self._sorted_by)
            with self._explained():
                self._writer.write_table(table, row_group_size=self._waiting_rows)
        self._waiting, self._waiting_rows = [], 0

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write()
            with self._explained():
                self._writer.close()
                if kind is None:
                    self._put()
        finally:
            self._unfinished.unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise NotWritten for what the file system refuses: an OSError of itself might as well be of Redis."""
        try:
            yield
        except OSError as why:
            raise NotWritten(f"{self._path} cannot be written: {why}") from why

    def _put(self) -> None:
        """Give the file its name once its bytes are on the disk."""
        with self._unfinished.open("rb") as written:
            os.fsync(written.fileno())
        self._unfinished.replace(self._path)

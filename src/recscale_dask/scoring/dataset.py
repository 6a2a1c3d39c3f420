"""A data set of recommendations: numbered Parquet files, and a manifest that says what they are of."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recscale_dask.differences import differences
from recscale_dask.errors import OutputError
from recscale_dask.model import Factors, SeenItems, sha256_of
from recscale_dask.scoring.folder import Folder
from recscale_dask.scoring.request import RecommendRequest

MANIFEST = "_recommendations.json"
FORMAT = 1
_KIND = "recscale_dask recommendations"


@dataclass(frozen=True, slots=True)
class DataSet:
    """A folder of recommendations that was opened for one request.

    Attributes
    ----------
    folder : Folder
    description : dict
        What the manifest says beside the number of rows: plain JSON values, and a function of the model
        and the request alone.
    """

    folder: Folder
    description: dict[str, Any]

    @classmethod
    def open(cls, place: str | os.PathLike[str], model: Factors, wanted: RecommendRequest) -> DataSet:
        """Make the data set, or go on with one that was begun for the same model and request.

        Raises
        ------
        OutputError
            If the folder holds anything else, or cannot be written.
        """
        self = cls(Folder.at(place), describe(model, wanted))
        names = self.folder.names()
        if MANIFEST in names:
            self._check(self._manifest())
        elif names:
            raise OutputError(
                f"{self.folder} exists already and is no data set of recommendations. Choose another path."
            )
        else:
            self.folder.make()
            self._write_manifest(rows=None)
        self.folder.clean()
        return self

    @property
    def n_parts(self) -> int:
        """Number of files when it is finished."""
        return int(self.description["partitions"]["count"])

    def finished(self) -> dict[int, int]:
        """Return the numbers of the parts that are there and whole, with their rows."""
        rows = {number: self._n_rows(number) for number in self._numbers()}
        return {number: count for number, count in rows.items() if count is not None}

    def finish(self, rows: int) -> None:
        """Write the number of rows into the manifest: the data set is whole.

        Raises
        ------
        OutputError
            If parts that were written are not there, or the manifest cannot be written.
        """
        missing = set(range(self.n_parts)).difference(self._numbers())
        if missing:
            raise OutputError(
                f"workers wrote {part_name(min(missing))} ({len(missing)} in all), but not to the {self.folder} "
                "that is seen here. Give a path that all workers share, such as a network disk or an object store."
            )
        self.folder.clean()  # of workers that were killed
        if self._manifest().get("rows") != rows:
            self._write_manifest(rows=rows)

    def _numbers(self) -> list[int]:
        names = self.folder.names()
        return [number for number in range(self.n_parts) if part_name(number) in names]

    def _n_rows(self, number: int) -> int | None:
        """Return the number of rows of a part; None if it is no whole file, as after a loss of power."""
        try:
            with self.folder.open(part_name(number)) as file:
                return int(pq.read_metadata(file).num_rows)
        except (pa.ArrowException, OSError):
            return None

    def _manifest(self) -> Any:
        try:
            return json.loads(self.folder.read(MANIFEST))
        except (OSError, ValueError) as problem:
            raise OutputError(f"{self.folder} has a {MANIFEST} that cannot be read: {problem}") from problem

    def _write_manifest(self, rows: int | None) -> None:
        text = json.dumps({**self.description, "rows": rows}, indent=2) + "\n"
        with self.folder.writing():
            self.folder.write(MANIFEST, text.encode())

    def _check(self, found: Any) -> None:
        if not isinstance(found, dict) or found.get("kind") != _KIND:
            raise OutputError(f"{self.folder} has a {MANIFEST} of something else. Choose another path.")
        if found.get("format") != FORMAT:
            raise OutputError(
                f"{self.folder} has format {found.get('format')} of recommendations; this recscale_dask goes on with "
                f"{FORMAT} only. Choose another path, or delete it."
            )
        there = {key: found.get(key) for key in self.description}
        if different := differences(there, self.description):
            raise OutputError(
                f"{self.folder} holds recommendations of another model or of another request ({different}). Choose "
                "another path, or delete it."
            )


def part_name(number: int) -> str:
    """Return the name of a part; names sort like numbers up to 99,999."""
    return f"part-{number:05d}.parquet"


def schema(model: Factors) -> pa.Schema:
    """Return the columns of recommendations."""
    ids = [("user", model.users.ids.type), ("item", model.items.ids.type)]
    return pa.schema([*ids, ("rank", pa.int32()), ("score", pa.float32())])


def describe(model: Factors, wanted: RecommendRequest) -> dict[str, Any]:
    """Return what a data set is of; large lists as their SHA-256."""
    return {
        "kind": _KIND,
        "format": FORMAT,
        "model": {
            "fingerprint": model.fingerprint,
            "n_users": len(model.users),
            "n_items": len(model.items),
            "rank": model.rank,
        },
        "request": {
            "users": {"count": len(wanted.users), "sha256": sha256_of(wanted.users)},
            "k": wanted.k,
            "exclude_seen": wanted.exclude_seen,
            "min_score": None if wanted.min_score == -np.inf else wanted.min_score,
            "items": None if wanted.items is None else {"count": len(wanted.items), "sha256": sha256_of(wanted.items)},
            "allowed": _lists(wanted.allowed),
            "denied": _lists(wanted.denied),
        },
        "schema": {field.name: str(field.type) for field in schema(model)},
        "partitions": {"count": wanted.n_batches, "users_each": wanted.batch_users},
    }


def _lists(lists: SeenItems | None) -> dict[str, Any] | None:
    if lists is None:
        return None
    return {"count": len(lists.indices), "sha256": sha256_of(lists.indptr, lists.indices)}

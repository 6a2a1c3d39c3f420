"""Interactions of any number, drawn fast and in little memory, as Parquet files.

What is like real logs: a few items take most of the rows (Zipf-Mandelbrot: the share of the item of rank r falls
as ``1 / (r + 50)``, so the first one has some 0.2%), the activity of users is log-normal, users come in groups of
unequal size with tastes of their own (how often they choose each genre of items, and how they rate it), the same user
and item may come twice, rows are in the order of time and in no order of users, and ids are neither dense nor sorted by
popularity.

Every draw costs one 64-bit random number: user, item, genre and rating take bits of it, through small tables of
inverse distribution functions.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import norm

GROUPS = 32
GENRES = 32
FILE_ROWS = 10_000_000
_HEAD = 50  # ranks over which the shares of items are about equal
_ACTIVITY = 1.0  # standard deviation of the logarithm of a user's activity
_TASTE = 1.0  # the same of a group's weight for a genre
_TABLE_BITS = 16
_LEVELS = 32  # different draws of a rating, for each group and genre
_ROW_GROUP = 1_000_000
_BATCH = 125_000  # rows drawn at a time: their columns stay in the processor's cache
_START, _SPAN = 1_600_000_000, 63_072_000  # seconds: when the log begins, and two years

SCHEMA = pa.schema([("user", pa.int64()), ("item", pa.int64()), ("value", pa.float32()), ("time", pa.int64())])
_FORMAT: dict[str, Any] = {  # 8 bytes a row, which DuckDB, Polars and Spark read too
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": ["value"],
    "column_encoding": dict.fromkeys(("user", "item", "time"), "DELTA_BINARY_PACKED"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interactions:
    """Interactions to draw.

    Attributes
    ----------
    n_rows, n_users, n_items : int
        Rows; users and items that may be drawn: a few of the rarest are not.
    seed : int
        Same seed and numbers, same rows.
    """

    n_rows: int
    n_users: int
    n_items: int
    seed: int = 0

    @classmethod
    def of_size(
        cls, n_rows: int, n_users: int | None = None, n_items: int | None = None, seed: int = 0
    ) -> Interactions:
        """Return interactions with 200 rows a user, and items that grow as the root of the rows (50,000 at 10M)."""
        return cls(
            n_rows=n_rows,
            n_users=n_users or max(1, n_rows // 200),
            n_items=n_items or max(GENRES, round(50_000 * (n_rows / 10_000_000) ** 0.5)),
            seed=seed,
        )

    def write(self, out: Path, *, progress: Any = None) -> None:
        """Write ``part-00000.parquet`` and so on, 10 million rows each, into a folder that appears when it is whole.

        Parameters
        ----------
        out : Path
            Folder to make.
        progress : callable, optional
            Called with the number of rows after each file.
        """
        if out.exists():
            raise SystemExit(f"{out} exists: remove it, or choose another --out")
        part = out.with_name(f"{out.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        done = 0
        for number, start in enumerate(range(0, self.n_rows, FILE_ROWS)):
            stop = min(start + FILE_ROWS, self.n_rows)
            with pq.ParquetWriter(part / f"part-{number:05d}.parquet", SCHEMA, **_FORMAT) as writer:
                for group in self._row_groups(number, start, stop):
                    writer.write_table(group)
            done += stop - start
            if progress is not None:
                progress(done)
        (part / "_interactions.json").write_text(json.dumps(asdict(self)) + "\n")
        part.rename(out)

    def _row_groups(self, number: int, start: int, stop: int) -> Iterator[pa.Table]:
        law = _Law(self)
        rng = np.random.default_rng([self.seed, 1, number])
        for low in range(start, stop, _ROW_GROUP):
            high = min(low + _ROW_GROUP, stop)
            batches = [law.draw(rng, row, min(row + _BATCH, high)) for row in range(low, high, _BATCH)]
            yield pa.Table.from_batches(batches).combine_chunks()


class _Law:
    """What rows are drawn from: the tables that follow from the numbers and the seed."""

    def __init__(self, interactions: Interactions) -> None:
        self._all = interactions
        rng = np.random.default_rng([interactions.seed, 0])
        share = np.linspace(0, 1, (1 << _TABLE_BITS) + 1)
        # The most active users have the last codes. Those below quantile q have norm.cdf(norm.ppf(q) - sigma) of
        # the rows (the Lorenz curve of the log-normal distribution); this is its inverse.
        self._users = interactions.n_users * norm.cdf(norm.ppf(share) + _ACTIVITY)
        head = min(_HEAD, interactions.n_items)
        self._items = head * ((1 + interactions.n_items / head) ** share - 1)  # by rank of popularity
        self._user_ids = 1_000_000 + 7 * rng.permutation(interactions.n_users)
        self._item_ids = 5_000 + 3 * rng.permutation(interactions.n_items)
        sizes = np.arange(1, GROUPS + 1) ** -0.5
        self._groups = rng.choice(GROUPS, interactions.n_users, p=sizes / sizes.sum()).astype(np.uint8)
        taste = rng.standard_normal((GROUPS, GENRES)) * _TASTE
        weights = np.exp(taste).cumsum(axis=1)
        parts = np.arange(128) / 128
        genres = np.stack([np.searchsorted(each / each[-1], parts, side="right") for each in weights])
        self._genres = genres.astype(np.uint8).reshape(-1)  # of a group and 7 random bits
        levels = norm.ppf((np.arange(_LEVELS) + 0.5) / _LEVELS)
        ratings = 3.5 + 0.5 * taste[:, :, None] + 0.9 * levels
        self._ratings = (np.clip(np.round(2 * ratings), 1, 10) / 2).astype(np.float32).reshape(-1)

    def draw(self, rng: np.random.Generator, start: int, stop: int) -> pa.RecordBatch:
        """Return rows [start, stop) of the log."""
        bits = rng.integers(0, 1 << 64, stop - start, dtype=np.uint64)
        user = _inverse(self._users, bits & 0xFFFFFFF, 28)
        rank = _inverse(self._items, bits >> 28 & 0xFFFFFF, 24)
        group = self._groups[user].astype(np.intp)
        genre = self._genres[(group << 7) + (bits >> 52 & 0x7F).astype(np.intp)]
        # The item of that genre in the same run of 32 ranks; past the last run, the one that was drawn.
        item = (rank & ~(GENRES - 1)) + genre
        item = np.where(item < self._all.n_items, item, rank)
        level = (bits >> 59).astype(np.intp)
        value = self._ratings[(group * GENRES + genre) * _LEVELS + level]
        time = _START + np.arange(start, stop) * _SPAN // self._all.n_rows
        columns = [self._user_ids[user], self._item_ids[item], value, time]
        return pa.record_batch([pa.array(each) for each in columns], schema=SCHEMA)


def _inverse(table: NDArray[np.float64], bits: NDArray[np.uint64], width: int) -> NDArray[np.intp]:
    """Return codes: the table of an inverse distribution function at ``bits / 2**width``, interpolated."""
    below = width - _TABLE_BITS
    slot = (bits >> below).astype(np.intp)
    within = (bits & ((1 << below) - 1)).astype(np.float64) + 0.5
    low = table[slot]
    codes: NDArray[np.intp] = (low + (table[slot + 1] - low) * (within / (1 << below))).astype(np.intp)
    return codes

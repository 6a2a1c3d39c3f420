"""What an ingest is going to take, stage by stage: see `recscale_dask.io.ingest` for the stages."""

from __future__ import annotations

import math
from dataclasses import dataclass

from recscale_dask.data.blocks import row_block_count
from recscale_dask.execution.stage import Stage
from recscale_dask.io.ingest import Rules
from recscale_dask.io.ingest_glance import Glance, IdsAhead
from recscale_dask.io.ingest_room import SORTED_ID, Room
from recscale_dask.io.ingest_values import PART_VALUES
from recscale_dask.io.pieces import PIECE_ROWS

# Seconds are those of two cores of 2024: an ingest has two to four threads, and more cores help it little. A row takes
# so many nanoseconds, and so many more for every doubling of a million ids: what is kept of each is looked up at
# random, and is less and less in the caches. From the ingests of benchmarks/scale.py, up to a billion rows.
_READ, _GROUP, _SORT, _FILTER, _WRITE = (45, 24), (18, 20), (55, 15), (20, 10), (9, 6)
_TEXT_ID = 60  # more for each id that is text
_PARSE = 4  # nanoseconds a byte of text
_START = 1.0  # seconds until compiled code is loaded and threads run

# How often what is there once takes memory: pieces that are decoded, checked and numbered, two at a time; chunks that
# fill, are joined and are written.
_PIECES, _CHUNKS = 8, 3
_SORTED_ROW = 110  # bytes of each row of the two groups that are sorted at once, beside its own
_SUMMED = 24  # bytes of a value of a block, with the indices and float64 values that sums of rows and columns take
_AT_WORK = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestForecast:
    """What an ingest is expected to take.

    Attributes
    ----------
    stages : tuple of Stage
    disk_bytes : int
        Most that there is beside the store and in it, at once.
    store_bytes : int
        What stays.
    """

    stages: tuple[Stage, ...]
    disk_bytes: int
    store_bytes: int


def forecast_ingest(ahead: Glance, rules: Rules, room: Room) -> IngestForecast:
    """Return what an ingest is expected to take if every row is a pair of its own, in the window and kept.

    Parameters
    ----------
    ahead : Glance
        The source.
    rules : Rules
    room : Room
        From which the sizes of buffers follow.
    """
    n, users, items = ahead.n_rows, ahead.users, ahead.items
    row = 8 + 4 * ahead.has_values + 8 * ahead.has_times
    chunk = row * min(n, room.chunk_rows)
    group = min(n, room.group_rows)
    at_sort = min(_AT_WORK, -(-n // group))
    block = -(-n // row_block_count(n, items.n))
    at_write = min(_AT_WORK, -(-n // block))
    counting = _collected(users) + _collected(items)
    kept = {"ids and their counts": _known(users) + _known(items), "offsets of users": 8 * users.n}
    text_ids = (not users.integers) + (not items.integers)
    doublings = math.log2(1 + (users.n + items.n) / 1e6)

    def seconds(per_row: float, per_doubling: float) -> float:
        return n * (per_row + per_doubling * doublings) / 1e9

    reading = Stage(
        name="read",
        passes=1,
        seconds=_START + seconds(*_READ) + (n * text_ids * _TEXT_ID + ahead.text_bytes * _PARSE) / 1e9,
        driver={
            "pieces": _PIECES * ahead.row_bytes * min(n, PIECE_ROWS),
            "chunks": _CHUNKS * chunk,
            "ids": counting,
            "sorting of ids": max(
                (SORTED_ID + 2 * each.id_bytes * (not each.integers)) * each.n for each in (users, items)
            ),
        },
    )
    grouping = Stage(
        name="group",
        seconds=seconds(*_GROUP),
        driver={**kept, "groups of users": 4 * users.n, "chunks": 5 * chunk + 8 * min(n, room.chunk_rows)},
    )
    sorting = Stage(
        name="sort",
        seconds=seconds(*_SORT),
        driver={**kept, "groups": at_sort * group * (row + _SORTED_ROW)},
    )
    filtering = Stage(name="filter", seconds=seconds(*_FILTER), driver={**kept, "values": 24 * min(n, PART_VALUES)})
    writing = Stage(
        name="write",
        seconds=seconds(*_WRITE),
        driver={
            **kept,
            "counts and sums": 16 * users.n + 8 * items.n * (3 * at_write + 4),
            "blocks": block * (at_write * _SUMMED + 8 * (n > at_write * block)),
        },
    )
    store = 8 * n + 12 * users.n + (users.id_bytes + 16) * users.n + (items.id_bytes + 16) * items.n
    return IngestForecast(
        stages=(reading, grouping, sorting, *([filtering] if rules.filters else []), writing),
        disk_bytes=max(row * n + chunk, 8 * n + store, 16 * n * rules.filters),
        store_bytes=store,
    )


def _collected(ids: IdsAhead) -> int:
    """Return the bytes of ids that stream by, as `recscale_dask.io.ingest_ids` keeps them."""
    if ids.narrow and ids.span is not None:
        return 16 * ids.span  # counts, and as much room to grow
    table = 1 << max(16, (ids.n - 1).bit_length())
    return table * 24 if ids.integers else table * (32 + ids.id_bytes)


def _known(ids: IdsAhead) -> int:
    """Return the bytes of a vocabulary, of the rows of each id, and of what turns numbers into codes."""
    return (ids.id_bytes + 8) * ids.n + 4 * (ids.span if ids.narrow and ids.span is not None else ids.n)

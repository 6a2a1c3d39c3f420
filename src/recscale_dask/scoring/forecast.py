"""What recommendations to a folder are going to take, by those of some users that are computed and thrown away."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recscale_dask.execution.contract import Capabilities
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.stage import Stage
from recscale_dask.linalg.topk_candidates import padded
from recscale_dask.linalg.topk_search import BLOCK_BYTES
from recscale_dask.model import Factors
from recscale_dask.scoring.recommend import Batch, constants
from recscale_dask.scoring.request import RecommendRequest
from recscale_dask.scoring.row_scores import RowScorer
from recscale_dask.scoring.user_rows import UserRows
from recscale_dask.scoring.write import Part, part_file

_SAMPLE = 2048  # users on each core
_TRIES = 3  # the fastest one counts: kernels are compiled, or read from their cache, and files mapped in the first
_ANSWER = 64  # bytes of a recommendation until it is in a file: codes, scores, ids, columns, the file
_LOOKED_UP = 48  # bytes of a user that is asked for by id, and of one that the ids are looked up among
_AROUND = 1 << 16  # bytes of a mapped file that come into memory with each byte of it: what Linux maps around
_SENT = 1e9  # bytes a second of constants that go to other processes


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendForecast:
    """What recommendations to a folder are expected to take.

    Attributes
    ----------
    stages : tuple of Stage
    disk_bytes : int
        Of their files.
    mapped_bytes : int
        What of the driver's arrays is maps of the model's files: memory that the system takes back if it has to.
    rows : int
        Recommendations.
    """

    stages: tuple[Stage, ...]
    disk_bytes: int
    mapped_bytes: int
    rows: int


def forecast_recommend(
    model: Factors, wanted: RecommendRequest, parallelism: int, capabilities: Capabilities
) -> RecommendForecast:
    """Return what `recommend_to` is expected to take, of which some users are computed here to see how fast that is.

    Parameters
    ----------
    model : Factors
    wanted : RecommendRequest
    parallelism : int
        Jobs at work at once.
    capabilities : Capabilities
        Of the executor.
    """
    wanted = wanted.of(model)
    n_users, n_items = len(wanted.users), len(model.items) if wanted.items is None else len(wanted.items)
    start = time.perf_counter()
    shared = constants(model, wanted)
    preparing = time.perf_counter() - start
    here = not capabilities.isolated or capabilities.shared_files
    at_once = min(parallelism, cpu_count()) if here else parallelism
    sample = _sampled(model, wanted, shared, min(at_once, cpu_count()))
    many = n_users / max(1, sample.users)

    factors = 4 * model.rank * n_items
    panels = 4 * padded(model.rank) * n_items + 20 * n_items
    scorer = shared["candidates"]
    if isinstance(scorer, RowScorer):
        factors, panels = scorer.operator.nbytes, scorer.panels.nbytes
        rows_of_scores = scorer.height * 4 * len(model.items) + scorer.operator.working_bytes
    else:
        rows_of_scores = BLOCK_BYTES
    mapped = _touched_bytes(model, wanted)
    seen = model.n_interactions // max(1, len(model.users)) if wanted.exclude_seen else 0
    height = min(wanted.batch_users, n_users)
    batch = height * (4 * model.rank + 8 * seen + _ANSWER * wanted.k) + rows_of_scores
    lists = sum(
        each.indices.nbytes + each.indptr.nbytes for each in (wanted.allowed, wanted.denied) if each is not None
    )
    by_id = _LOOKED_UP * (n_users + len(model.users)) * (n_users < len(model.users))
    held = {"ids": model.users.ids.nbytes + model.items.ids.nbytes + by_id, "lists": lists}
    sent = (factors + panels) * capabilities.isolated
    stages = (
        Stage(
            name="prepare",
            seconds=preparing + sent / _SENT,
            moved_bytes=sent,
            driver={**held, "item factors, or weights": factors, "candidates and their copies": 3 * panels},
        ),
        Stage(
            name="recommend",
            seconds=sample.seconds * many * sample.cores / at_once,
            read_bytes=mapped,
            driver={**held, "model": mapped + factors, "candidates": panels},
            worker={"batch of users": batch},
        ),
    )
    return RecommendForecast(
        stages=stages,
        disk_bytes=round(sample.nbytes * many),
        mapped_bytes=mapped + factors if model.stored is not None else 0,
        rows=round(sample.rows * many),
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    users: int
    cores: int
    seconds: float
    rows: int
    nbytes: int


def _sampled(model: Factors, wanted: RecommendRequest, shared: dict[str, object], cores: int) -> _Sample:
    """Return what the recommendations of some users took, on some cores at once."""
    n_users = len(wanted.users)
    n = min(n_users, _SAMPLE * cores)
    if n < cores:
        return _sampled(model, wanted, shared, n) if n else _Sample(0, cores, 0.0, 0, 0)
    positions = np.linspace(0, n_users - 1, n).astype(np.int64)
    rows = UserRows.of(model, with_seen=wanted.exclude_seen, with_ids=True)

    def part_of(chosen: NDArray[np.int64]) -> Part:
        lists = (
            None if each is None else each.rows(chosen.astype(np.int32)) for each in (wanted.allowed, wanted.denied)
        )
        return Part(Batch(rows.take(wanted.users[chosen]), *lists), "")

    def computed(part: Part) -> tuple[int, int]:
        count, content = part_file(part, **shared, item_ids=model.items.ids)  # type: ignore[arg-type]
        return count, content.size

    parts = [part_of(chosen) for chosen in np.array_split(positions, cores)]
    seconds = np.inf
    with ThreadPoolExecutor(cores) as threads:
        for _ in range(_TRIES):
            start = time.perf_counter()
            found = list(threads.map(computed, parts))
            seconds = min(seconds, time.perf_counter() - start)
    return _Sample(n, cores, seconds, sum(count for count, _ in found), sum(size for _, size in found))


def _touched_bytes(model: Factors, wanted: RecommendRequest) -> int:
    """Return the bytes of the users' factors and seen items that come into memory for a request."""
    users = np.sort(wanted.users).astype(np.int64)
    width = 4 * model.rank
    touched = _pages(users * width, (users + 1) * width)
    if wanted.exclude_seen:
        indptr = np.asarray(model.seen.indptr)
        touched += _pages(4 * indptr[users], 4 * indptr[users + 1]) + indptr.nbytes
    return touched


def _pages(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> int:
    """Return the bytes of a file that are mapped for parts of it, which are in order and do not overlap."""
    full = stops > starts
    first, last = starts[full] // _AROUND, (stops[full] - 1) // _AROUND
    if not len(first):
        return 0
    before = np.concatenate([[-1], last[:-1]])
    return int(np.maximum(last - np.maximum(first, before + 1) + 1, 0).sum()) * _AROUND

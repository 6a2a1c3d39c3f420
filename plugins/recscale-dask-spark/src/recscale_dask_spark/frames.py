"""Recommendations as a Spark frame, which Spark's workers compute when it is used."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import pyarrow as pa

import recscale_dask as rs

_USERS = 10_000  # in a partition, and at most in a batch: Spark's own setting for Arrow


def recommend_frame(
    model: rs.FactorModel | str | os.PathLike[str],
    session: Any,
    users: Any = None,
    k: int = 10,
    *,
    exclude_seen: bool = True,
    allow: Any = None,
    deny: Any = None,
    min_score: float | None = None,
) -> Any:
    """Return what `FactorModel.recommend` returns, as a Spark frame that never passes the driver.

    It is lazy, as Spark's frames are: each use computes it, unless it is cached or written.

    Parameters
    ----------
    model : FactorModel or path
        A model is sent to every worker once; of a path, which workers have to see, each maps the files.
    session : pyspark.sql.SparkSession
        A classic one: Spark Connect sends no models.
    users : sequence of ids, or pyspark.sql.DataFrame of one column, optional
        By default all. Of a frame, the workers read the ids of their own partitions.
    k, exclude_seen, allow, deny, min_score
        As in `FactorModel.recommend`; `allow` and `deny` reach every worker as a whole.

    Returns
    -------
    pyspark.sql.DataFrame
        Columns user, item, rank (from 1) and score, in the order of the users.

    Raises
    ------
    UnknownIdError
        If an id in `users` is not in the model; for those in a frame, when it is computed.
    """
    source: Callable[[], rs.FactorModel]
    if isinstance(model, rs.FactorModel):
        opened, source = model, _Sent(session.sparkContext.broadcast(model))
    else:
        # Another call may be of another model at that path.
        opened, source = rs.load_model(model), partial(_mapped, os.fspath(model), uuid.uuid4().hex)
    settings = {"k": k, "exclude_seen": exclude_seen, "allow": allow, "deny": deny, "min_score": min_score}
    ids, by_code = _frame_of(opened, session, users)
    schema = pa.schema(
        [
            ("user", _plain(opened.users.ids.type)),
            ("item", _plain(opened.items.ids.type)),
            ("rank", pa.int32()),
            ("score", pa.float32()),
        ]
    )
    return ids.mapInArrow(
        partial(_recommended, source=source, by_code=by_code, settings=settings, schema=schema),
        session.createDataFrame(schema.empty_table()).schema,
    )


def _frame_of(model: rs.FactorModel, session: Any, users: Any) -> tuple[Any, bool]:
    """Return a frame of users, and whether it holds their codes."""
    if users is None:
        n_users = len(model.users)
        return session.range(0, n_users, 1, max(1, -(-n_users // _USERS))), True
    if hasattr(users, "mapInArrow"):
        return users, False
    codes = model.users.codes(users, kind="user")
    return session.createDataFrame(pa.table({"user": pa.array(codes)})), True


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type as Spark holds it."""
    return pa.string() if pa.types.is_large_string(kind) else kind


class _Sent:
    """A model in a broadcast variable, which each Python worker unpickles once."""

    def __init__(self, variable: Any) -> None:
        self._variable = variable

    def __call__(self) -> rs.FactorModel:
        model: rs.FactorModel = self._variable.value
        return model


@lru_cache(maxsize=1)
def _mapped(path: str, call: str) -> rs.FactorModel:
    """Return the model at a path; `call` keeps apart what different calls found there."""
    return rs.load_model(path)


def _recommended(
    batches: Iterator[pa.RecordBatch],
    *,
    source: Callable[[], rs.FactorModel],
    by_code: bool,
    settings: dict[str, Any],
    schema: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    """Yield the recommendations of batches of users; runs on the workers."""
    for batch in batches:
        if batch.num_rows:
            model = source()
            users = batch.column(0)
            ids = model.users.take(users.to_numpy(zero_copy_only=False)) if by_code else users
            yield from model.recommend(ids, executor="serial", progress=False, **settings).cast(schema).to_batches()

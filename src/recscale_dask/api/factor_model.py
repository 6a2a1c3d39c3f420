"""The fitted model as users hold it: factors, and everything that is done with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.api.item_lists import item_list, user_list
from recscale_dask.api.session import session
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer
from recscale_dask.hooks.specs import ExecutorRequest
from recscale_dask.io.model_store import load_model as read_model
from recscale_dask.io.model_store import save_model
from recscale_dask.model import Factors
from recscale_dask.scoring import pairs, recommend, reconstruct, similar, write
from recscale_dask.scoring.request import RecommendRequest, request

if TYPE_CHECKING:
    import dask.array
    import pyarrow as pa


class FactorModel(Factors):
    """A fitted factorization; frozen. Made by `factorize` and `load_model`.

    Attributes are those of `recscale_dask.model.Factors`. Wherever an executor can be named, it is a
    name of `list_executors`, an open `Executor`, or None to have one chosen.
    """

    def __repr__(self) -> str:
        solver = self.provenance.get("solver", "?")
        return f"FactorModel({solver}, rank {self.rank}, {len(self.users)} users, {len(self.items)} items)"

    def recommend(
        self,
        users: Any = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: Any = None,
        deny: Any = None,
        min_score: float | None = None,
        unknown: Literal["raise", "skip"] = "raise",
        executor: str | Executor | None = None,
        progress: bool | Observer | None = None,
    ) -> pa.Table:
        """Return the k best unseen items of each user, best first, ties by item code.

        Parameters
        ----------
        users : sequence of ids, or path, optional
            By default all; of a file, the ids in its first column. Each may be there once.
        k : int
            Items per user; a user with fewer candidates gets fewer rows.
        exclude_seen : bool
            Leave out the items that a user has in the training data.
        allow, deny : sequence of item ids, frame, path, Interactions or UserItemMatrix, optional
            Recommend only these; never these. Ids, a frame of one column and a file of one column hold for
            all users; a frame or file of users and items, pair by pair, so that a user who is in no pair
            of `allow` gets no rows, and an empty list allows nothing. A path is of CSV, TSV, Parquet, Arrow,
            or text of one id a line.
        min_score : float, optional
            Leave out items with a score below it.
        unknown : {"raise", "skip"}
            What becomes of ids that the model does not know, in `users`, `allow` and `deny`.
        executor : str, Executor or None
            Where to compute.
        progress : bool, callable or None
            See `factorize`.

        Returns
        -------
        pyarrow.Table
            Columns user, item (original ids), rank (int32, from 1) and score (float32).

        Raises
        ------
        UnknownIdError
            If a user or item id is not in the model, unless these are skipped.
        DataError
            If a user is named twice, a file or frame cannot be read, or nothing in it belongs to the model.
        OptionError
            If k is below 1, or another option is none.

        Warns
        -----
        UnknownIdWarning
            With ``unknown="skip"``: how many ids were skipped, and the first of them.
        """
        wanted = self._request(users, k, exclude_seen, allow, deny, min_score, unknown)
        with self._scoring(executor, len(wanted.users), progress) as (opened, observer):
            return recommend.recommend(self, wanted, opened, observer=observer)

    def recommend_to(
        self,
        path: str | os.PathLike[str],
        users: Any = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: Any = None,
        deny: Any = None,
        min_score: float | None = None,
        unknown: Literal["raise", "skip"] = "raise",
        executor: str | Executor | None = None,
        progress: bool | Observer | None = None,
    ) -> int:
        """Write what `recommend` returns as a partitioned Parquet data set; return the number of rows.

        The workers write the files of their own users, each of which appears whole or not at all. Called
        again with the same arguments, after a kill or a full disk, only what is missing is made; the files
        are the same, byte for byte, whoever wrote them.

        Parameters
        ----------
        path : path or fsspec URL
            A folder of its own: ``recs``, ``s3://bucket/recs``. All workers must see it.
        users, k, exclude_seen, allow, deny, min_score, unknown, executor, progress
            See `recommend`.

        Raises
        ------
        OutputError
            If `path` holds anything else, or cannot be written.
        """
        wanted = self._request(users, k, exclude_seen, allow, deny, min_score, unknown)
        with self._scoring(executor, len(wanted.users), progress) as (opened, observer):
            return write.recommend_to(self, wanted, path, opened, observer=observer)

    def recommend_file(
        self,
        path: str | os.PathLike[str],
        users: Any = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: Any = None,
        deny: Any = None,
        min_score: float | None = None,
        unknown: Literal["raise", "skip"] = "raise",
        overwrite: bool = False,
        executor: str | Executor | None = None,
        progress: bool | Observer | None = None,
    ) -> int:
        """Write what `recommend` returns to one Parquet file; return the number of rows.

        One batch of users is in memory at a time; the file appears whole or not at all.

        Raises
        ------
        OutputError
            If `path` exists (and `overwrite` is false) or cannot be written.
        """
        wanted = self._request(users, k, exclude_seen, allow, deny, min_score, unknown)
        with self._scoring(executor, len(wanted.users), progress) as (opened, observer):
            return write.recommend_file(self, wanted, path, opened, overwrite=overwrite, observer=observer)

    def score(
        self,
        users: Any,
        items: Any,
        *,
        executor: str | Executor | None = None,
        progress: bool | Observer | None = None,
    ) -> NDArray[np.float32]:
        """Return one score per pair of user and item ids, shape (n,).

        Raises
        ------
        UnknownIdError
            If an id is not in the model.
        DataError
            If there are not as many users as items.
        """
        user_codes, item_codes = self.users.codes(users, kind="user"), self.items.codes(items, kind="item")
        with self._scoring(executor, len(user_codes), progress) as (opened, observer):
            return pairs.score_pairs(self, user_codes, item_codes, opened, observer=observer)

    def reconstruct(self, users: Any = None, items: Any = None) -> dask.array.Array:
        """Return the low-rank product for a rectangle of users and items, as a lazy Dask array of float32.

        Parameters
        ----------
        users, items : sequence of ids, optional
            Rows and columns; by default all.
        """
        return reconstruct.reconstruct_array(*self._rectangle(users, items))

    def score_blocks(
        self,
        users: Any = None,
        items: Any = None,
        *,
        executor: str | Executor | None = None,
        progress: bool | Observer | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the chunks of `reconstruct` one after another, computed on an executor."""
        rows, columns = self._rectangle(users, items)
        with self._scoring(executor, len(rows), progress) as (opened, observer):
            yield from reconstruct.reconstruct_blocks(rows, columns, opened, observer=observer)

    def similar_items(self, item: Any, k: int = 10) -> pa.Table:
        """Return the k items nearest to one by the cosine of their factors: item, rank, score."""
        return _neighbours("item", self.items, self.item_factors, item, k)

    def similar_users(self, user: Any, k: int = 10) -> pa.Table:
        """Return the k users nearest to one by the cosine of their factors: user, rank, score."""
        return _neighbours("user", self.users, self.user_factors, user, k)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model to a folder of plain arrays, Arrow id maps and a JSON manifest; no pickle.

        Raises
        ------
        OutputError
            If the path exists (and `overwrite` is false) or cannot be written.
        """
        save_model(self, path, overwrite=overwrite)

    @classmethod
    def of(cls, factors: Factors) -> Self:
        """Return the model of a solver's factors."""
        for array in (factors.user_factors, factors.item_factors, factors.singular_values):
            array.flags.writeable = False  # as in a model that was loaded
        return cls(**{each.name: getattr(factors, each.name) for each in fields(Factors) if each.init})

    def _rectangle(self, users: Any, items: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = self.user_factors if users is None else self.user_factors[self.users.codes(users, kind="user")]
        columns = self.item_factors if items is None else self.item_factors[self.items.codes(items, kind="item")]
        return rows, columns

    def _request(
        self,
        users: Any,
        k: int,
        exclude_seen: bool,
        allow: Any,
        deny: Any,
        min_score: float | None,
        unknown: Literal["raise", "skip"],
    ) -> RecommendRequest:
        return request(
            self,
            user_list(self, users),
            k,
            exclude_seen=exclude_seen,
            allow=item_list(self, allow, "allow"),
            deny=item_list(self, deny, "deny"),
            min_score=min_score,
            unknown=unknown,
        )

    def _scoring(
        self, executor: str | Executor | None, n_users: int, progress: bool | Observer | None
    ) -> AbstractContextManager[tuple[Executor, Observer]]:
        request = ExecutorRequest(
            purpose="score",
            n_users=n_users,
            n_items=len(self.items),
            n_stored=n_users * len(self.items) // 64,  # a dense score costs less than a sparse product
            rank=self.rank,
        )
        return session(executor, request, progress)


def _neighbours(what: str, ids: Vocabulary, factors: NDArray[np.float32], one: Any, k: int) -> pa.Table:
    import pyarrow as pa

    (code,) = ids.codes([one], kind=what)
    best = similar.nearest(factors, int(code), k)
    return pa.table({what: ids.take(best.candidates), "rank": best.ranks(), "score": best.scores})


def load_model(path: str | os.PathLike[str], *, verify: bool = True) -> FactorModel:
    """Read a model that `FactorModel.save` wrote; its arrays are memory-mapped.

    Parameters
    ----------
    path : path
        The model's folder.
    verify : bool
        Compare every file with its SHA-256 in the manifest.

    Raises
    ------
    ModelFormatError
        If the folder is missing, no model, truncated, altered, or of a newer format.
    """
    model = read_model(path, FactorModel, verify=verify)
    assert isinstance(model, FactorModel)
    return model

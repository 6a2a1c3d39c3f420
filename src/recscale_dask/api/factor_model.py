"""The fitted model as users hold it: factors, and everything that is done with them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.api.executors import ExecutorLike
from recscale_dask.api.item_lists import item_list, user_list
from recscale_dask.api.job_plan import JobPlan
from recscale_dask.api.new_users import new_users
from recscale_dask.api.plan_recommend import plan_recommend
from recscale_dask.api.plugins import plugin_manager
from recscale_dask.api.session import scoring_request, session
from recscale_dask.checks import whole_number
from recscale_dask.closed_form import ClosedForm
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer
from recscale_dask.io.model_store import load_model as read_model
from recscale_dask.io.model_store import save_model
from recscale_dask.model import Factors
from recscale_dask.scoring import drift, explain, fold_in, new_rows, pairs, recommend, reconstruct, similar, write
from recscale_dask.scoring.drift import Drift
from recscale_dask.scoring.explain import Explanation
from recscale_dask.scoring.filters import check_ids
from recscale_dask.scoring.new_rows import NewRows
from recscale_dask.scoring.reconstruct import Columns, Rows
from recscale_dask.scoring.request import RecommendRequest, request
from recscale_dask.scoring.topk import TopK
from recscale_dask.solvers.base import Solver
from recscale_dask.types import Aggregation

if TYPE_CHECKING:
    import dask.array
    import pyarrow as pa


class FactorModel(Factors):
    """A fitted factorization; frozen. Made by `factorize` and `load_model`.

    Attributes are those of `recscale_dask.model.Factors`. Wherever an executor can be named, it is a
    name of `list_executors`, an open `Executor`, a pool of `concurrent.futures`, or None to have one chosen.
    """

    def __repr__(self) -> str:
        solver = self.provenance.get("solver", "?")
        rank = "" if self.rank_asked is None else f" rank {self.rank_asked},"
        return f"FactorModel({solver},{rank} {len(self.users)} users, {len(self.items)} items)"

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
        executor: ExecutorLike | None = None,
        progress: bool | Observer | None = None,
    ) -> pa.Table:
        """Return the k best unseen items of each user, best first, ties by item code.

        Parameters
        ----------
        users : sequence of ids, frame of one column, or path, optional
            By default all; of a file, the ids in its first column. Each may be there once.
        k : int
            Items per user; a user with fewer candidates gets fewer rows.
        exclude_seen : bool
            Leave out the items that a user has in the training data.
        allow, deny : sequence of item ids, frame, path, Interactions or UserItemMatrix, optional
            Recommend only these; never these. Ids, a frame of one column and a file of one column hold for
            all users, and so does one of items first and then what is said of them, such as films with their
            titles; a frame or file of users and items, pair by pair, so that a user who is in no pair
            of `allow` gets no rows, and an empty list allows nothing. A path is of CSV, TSV, Parquet, Arrow,
            or text of one id a line.
        min_score : float, optional
            Leave out items with a score below it.
        unknown : {"raise", "skip"}
            What becomes of ids that the model does not know, in `users`, `allow` and `deny`.
        executor : str, Executor, pool or None
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
        UserWarning
            If k is above the number of items, so that the lists are those of all items, and many rows.
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
        executor: ExecutorLike | None = None,
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

    def plan_recommend(
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
        executor: ExecutorLike | None = None,
    ) -> JobPlan:
        """Return what `recommend_to` with these arguments would take in memory, disk and time; nothing is written.

        The time and the bytes are those of some users, 2,048 on each core, that are computed here and thrown away;
        how many scores bounds save depends on the model.

        Parameters
        ----------
        path, users, k, exclude_seen, allow, deny, min_score, unknown, executor
            See `recommend_to`.
        """
        start = time.perf_counter()
        wanted = self._request(users, k, exclude_seen, allow, deny, min_score, unknown)
        checking = time.perf_counter() - start
        with self._scoring(executor, len(wanted.users), False) as (opened, _):
            return plan_recommend(self, wanted, path, opened).after("check", checking)

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
        executor: ExecutorLike | None = None,
        progress: bool | Observer | None = None,
    ) -> int:
        """Write what `recommend` returns to one Parquet file; return the number of rows.

        One batch of users is in memory at a time; the file appears whole or not at all.

        Parameters
        ----------
        path : path or URL
            The file.
        users, k, exclude_seen, allow, deny, min_score, unknown, executor, progress
            See `recommend`.
        overwrite : bool
            Replace a file that is there.

        Raises
        ------
        OutputError
            If `path` exists (and `overwrite` is false), cannot be written, or ends in neither .parquet nor .pq.
        """
        write.check_recommendations(path, overwrite=overwrite)
        wanted = self._request(users, k, exclude_seen, allow, deny, min_score, unknown)
        with self._scoring(executor, len(wanted.users), progress) as (opened, observer):
            return write.recommend_file(self, wanted, path, opened, overwrite=overwrite, observer=observer)

    def score(
        self,
        users: Any,
        items: Any,
        *,
        executor: ExecutorLike | None = None,
        progress: bool | Observer | None = None,
    ) -> NDArray[np.float32]:
        """Return one score per pair of user and item ids, shape (n,).

        Parameters
        ----------
        users, items : sequence of ids, of one length n
            The pairs.
        executor, progress
            See `recommend`.

        Raises
        ------
        UnknownIdError
            If an id is not in the model.
        OptionError
            If one of them is a single id.
        DataError
            If there are not as many users as items.
        """
        check_ids(users, "users")
        check_ids(items, "items")
        user_codes, item_codes = self.users.codes(users, kind="user"), self.items.codes(items, kind="item")
        with self._scoring(executor, len(user_codes), progress) as (opened, observer):
            return pairs.score_pairs(self, user_codes, item_codes, opened, observer=observer)

    def reconstruct(
        self, users: Any = None, items: Any = None, *, limit: int | None = reconstruct.LIMIT
    ) -> dask.array.Array:
        """Return the scores of a rectangle of users and items, as a lazy Dask array of float32: the product of factors.

        Nothing is computed here. Stores such as ``to_zarr`` take it chunk by chunk, whatever its size.

        Parameters
        ----------
        users, items : sequence of ids, optional
            Rows and columns; by default all.
        limit : int, optional
            Most bytes that it may take as one NumPy array: computing the whole of a larger one raises an OptionError
            that says how large, and what to do instead. None is no limit.
        """
        return reconstruct.reconstruct_array(*self._rectangle(users, items), limit)

    def rows(
        self,
        users: Any = None,
        items: Any = None,
        *,
        executor: ExecutorLike | None = None,
        progress: bool | Observer | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the rows of `reconstruct` in blocks, in order, computed on an executor.

        Parameters
        ----------
        users, items : sequence of ids, optional
            Rows and columns; by default all.
        executor : str, Executor, pool or None
            Where to compute.
        progress : bool, callable or None
            See `factorize`.

        Yields
        ------
        ndarray of float32, shape (n_rows, n_items)
            Of about 64 MB at most.
        """
        rows, columns = self._rectangle(users, items)
        with self._scoring(executor, len(rows), progress) as (opened, observer):
            yield from reconstruct.reconstruct_blocks(rows, columns, opened, observer=observer)

    def fold_in(
        self,
        interactions: Any,
        *,
        unknown: Literal["raise", "skip", "ignore"] = "raise",
        duplicates: Aggregation = "sum",
        executor: ExecutorLike | None = None,
        progress: bool | Observer | None = None,
    ) -> FactorModel:
        """Return a model of users that were not fitted, with the item factors of this one: no refit.

        Their factors are the solver's closed form: those that a user of the training data with the same row
        has. So recommendations, scores, neighbours and `save` work as they do for any model, and their
        interactions here are their seen items. A user with no known item gets what a user without interactions
        gets in a fit: zeros, but for means.

        Parameters
        ----------
        interactions : Interactions, UserItemMatrix, file, frame, sparse matrix, or items of one user
            What `read_interactions` takes; users by items; or of one user a list or array of item ids, or a
            mapping of item ids to values. That one user has the id 0.
        unknown : {"raise", "skip", "ignore"}
            What becomes of items that the model does not have: an error; or they are skipped, with or without a
            warning, and ``provenance["folded_in"]`` counts and lists them.
        duplicates : {"sum", "max", "last"}
            What becomes of several rows of one user and item, as in `UserItemMatrix.from_interactions`.
        executor : str, Executor, pool or None
            Where to compute.
        progress : bool, callable or None
            See `factorize`.

        Raises
        ------
        UnknownIdError
            If an item is not in the model, and not to be skipped.
        DataError
            If values do not suit the weighting of the model.
        OptionError, ModelFormatError
            If the solver has no closed form, or the model was saved by a version that kept too little for it.

        Warns
        -----
        UnknownIdWarning
            With ``unknown="skip"``: how many items were skipped, and the first of them.

        Examples
        --------
        >>> import numpy as np
        >>> from recscale_dask import factorize
        >>> model = factorize(np.kron(np.eye(2), np.ones((4, 3))), rank=2)
        >>> model.fold_in([0, 1]).recommend(k=1)["item"].to_pylist()
        [2]
        """
        choices: dict[str, Literal["raise", "warn", "ignore"]] = {"raise": "raise", "skip": "warn", "ignore": "ignore"}
        if unknown not in choices:
            raise OptionError(f"unknown={unknown!r} is not a choice; use 'raise', 'skip' or 'ignore'")
        rows = new_users(interactions, self.items, duplicates)
        new = new_rows.with_items_of(rows, self.items, missing=choices[unknown])
        return self._folded(new, executor, progress)

    def drift(
        self,
        interactions: Any = None,
        *,
        threshold: float = drift.THRESHOLD,
        executor: ExecutorLike | None = None,
        progress: bool | Observer | None = None,
    ) -> Drift:
        """Return how much less the factors explain of new users than of those they were fitted to.

        Parameters
        ----------
        interactions : optional
            Of new users, as for `fold_in`; unknown items are counted. None if this is a model that `fold_in`
            returned: then its own users.
        threshold : float
            Loss from which on a refit is advised.
        executor, progress
            See `fold_in`.

        Raises
        ------
        OptionError
            If there are no interactions, and this is a fitted model.
        """
        if interactions is not None:
            new = new_rows.with_items_of(new_users(interactions, self.items), self.items, missing="ignore")
            return self._folded(new, executor, progress).drift(threshold=threshold)
        return drift.drift(self, threshold)

    def explain(self, user: Any, item: Any, k: int = 10, *, matrix: UserItemMatrix | None = None) -> Explanation:
        """Return which of a user's own items the score of an item comes from, and how much of it.

        Parameters
        ----------
        user, item : id
        k : int
            Items to list at most; `others` has the sum of the rest.
        matrix : UserItemMatrix, optional
            The training data; needed only for a model that does not hold their values, as those that were saved by
            earlier versions.

        Raises
        ------
        UnknownIdError
            If an id is not in the model.
        DataError
            If the matrix is not the one that the model was fitted to.
        """
        (user_code,) = self.users.codes([user], kind="user")
        (item_code,) = self.items.codes([item], kind="item")
        values = explain.training_values(self, matrix)
        return explain.explain(self, self._closed_form, int(user_code), int(item_code), whole_number(k, "k"), values)

    def similar_items(self, item: Any, k: int = 10) -> pa.Table:
        """Return the k items nearest to one by the cosine of their factors: item, rank, score.

        Of a model with an item operator (such as `item-knn`), the k best items of a user who has this one alone.

        Parameters
        ----------
        item : id
        k : int
            How many; fewer if there are no more.

        Raises
        ------
        OptionError
            If the model has one factor, as those of ``popularity``, by which all items are equally near.
        """
        (code,) = self.items.codes([item], kind="item")
        if self.item_operator is None and self.rank < 2:
            raise OptionError(
                f"{self!r} has one factor, by which all items are equally near to one another. Use a solver that tells "
                "items apart, such as svd."
            )
        if self.item_operator is None:
            return _ranked("item", self.items, similar.nearest(self.item_factors, int(code), k))
        return _ranked("item", self.items, similar.nearest_by_score(self, self._closed_form, int(code), k))

    def similar_users(self, user: Any, k: int = 10) -> pa.Table:
        """Return the k users nearest to one by the cosine of their factors: user, rank, score.

        Parameters
        ----------
        user : id
        k : int
            How many; fewer if there are no more.

        Raises
        ------
        OptionError
            If the model has no factors, as those of ``item-knn`` and ``ease``.
        """
        (code,) = self.users.codes([user], kind="user")
        return _ranked("user", self.users, similar.nearest_user(self, int(code), k))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model to a folder of plain arrays, Arrow id maps and a JSON manifest; no pickle.

        Parameters
        ----------
        path : path or URL
            The folder, which appears whole or not at all.
        overwrite : bool
            Replace a model that is there; anything else never is.

        Raises
        ------
        OutputError
            If the path exists (and `overwrite` is false) or cannot be written.
        """
        save_model(self, path, overwrite=overwrite)

    @classmethod
    def of(cls, factors: Factors) -> Self:
        """Return the model of a solver's factors.

        Parameters
        ----------
        factors : Factors
            What a solver returns. Its arrays can no longer be written to.
        """
        for array in (factors.user_factors, factors.item_factors, factors.singular_values):
            array.flags.writeable = False  # as in a model that was loaded
        return cls(**{each.name: getattr(factors, each.name) for each in fields(Factors) if each.init})

    @cached_property
    def _closed_form(self) -> ClosedForm:
        options = self.provenance.get("options", {})
        target = plugin_manager().resolve("solvers", self.provenance.get("solver", ""))
        solver: Solver = target(**{each.name: options[each.name] for each in fields(target) if each.name in options})
        return solver.closed_form(self)

    def _folded(self, new: NewRows, executor: ExecutorLike | None, progress: bool | Observer | None) -> FactorModel:
        request = scoring_request(self, len(new.matrix.users), new.matrix.nnz)
        with session(executor, request, progress) as (opened, observer):
            return self.of(fold_in.fold_in(self, new, self._closed_form, opened, observer=observer))

    def _rectangle(self, users: Any, items: Any) -> tuple[Rows, Columns]:
        for what, ids in (("users", users), ("items", items)):
            if ids is not None:
                check_ids(ids, what)
        return reconstruct.sides(
            self,
            None if users is None else self.users.codes(users, kind="user"),
            None if items is None else self.items.codes(items, kind="item"),
        )

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
        self, executor: ExecutorLike | None, n_users: int, progress: bool | Observer | None
    ) -> AbstractContextManager[tuple[Executor, Observer]]:
        return session(executor, scoring_request(self, n_users), progress)


def _ranked(what: str, ids: Vocabulary, best: TopK) -> pa.Table:
    import pyarrow as pa

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


def as_model(given: Any, what: str = "model") -> FactorModel:
    """Return a model, given as it is or by its path or URL.

    Parameters
    ----------
    given : FactorModel, path or URL
    what : str
        Name of the argument, for messages.

    Raises
    ------
    OptionError
        If it is something else.
    ModelFormatError
        See `load_model`.
    """
    if isinstance(given, FactorModel):
        return given
    if isinstance(given, str | os.PathLike):
        return load_model(given)
    raise OptionError(
        f"{what} must be a model, as factorize and load_model return it, or the path of one; got a "
        f"{type(given).__name__}. Several models are compared: rs.compare({{name: model, ...}}, test)."
    )

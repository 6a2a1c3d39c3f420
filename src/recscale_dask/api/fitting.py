"""Fitting: `factorize` for a model, `svds` for those who want SciPy's function."""

from __future__ import annotations

import dataclasses
import inspect
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.api.executors import Chosen, ExecutorLike, chosen_executor, reason_for
from recscale_dask.api.factor_model import FactorModel, as_model
from recscale_dask.api.planning import Plan, Planner
from recscale_dask.api.plugins import plugin_manager
from recscale_dask.api.session import session
from recscale_dask.checks import plain, whole_number
from recscale_dask.data.dense import DenseMatrix, array_of
from recscale_dask.data.interactions import Interactions
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.sparse import is_sparse
from recscale_dask.data.store import is_store
from recscale_dask.errors import DataError, OptionError
from recscale_dask.execution.events import Observer
from recscale_dask.hooks.specs import ExecutorRequest
from recscale_dask.linalg.tall import transposed
from recscale_dask.model import Certificate
from recscale_dask.solvers.base import Problem, Solver
from recscale_dask.solvers.checkpoint import Checkpoints
from recscale_dask.solvers.machine_rates import machine_rates
from recscale_dask.solvers.svd import singular_triplets
from recscale_dask.solvers.warm_start import StartVectors
from recscale_dask.types import Aggregation

_OF_ALL = ("rank", "weighting", "user_scaling", "item_scaling", "tol", "seed")
_DENSE = 0.2  # share of non-zero values from which dense products are certainly the faster ones


def factorize(
    matrix: Any,
    *,
    solver: str = "svd",
    rank: int = 64,
    weighting: str | None = None,
    user_scaling: float = 0.0,
    item_scaling: float = 0.0,
    tol: float = 1e-3,
    executor: ExecutorLike | None = None,
    seed: int = 0,
    memory_limit: int | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    warm_start: FactorModel | str | os.PathLike[str] | None = None,
    progress: bool | Observer | None = None,
    **options: Any,
) -> FactorModel:
    """Fit a matrix factorization and return the model.

    With the same data, options, seed, library versions and processor, the factors are equal bit for bit
    on every executor with any number of workers.

    Parameters
    ----------
    matrix : UserItemMatrix, Interactions, SciPy sparse, NumPy or Dask array, or the path or URL of a store
        Users by items. Of Interactions with repeated pairs the values are added up, and for ``als-explicit``, whose
        values are ratings, the last one counts; `UserItemMatrix.from_interactions` has the choice.
    solver : str
        One of `list_solvers`.
    rank : int
        Number of factors, below both sides of the matrix.
    weighting : {"binary", "log", "bm25", "tfidf"}, optional
        Replaces each stored value; see `recscale_dask.data.weighting`.
    user_scaling, item_scaling : float
        Factorize ``Du^-user_scaling R Di^-item_scaling`` (D: row and column sums of the weighted matrix);
        the model undoes the scaling, so that its factors approximate R.
    tol : float
        Largest residual allowed of each triplet, as a fraction of its singular value. For alternating least
        squares, the relative change of the objective at which it stops.
    executor : str, Executor, pool or None
        A name of `list_executors`, an open executor, a pool of `concurrent.futures`, or None to have one chosen.
    seed : int
        Of all random numbers.
    memory_limit : int or str, optional
        Bytes, or text such as ``"2GiB"``: the most that this process and its workers on this machine may take, and each
        worker elsewhere. A fit whose forecast (`plan`) is above it is refused before any work. None: what this
        machine has, of which only what certainly does not fit is refused. It never changes a result.
    checkpoint : path, optional
        Folder in which the state of the fit is kept after each pass, the last two of them. It is yours to delete
        when the model is safe.
    resume : bool
        Go on from the state in `checkpoint`, if there is one, on any executor; the model has the same bytes as if
        the fit had not been stopped.
    warm_start : FactorModel or the path of one, optional
        An earlier model of nearly the same interactions to start from, which takes far fewer passes. Users and items
        are matched by their ids, and the result is certified as any other. Weighting, scaling and centring have to be
        those of the model.
    progress : bool, callable or None
        True shows a bar on stderr, False nothing, None a bar if stderr is a terminal; a callable gets
        every event of `recscale_dask.execution.events`.
    **options
        Options of the solver by name: for ``svd``, `maxiter`, `block_size`, `basis_size`, `center`,
        `filter`, `filter_strength` and `undo_scaling`: see `recscale_dask.solvers.svd.SVDSolver`. Those of the other
        solvers are in `recscale_dask.solvers`: `graph_filter`, `als`, `item_knn` and `ease`.

    Raises
    ------
    OptionError
        If an option cannot work, such as a rank that is not below both sides.
    DataError
        If a value is not finite, or does not suit the weighting.
    UnknownNameError, ExecutorUnavailable
        If there is no such solver or executor, or it cannot run here.
    MemoryLimitError
        If it would take more memory than it may; says what would fit.
    StoreError
        If a store does not hold what its manifest says.
    CheckpointError
        If the state in `checkpoint` is of other data or options, or not whole.
    OutputError
        If the state cannot be written there, or the disk has no room for it.
    PluginError
        If what offers the solver or the executor is broken.

    Warns
    -----
    NotConvergedWarning
        If `tol` was not reached; the model's certificate says so too.

    Examples
    --------
    >>> import numpy as np
    >>> ratings = np.outer([1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 1.0])
    >>> model = factorize(ratings, rank=1)
    >>> model.reconstruct().compute().round(3)[2]
    array([9., 6., 3., 3.], dtype=float32)
    """
    start = time.perf_counter()
    named: dict[str, Any] = {
        "rank": rank,
        "weighting": weighting,
        "user_scaling": user_scaling,
        "item_scaling": item_scaling,
        "tol": tol,
    }
    earlier = None if warm_start is None else as_model(warm_start, "warm_start")
    problem = Problem(matrix=as_matrix(matrix, duplicates_of(solver)), **named, seed=seed, warm_start=earlier)
    configured = _configured(solver, options, problem, executor)
    if checkpoint is not None and not configured.checkpoints:
        raise OptionError(f"solver {solver!r} keeps no state to go on from. Leave checkpoint (--checkpoint) out.")
    if resume and checkpoint is None:
        raise OptionError("resume=True needs the folder of the fit that was stopped: pass checkpoint= (--checkpoint)")
    chosen = _chosen(executor, solver, configured, problem, memory_limit)
    with session(chosen, _request(problem), progress) as (opened, observer):
        Planner.of(solver, configured, problem, opened, memory_limit).refuse(
            None if resume else checkpoint  # a state that is there has its room already
        )
        if checkpoint is not None:
            problem = dataclasses.replace(problem, checkpoints=Checkpoints(checkpoint, resume=resume))
        factors = configured.fit(problem, opened, observer)
        executor_name = opened.name
    provenance = {
        "solver": solver,
        "options": {**named, **_options_of(configured)},
        "seed": seed,
        "executor": executor_name,
        "executor_reason": reason_for(chosen),
        "versions": _versions(solver, executor_name),
        "fit_seconds": time.perf_counter() - start,
        "warm_start": earlier and earlier.factors_sha256(),
        **factors.provenance,
    }
    return FactorModel.of(dataclasses.replace(factors, provenance=plain(provenance)))


def clear_checkpoints(folder: str | os.PathLike[str]) -> None:
    """Delete the states that ``factorize(checkpoint=folder)`` left, when the model is safe."""
    Checkpoints(folder, resume=True).clear()


def plan(
    matrix: Any,
    *,
    solver: str = "svd",
    rank: int = 64,
    weighting: str | None = None,
    user_scaling: float = 0.0,
    item_scaling: float = 0.0,
    tol: float = 1e-3,
    executor: ExecutorLike | None = None,
    seed: int = 0,
    memory_limit: int | str | None = None,
    **options: Any,
) -> Plan:
    """Return what `factorize` would take: passes, bytes, memory and time, and whether it fits.

    Seconds are from rates that are measured on this machine, for a third of a second; nothing else is computed, and
    no more than a few blocks are read. The executor is opened, to see its workers.

    Parameters
    ----------
    matrix, solver, rank, weighting, user_scaling, item_scaling, tol, executor, seed, memory_limit, **options
        As for `factorize`.

    Raises
    ------
    OptionError, DataError, UnknownNameError, ExecutorUnavailable
        As `factorize`.

    Examples
    --------
    >>> import numpy as np
    >>> forecast = plan(np.eye(300), rank=8)
    >>> forecast.fits, forecast.method["method"]
    (True, 'whole Gram matrix')
    """
    problem = Problem(
        matrix=as_matrix(matrix, duplicates_of(solver)),
        rank=rank,
        weighting=weighting,
        user_scaling=user_scaling,
        item_scaling=item_scaling,
        tol=tol,
        seed=seed,
    )
    configured = _configured(solver, options, problem, executor)
    chosen = _chosen(executor, solver, configured, problem, memory_limit)
    with session(chosen, _request(problem), False) as (opened, _):
        planner = Planner.of(solver, configured, problem, opened, memory_limit)
        forecast = dataclasses.replace(planner, rates=machine_rates(problem)).plan()
        return dataclasses.replace(forecast, executor_reason=reason_for(chosen))


def _configured(name: str, options: dict[str, Any], problem: Problem, executor: ExecutorLike | None = None) -> Solver:
    """Return a solver with its options, checked against the problem."""
    target = plugin_manager().resolve("solvers", name)
    known = {field.name for field in dataclasses.fields(target)}
    if unknown := sorted(options.keys() - known):
        raise _unknown_options(name, sorted(known), unknown, options, executor)
    configured: Solver = target(**options)
    if problem.warm_start is not None and not configured.warm_starts:
        raise OptionError(f"solver {name!r} does not start from an earlier model. Leave warm_start out.")
    configured.check(problem)
    whole_number(problem.rank, "rank")  # also of those that have no use for it
    return configured


def _unknown_options(
    solver: str, known: list[str], unknown: list[str], options: dict[str, Any], executor: ExecutorLike | None
) -> OptionError:
    """Return the error of options that a solver does not have: what may have been meant, and what there is."""
    if executor is not None:
        target = plugin_manager().resolve("executors", executor) if isinstance(executor, str) else type(executor)
        of_executor: Mapping[str, Any] = {}
        with suppress(TypeError, ValueError):  # it is no executor, which is told when it is opened
            of_executor = inspect.signature(target).parameters
        if given := ", ".join(f"{name}={options[name]!r}" for name in unknown if name in of_executor):
            opened = f": with rs.open_executor({executor!r}, {given})" if isinstance(executor, str) else ""
            return OptionError(
                f"{given} is for the executor, not for the solver. Give it where the executor is opened{opened}."
            )
    arguments = [name for name in inspect.signature(factorize).parameters if name not in ("matrix", "options")]
    close = {name: get_close_matches(name, [*known, *arguments], n=1) for name in unknown}
    meant = [f"did you mean {found[0]!r} by {name!r}? " for name, found in close.items() if found]
    return OptionError(
        f"solver {solver!r} has no option {', '.join(unknown)}; {''.join(meant)}its options are: "
        f"{', '.join(known) or 'none'}; those of all solvers: {'=, '.join(_OF_ALL)}="
    )


def _chosen(
    executor: ExecutorLike | None, name: str, solver: Solver, problem: Problem, memory_limit: int | str | None
) -> Chosen:
    """Return the executor of a fit: that which the call names, or one that is chosen by what the fit would take."""
    if executor is not None:
        return executor
    plan = Planner.on_threads(name, solver, problem, memory_limit).bare()
    request = dataclasses.replace(
        _request(problem), bytes_needed=plan.most_bytes, bytes_free=plan.memory_limit, seconds=plan.seconds
    )
    return chosen_executor(None, request)


def _request(problem: Problem) -> ExecutorRequest:
    n_users, n_items = problem.matrix.shape
    return ExecutorRequest(
        purpose="fit", n_users=n_users, n_items=n_items, n_stored=problem.matrix.nnz, rank=problem.rank
    )


def duplicates_of(solver: str) -> Aggregation:
    """Return what becomes of several rows of one user and item in fits of a solver."""
    duplicates: Aggregation = plugin_manager().resolve("solvers", solver).duplicates
    return duplicates


def as_matrix(matrix: Any, duplicates: Aggregation = "sum") -> UserItemMatrix:
    """Return what a user passes as a matrix as a UserItemMatrix; `duplicates` says what becomes of repeated pairs.

    Raises
    ------
    DataError
        If it is nothing like a matrix.
    """
    if isinstance(matrix, UserItemMatrix):
        return matrix
    if isinstance(matrix, str | os.PathLike):
        if not is_store(matrix):
            if os.path.isfile(matrix):
                raise DataError(
                    f"{os.fspath(matrix)!r} is a file, and a matrix is made of what is in it: "
                    f"rs.read_interactions({os.fspath(matrix)!r})."
                )
            raise DataError(
                f"there is no store at {os.fspath(matrix)!r}. Make one of data files with rs.ingest, or read them "
                "with rs.read_interactions."
            )
        return UserItemMatrix.open(matrix)
    if isinstance(matrix, Interactions):
        return UserItemMatrix.from_interactions(matrix, duplicates=duplicates)
    if _is_dask(matrix):
        return UserItemMatrix.from_dask_array(matrix)
    if is_sparse(matrix) or isinstance(matrix, np.ndarray):
        return UserItemMatrix.from_scipy(matrix)
    raise DataError(
        f"expected a UserItemMatrix, Interactions, a SciPy sparse, NumPy or Dask array, or the path of a store; got "
        f"{type(matrix).__name__}. Tables of ratings go through read_interactions first."
    )


def as_rows(matrix: Any) -> UserItemMatrix | DenseMatrix:
    """Return what a user passes as a matrix, dense if it is: for what needs only rows and no ids.

    NumPy arrays are dense if at least a fifth of their values are not zero. Dask arrays of NumPy chunks are,
    because it is not known before they are computed, here; others are sparse, and what is no array goes the
    way of `as_matrix`.

    Raises
    ------
    DataError
        If it is nothing like a matrix, or a value is not finite.
    """
    if isinstance(matrix, DenseMatrix):
        return matrix.loaded()
    if isinstance(matrix, np.ndarray) and np.count_nonzero(matrix) >= max(1, _DENSE * matrix.size):
        return DenseMatrix.from_numpy(matrix)
    if _is_dask(matrix) and isinstance(getattr(matrix, "_meta", None), np.ndarray):
        from recscale_dask.data.dask_dense import SparseChunkError

        # What was made of sparse chunks with no word about it is known only now.
        with suppress(SparseChunkError):
            return DenseMatrix.from_dask_array(matrix).loaded()
    return as_matrix(matrix).ready()


def _is_dask(matrix: Any) -> bool:
    return hasattr(matrix, "__dask_graph__") and hasattr(matrix, "to_delayed")


class SVDResult(tuple[Any, Any, Any]):
    """``u, s, vh`` of `svds`, with the certificate beside them.

    Attributes
    ----------
    certificate : Certificate
        Measured residual of each triplet, in the order of ``s``.
    """

    certificate: Certificate

    def __new__(cls, u: Any, s: Any, vh: Any, certificate: Certificate) -> SVDResult:
        """Make the tuple ``(u, s, vh)`` with its certificate."""
        result = super().__new__(cls, (u, s, vh))
        result.certificate = certificate
        return result

    def __getnewargs__(self) -> tuple[Any, Any, Any, Certificate]:
        return (*self, self.certificate)


def svds(
    A: Any,
    k: int = 6,
    *,
    tol: float = 0,
    which: str = "LM",
    v0: NDArray[Any] | None = None,
    maxiter: int | None = None,
    return_singular_vectors: bool | str = True,
    rng: Any = None,
    random_state: Any = None,
    executor: ExecutorLike | None = None,
    center: str | None = None,
) -> SVDResult | NDArray[Any]:
    """Return the k largest singular triplets of a matrix: `scipy.sparse.linalg.svds`, blocked and certified.

    Parameters
    ----------
    A : SciPy sparse matrix or array, NumPy array, Dask array, UserItemMatrix or DenseMatrix, shape (M, N)
        Real; computed with dense products if it is a NumPy array with few zeros or a Dask array of NumPy chunks.
    k : int
        ``1 <= k <= min(M, N)``.
    tol : float
        Largest residual allowed, as a fraction of each singular value; 0 means to working precision.
    which : "LM"
        Largest only.
    v0 : ndarray of shape (N,) or (N, m), optional
        Right vectors to start from; where M < N also left ones, shape (M,) or (M, m), as SciPy has them.
    maxiter : int, optional
        Most passes over the matrix.
    return_singular_vectors : bool or {"u", "vh"}
        False returns only the singular values; ``"u"`` or ``"vh"`` leaves the other side None.
    rng, random_state : int, Generator or None
        Where the random start comes from; None is seed 0, so that equal calls give equal results.
    executor : str, Executor, pool or None
        Where to compute.
    center : {"items", "users", "global"}, optional
        Subtract the mean of each column (then ``vh`` are the principal components), of each row, or of all
        entries first, without densifying.

    Returns
    -------
    u : ndarray of shape (M, k)
    s : ndarray of shape (k,)
        Ascending, as SciPy's solvers return them.
    vh : ndarray of shape (k, N)
        The three as a tuple that has the `certificate` too. Computed in float64; float32 if A is.

    Warns
    -----
    NotConvergedWarning
        If `tol` was not reached; the certificate says so too.

    Raises
    ------
    OptionError
        If k or another option cannot work.

    Examples
    --------
    >>> import scipy.sparse
    >>> A = scipy.sparse.diags_array([1.0, 2.0, 3.0, 4.0])
    >>> u, s, vh = svds(A, k=2)
    >>> s.round(6)
    array([3., 4.])
    """
    if which != "LM":
        raise OptionError(f"only the largest singular values can be had (which='LM'); got which={which!r}")
    if return_singular_vectors not in (True, False, "u", "vh"):
        raise OptionError(f"return_singular_vectors is True, False, 'u' or 'vh'; got {return_singular_vectors!r}")
    matrix = as_rows(A)
    smaller = min(matrix.shape)
    if whole_number(k, "k", hint=f". Try k={min(6, smaller)}") > smaller:
        raise OptionError(f"k must be from 1 to the smaller side of the matrix, {smaller}; got k={k!r}")
    seed = rng if rng is not None else random_state
    start = StartVectors(_start_vectors(matrix, v0)) if v0 is not None else None
    request = ExecutorRequest(
        purpose="fit", n_users=matrix.shape[0], n_items=matrix.shape[1], n_stored=matrix.nnz, rank=k
    )
    with session(executor, request, False) as (opened, observer):
        found = singular_triplets(
            matrix,
            int(k),
            tol=tol,
            executor=opened,
            seed=0 if seed is None else seed,
            start=start,
            maxiter=maxiter,
            center=center,
            observer=observer,
        )
    given = np.dtype(getattr(A, "dtype", matrix.dtype))
    dtype = np.float32 if given.kind == "f" and given.itemsize <= 4 else np.float64
    s = found.values[::-1].astype(dtype)
    if not return_singular_vectors:
        return s
    u = np.ascontiguousarray(found.left[:, ::-1], dtype) if return_singular_vectors != "vh" else None
    vh = transposed(found.right[:, ::-1], dtype) if return_singular_vectors != "u" else None
    certificate = found.certificate
    ascending = Certificate(certificate.residuals[::-1], certificate.tol, certificate.passes)
    return SVDResult(u, s, vh, ascending)


def _start_vectors(matrix: UserItemMatrix | DenseMatrix, v0: Any) -> NDArray[np.float64]:
    """Return right vectors to start from, given right ones, or left ones of a matrix with fewer rows."""
    start = np.atleast_1d(np.asarray(v0, np.float64))
    start = start.reshape(len(start), -1)
    n_rows, n_columns = matrix.shape
    if len(start) not in ((n_rows, n_columns) if n_rows < n_columns else (n_columns,)) or not np.isfinite(start).all():
        raise OptionError(f"v0 must hold finite right vectors of {n_columns} entries; got shape {np.shape(v0)}")
    if len(start) == n_columns:
        return start
    blocks = (source.load() for source in matrix.sources)
    images = [array_of(block).T @ start[block.start : block.stop] for block in blocks]
    right: NDArray[np.float64] = np.sum(images, axis=0)
    return right


def _options_of(solver: Solver) -> dict[str, Any]:
    """Return all options of a solver: those left out too, since their defaults may be others one day."""
    return {each.name: getattr(solver, each.name) for each in dataclasses.fields(solver) if each.init}  # type: ignore[arg-type]


def _versions(solver: str, executor: str) -> dict[str, str]:
    """Return the versions of what made a model, packages of plugins included."""
    plugins = (plugin_manager().package_of("solvers", solver), plugin_manager().package_of("executors", executor))
    found = {"python": platform.python_version()}
    for name in ("recscale-dask", "numpy", "scipy", "numba", *plugins):
        with suppress(PackageNotFoundError):  # of a plugin that was registered by hand
            found[name] = version(name)
    return found

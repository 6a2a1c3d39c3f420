"""`TruncatedSVD`: scikit-learn's estimator on our certified SVD."""

from __future__ import annotations

from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.api.executors import ExecutorLike
from recscale_dask.api.fitting import as_matrix, as_rows
from recscale_dask.api.session import session
from recscale_dask.checks import whole_number
from recscale_dask.data.dense import DenseMatrix
from recscale_dask.data.interactions import Interactions
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import DataError, OptionError, PackageMissing
from recscale_dask.hooks.specs import ExecutorRequest
from recscale_dask.linalg.tall import transposed
from recscale_dask.model import Certificate
from recscale_dask.scoring.projection import projected_array, projected_blocks
from recscale_dask.solvers.svd import singular_triplets
from recscale_dask.solvers.variance import total_variance

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data
except ImportError as error:
    raise PackageMissing(
        f"TruncatedSVD needs scikit-learn 1.6 or later ({error}): pip install 'recscale-dask[sklearn]'"
    ) from error

_ALGORITHMS = ("lanczos", "randomized", "arpack")


class TruncatedSVD(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Dimensionality reduction by a certified truncated SVD: `sklearn.decomposition.TruncatedSVD` on any executor.

    The data are not centred. Whatever `algorithm` says, the SVD is block Lanczos, run until every triplet is within
    `tol`, so there is nothing to tune: `n_iter`, `n_oversamples` and `power_iteration_normalizer` are taken
    so that scikit-learn's class can be replaced by this one, and have no effect.

    Parameters
    ----------
    n_components : int
        Dimensions of the result, at most the number of features. Data of fewer samples than that
        give one component a sample.
    algorithm : {"lanczos", "randomized", "arpack"}
        scikit-learn's names have no effect on the method. ``"arpack"`` keeps ARPACK's limit:
        `n_components` below the numbers of samples and of features.
    n_iter, n_oversamples, power_iteration_normalizer
        No effect.
    random_state : int, RandomState, Generator or None
        Where the random start comes from; None is seed 0, so that equal fits give equal results. It changes results
        by no more than `tol` allows.
    tol : float
        Largest residual allowed, as a fraction of each singular value; 0 means to working precision. Singular values
        are then right to about its square, components to `tol` over the relative gap to the next
        singular value. (In scikit-learn it is ARPACK's, and 0.)
    maxiter : int, optional
        Most passes over the data; by default 300.
    executor : str, Executor, pool or None
        A name of `recscale_dask.list_executors`, an open executor, a pool of `concurrent.futures`, or None to have one
        chosen. A clone shares an open executor; a pickle leaves it out, and has None.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Right singular vectors, that of the largest value first. The entry of largest magnitude of each is positive
        (the first one of equals), which is scikit-learn's convention too; compare with
        others up to sign.
    explained_variance_ : ndarray of shape (n_components,)
        Variance of each column of the transformed training data.
    explained_variance_ratio_ : ndarray of shape (n_components,)
        The same as a fraction of the sum of the variances of all features; NaN if no feature varies.
    singular_values_ : ndarray of shape (n_components,)
        Descending.
    certificate_ : recscale_dask.model.Certificate
        Measured residual of each triplet, in the order of the components, before any rounding to float32.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if the training data were a frame whose column names are all strings.

    Raises
    ------
    PackageMissing
        On import, if scikit-learn is not installed.

    Notes
    -----
    X is a NumPy array, a list of rows, a pandas or Polars frame, a SciPy sparse matrix or array, a Dask array (dense or
    sparse chunks, cut in any way) or a UserItemMatrix, of shape (n_samples, n_features). It is never made dense
    if it is sparse. float32 gives float32, everything else float64; a UserItemMatrix counts as what its blocks hold.
    Training data are held in memory while they are fitted.

    Examples
    --------
    >>> import scipy.sparse
    >>> X = scipy.sparse.diags_array([1.0, 2.0, 3.0, 4.0], format="csr")
    >>> svd = TruncatedSVD(n_components=2).fit(X)
    >>> svd.singular_values_.round(6)
    array([4., 3.])
    >>> svd.transform(X).shape
    (4, 2)
    >>> svd.certificate_.converged
    True
    """

    components_: NDArray[Any]
    explained_variance_: NDArray[Any]
    explained_variance_ratio_: NDArray[Any]
    singular_values_: NDArray[Any]
    certificate_: Certificate
    _items: Vocabulary | None

    def __init__(
        self,
        n_components: int = 2,
        *,
        algorithm: str = "lanczos",
        n_iter: int = 5,
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        random_state: Any = None,
        tol: float = 1e-6,
        maxiter: int | None = None,
        executor: ExecutorLike | None = None,
    ) -> None:
        self.n_components = n_components
        self.algorithm = algorithm
        self.n_iter = n_iter
        self.n_oversamples = n_oversamples
        self.power_iteration_normalizer = power_iteration_normalizer
        self.random_state = random_state
        self.tol = tol
        self.maxiter = maxiter
        self.executor = executor

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the components of the data.

        Parameters
        ----------
        X : array_like, SciPy sparse, Dask array or UserItemMatrix, shape (n_samples, n_features)
            Training data.
        y : None
            Ignored; there for pipelines.

        Returns
        -------
        TruncatedSVD
            Itself.

        Raises
        ------
        OptionError
            If `n_components` or another option cannot work.
        DataError, ValueError
            If the data are not a finite real matrix.

        Warns
        -----
        NotConvergedWarning
            If `tol` was not reached; the certificate says so too.
        """
        self._fit(self._checked(X, reset=True))
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Find the components of the data, and return the data transformed; parameters and errors are those of `fit`.

        Returns
        -------
        ndarray or dask.array.Array of shape (n_samples, n_components)
            What `transform` returns, without another pass over the data; of a Dask array, a Dask array that is
            computed already.
        """
        X = self._checked(X, reset=True)
        reduced = self._fit(X)
        if not _is_dask_array(X):
            return reduced
        import dask.array

        rows = "auto" if np.isnan(X.shape[0]) else X.chunks[0]
        return dask.array.from_array(reduced, chunks=(rows, -1))

    def transform(self, X: Any) -> Any:
        """Return the data in the space of the components, ``X @ components_.T``.

        Parameters
        ----------
        X : array_like, SciPy sparse, Dask array or UserItemMatrix, shape (n_samples, n_features)
            New data.

        Returns
        -------
        ndarray or dask.array.Array of shape (n_samples, n_components)
            Of a Dask array, a lazy Dask array with its row chunks; a UserItemMatrix is transformed on the executor.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        DataError, ValueError
            If the data are not a finite real matrix of as many features as in `fit`; of a UserItemMatrix, if its items
            are not those of the one that was fitted.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        weights = self.components_.T
        if _is_dask_array(X):
            return projected_array(X, weights)
        if not isinstance(X, UserItemMatrix):
            return X @ weights
        if self._items is not None and X.items != self._items:
            raise DataError(
                "the items of this UserItemMatrix are not those that were fitted, so its columns mean something else. "
                "Make it with items= of the fitted one; to go by position in any case, pass its `array`."
            )
        with session(self.executor, _request("score", X, weights.shape[1]), False) as (opened, observer):
            return projected_blocks(X, weights, executor=opened, observer=observer)

    def inverse_transform(self, X: Any) -> Any:
        """Return transformed data in the space of the features, ``X @ components_``: the nearest of low rank.

        Parameters
        ----------
        X : array_like or Dask array of shape (n_samples, n_components)
            As `transform` returns it.

        Returns
        -------
        ndarray or dask.array.Array of shape (n_samples, n_features)
            Dense; of a Dask array, a lazy Dask array.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        DataError, ValueError
            If the data are not a finite real matrix of one column a component.
        """
        check_is_fitted(self)
        lazy = _is_dask_array(X)
        if not lazy:
            X = check_array(X)
        if X.ndim != 2 or X.shape[1] != len(self.components_):
            raise DataError(
                f"expected one column for each of the {len(self.components_)} components; got shape {X.shape}. "
                "Pass what transform returned."
            )
        return projected_array(X, self.components_) if lazy else X @ self.components_

    def _checked(self, X: Any, *, reset: bool) -> Any:
        """Return data in a form that is multiplied as it is, once scikit-learn's checks passed.

        NumPy array, CSR or CSC, Dask array or UserItemMatrix; values of the latter two are checked as they are read.
        """
        if isinstance(X, Interactions):
            X = as_matrix(X)
        if not (isinstance(X, UserItemMatrix) or _is_dask_array(X)):
            return validate_data(self, X, accept_sparse=["csr", "csc"], reset=reset)
        if len(X.shape) != 2 or np.isnan(X.shape[1]):
            raise DataError(
                "expected a matrix with a known number of columns; got a Dask array of shape "
                f"{X.shape}. Use reshape(-1, 1) on a single feature, and compute_chunk_sizes() on unknown sizes."
            )
        return validate_data(self, X, skip_check_array=True, reset=reset)

    def _fit(self, X: Any) -> NDArray[Any]:
        """Set what is learned from checked data, and return these data transformed."""
        if self.algorithm not in _ALGORITHMS:
            raise OptionError(f"algorithm must be one of {', '.join(_ALGORITHMS)}; got {self.algorithm!r}")
        wanted = whole_number(self.n_components, "n_components")
        matrix = as_rows(X)
        n_samples, n_features = matrix.shape
        if not n_samples:
            raise DataError(f"found 0 samples (shape {matrix.shape}); at least 1 is required.")
        if wanted > n_features:
            raise OptionError(f"n_components must be at most n_features={n_features}; got n_components={wanted}")
        if self.algorithm == "arpack" and wanted >= min(n_samples, n_features):
            raise OptionError(
                f"with algorithm='arpack', n_components must be below n_samples={n_samples} and "
                f"n_features={n_features}; got n_components={wanted}. algorithm='lanczos' goes up to n_features."
            )
        k = min(wanted, n_samples)
        with session(self.executor, _request("fit", matrix, k), False) as (opened, observer):
            found = singular_triplets(
                matrix,
                k,
                tol=self.tol,
                executor=opened,
                seed=_seed(self.random_state),
                maxiter=self.maxiter,
                observer=observer,
            )
        given = np.dtype(X.dtype)
        dtype = np.float32 if given.kind == "f" and given.itemsize <= 4 else np.float64
        reduced = found.left * found.values
        variance = reduced.var(axis=0)
        with np.errstate(invalid="ignore"):  # nothing varies: 0 / 0
            ratio = variance / total_variance(matrix)
        self.components_ = transposed(found.right, dtype)
        self.explained_variance_ = variance.astype(dtype)
        self.explained_variance_ratio_ = ratio.astype(dtype)
        self.singular_values_ = found.values.astype(dtype)
        self.certificate_ = found.certificate
        self._items = X.items if isinstance(X, UserItemMatrix) else None
        return reduced.astype(dtype)

    @property
    def _n_features_out(self) -> int:
        """Number of columns of the result, for scikit-learn's mixin that names them."""
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __sklearn_clone__(self) -> Self:
        # scikit-learn copies parameters deeply; an open executor, with its threads or processes, is shared instead.
        without_executor = copy(self)
        clone: Self = super(TruncatedSVD, without_executor).__sklearn_clone__()
        clone.executor = self.executor
        return clone

    def __getstate__(self) -> dict[str, Any]:
        executor = self.executor if isinstance(self.executor, str) else None
        return {**super().__getstate__(), "executor": executor}


def _request(purpose: str, matrix: UserItemMatrix | DenseMatrix, rank: int) -> ExecutorRequest:
    n_users, n_items = matrix.shape
    return ExecutorRequest(purpose=purpose, n_users=n_users, n_items=n_items, n_stored=matrix.nnz, rank=rank)


def _is_dask_array(X: Any) -> bool:
    return hasattr(X, "__dask_graph__") and hasattr(X, "chunks")  # a Dask frame has no chunks


def _seed(random_state: Any) -> Any:
    """Return what scikit-learn takes as a random state as what our solver takes."""
    if random_state is None:
        return 0
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))  # and so it moves on, as in scikit-learn
    if isinstance(random_state, np.random.Generator):
        return random_state
    return whole_number(random_state, "random_state", at_least=0)

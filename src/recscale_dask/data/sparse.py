"""Anything matrix-like into clean CSR: the one door through which numbers come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recscale_dask.errors import DataError

_EXACT_IN_FLOAT32 = 1 << 24  # whole numbers up to here have a float32 of their own


def is_sparse(matrix: Any) -> bool:
    """Return whether a matrix is sparse: SciPy's of any kind, or pydata/sparse's."""
    return bool(sp.issparse(matrix)) or hasattr(matrix, "to_scipy_sparse")


def clean_csr(matrix: Any, *, first_row: int = 0, first_column: int = 0) -> sp.csr_array:
    """Return a matrix as canonical CSR: rows sorted, duplicates summed, float32 or float64 values.

    float64 stays float64; float32 and float16 become float32; whole numbers and booleans become
    float32 where that is exact, else float64. The input is never written to.

    Parameters
    ----------
    matrix : sparse array or matrix, or array_like of shape (n_rows, n_columns)
        Numbers; from a dense one, zeros are not stored.
    first_row, first_column : int
        Added to row and column numbers in errors, for a part of a larger matrix.

    Raises
    ------
    DataError
        If it is not two-dimensional, not numeric, has indices outside its shape, or holds NaN or infinite
        values (names the row).
    """
    if hasattr(matrix, "to_scipy_sparse"):  # pydata/sparse
        matrix = matrix.to_scipy_sparse()
    if not sp.issparse(matrix):
        matrix = np.asarray(matrix)
    require_numbers(matrix)
    given = matrix.dtype
    if matrix.shape[1] >= 2**31:
        raise DataError(f"a matrix has fewer than 2**31 columns; got {matrix.shape[1]}")
    if sp.issparse(matrix) and matrix.format == "csr" and matrix.has_canonical_format:
        rows = sp.csr_array(matrix)
    else:
        # Duplicates are summed in a type where they fit: int8 would overflow, and SciPy knows no float16.
        wide = np.float32 if matrix.dtype.kind == "f" and matrix.dtype.itemsize <= 4 else np.float64
        if not sp.issparse(matrix):
            places = np.nonzero(matrix)
            matrix = sp.coo_array((matrix[places].astype(wide), places), shape=matrix.shape)
        rows = sp.csr_array(matrix.astype(wide))
        if not rows.has_canonical_format:
            rows = rows.copy()
            rows.sum_duplicates()
    _check_indices(rows)
    indices, data = rows.indices[: rows.nnz], rows.data[: rows.nnz]  # SciPy allows longer ones
    dtype = value_dtype(data, given)
    rows = sp.csr_array((data.astype(dtype, copy=False), indices, rows.indptr), shape=rows.shape)
    bad = np.flatnonzero(~np.isfinite(rows.data))
    if len(bad):
        row = int(np.searchsorted(rows.indptr, bad[0], side="right")) - 1
        column = int(rows.indices[bad[0]])
        raise not_finite(first_row + row, first_column + column, rows.data[bad[0]], len(bad))
    return rows


def require_numbers(matrix: Any) -> None:
    """Refuse an array of any kind that has not two dimensions, or whose dtype is not one of real numbers."""
    if matrix.ndim != 2:
        raise DataError(f"a matrix has two dimensions; got an array of shape {matrix.shape}")
    if matrix.dtype.kind not in "fiub":
        raise DataError(f"a matrix holds real numbers; got dtype {matrix.dtype}. Convert it with .astype('float32')")


def value_dtype(values: NDArray[Any], given: np.dtype[Any]) -> np.dtype[np.floating[Any]]:
    """Return float32 or float64, whichever holds values that came in as dtype `given`."""
    if given.kind == "f":
        return np.dtype(np.float64 if given.itemsize >= 8 else np.float32)
    if not values.size:
        return np.dtype(np.float32)
    largest = max(abs(int(values.max())), abs(int(values.min())))
    return np.dtype(np.float32 if largest <= _EXACT_IN_FLOAT32 else np.float64)


def not_finite(row: int, column: int, value: Any, count: int) -> DataError:
    """Return the error that names the first of `count` values that are NaN or infinite."""
    return DataError(
        f"row {row}, column {column} holds {value} ({count} values are not finite). "
        "Remove these entries, or replace them by numbers."
    )


def _check_indices(rows: sp.csr_array) -> None:
    """Refuse column numbers that do not exist: compiled kernels would write there."""
    if rows.nnz and not 0 <= rows.indices.min() <= rows.indices.max() < rows.shape[1]:
        raise DataError(
            f"a sparse matrix of {rows.shape[1]} columns has column numbers from {rows.indices.min()} to "
            f"{rows.indices.max()}. Make it again with the right shape."
        )

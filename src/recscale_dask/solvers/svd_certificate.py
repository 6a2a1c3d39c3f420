"""The certificate of an SVD: a pass in float64 that rotates vectors to triplets, and measures their residuals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.tall import Tall, TallAlgebra
from recscale_dask.model import Certificate
from recscale_dask.solvers.operator import BlockOperator, Center
from recscale_dask.solvers.svd_plan import SVDPlan

EPSILON = float(np.finfo(np.float64).eps)
"""Rounding unit of float64."""

TINY = 1e-5
"""A singular value so small a part of the largest one needs products of its own."""

_ROOM = 8  # tolerance over the error of A'A v, for a residual that is measured by that
_SPREAD = 1e-2  # smallest value over largest that a Cholesky factor serves as well as a QR
_NEARLY_ORTHOGONAL = 0.1  # largest sum of cosines with the others, for a Cholesky factor as good as a QR


@dataclass(frozen=True, slots=True, eq=False)
class SingularTriplets:
    """The largest singular triplets of a matrix A, in float64, descending.

    Attributes
    ----------
    left : ndarray of shape (n_rows, k), or (n_rows, 0)
        U; orthonormal columns, also where a singular value is zero. Without columns if they were not asked for.
    values : ndarray of shape (k,)
        Singular values; exactly 0 where they are so to working precision.
    right : ndarray of shape (n_columns, k)
        V; the entry of largest magnitude in each column is positive (the first one of equals).
    certificate : Certificate
        Residuals, measured.
    plan : SVDPlan or None
        How they were computed.
    center : Center or None
        What was subtracted from the matrix before.
    guards : ndarray of float32, shape (min(n_rows, n_columns), m), or None
        Rough vectors of the side that was iterated, behind the `k` wanted ones: a later fit starts from them too.
    """

    left: NDArray[np.float64]
    values: NDArray[np.float64]
    right: NDArray[np.float64]
    certificate: Certificate
    plan: SVDPlan | None = None
    center: Center | None = None
    guards: NDArray[np.float32] | None = None

    def swapped(self) -> SingularTriplets:
        """Return the triplets of the transposed matrix."""
        center = None if self.center is None else self.center.swapped()
        return replace(self, left=self.right, right=self.left, center=center)


@dataclass(slots=True, eq=False)
class _Images:
    """``A V``, as the certificate needs it: kept, and left vectors made of it; or never all in memory.

    Attributes
    ----------
    image : array or arrays by block, shape (n_rows, k), or None
        None if it is not kept.
    """

    operator: BlockOperator
    algebra: TallAlgebra
    vectors: NDArray[np.float64]
    image: Tall | None
    _q: NDArray[np.float64] | None = None

    def triangle(self) -> NDArray[np.float64]:
        """Return R of its QR."""
        if self.image is None:
            return self.operator.image_triangle(self.vectors)
        # Q is orthonormal whatever the rank.
        whole = self.image if isinstance(self.image, np.ndarray) else np.concatenate(self.image)
        self._q, r = self.algebra.qr(whole)
        return r

    def left(self, w: NDArray[np.float64], values: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the left vectors of ``A V w = left diag(values)``; with a QR they are ``Q x``."""
        if self.image is None:
            return np.zeros((self.operator.n_rows, 0))
        if self._q is not None:
            return self.algebra.times(self._q, x)
        return self.algebra.times(
            self.image, w / values, out=self.image if isinstance(self.image, np.ndarray) else None
        )

    def discrepancy(
        self, w: NDArray[np.float64], left: NDArray[np.float64], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the norms of ``A v - s u``, which are zero but for rounding where u was made of A v."""
        if self._q is None or self.image is None:
            return np.zeros(len(values))
        return self.algebra.distances(self.algebra.times(self.image, w), left, values)


def certify(
    operator: BlockOperator,
    vectors: NDArray[np.float64],
    tol: float,
    algebra: TallAlgebra,
    *,
    keep_left: bool = True,
    sign_left: bool = False,
) -> tuple[SingularTriplets, NDArray[np.float64]]:
    """Rotate vectors to the SVD of A V, and measure the residuals; of left vectors too, whether they are kept or not.

    Where a value is tiny, ``A'u`` cannot be had from the first pass to the accuracy of the others, and where it
    is zero not at all: then other passes measure it.

    Parameters
    ----------
    operator : BlockOperator
        The matrix A.
    vectors : ndarray of shape (n_columns, k)
        V, orthonormal to single precision at least; overwritten.
    keep_left : bool
        Whether to make the left vectors, as large as ``A V``.
    sign_left : bool
        Whether the left vectors, which are kept then, get the signs that are promised of right ones.

    Returns
    -------
    found : SingularTriplets
    images : ndarray of shape (n_columns, k)
        ``A'u`` for each left vector.
    """
    image: Tall | None = None
    if keep_left:
        image, back = operator.image_and_gram(vectors)
    else:
        back = np.empty_like(vectors)
        for piece in operator.pieces(vectors.shape[1]):
            back[:, piece] = operator.gram(np.ascontiguousarray(vectors[:, piece]))
    images_of = _Images(operator, algebra, vectors, image)
    # What is orthonormal in float32 is made so in float64: V L^-T is, if V'V = L L'.
    straight = np.linalg.inv(np.linalg.cholesky(algebra.cross(vectors, vectors))).T
    gram = algebra.cross(vectors, back)  # V'A'A V
    gram = (gram + gram.T) / 2
    norms = np.sqrt(np.maximum(np.diag(gram), 0.0))
    cosines = np.eye(len(norms))
    if plain := bool(norms.min() > _SPREAD * max(float(norms.max()), operator.removed)):
        cosines = gram / norms[:, None] / norms
        np.fill_diagonal(cosines, 1.0)
        plain = bool((np.abs(cosines).sum(axis=0) <= 1 + _NEARLY_ORTHOGONAL).all())
    # Columns that are nearly orthogonal, as those of converged vectors are: the SVD of A V follows from their
    # products, without a QR, and as they are scaled to length 1, small values keep their accuracy.
    triangle = np.linalg.cholesky(cosines).T * norms if plain else images_of.triangle()
    x, values, wt = np.linalg.svd(triangle @ straight, full_matrices=False)
    w = straight @ wt.T
    left = images_of.left(w, values, x)
    right = algebra.times(vectors, w, out=vectors)
    signs = algebra.signs(left if sign_left else right)
    left *= signs[: left.shape[1]]
    right *= signs
    w *= signs
    size = max(float(values[0]), operator.removed)  # what rounding is relative to
    zero = values <= max(operator.n_rows, len(right)) * EPSILON * size
    lost = np.where(zero & (left.shape[1] == 0), values, 0.0)  # A v, of which no left vector is made
    values[zero] = 0.0
    positive = values > 0
    against = np.where(positive, values, values[0] if positive[0] else size or 1.0)
    images = algebra.times(back, w / against, out=back)  # A'u = A'A V w / s
    # A'A v has an error of epsilon times the largest value squared, which has to be small against tol times the square.
    small = max(TINY, float(np.sqrt(_ROOM * EPSILON / tol)))
    tiny = np.flatnonzero((values <= small * size) & (positive | keep_left))
    if len(tiny):
        if keep_left:
            chosen = np.ascontiguousarray(left[:, tiny])
        else:
            chosen = operator.image(right[:, tiny] / values[tiny])
        images[:, tiny] = operator.transpose(chosen)
    residuals = algebra.distances(images, right, values)
    residuals = np.hypot(residuals, images_of.discrepancy(w, left, values) + lost)
    residuals = residuals / against + 32 * EPSILON * (size or 1.0) / against
    return SingularTriplets(left, values, right, Certificate(residuals, tol, operator.passes)), images

"""Largest eigenpairs of a symmetric operator by block Lanczos with thick restarts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from recscale_dask.linalg.orthonormal import orthonormalize
from recscale_dask.linalg.tall import TallAlgebra

_FEW = 96  # order up to which all Ritz pairs are had in no time
_MANY = 1000  # order from which on a part of the eigenvectors is had in less time than all
_DRIFT = 0.6  # power of epsilon: basis vectors so far from orthogonal do no harm yet

_STATE = (
    *("capacity", "size", "next", "cuts", "restarts", "directions", "near"),
    *("scale", "to_skip", "removed", "growing", "loss", "growth"),
)


class BlockLanczos:
    """Grows an orthonormal basis of a block Krylov space, one application of the operator a step.

    Every new block is orthogonalized against the last two, of which it has large parts, and as often as rounding
    grows against the whole basis, of which rounding brings in small ones. When the basis is full it is compressed
    to the best Ritz vectors and grows on from there (thick restart; Wu and Simon, 2000, here in blocks).

    Parameters
    ----------
    apply : callable
        Maps an ndarray of shape (n, width) to the operator times it.
    n : int
        Order of the operator.
    wanted : int
        Number of eigenpairs to look for.
    block_size, basis_size : int
        Columns per step, and at most in the basis.
    rng : Generator
        Draws the first block.
    start : ndarray of shape (n, m), optional
        Directions to begin with, such as the singular vectors of an earlier fit.
    locked : ndarray of shape (n, p), optional
        Orthonormal eigenvectors that are known already: the search is in their complement, where
        rounding is relative to what is left of the operator.
    dtype : numpy floating type
        Of the basis, and so of what `apply` gets; all small matrices are float64.

    Attributes
    ----------
    steps : int
        Applications of the operator so far.
    epsilon : float
        Rounding unit of `dtype`.
    """

    def __init__(
        self,
        apply: Callable[[NDArray[Any]], NDArray[Any]],
        n: int,
        wanted: int,
        *,
        block_size: int,
        basis_size: int,
        algebra: TallAlgebra,
        rng: np.random.Generator,
        start: NDArray[Any] | None = None,
        locked: NDArray[Any] | None = None,
        dtype: type[np.floating[Any]] = np.float64,
    ) -> None:
        self._apply, self._n, self._wanted = apply, n, wanted
        self._algebra, self._rng = algebra, rng
        self._locked = 0 if locked is None else locked.shape[1]  # the first columns of the basis
        room = n - self._locked
        width = min(block_size, room)
        self._capacity = self._locked + min(room, max(basis_size, wanted + 2 * width)) + width
        self.epsilon = float(np.finfo(dtype).eps)
        # By columns, so that memory is taken as the basis grows.
        self._basis = np.zeros((n, self._capacity), dtype, order="F")
        if locked is not None:
            self._basis[:, : self._locked] = locked
        self._projected = np.zeros((self._capacity, self._capacity))
        self._size = self._locked  # columns whose image under the operator is known
        self._scale = 0.0
        self.steps = 0
        self._values = np.zeros(0)
        self._vectors = np.zeros((0, 0))
        self._extracted = -1  # step at which the Ritz pairs were computed
        first = rng.standard_normal((n, width)).astype(dtype)
        if start is not None:
            # Of unit length as the others: what the caller's scale is does not matter.
            lengths = np.linalg.norm(start[:, :width], axis=0)
            first /= np.sqrt(n)
            first[:, : len(lengths)] = start[:, :width] / np.where(lengths > 0, lengths, 1.0)
        first = orthonormalize(algebra, first, self._basis[:, : self._size], scale=0.0, rng=rng).columns
        self._basis[:, self._size : self._size + width] = first
        self._cuts = [0, self._size, self._size + width]  # columns that came together lie between these
        self._restarts = 0
        self._next = width  # width of the block behind the first `_size` columns
        self._newest: NDArray[Any] | None = None  # that block by rows, if it is at hand
        self._directions = width  # that the search started from
        self._tail = np.zeros((width, width))  # coupling of the last block with that one
        self._to_skip = 0  # steps to come that leave the far part of the basis alone
        self._removed = 0  # steps in a row, up to now, that removed it
        self._growing = False  # whether that was too seldom
        self._loss = self.epsilon  # how far from orthogonal the newest block is to the far part, about
        self._growth = 0.0  # factor by which that grows in a step, times what the step leaves of an image
        self._near = 0  # first basis vector of which the next image has more than rounding

    @property
    def exhausted(self) -> bool:
        """Whether the basis spans the whole space, so that the Ritz pairs are exact."""
        return self._next == 0

    @property
    def size(self) -> int:
        """Number of basis vectors that the projection knows, beyond the locked ones."""
        return self._size - self._locked

    def hidden_copies(self) -> bool:
        """Whether an eigenvalue may have more copies than were found, before smaller ones that were.

        A Krylov space holds at most one copy of an eigenvalue per direction that it started from. So when
        as many wanted values as that are equal to within their errors, and smaller ones follow,
        there may be more. `widen` finds them.
        """
        count, copies = min(self._wanted, self.size), self._directions
        if self.exhausted or copies >= count:
            return False
        values, residuals = self.ritz()
        first, last = slice(0, count - copies), slice(copies - 1, count - 1)
        rounding = np.sqrt(self._n) * self.epsilon * values[0]
        # A Ritz value is off by about its residual squared over the gap to others; of order of itself here.
        # The residual alone would take every cluster for copies.
        errors = 8 * residuals**2 / np.maximum(values, rounding) + rounding
        equal = values[first] - values[last] <= errors[first] + errors[last]
        return bool((equal & (values[last] > rounding)).any())

    def widen(self) -> None:
        """Go on with twice as many directions: new random ones beside those of the newest block."""
        end = self._size + self._next
        count = min(self._directions, self._n - end)
        needed = self._locked + self._wanted + 3 * (self._next + count)
        if self._capacity < max(needed, end + count):
            more = max(needed, end + count) - self._capacity
            self._basis = np.asfortranarray(np.pad(self._basis, ((0, 0), (0, more))))
            self._projected = np.pad(self._projected, (0, more))
            self._capacity += more
        known = self._basis[:, :end]
        fresh = self._rng.standard_normal((self._n, count)).astype(self._basis.dtype)
        fresh = orthonormalize(self._algebra, fresh, known, scale=0.0, rng=self._rng).columns
        self._basis[:, end : end + count] = fresh
        self._cuts.append(end + count)
        self._newest = None
        self._tail = np.pad(self._tail, ((0, count), (0, 0)))
        self._next += count
        self._directions += count

    def step(self) -> None:
        """Apply the operator to the newest block, and make the next one of what is new in the image."""
        if self._size + 2 * self._next > self._capacity and self._size + self._next < self._n:
            self._restart()
        old, new = self._size, self._size + self._next
        if self._newest is None:
            self._newest = np.ascontiguousarray(self._basis[:, old:new])
        image = self._apply(self._newest)
        norms = self._algebra.column_norms(image)
        self._scale = max(self._scale, float(norms.max(initial=0.0)))
        width = min(self._next, self._n - new)
        known = self._basis[:, :new]
        if width < self._next:  # the last, narrower block: no room for all directions of the image
            coupling = self._algebra.cross(known, image)
            tail = np.zeros((width, self._next))
            block = self._rng.standard_normal((self._n, width)).astype(self._basis.dtype)
            if width:
                rest = image.copy()
                self._algebra.subtract(rest, known, coupling)
                block = orthonormalize(self._algebra, block, known, scale=0.0, rng=self._rng).columns
                tail = self._algebra.cross(block, rest)
        else:
            least = self._loss * self._growth / self.epsilon**_DRIFT if self._to_skip else np.inf
            block, coupling, tail, drift, smallest = orthonormalize(
                self._algebra, image, known, scale=self._scale, rng=self._rng, near=self._near, least=least
            )
            self._schedule(drift, smallest)
        self.steps += 1
        # Parts in the far basis are what rounding brought in. Without them the projection is, to working precision,
        # that on an orthonormal basis of the same space, although the one at hand is less orthogonal (Simon, 1984).
        self._projected[self._near : new, old:new] = coupling[self._near :]
        self._projected[old:new, self._near : new] = coupling[self._near :].T
        corner = coupling[old:new]
        self._projected[old:new, old:new] = (corner + corner.T) / 2
        self._algebra.copy(self._basis[:, new : new + width], block)
        self._cuts.append(new + width)
        self._newest = block
        self._size, self._next, self._tail, self._near = new, width, tail, old

    def _schedule(self, drift: float | None, smallest: float) -> None:
        """Decide in how many of the next steps the far part of the basis is left alone.

        In exact arithmetic an image is orthogonal to all but the last two blocks. What rounding adds to that grows by
        some factor a step, through the two blocks that the next one is made of. So two steps in a row
        remove it (partial reorthogonalization: Simon, 1984), and what the second of them finds tells the factor. It is
        inverse to what is left of an image, so a step that leaves less than expected removes the far part after all.
        Beside locked vectors, where rounding is relative to what was locked, no step is left out.
        """
        if drift is None:
            self._to_skip -= 1
            self._loss *= max(1.0, self._growth / smallest)
            return
        limit = self.epsilon**_DRIFT
        if self._near == 0 or self._locked:
            return
        if drift > limit:
            self._growing = True  # the factor was more than it seemed
        self._removed = 1 if self._to_skip else self._removed + 1
        self._to_skip, self._loss = 0, self.epsilon
        if self._removed >= 2 and not self._growing:
            factor = max(1.0, drift / self.epsilon)
            self._growth = factor * smallest
            self._to_skip = next((skips for skips in (2, 1) if drift * factor**skips <= limit), 0)
            self._removed = 0 if self._to_skip else 2

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what a search goes on from after a step: plain values, and arrays whose names tell what they hold.

        Columns of the basis are named by where they are, and stay as they are until a restart: who keeps one state
        after another need not write them again.
        """
        values = {name: getattr(self, f"_{name}") for name in _STATE} | {"steps": self.steps}
        arrays = {
            f"basis-{self._restarts}-{first}-{last}": self._basis[:, first:last]
            for first, last in pairwise(self._cuts)
            if first < last
        }
        arrays[f"projected-{self.steps}"] = self._projected[: self._size, : self._size]
        arrays[f"tail-{self.steps}"] = self._tail
        arrays[f"values-{self.steps}"] = self._values
        return values, arrays

    def restore(self, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state, in a search that was made with the same arguments."""
        for name in _STATE:
            setattr(self, f"_{name}", values[name])
        self.steps = values["steps"]
        self._basis = np.zeros((self._n, self._capacity), self._basis.dtype, order="F")
        for first, last in pairwise(self._cuts):
            if first < last:
                self._basis[:, first:last] = arrays[f"basis-{self._restarts}-{first}-{last}"]
        self._projected = np.zeros((self._capacity, self._capacity))
        self._projected[: self._size, : self._size] = arrays[f"projected-{self.steps}"]
        self._tail, self._values = arrays[f"tail-{self.steps}"], arrays[f"values-{self.steps}"]
        self._newest, self._extracted = None, -1

    def ritz(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the largest Ritz values, descending, and the norm of each one's residual.

        Returns
        -------
        values, residuals : ndarray of shape (min(wanted, size),)
            The residual ``|G v - value v|`` follows from the projection, without a product.
        """
        count = min(self._wanted, self.size)
        self._extract(count)
        last = self._tail.shape[1]
        residuals = np.linalg.norm(self._tail @ self._vectors[self.size - last :, :count], axis=0)
        return self._values[:count], residuals

    def value_at(self, count: int) -> float:
        """Return about the value that `count` eigenvalues of the operator are above, by stochastic Lanczos quadrature.

        From the shares that the random vectors of the first block have in the Ritz vectors (Lin, Saad and Yang, 2016);
        five steps or so are good to a tenth. For a search without start, locked vectors and restarts.
        """
        self._extract(self.size)
        shares = (self._vectors[: self._directions] ** 2).sum(axis=0) * (self._n / self._directions)
        # Half of a node's share lies above it.
        return float(np.interp(count, np.cumsum(shares) - shares / 2, self._values))

    def largest_value(self) -> float:
        """Return the largest Ritz value, as of the last extraction; it converges first."""
        if not len(self._values):
            self._extract(1)
        return float(max(self._values[0], 0.0))

    def smallest_wanted(self, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the last `count` of the wanted Ritz values and their residuals, in a third of the time of `ritz`.

        They are the last to converge, so the others need no look before these have.
        """
        if self._extracted == self.steps or self.size < _FEW:
            values, residuals = self.ritz()
            return values[-count:], residuals[-count:]
        searched = slice(self._locked, self._size)
        last = self.size - self._wanted
        values, vectors = scipy.linalg.eigh(
            self._projected[searched, searched], subset_by_index=(last, last + count - 1), check_finite=False
        )
        newest = self._tail.shape[1]
        residuals = np.linalg.norm(self._tail @ vectors[self.size - newest :, ::-1], axis=0)
        return values[::-1], residuals

    def vectors(self, first: int, last: int) -> NDArray[np.float64]:
        """Return the Ritz vectors ``[first, last)`` in float64, leading ones first, shape (n, last - first)."""
        self._extract(last)
        found = self._basis[:, self._locked : self._size]
        out = np.empty((self._n, last - first))
        return self._algebra.times(found, self._vectors[:, first:last].astype(self._basis.dtype), out)

    def _extract(self, count: int) -> None:
        """Make the `count` leading Ritz pairs known, and more if that is not dearer."""
        if self._extracted == self.steps and len(self._values) >= count:
            return
        searched = slice(self._locked, self._size)
        projected = self._projected[searched, searched]
        if count == 1 or (self.size > _MANY and count < self.size // 4):
            last = (self.size - count, self.size - 1)
            values, vectors = scipy.linalg.eigh(projected, subset_by_index=last, check_finite=False)
        else:
            values, vectors = np.linalg.eigh(projected)
        self._values, self._vectors = values[::-1], vectors[:, ::-1]
        self._extracted = self.steps

    def _restart(self) -> None:
        """Keep the best Ritz vectors: those wanted, and half of the room beyond them."""
        self._extract(self.size)
        room = self._capacity - self._locked - 2 * self._next
        keep = min(self._wanted + (self.size - self._wanted) // 2, room)
        newest = self._basis[:, self._size : self._size + self._next].copy()
        kept = slice(self._locked, self._locked + keep)
        self._algebra.times(
            self._basis[:, self._locked : self._size],
            np.ascontiguousarray(self._vectors[:, :keep]),
            self._basis[:, kept],
        )
        self._basis[:, kept.stop : kept.stop + self._next] = newest
        self._projected[:] = 0
        self._projected[range(kept.start, kept.stop), range(kept.start, kept.stop)] = self._values[:keep]
        self._cuts = [0, self._locked, kept.stop, kept.stop + self._next]
        self._restarts += 1
        self._size, self._near = kept.stop, self._locked
        self._to_skip, self._removed, self._growing = 0, 0, False

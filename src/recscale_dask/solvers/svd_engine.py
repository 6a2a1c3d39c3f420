"""The run of an SVD: search by block Lanczos, certify, and search again for what is not certified."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recscale_dask.errors import NotConvergedWarning
from recscale_dask.execution.events import Observer
from recscale_dask.linalg.chebyshev import ChebyshevFilter, sharpest_filter
from recscale_dask.linalg.krylov import BlockLanczos
from recscale_dask.linalg.orthonormal import orthonormalize
from recscale_dask.linalg.tall import TallAlgebra
from recscale_dask.model import Certificate
from recscale_dask.solvers.journal import Journal
from recscale_dask.solvers.operator import BlockOperator
from recscale_dask.solvers.svd_certificate import TINY, SingularTriplets, certify
from recscale_dask.solvers.svd_plan import PROBE_STEPS, SVDPlan
from recscale_dask.solvers.svd_search import Search
from recscale_dask.solvers.warm_start import WARM_STEPS, StartVectors, with_random_directions

_MARGIN = 0.9  # of a coarse tolerance, where residuals of Ritz pairs are those of the triplets
_COARSE = 1e-4
_EDGE = 0.8  # of the estimate of the smallest wanted eigenvalue, which is off by up to a seventh
_PATIENCE = 2  # times the expected steps, after which a filter is given up that does not show all that is wanted

Result: TypeAlias = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""What a part of a run finds: plain values, and arrays."""


@dataclass(slots=True, eq=False)
class Engine:
    """One run for `k` triplets: search, certify, and search again for what is not certified.

    Attributes
    ----------
    plan, double : SVDPlan
        What to try first, and in float64 where that falls short.
    limit : int
        Most passes; those that a certificate needs are left.
    keep_left : bool
        Whether to make the left vectors.
    journal : Journal
        Keeps what is found, and gives back what a fit that was stopped had found.
    n_guards : int
        How many vectors beyond the wanted ones are kept, if there are so many.
    guards : ndarray of float32, shape (n_columns, m), or None
        What the search found beyond the wanted vectors.
    """

    operator: BlockOperator
    algebra: TallAlgebra
    plan: SVDPlan
    double: SVDPlan
    k: int
    tol: float
    limit: int
    rng: np.random.Generator
    observer: Observer
    keep_left: bool
    journal: Journal
    n_guards: int = 0
    guards: NDArray[np.float32] | None = field(default=None, init=False)

    def run(self, start: StartVectors | None) -> SingularTriplets:
        """Return the triplets, with a warning if they have not all converged."""
        dtype = np.dtype(self.plan.dtype)
        stagnant = False
        whole = self.plan.method == "whole Gram matrix"
        if whole:
            vectors = self._whole(dtype)
        else:
            first = None if start is None else self._first_block(start, dtype)
            vectors, precise = self._search(dtype, first, look_at=0 if start is None else WARM_STEPS)
            if not precise:
                # One block that holds something of all that was found.
                dtype = np.dtype(np.float64)
                mixture = vectors @ self.rng.standard_normal((vectors.shape[1], self.double.block_size))
                vectors, _ = self._search(dtype, mixture)
        found, images = self._certified(vectors)
        if dtype == np.float32 or whole:
            found = self._polished(found, images)
        locked = 0
        while not found.certificate.converged and self.operator.passes < self.limit - 1:
            # What A'A shows of small values is rounding relative to the largest. So look for the rest in
            # the complement of what is certified, where that is gone.
            # Of vectors from float32 passes only those that leave no more of large values there than small ones allow.
            values = found.values
            allowed = self.tol * (values[-1] / values if dtype == np.float32 and values[-1] > 0 else 1.0)
            certified = int(np.argmin(found.certificate.residuals <= allowed))
            if certified <= locked and dtype == np.float64 and not whole:
                stagnant = True
                break
            dtype, whole, locked = np.dtype(np.float64), False, certified
            known, rest = found.right[:, :locked], found.right[:, locked:]
            vectors, _ = self._search(dtype, rest, known, float(found.values[0]) if locked else 0.0)
            found, _ = self._certified(vectors)
        if not found.certificate.converged:
            self._warn(found.certificate, stagnant)
        scale = self.operator.scale
        center = None if self.operator.center is None else self.operator.center.divided(scale)
        return replace(found, values=found.values / scale, plan=self.plan, center=center, guards=self.guards)

    def _whole(self, dtype: np.dtype[Any]) -> NDArray[np.float64]:
        """Return the leading eigenvectors of the whole of A'A."""

        def work() -> Result:
            gram = self.operator.whole_gram(dtype)
            _, vectors = np.linalg.eigh((gram + gram.T) / 2)
            return {}, {"vectors": np.ascontiguousarray(vectors[:, : -self.k - 1 : -1])}

        return self._stage(work)[1]["vectors"]

    def _first_block(self, start: StartVectors, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the vectors that the search starts from, in the columns of the operator."""
        vectors = start.right
        if self.plan.side == "rows":  # then A is the transpose of what they are right vectors of
            right = start.right.astype(np.float64)
            vectors = self._stage(lambda: ({}, {"vectors": self.operator.transpose(right)}))[1]["vectors"]
        return with_random_directions(vectors, start.guards, self.rng, dtype)

    def _search(
        self,
        dtype: np.dtype[Any],
        start: NDArray[np.float64] | None,
        locked: NDArray[np.float64] | None = None,
        largest: float = 0.0,
        look_at: int = 0,
    ) -> tuple[NDArray[np.float64], bool]:
        """Return the locked vectors, and behind them those that block Lanczos finds in their complement.

        With a start it looks at step `look_at` first.
        Also whether it went to its end: not if `dtype` turns out to be too coarse for the spectrum.
        """
        plan = self.plan if dtype == np.float32 else self.double
        chebyshev: ChebyshevFilter | None = None
        if locked is None and start is None and plan.degree > 1 and self.limit > _PATIENCE * plan.passes:
            chebyshev = self._probe(dtype, plan)
        values, arrays = self._stage(lambda: self._found(dtype, start, locked, largest, look_at, plan, chebyshev))
        if locked is None:
            self.guards = arrays["guards"]
        return arrays["vectors"], values["precise"]

    def _found(
        self,
        dtype: np.dtype[Any],
        start: NDArray[np.float64] | None,
        locked: NDArray[np.float64] | None,
        largest: float,
        look_at: int,
        plan: SVDPlan,
        chebyshev: ChebyshevFilter | None,
    ) -> Result:
        """Run block Lanczos to its end: the work of `_search`."""
        wanted = self.k - (0 if locked is None else locked.shape[1])
        given = 0 if start is None else start.shape[1]
        lanczos = BlockLanczos(
            self.operator.gram if chebyshev is None else partial(chebyshev, self.operator.gram),
            self.operator.n_columns,
            wanted,
            block_size=max(plan.block_size, given),
            basis_size=max(plan.basis_size, 2 * wanted + 3 * given),
            algebra=self.algebra,
            rng=self.rng,
            start=start,
            locked=locked,
            dtype=dtype.type,
        )
        search = Search(lanczos, self.k, wanted, self._goal(), largest, self.limit, self.observer, chebyshev)
        if chebyshev is not None:
            search.look_at, search.patience = 3 * plan.steps // 4, _PATIENCE * plan.steps
        elif dtype == np.float64 or self.tol >= _COARSE:  # else a look tells early that float32 does not do
            search.look_at = look_at if given or largest else 2 * plan.steps // 3
        begun = self.journal.begun
        if begun is not None:
            search.restore(begun.values["search"])
            self._restore(begun.values)
            lanczos.restore(begun.values["lanczos"], begun.arrays)

        def after_step() -> None:
            values, arrays = lanczos.state()
            self._keep({"lanczos": values, "search": search.state()}, arrays)

        search.run(lambda: self.operator.passes, after_step)
        vectors = lanczos.vectors(0, wanted)
        guards = lanczos.vectors(wanted, min(wanted + self.n_guards, lanczos.size)).astype(np.float32)
        if locked is not None:
            vectors = np.concatenate([locked, vectors], axis=1)
        return {"precise": not search.given_up}, {"vectors": vectors, "guards": guards}

    def _probe(self, dtype: np.dtype[Any], plan: SVDPlan) -> ChebyshevFilter | None:
        """Return a filter whose edge is below the smallest wanted eigenvalue, as a few steps estimate it; or None."""
        values, _ = self._stage(lambda: self._probed(dtype, plan))
        # Four roundings of the largest value count as nothing: see `Search`.
        allowed = self._goal() / (8 * float(np.finfo(dtype).eps))
        wanted, highest = values["wanted"], values["largest"]
        return sharpest_filter(_EDGE * wanted, wanted, highest, degree=plan.degree, allowed=allowed)

    def _probed(self, dtype: np.dtype[Any], plan: SVDPlan) -> Result:
        """Return estimates of the smallest wanted and the largest eigenvalue."""
        lanczos = BlockLanczos(
            self.operator.gram,
            self.operator.n_columns,
            self.k,
            block_size=plan.block_size,
            basis_size=(PROBE_STEPS + 2) * plan.block_size,
            algebra=self.algebra,
            rng=self.rng,
            dtype=dtype.type,
        )
        begun = self.journal.begun
        if begun is not None:
            self._restore(begun.values)
            lanczos.restore(begun.values["lanczos"], begun.arrays)
        while lanczos.steps < PROBE_STEPS:
            lanczos.step()
            values, arrays = lanczos.state()
            self._keep({"lanczos": values}, arrays)
        return {"wanted": lanczos.value_at(self.k), "largest": lanczos.largest_value()}, {}

    def _goal(self) -> float:
        """Return where residuals of Ritz pairs have to be: rounding comes on top of them at a tight tolerance."""
        return (_MARGIN if self.tol >= _COARSE else _MARGIN / 2) * self.tol

    def _certified(self, vectors: NDArray[np.float64]) -> tuple[SingularTriplets, NDArray[np.float64]]:
        def work() -> Result:
            found, images = certify(
                self.operator,
                vectors,
                self.tol,
                self.algebra,
                keep_left=self.keep_left,
                sign_left=self.plan.side == "rows",
            )
            residuals = found.certificate.residuals
            arrays = {"right": found.right, "values": found.values, "residuals": residuals, "images": images}
            return {}, arrays | {"left": found.left}  # without columns where it is not kept

        _, arrays = self._stage(work)
        certificate = Certificate(arrays["residuals"], self.tol, self.operator.passes)
        return SingularTriplets(arrays["left"], arrays["values"], arrays["right"], certificate), arrays["images"]

    def _polished(self, found: SingularTriplets, images: NDArray[np.float64]) -> SingularTriplets:
        """Take steps of subspace iteration while each takes away most of what is left.

        The rounding of float32 passes is spread over all directions, most of which A'A makes small: two steps or so
        bring vectors that converged in float32 to an accuracy that float32 does not have.
        """
        while not found.certificate.converged and self.operator.passes < self.limit:
            before = found.certificate.max_residual
            if before > 1e3 * self.tol or found.values[-1] <= TINY * found.values[0]:
                break  # not rounding, or not of the kind that goes away
            vectors = orthonormalize(self.algebra, images, None, scale=0.0, rng=self.rng).columns
            found, images = self._certified(vectors)
            if found.certificate.max_residual > before / 4:
                break
        return found

    def _stage(self, work: Callable[[], Result]) -> Result:
        """Return what a part of the run finds, or has found before it was stopped."""
        known = self.journal.finished()
        if known is not None:
            self._restore(known.values)
            return dict(known.values), dict(known.arrays)
        values, arrays = work()
        self.journal.finish({**values, **self._position()}, arrays)
        return values, arrays

    def _keep(self, values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.journal.keep({**values, **self._position()}, arrays)

    def _position(self) -> dict[str, Any]:
        """Return where the operator and the random numbers are, as plain values."""
        return {
            "passes": self.operator.passes,
            "scale": self.operator.scale,
            "random": self.rng.bit_generator.state if self.journal.kept else None,
        }

    def _restore(self, position: Mapping[str, Any]) -> None:
        self.operator.resume(position["passes"], position["scale"])
        self.rng.bit_generator.state = position["random"]

    def _warn(self, certificate: Certificate, stagnant: bool) -> None:
        advice = f"Allow more passes with maxiter (now {self.limit}), or a larger tol."
        if stagnant:
            advice = "More passes do not help: this is what float64 gives for this matrix. Use a larger tol."
        warnings.warn(
            f"{int((certificate.residuals > self.tol).sum())} of {self.k} singular triplets have a residual above "
            f"tol={self.tol:g} after {certificate.passes} passes (the largest is "
            f"{certificate.max_residual:.2g}). {advice}",
            NotConvergedWarning,
            stacklevel=4,
        )

import pytest
from recscale_dask.testing import SolverContract

from recscale_anchors.solver import AnchorSolver


class TestAnchors(SolverContract):
    problem = {"rank": 40}
    bad_options = {"shrinkage": -1.0}

    @pytest.fixture
    def make_solver(self):
        return lambda: AnchorSolver()

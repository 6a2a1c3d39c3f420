"""What recscale_dask imports to find out what is here."""

from recscale_dask.hooks.specs import SolverSpec, hookimpl


@hookimpl
def recscale_register_solvers() -> list[SolverSpec]:
    """Return the one solver of this package."""
    return [
        SolverSpec(
            name="anchors",
            target="recscale_anchors.solver:AnchorSolver",
            summary="how often an item goes together with the most popular ones that a user has",
        )
    ]

"""What recommendations to a folder would take on an executor."""

from __future__ import annotations

import os

from recscale_dask.api.job_plan import JobPlan, free_disk
from recscale_dask.api.staged_plan import PROCESS_BYTES, WORKER_BYTES
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.memory import usable_memory
from recscale_dask.model import Factors
from recscale_dask.scoring.folder import Folder
from recscale_dask.scoring.forecast import forecast_recommend
from recscale_dask.scoring.request import RecommendRequest


def plan_recommend(
    model: Factors, wanted: RecommendRequest, path: str | os.PathLike[str], executor: Executor
) -> JobPlan:
    """Return the plan of `recscale_dask.scoring.write.recommend_to`; see `FactorModel.plan_recommend`."""
    folder, capabilities = Folder.at(path), executor.capabilities
    forecast = forecast_recommend(model, wanted, executor.parallelism, capabilities)
    n_users = len(wanted.users)
    return JobPlan(
        stages=forecast.stages,
        n_workers=executor.parallelism,
        workers_here=not capabilities.isolated or capabilities.shared_files,
        process_bytes=PROCESS_BYTES,
        worker_process_bytes=WORKER_BYTES if capabilities.isolated else 0,
        memory_limit=usable_memory(),
        what=f"recommendations for {n_users:,} users among {len(model.items):,} items, {wanted.k} each",
        sizes={"users": n_users, "n_items": len(model.items), "k": wanted.k, "rows": forecast.rows},
        disk_bytes=forecast.disk_bytes,
        left_bytes=forecast.disk_bytes,
        disk_free=free_disk(folder.path) if folder.local else None,
        mapped_bytes=forecast.mapped_bytes,
        assumed=(
            "users who take as long, and get as many rows, as some that were computed just now",
            "nothing of it is there yet",
        ),
    )

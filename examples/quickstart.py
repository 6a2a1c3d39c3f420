"""The README's twelve lines: interactions in, certified factors and recommendations out."""

import pyarrow

import recscale_dask as rs
from recscale_dask.testing.matrices import planted_tastes

ratings = pyarrow.table(planted_tastes(n_users=2000, n_items=500, n_groups=10).columns())  # or "ratings.csv"
train, test = rs.split(rs.read_interactions(ratings), how="random", fraction=0.2, seed=0)

matrix = rs.UserItemMatrix.from_interactions(train)  # matrix.array: a Dask array of sparse row blocks
model = rs.factorize(matrix, rank=16, weighting="binary", user_scaling=0.5, item_scaling=0.5, executor="processes")
recommendations = model.recommend(k=10)  # a pyarrow.Table: user, item, rank, score

print(recommendations.slice(0, 3).to_pylist())
print(rs.evaluate(model, test, metrics=["recall@10", "ndcg@10"]).metrics)
print(model.certificate.max_residual, model.certificate.converged)  # how far every singular triplet is from true

import numpy as np
import pytest
import scipy.sparse as sp

from recscale_dask.data.blocks import cut
from recscale_dask.linalg import kernels
from recscale_dask.solvers.products import gram_product, image_and_back


def block_of(shape=(40, 25), dtype=np.float32, density=0.2):
    rows = sp.random_array(shape, density=density, rng=3, format="csr").astype(dtype)
    (block,) = cut(rows, np.array([0, shape[0]]))
    return block, rows.toarray().astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 7])
def test_kernels_are_the_dense_products(dtype, width):
    block, dense = block_of(dtype=dtype)
    basis = np.random.default_rng(0).standard_normal((25, width))
    basis.flags.writeable = False
    np.testing.assert_allclose(gram_product(block, basis=basis), dense.T @ dense @ basis, rtol=1e-13, atol=1e-13)
    (image,), back = image_and_back(block, basis=basis)
    np.testing.assert_allclose(image, dense @ basis, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(back, dense.T @ dense @ basis, rtol=1e-13, atol=1e-13)


def test_gram_product_adds_to_what_is_there():
    block, dense = block_of(dtype=np.float64)
    basis = np.random.default_rng(0).standard_normal((25, 3))
    basis.flags.writeable = False
    out = np.ones((25, 3))
    kernels.gram_product(block.indptr, block.indices, block.values, basis, out)
    np.testing.assert_allclose(out - 1, dense.T @ dense @ basis, atol=1e-13)


def test_product_overwrites_rows_without_values_with_zeros():
    block, _ = block_of(density=0.0)
    out = np.full((40, 2), np.nan)
    basis = np.ones((25, 2))
    basis.flags.writeable = False
    kernels.product(block.indptr, block.indices, block.values, basis, out)
    assert (out == 0).all()


def test_kernels_compute_in_float64_whatever_the_values_are():
    block, dense = block_of(dtype=np.float32)
    basis = 1 + 1e-12 * np.random.default_rng(0).standard_normal((25, 2))
    basis.flags.writeable = False
    (image,), _ = image_and_back(block, basis=basis)
    assert np.abs(image - dense @ basis).max() < 1e-14


def test_kernels_give_the_same_bits_every_time():
    block, _ = block_of((500, 100))
    basis = np.random.default_rng(0).standard_normal((100, 16))
    basis.flags.writeable = False
    assert gram_product(block, basis=basis).tobytes() == gram_product(block, basis=basis).tobytes()

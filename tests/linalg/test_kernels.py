import numpy as np
import pytest
import scipy.sparse as sp

from recscale_dask.data.blocks import cut
from recscale_dask.linalg import kernels


def block_of(shape=(40, 25), dtype=np.float32, density=0.2):
    rows = sp.random_array(shape, density=density, rng=3, format="csr").astype(dtype)
    (block,) = cut(rows, np.array([0, shape[0]]))
    return (block.indptr, block.indices, block.values), rows.toarray().astype(np.float64)


def dense_of(*shape, dtype=np.float64):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def tiles_of(dense):
    tiles = kernels.to_tiles(dense)
    tiles.flags.writeable = False
    return tiles


def gram_of(block, basis):
    tiles = tiles_of(basis)
    out = np.zeros_like(tiles)
    kernels.gram_product(*block, tiles, out)
    return kernels.from_tiles(out, basis.shape[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 15, 16, 17, 32, 33, 70])
def test_tiles_hold_the_columns_and_zeros_behind_them(dtype, width):
    dense = dense_of(6, width, dtype=dtype)
    tiles = kernels.to_tiles(dense)
    assert tiles.shape[2] * tiles.itemsize == 128
    np.testing.assert_array_equal(kernels.from_tiles(tiles, width), dense)
    np.testing.assert_array_equal(kernels.from_tiles(tiles, tiles.shape[0] * tiles.shape[2])[:, width:], 0)


def test_product_with_a_float32_matrix_is_computed_in_float64():
    block, dense = block_of(dtype=np.float64)
    factors = dense_of(25, 7, dtype=np.float32)
    out = np.ones((40, 7))
    kernels.product(*block, factors, out)
    np.testing.assert_allclose(out, 1 + dense @ factors.astype(np.float64), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 7, 16, 40])
def test_kernels_are_the_dense_products(dtype, width):
    block, dense = block_of(dtype=dtype)
    basis = dense_of(25, width)
    close = {"rtol": 1e-13, "atol": 1e-13}
    np.testing.assert_allclose(gram_of(block, basis), dense.T @ dense @ basis, **close)
    tiles = tiles_of(basis)
    out, image = np.zeros_like(tiles), np.full((40, tiles.shape[0] * tiles.shape[2]), np.nan)
    kernels.image_and_gram(*block, tiles, out, image)
    np.testing.assert_allclose(image[:, :width], dense @ basis, **close)
    assert (image[:, width:] == 0).all()
    np.testing.assert_allclose(kernels.from_tiles(out, width), dense.T @ dense @ basis, **close)
    rows = dense_of(40, width)
    out = np.zeros_like(tiles)
    kernels.transpose_product(*block, tiles_of(rows), out)
    np.testing.assert_allclose(kernels.from_tiles(out, width), dense.T @ rows, **close)
    gram = np.zeros((25, 25))
    kernels.whole_gram(*block, gram)
    np.testing.assert_allclose(gram, dense.T @ dense, **close)


def test_gram_product_in_float32_is_the_dense_product():
    block, dense = block_of()
    basis = dense_of(25, 40, dtype=np.float32)
    product = gram_of(block, basis)
    assert product.dtype == np.float32
    np.testing.assert_allclose(product, dense.T @ dense @ basis, rtol=1e-5, atol=1e-5)


def test_gram_product_adds_to_what_is_there():
    block, dense = block_of(dtype=np.float64)
    basis = dense_of(25, 16)
    out = np.ones((1, 25, 16))
    kernels.gram_product(*block, tiles_of(basis), out)
    np.testing.assert_allclose(out[0] - 1, dense.T @ dense @ basis, atol=1e-13)


def test_image_of_rows_without_values_is_zero():
    block, _ = block_of(density=0.0)
    image = np.full((40, 16), np.nan)
    basis = tiles_of(np.ones((25, 2)))
    kernels.image_and_gram(*block, basis, np.zeros_like(basis), image)
    assert (image == 0).all()


def test_kernels_compute_in_float64_whatever_the_values_are():
    block, dense = block_of(dtype=np.float32)
    basis = 1 + 1e-12 * dense_of(25, 2)
    image = np.empty((40, 16))
    tiles = tiles_of(basis)
    kernels.image_and_gram(*block, tiles, np.zeros_like(tiles), image)
    assert np.abs(image[:, :2] - dense @ basis).max() < 1e-14


def test_kernels_give_the_same_bits_every_time_and_for_every_column_beside_them():
    block, _ = block_of((500, 100))
    basis = dense_of(100, 40)
    product = gram_of(block, basis)
    assert product.tobytes() == gram_of(block, basis).tobytes()
    np.testing.assert_array_equal(gram_of(block, basis[:, 5:20]), product[:, 5:20])

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from recscale_dask.data.blocks import cut
from recscale_dask.data.dense import DenseBlock
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.linalg.kernels import from_tiles, to_tiles
from recscale_dask.solvers.products import (
    BlockWithRows,
    gram_product,
    image_and_gram,
    join_images,
    transpose_product,
    whole_gram,
)
from recscale_dask.tree import fold_tree

KINDS = ["sparse", "dense"]
SHAPES = [(40, 25), (25, 40), (1, 6), (6, 1), (0, 4), (2500, 30)]  # the last one has three slabs


def block_of(kind, shape, dtype=np.float64, seed=0):
    """Return a block, and its rows as float64."""
    rng = np.random.default_rng(seed)
    rows = sp.random_array(shape, density=0.3, rng=rng, data_sampler=rng.standard_normal, format="csr").astype(dtype)
    if kind == "dense":
        block = DenseBlock(0, 0, rows.toarray())
    else:
        (block,) = cut(rows, np.array([0, shape[0]]))
    return block, rows.toarray().astype(np.float64)


def laid_out(kind, dense):
    """Return a dense matrix in the layout that products of such blocks want."""
    return to_tiles(dense) if kind == "sparse" else dense


def plain(kind, product, width):
    return from_tiles(product, width) if kind == "sparse" else product


def vectors(*shape, dtype=np.float64):
    array = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_with_a_float64_basis_are_exact_to_float64_whatever_the_values_are(kind, shape, dtype):
    block, dense = block_of(kind, shape, dtype)
    basis, rows = vectors(shape[1], 7), vectors(shape[0], 7)
    close = {"rtol": 1e-13, "atol": 1e-13 * max(shape)}
    given = laid_out(kind, basis)
    product = gram_product(block, basis=given)
    np.testing.assert_allclose(plain(kind, product, 7), dense.T @ dense @ basis, **close)
    (image,), back = image_and_gram(block, basis=given)
    np.testing.assert_allclose(image[:, :7], dense @ basis, **close)
    np.testing.assert_allclose(plain(kind, back, 7), dense.T @ dense @ basis, **close)
    product = transpose_product(BlockWithRows(block, rows).load(), basis=given)
    np.testing.assert_allclose(plain(kind, product, 7), dense.T @ rows, **close)
    assert image.dtype == back.dtype == product.dtype == np.float64


@pytest.mark.parametrize("kind", KINDS)
def test_products_with_a_float32_basis_are_float32(kind):
    block, dense = block_of(kind, (2500, 30), np.float32)
    basis = vectors(30, 5, dtype=np.float32)
    product = gram_product(block, basis=laid_out(kind, basis))
    (image,), back = image_and_gram(block, basis=laid_out(kind, basis))
    assert product.dtype == image.dtype == back.dtype == np.float32
    np.testing.assert_allclose(plain(kind, product, 5), dense.T @ dense @ basis, atol=1e-2)
    np.testing.assert_allclose(image[:, :5], dense @ basis, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_whole_gram_is_symmetric_and_float64(kind, shape):
    block, dense = block_of(kind, shape)
    gram = whole_gram(block)
    assert gram.dtype == np.float64
    assert (gram == gram.T).all()
    np.testing.assert_allclose(gram, dense.T @ dense, rtol=1e-13, atol=1e-13 * max(shape))


def test_whole_gram_of_float32_values_is_to_float32_or_exact_as_asked():
    block, dense = block_of("dense", (2500, 30), np.float32)
    expected = dense.T @ dense
    rough, exact = whole_gram(block), whole_gram(block, dtype=np.float64)
    assert rough.dtype == exact.dtype == np.float64
    assert 1e-12 < np.abs(rough - expected).max() / expected.max() < 1e-6
    np.testing.assert_allclose(exact, expected, rtol=1e-13, atol=1e-11)


def test_sparse_whole_gram_of_float32_values_is_exact_to_float64():
    block, dense = block_of("sparse", (400, 30), np.float32)
    np.testing.assert_allclose(whole_gram(block), dense.T @ dense, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_neighbouring_blocks_are_joined_in_order(kind):
    parts = [block_of(kind, (9, 5), seed=seed) for seed in range(3)]
    basis = vectors(5, 2)
    given = laid_out(kind, basis)
    images, back = fold_tree((image_and_gram(block, basis=given) for block, _ in parts), join_images)
    dense = np.concatenate([rows for _, rows in parts])
    np.testing.assert_allclose(np.concatenate(images)[:, :2], dense @ basis, atol=1e-14)
    np.testing.assert_allclose(plain(kind, back, 2), dense.T @ dense @ basis, atol=1e-13)


@pytest.mark.parametrize("width", [1, 3, 16])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense_products_have_the_same_bits_wherever_the_block_is_in_memory(width, dtype):
    block, _ = block_of("dense", (1500, 37), dtype)
    odd = np.empty(block.values.size + 3, dtype)[3:].reshape(block.values.shape)  # as in the middle of an array
    odd[:] = block.values
    exchange = Exchange()
    basis = vectors(37, width, dtype=dtype)
    with single_threaded_blas():
        answers = {
            gram_product(each, basis=basis).tobytes() + image_and_gram(each, basis=basis)[0][0].tobytes()
            for each in (block, DenseBlock(0, 0, odd), exchange.put(block).load(), pickle.loads(pickle.dumps(block)))
        }
    exchange.close()
    assert len(answers) == 1

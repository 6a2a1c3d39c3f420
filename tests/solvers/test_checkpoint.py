import json
import resource
import shutil

import numpy as np
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.errors import CheckpointError, OptionError, OutputError
from recscale_dask.execution.events import RunStarted


class Stopped(Exception):
    """What a fit is stopped with."""


def ratings(shape=(1500, 300), seed=0):
    rng = np.random.default_rng(seed)
    rows = sp.random_array(shape, density=0.1, rng=rng, format="csr").astype(np.float32)
    rows.data += 1
    return rs.UserItemMatrix.from_scipy(rows)


def steep(seed=0):
    """A spectrum that float32 passes do not get to the end of."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((n, 40)))[0] for n in (600, 200))
    return rs.UserItemMatrix.from_scipy((u * np.logspace(0, -7, 40)) @ v.T)


def copies():
    """More copies of a value than a block has vectors, so that a search has to be widened."""
    return rs.UserItemMatrix.from_scipy(sp.block_diag([3 * sp.eye_array(30), sp.eye_array(40)], format="csr"))


CASES = {
    "one search": (ratings, {"rank": 10, "block_size": 4}),
    "restarts": (ratings, {"rank": 5, "block_size": 4, "basis_size": 24, "tol": 1e-6}),
    "float32, then float64": (steep, {"rank": 20, "block_size": 4, "tol": 1e-4}),
    "a complement": (steep, {"rank": 30, "block_size": 8, "tol": 1e-6}),
    "copies": (copies, {"rank": 32, "block_size": 8}),
    "scaled and centred": (ratings, {"rank": 6, "block_size": 4, "item_scaling": 0.5, "center": "items"}),
    "wide": (lambda: ratings((200, 900)), {"rank": 6, "block_size": 4}),
    "whole Gram matrix": (ratings, {"rank": 10}),
}


def stopped_at(number):
    """Return an observer that stops the fit when pass `number` begins."""
    count = 0

    def observer(event):
        nonlocal count
        if isinstance(event, RunStarted) and "svd pass" in event.label:
            count += 1
            if count == number:
                raise Stopped

    return observer


def states(folder):
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize("case", CASES)
def test_a_fit_that_is_stopped_before_any_pass_ends_in_the_same_bytes(case, tmp_path):
    make, options = CASES[case]
    passes = []
    whole = rs.factorize(
        make(), executor="serial", progress=lambda e: passes.append(e) if "svd pass" in getattr(e, "label", "") else 0,
        **options,
    )  # fmt: skip
    n_passes = sum(isinstance(each, RunStarted) for each in passes)
    assert n_passes >= 2
    folder = tmp_path / "state"
    done = 0
    stops = range(1, n_passes + 1, 1 if n_passes < 20 else 5)
    for number in stops:
        shutil.rmtree(folder, ignore_errors=True)
        with pytest.raises(Stopped):
            rs.factorize(make(), executor="serial", checkpoint=folder, progress=stopped_at(number), **options)
        assert len(states(folder)) <= 2
        again = []
        model = rs.factorize(
            make(), executor="threads", checkpoint=folder, resume=True,
            progress=lambda e, again=again: again.append(e) if "svd pass" in getattr(e, "label", "") else 0, **options,
        )  # fmt: skip
        assert model.factors_sha256() == whole.factors_sha256()
        assert model.certificate.residuals.tobytes() == whole.certificate.residuals.tobytes()
        assert model.certificate.passes == whole.certificate.passes
        done += n_passes - sum(isinstance(each, RunStarted) for each in again)
    assert done > sum(each - 1 for each in stops) * 0.6  # most of what was done before a stop is not done again


@pytest.mark.parametrize("shape", [(1500, 300), (200, 900)])
def test_a_fit_that_goes_on_from_its_end_makes_no_pass(tmp_path, shape):
    first = rs.factorize(ratings(shape), rank=5, executor="serial", checkpoint=tmp_path / "state")
    labels = []
    again = rs.factorize(
        ratings(shape), rank=5, executor="serial", checkpoint=tmp_path / "state", resume=True,
        progress=lambda e: labels.append(getattr(e, "label", "")),
    )  # fmt: skip
    assert again.factors_sha256() == first.factors_sha256()
    assert not [each for each in labels if "svd pass" in each]


def test_a_state_that_is_there_is_not_written_over(tmp_path):
    rs.factorize(ratings(), rank=5, executor="serial", checkpoint=tmp_path / "state")
    before = states(tmp_path / "state")
    with pytest.raises(OptionError, match=r"resume=True \(--resume\)"):
        rs.factorize(ratings(), rank=5, executor="serial", checkpoint=tmp_path / "state")
    assert states(tmp_path / "state") == before
    with pytest.raises(OptionError, match="needs the folder"):
        rs.factorize(ratings(), rank=5, executor="serial", resume=True)


def test_another_matrix_or_other_options_are_refused_with_the_difference(tmp_path):
    rs.factorize(ratings(), rank=5, executor="serial", checkpoint=tmp_path / "state")
    for matrix, options, difference in [
        (ratings(), {"rank": 6}, "rank was 5, and is 6 now"),
        (ratings(), {"rank": 5, "tol": 0.1}, r"tol was 0\.001, and is 0\.1 now"),
        (ratings(), {"rank": 5, "center": "items"}, "center was None, and is 'items' now"),
        (ratings(seed=1), {"rank": 5}, "data was"),
    ]:
        with pytest.raises(CheckpointError, match=difference):
            rs.factorize(matrix, executor="serial", checkpoint=tmp_path / "state", resume=True, **options)


def test_of_two_states_the_one_that_is_whole_is_taken(tmp_path):
    whole = rs.factorize(ratings(), rank=5, block_size=4, executor="serial", checkpoint=tmp_path / "state")
    newest = tmp_path / "state" / states(tmp_path / "state")[-1]
    for damage in (lambda f: f.write_bytes(f.read_bytes()[:-9]), lambda f: f.unlink()):
        damage(next(each for each in newest.glob("*.npy") if each.stat().st_nlink == 1))  # in this state alone
        model = rs.factorize(
            ratings(), rank=5, block_size=4, executor="serial", checkpoint=tmp_path / "state", resume=True
        )
        assert model.factors_sha256() == whole.factors_sha256()
    for each in (tmp_path / "state").iterdir():
        (each / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"Delete it|not a checkpoint"):
        rs.factorize(ratings(), rank=5, block_size=4, executor="serial", checkpoint=tmp_path / "state", resume=True)


def test_a_newer_format_is_refused(tmp_path):
    rs.factorize(ratings(), rank=5, executor="serial", checkpoint=tmp_path / "state")
    for each in (tmp_path / "state").iterdir():
        manifest = json.loads((each / "manifest.json").read_text())
        (each / "manifest.json").write_text(json.dumps({**manifest, "format": 9}))
    with pytest.raises(CheckpointError, match="format 9; this recscale_dask reads up to 1"):
        rs.factorize(ratings(), rank=5, executor="serial", checkpoint=tmp_path / "state", resume=True)


def test_a_full_disk_leaves_the_states_before(tmp_path):
    folder = tmp_path / "state"
    options = {"rank": 5, "block_size": 4, "executor": "serial", "checkpoint": folder}
    with pytest.raises(Stopped):
        rs.factorize(ratings(), progress=stopped_at(4), **options)
    before = states(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot write"):
            rs.factorize(ratings(), resume=True, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert states(folder) == before
    assert not list(tmp_path.rglob(".*"))
    whole = rs.factorize(ratings(), rank=5, block_size=4, executor="serial")
    assert rs.factorize(ratings(), resume=True, **options).factors_sha256() == whole.factors_sha256()


def test_what_a_killed_process_left_half_written_is_deleted(tmp_path):
    (tmp_path / "state" / ".recscale-1-x.another-machine.held").mkdir(parents=True)
    rs.factorize(ratings(), rank=5, executor="serial", checkpoint=tmp_path / "state")
    assert all(each.startswith("state-") for each in states(tmp_path / "state"))


def test_the_basis_of_the_state_before_is_not_written_again(tmp_path):
    with pytest.raises(Stopped):
        rs.factorize(
            ratings(), rank=10, block_size=4, executor="serial", checkpoint=tmp_path / "state", progress=stopped_at(6)
        )
    one, other = ((tmp_path / "state" / each) for each in states(tmp_path / "state"))
    basis = {each.name: each.stat().st_ino for each in one.glob("*basis*")}
    assert basis
    assert basis.items() <= {each.name: each.stat().st_ino for each in other.glob("*basis*")}.items()


def test_a_solver_that_keeps_no_state_is_refused_and_leaves_that_of_others_alone(tmp_path):
    rs.factorize(ratings(), rank=5, executor="serial", checkpoint=tmp_path / "state")
    before = states(tmp_path / "state")
    with pytest.raises(OptionError, match="'popularity' keeps no state"):
        rs.factorize(ratings(), solver="popularity", executor="serial", checkpoint=tmp_path / "state", resume=True)
    assert states(tmp_path / "state") == before


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds other things than checkpoints \(notes\.txt\)"):
        rs.factorize(ratings(), rank=5, executor="serial", checkpoint=tmp_path)
    assert states(tmp_path) == ["notes.txt"]

"""`recscale advise`: the table of ranks and filters."""

from recscale_dask import advise_rank, read_interactions


def test_advise_prints_the_table_of_the_api(recscale, data):
    sets = [data / "train.csv", "--test", data / "test.csv"]
    command = ["advise", *sets, "--rank", 8, "--ranks", "2,4,8", "--filter", "ridge=0.2,0.5", "--filter", "power=0.5"]
    advice = advise_rank(
        read_interactions(data / "train.csv"),
        read_interactions(data / "test.csv"),
        rank=8,
        ranks=[2, 4, 8],
        filters={"ridge": [0.2, 0.5], "power": [0.5]},
    )
    assert recscale(*command).out == f"{advice}\n"
    answer = recscale(*command, "--json").json()
    assert {**answer, "seconds": {}} == {**advice.as_dict(), "seconds": {}}


def test_advise_holds_out_a_part_by_itself(recscale, data):
    shown = recscale("advise", data / "train.csv", "--rank", 4, "--filter", "none", "--how", "temporal")
    assert shown.out.splitlines()[-1].startswith("Suggested: rank 4, filter none")


def test_advise_wants_numbers(recscale, data):
    for option in (["--ranks", "two"], ["--filter", "ridge=much"]):
        assert recscale("advise", data / "train.csv", *option).code == 2


def test_advise_wants_strengths_of_each_filter(recscale, data):
    for given in ("ridge", "ridge=", "=0.3"):
        ran = recscale("advise", data / "train.csv", "--filter", given)
        assert ran.code == 2
        assert f"expected NAME=X,X, such as ridge=0.3; got '{given}'" in " ".join(ran.err.replace("│", " ").split())


def test_advise_sets_what_else_a_fit_takes(recscale, data):
    sets = [data / "train.csv", "--test", data / "test.csv"]
    command = ["advise", *sets, "--rank", 4, "--ranks", "2,4", "--filter", "none", "--item-scaling", 0.5]
    plain = recscale(*command, "--json").json()["points"]
    for setting in ("center=items", "undo_scaling=false"):
        assert recscale(*command, "--set", setting, "--json").json()["points"] != plain
    both = recscale(*command, "--set", "center=items", "--set", "undo_scaling=false")
    assert (both.code, "--set undo_scaling=False" in both.err) == (1, True)
    other = recscale(*command, "--set", "maxiter=3")
    assert (other.code, "center and undo_scaling" in other.err) == (2, True)


def test_ways_to_hold_out_that_cannot_work_are_refused_before_the_input_is_read(recscale, tmp_path):
    for command in ("advise", "tune"):
        for how in ("leave-k-out", "held-out-users"):
            ran = recscale(command, tmp_path / "nothing.csv", "--how", how)
            assert ran.code == 2
            assert "'leave-one-out', 'per-user-random'" in " ".join(ran.err.replace("│", " ").split())


def test_metrics_are_checked_before_a_model_is_read(recscale, tmp_path):
    nothing = tmp_path / "nothing"
    for command in (("evaluate", nothing), ("report", nothing, "--out", tmp_path / "r.html")):
        assert "no metric is called 'recal'" in recscale(*command, "--test", nothing, "--metrics", "recal@5").err

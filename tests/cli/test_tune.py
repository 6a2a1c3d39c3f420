"""`recscale tune` and `recscale report`."""


def test_tune_fits_the_best_options_and_reports(recscale, data, tmp_path):
    out, report, study = tmp_path / "model", tmp_path / "tune.html", tmp_path / "study.log"
    command = ["tune", data / "train.csv", "--out", out, "--trials", 3, "--metrics", "recall@10", "--report", report]
    ran = recscale(*command, "--storage", study, "--set", "weighting=binary", "--json")
    answer = ran.json()
    assert ran.err == ""
    assert len(answer["trials"]) == 3
    assert answer["best"]["options"]["weighting"] == "binary"
    assert "Tuning by recall@10" in report.read_text()
    again = recscale("evaluate", out, "--test", data / "test.csv", "--metrics", "recall@10")
    assert again.code == 0
    shown = recscale(
        "tune",
        data / "train.csv",
        "--trials",
        3,
        "--metrics",
        "recall@10",
        "--study",
        study,
        "--set",
        "weighting=binary",
    )
    assert shown.out.splitlines()[-1].startswith("Best of 3 trials by recall@10")


def test_report_writes_a_page(recscale, model, data, tmp_path):
    out = tmp_path / "report.html"
    ran = recscale("report", model, "--out", out, "--test", data / "test.csv")
    assert ran.out == f"{out}: open it in a browser.\n"
    assert "Quality" in out.read_text()
    assert recscale("report", model, "--out", out).code == 1


def test_advice_can_be_a_page(recscale, data, tmp_path):
    out = tmp_path / "ranks.html"
    ran = recscale("advise", data / "train.csv", "--rank", 8, "--ranks", "2,4,8", "--report", out)
    assert ran.code == 0, ran.err
    assert "Ranks by ndcg@20" in out.read_text()

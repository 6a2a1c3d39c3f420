"""A small data set, a model of it, and the command line in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from typer.testing import CliRunner

from recscale_dask.cli.main import app
from recscale_dask.testing.matrices import planted_tastes

TEST_ROWS = 500


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


Command = Callable[..., Ran]


@pytest.fixture(scope="session")
def recscale() -> Command:
    """Run `recscale` with arguments."""

    def run(*arguments: object) -> Ran:
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with train.csv and test.csv of 200 users and 80 items."""
    folder = tmp_path_factory.mktemp("data")
    plant = planted_tastes(200, 80, 4, per_user=20)
    columns = {"userId": plant.users, "movieId": plant.items, "rating": plant.values, "timestamp": plant.times}
    table = pa.table(columns)
    pyarrow.csv.write_csv(table.slice(0, len(table) - TEST_ROWS), folder / "train.csv")
    pyarrow.csv.write_csv(table.slice(len(table) - TEST_ROWS), folder / "test.csv")
    return folder


@pytest.fixture(scope="session")
def model(data: Path, recscale: Command) -> Path:
    """Folder of a model of rank 4."""
    out = data / "model"
    assert recscale("fit", data / "train.csv", "--out", out, "--rank", 4).code == 0
    return out

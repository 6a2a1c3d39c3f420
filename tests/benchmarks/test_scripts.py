"""Every benchmark starts: what it imports from its own folder or from the project is there."""

import ast
import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.glob("*.py"))
# Peers are installed by hand, as each script's docstring says.
PEERS = {"faiss", "implicit", "ranx", "surprise"}

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the benchmarks are not part of an installed package")


def imported(node: ast.AST) -> list[tuple[str, list[str]]]:
    if isinstance(node, ast.Import):
        return [(alias.name, []) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [(node.module or "", [alias.name for alias in node.names])]
    return []


def defined(tree: ast.Module) -> set[str]:
    """Every name that a module binds: definitions, assignments and imports, wherever they stand."""
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return bound | {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_all_that_a_benchmark_imports_exists(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text())):
        for module, names in imported(node):
            beside = BENCHMARKS / f"{module}.py"
            if beside.exists():
                assert set(names) <= defined(ast.parse(beside.read_text())), f"{script.name}: from {module}"
            elif module.split(".")[0] not in PEERS:
                assert importlib.util.find_spec(module.split(".")[0]), f"{script.name} imports {module}"
                if module.startswith("recscale_dask"):
                    owner = importlib.import_module(module)
                    missing = [name for name in names if not hasattr(owner, name)]
                    assert not [name for name in missing if not importlib.util.find_spec(f"{module}.{name}")], module

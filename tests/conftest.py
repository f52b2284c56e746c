"""Shared fixtures, and the rule that what CI requires may not be skipped."""

import importlib
import os
import shutil
import sys
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))
REPOSITORY = Path(__file__).resolve().parents[1]
APP = REPOSITORY / "app"
# No test asserts a clock: hypothesis's deadline would.
hypothesis.settings.register_profile("no clock", deadline=None)
hypothesis.settings.load_profile("no clock")
# What a test may need beyond Python -> how to tell whether it is here.
_TOOLS = {"browser": lambda: shutil.which("chromium"), "bwrap": lambda: shutil.which("bwrap")}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, present in _TOOLS.items():
        if item.get_closest_marker(name) and not present():
            if name in os.environ.get("DSL_PROBE_REQUIRE", "").split(","):
                pytest.fail(f"{name} is required here (DSL_PROBE_REQUIRE) and missing", pytrace=False)
            pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="module", autouse=True)
def _shards_as_they_were():
    """Rows of an imported shard: some files of tests make them few, for themselves alone."""
    from dsl_probe.collect import importer

    before = importer._SHARD_ROWS
    yield
    importer._SHARD_ROWS = before


@pytest.fixture(scope="module")
def one_thread():
    """torch on one thread: the models are tiny, and other tests run beside."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny_run(_tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run, a copy for each file of tests: what one adds to it no other sees."""
    return Path(shutil.copytree(_tiny_run, tmp_path_factory.mktemp("tiny") / "run"))


@pytest.fixture(scope="session")
def _tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two models, two domains and one comparison, in which only model-b says `zorp`."""
    from corpus import rows, write_jsonl

    import dsl_probe

    folder = tmp_path_factory.mktemp("tiny")
    run = dsl_probe.Run.create(folder / "run")
    dsl_probe.import_traces(run, [write_jsonl(folder / "traces.jsonl", rows())])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5, q=1.0), executor="process:1")
    config = dsl_probe.LanguageConfig(group="model=model-b", reference="model=model-a", name="model-b")
    dsl_probe.learn_language(run, config)
    dsl_probe.compare(run, a="model=model-b", b="model=model-a", permutations=199, name="b-vs-a")
    return run.path


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch):
    """show(page, run, **query): the page of the app."""
    from streamlit.testing.v1 import AppTest

    def run(page: str, path: Path, **query: object) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["app/main.py", "--run", str(path)])
        at = AppTest.from_file(str(APP / "browse.py"), default_timeout=60).run()
        at.switch_page(f"app_pages/{page}.py")
        for key, value in query.items():
            at.query_params[key] = str(value)
        return at.run()

    return run


@pytest.fixture(scope="session")
def shots():
    """What drives the app in a browser: app/shots.py."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("app_shots", APP / "shots.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    """module(name): a module of the app."""
    monkeypatch.syspath_prepend(str(APP))
    return importlib.import_module


@pytest.fixture
def probed(module):
    """What the app works out of probes."""
    return module("probed")


@pytest.fixture(scope="module")
def motif(tiny_run: Path) -> str:
    """The id of `zorp`, which only model-b says."""
    from dsl_probe.store import Run

    return Run(tiny_run).frame("motifs", ["motif_id"], [("text", "=", "zorp")])["motif_id"][0]

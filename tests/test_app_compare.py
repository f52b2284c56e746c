"""The app's pages Compare, Sharing and Motifs, on small runs whose numbers are known."""

import sys
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[1] / "app"


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch):
    """show(page, run, **query): the page of the app."""

    def run(page: str, path: Path, **query: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["app/main.py", "--run", str(path)])
        at = AppTest.from_file(str(APP / "main.py"), default_timeout=60).run()
        at.switch_page(f"app_pages/{page}.py")
        for key, value in query.items():
            at.query_params[key] = value
        return at.run()

    return run


def words(at: AppTest) -> str:
    """All that a page says outside tables and charts."""
    kinds = (at.text, at.markdown, at.caption, at.info, at.warning, at.error, at.code, at.title, at.subheader)
    return "\n".join(str(e.value) for kind in kinds for e in kind)


def table(at: AppTest, column: str) -> pd.DataFrame:
    """The first table that has a column."""
    return next(frame.value for frame in at.dataframe if column in frame.value.columns)


def fine(at: AppTest) -> bool:
    return not at.exception and not at.error and not at.warning and not at.info


def test_compare_shows_all_panels_of_a_full_run(show, tiny_run: Path):
    at = show("compare", tiny_run)
    assert fine(at), words(at)


def test_sharing_shows_all_panels_of_a_full_run(show, tiny_run: Path):
    at = show("sharing", tiny_run)
    assert fine(at), words(at)

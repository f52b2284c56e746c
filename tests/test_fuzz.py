"""Inputs at random, the same ones each time: no traceback, only the documented exit codes, one JSON object on stdout.

Where an input hangs, pytest's faulthandler shows it; elapsed time is asserted nowhere. 10,000 inputs are tried by
experiments/reliability/fuzz.py; the cases that it found stand here, as small as they could be made.
"""

import json

import made_inputs as made
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from dsl_probe.cli import main
from dsl_probe.collect.domains import load_domain
from dsl_probe.groups import parse_group
from dsl_probe.types import UserError


def some(n: int):
    """n inputs, always the same; a failing one is made small."""
    return settings(
        max_examples=n,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made.small_run(tmp_path_factory.mktemp("fuzz") / "given")


@pytest.fixture
def fresh(tmp_path):
    count = iter(range(10**6))

    def make():
        folder = tmp_path / str(next(count))
        folder.mkdir()
        return folder

    return make


@some(120)
@given(given=made.files())
def test_any_file_is_imported_or_refused(fresh, given):
    name, data, options = given
    folder = fresh()
    (folder / name).write_bytes(data)
    assert made.broken(["import", str(folder / name), "--out", str(folder / "run"), *options, "--json"]) is None


@some(60)
@given(given=made.PROBLEMS)
def test_any_file_of_problems_is_read_or_refused(fresh, given):
    name, data = given
    path = fresh() / name
    path.write_bytes(data)
    assert made.problems_broken(path)[0] is None


@some(60)
@given(given=made.stage_configs())
def test_any_config_is_taken_or_refused(run, fresh, given):
    stage, (name, data) = given
    folder = fresh()
    (folder / name).write_bytes(data)
    copy = made.copied(run, folder)
    assert made.broken(made.with_config(stage, folder / name, copy, folder / "new")) is None


@some(40)
@given(argv=made.ARGUMENTS)
def test_any_arguments_are_taken_or_refused(run, fresh, argv, monkeypatch):
    folder = fresh()
    monkeypatch.chdir(folder)
    copy = made.copied(run, folder)
    assert made.broken([a.replace("RUN", str(copy)).replace("NEW", str(folder / "new")) for a in argv]) is None


@some(60)
@given(group=made.GROUPS)
def test_any_group_is_found_or_refused(run, fresh, group):
    argv = ["export", str(run), "--what", "verified", f"--group={group}", "--out", str(fresh() / "out.jsonl"), "--json"]
    assert made.broken(argv) is None


@some(10)
@given(given=made.addresses())
def test_any_address_shows_a_page(run, show, given):
    page, query = given
    assert not show(page, run, **query).exception


@pytest.mark.parametrize("group", ["model=\ud800", "\udfff=x", "model=a,domain=\udcff"])
def test_a_group_that_is_no_unicode_is_refused(group):
    with pytest.raises(UserError, match="not valid Unicode"):
        parse_group(group)


@pytest.mark.parametrize(
    "stage, content, word",
    [
        ("collect", {"adapter": [1.0]}, "adapter is"),
        ("collect", {"template": False}, "template is"),
        ("collect", {"template": {"a": 1}}, "template is"),
        ("score", [], "not the record"),
        ("validate", 5e-8, "not the record"),
        ("probe", {"most_rows": None}, "most_rows is None; it must be int"),
        ("probe", {"layout": {"a": 1}}, "layout is"),
        ("probe", {"folds": {"a": ""}}, "folds is"),
        ("probe", {"targets": "value"}, "targets is 'value'; it must be tuple"),
        ("mine", {"echo_min": "\ud8008"}, "echo_min is"),
        ("mine", {"units": "letters"}, "units is 'letters'; it must be 'words', 'tokens'"),
        ("mine", {"min_traces": 20.0}, "min_traces is 20.0; it must be int"),
        ("mine", {"q": float("nan")}, "a finite number"),
        ("mine", {"nothing": 1}, "nothing"),
        ("validate", {"domain": None}, "domain is None"),
        ("score", {"model": "3\u00f0"}, "'3\u00f0'"),
    ],
)
def test_a_config_of_wrong_types_names_the_option(run, tmp_path, capsys, stage, content, word):
    (tmp_path / "c.json").write_text(json.dumps({"config": content}))
    copy = made.copied(run, tmp_path)
    assert main(made.with_config(stage, tmp_path / "c.json", copy, tmp_path / "new")) == 2
    got = capsys.readouterr()
    assert word in got.err and "Traceback" not in got.err and got.out == ""


def test_whole_numbers_in_a_toml_file_are_taken_for_fractions(run, tmp_path, capsys):
    (tmp_path / "c.toml").write_text("q = 1\nmin-traces = 5\nmin-problems = 5\n")
    assert main(["mine", str(made.copied(run, tmp_path)), "--config", str(tmp_path / "c.toml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["traces"] == 80


@pytest.mark.parametrize(
    "argv", [["mine", "RUN", "--q", "nan"], ["mine", "RUN", "--q", "inf"], ["status", "a\0b"], ["status", "\udcff"]]
)
def test_numbers_that_are_none_and_text_that_is_none_are_refused(run, capsys, argv):
    assert main([a.replace("RUN", str(run)) for a in argv]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "content, word",
    [
        (b'{"problem_id": [], "prompt": "a", "reference": "b"}', "problem_id is a list"),
        (b'{"problem_id": 1, "prompt": {}, "reference": "b"}', "prompt is a dict"),
        (b'{"problem_id": 1, "prompt": "a", "reference": "\\ud800"}', "reference cannot be written"),
        (b'{"problem_id": 1, "prompt": "a", "reference": "b", "domain": [1]}', "domain is a list"),
        (
            b'{"problem_id": 1, "prompt": "a", "reference": 1' + b"0" * 4300 + b"}",
            "row 1: reference|line 1 is not JSON",
        ),
        (b"[" * 100_000, "line 1 is not JSON"),
        (b"\xff", "cannot be read as UTF-8"),
    ],
)
def test_what_no_problem_can_be_is_refused_with_its_row(tmp_path, content, word):
    (tmp_path / "p.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=word):
        load_domain(str(tmp_path / "p.jsonl")).problems(0, 1)


def test_a_damaged_parquet_file_of_problems_is_refused(tmp_path):
    (tmp_path / "p.parquet").write_bytes(b"PAR1PAR1")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        load_domain(str(tmp_path / "p.parquet")).problems(0, 1)


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path):
    row = {"problem_id": "p", "prompt": "a\u2028b\x85c", "reference": "1"}
    (tmp_path / "p.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\r\n", "utf-8")
    assert [p.prompt for p in load_domain(str(tmp_path / "p.jsonl")).problems(0, 1)] == [row["prompt"]]


@pytest.mark.parametrize("flip", [b"PK\x01\x02", b"PK\x05\x06"])
def test_a_zip_whose_directory_is_damaged_is_refused(tmp_path, capsys, flip):
    data = (made.FORMATS / "inspect_sums.eval").read_bytes()
    at = data.rindex(flip)
    (tmp_path / "x.eval").write_bytes(data[:at] + b"P\x00" + data[at + 2 :])
    argv = ["import", str(tmp_path / "x.eval"), "--format", "inspect", "--out", str(tmp_path / "run")]
    assert main(argv) == 2
    assert "not an Inspect log" in capsys.readouterr().err


def test_an_encrypted_sample_of_a_zip_is_set_aside(tmp_path):
    data = bytearray((made.FORMATS / "inspect_sums.eval").read_bytes())
    at = 0
    while (at := data.find(b"PK\x01\x02", at)) >= 0:
        if b"samples/" in data[at + 46 : at + 60]:
            data[at + 8] |= 1  # the flag of encryption, in the directory
            data[at + 10 : at + 12] = b"\x08\x00"  # deflate: zstd is read by our own code
        at += 4
    (tmp_path / "x.eval").write_bytes(bytes(data))
    argv = ["import", str(tmp_path / "x.eval"), "--format", "inspect", "--out", str(tmp_path / "run"), "--json"]
    assert made.broken(argv) is None

"""Model folders that attack are refused with the reason, or loaded without harm; nothing of theirs is run."""

import json
import shutil

import made_models as made
import pytest
from tiny import tiny_model

from dsl_probe import model_folder
from dsl_probe.cli import main
from dsl_probe.models import describe_model, forget_models, load_model, load_tokenizer, render
from dsl_probe.types import UserError

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("gguf")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    return made.tiny_adapter(tiny, tmp_path_factory.mktemp("adapters") / "adapter")


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(model_folder, "_SECONDS", 2)
    yield
    forget_models()


@pytest.mark.parametrize("name", made.CASES)
def test_it_is_refused_with_the_reason_or_harmless(name, tiny, adapter, tmp_path):
    case, mark = made.CASES[name], tmp_path / "mark"
    (tmp_path / "snapshots").mkdir()
    folder = made.prepared(case, tmp_path / "snapshots" / "model", mark, tiny, adapter)
    if case.says is None:
        made.load(case, folder, tiny)
    else:
        with pytest.raises(UserError) as refused:
            made.load(case, folder, tiny)
        assert case.says in str(refused.value)
    assert not mark.exists()


def test_the_payload_would_run_if_it_were_unpickled(tmp_path):
    import pickle

    pickle.loads(pickle.dumps(made.Payload(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


def test_code_of_a_model_runs_only_where_it_is_trusted_and_pickles_not_even_then(tiny, tmp_path):
    for name, trusted, ran in (
        ("custom code", True, True),
        ("custom code", False, False),
        ("pickled weights", True, False),
    ):
        mark, folder = tmp_path / f"{name} {trusted}", tmp_path / f"{name}-{trusted}".replace(" ", "-")
        made.prepared(made.CASES[name], folder, mark, tiny, tiny)
        if ran:
            load_model(str(folder), device="cpu", trust_remote_code=True)
        else:
            with pytest.raises(UserError, match=made.CASES[name].says):
                load_model(str(folder), device="cpu", trust_remote_code=trusted)
        assert mark.exists() == ran


@pytest.mark.parametrize("look", [load_tokenizer, describe_model])
@pytest.mark.parametrize("name", ["kernel of the hub", "linked tokenizer", "pickled tokenizer", "10^9 layers"])
def test_what_needs_no_weights_refuses_them_too(look, name, tiny, tmp_path):
    folder = made.prepared(made.CASES[name], tmp_path / "model", tmp_path / "mark", tiny, tiny)
    with pytest.raises(UserError, match=r"kernel|link|load|layers"):
        look(str(folder))
    assert not (tmp_path / "mark").exists()


def test_a_tokenizer_alone_needs_no_weights(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    assert load_tokenizer(str(folder)).vocab_size == load_tokenizer(str(tiny)).vocab_size


def test_sound_templates_and_adapters_pass(tiny, adapter):
    model = load_model(str(tiny), adapter=str(adapter), device="cpu")
    assert model.tokenizer.decode(render(model, "chat", "two plus two")).startswith("<s>")
    known = json.loads((adapter / "adapter_config.json").read_text())["target_modules"]
    assert known == ["q_proj"]


def test_the_command_line_tells_it_in_one_line(tiny, tmp_path, capsys):
    folder = made.prepared(made.CASES["pickled weights"], tmp_path / "model", tmp_path / "mark", tiny, tiny)
    (tmp_path / "p.jsonl").write_text('{"problem_id": "1", "prompt": "2?", "reference": "2"}\n')
    argv = ["collect", "--out", str(tmp_path / "run"), "--model", str(folder), "--domains", str(tmp_path / "p.jsonl")]
    assert main([*argv, "--n", "1"]) == 2
    got = capsys.readouterr()
    assert got.out == "" and "pickled weights can run code" in got.err and "Traceback" not in got.err
    assert not (tmp_path / "mark").exists()

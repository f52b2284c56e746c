"""What README and docs tell to type works and prints what they say; links lead somewhere; what is made is fresh.

A block marked `bash` or `python` is run, page by page, in a folder that holds `data`, `traces.jsonl` (models BASE, OLD
and NEW, of which NEW alone says `zorp`), `logs` of other tools and the mined run `runs/mine`. A `text` block right
behind it is what it prints (see `printed`). A block marked `bash no-run` needs a GPU, a server or a model that is not
here: of its commands the options are read and nothing is run. `bash exit=1` ends so.
"""

import doctest
import importlib.util
import math
import re
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
from corpus import rows, write_jsonl

import dsl_probe
from dsl_probe.cli import COMMANDS, main

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
MADE = {DOCS / "reference" / name for name in ("cli.md", "contracts.md", "api.md")}
README = REPOSITORY / "README.md"
PAGES = [README, *sorted(set(DOCS.rglob("*.md")) - MADE), REPOSITORY / "experiments" / "README.md"]
BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = r"[-+]?(?:\d[\d,]*)?\.?\d+"
# Options that are put beside those of a page, so that what it types ends in seconds.
SMALL = {"validate": ["--splits", "2", "--spikes", "nonce"]}
# A page of its own world: it begins with traces that it takes from data.
ALONE = {"own-traces.md"}


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def blocks(page: Path) -> list[tuple[str, str]]:
    """(mark, text) of each fenced block, and ("prose", text) of what stands between them."""
    parts = BLOCK.split(page.read_text("utf-8"))
    return [
        pair
        for i in range(0, len(parts), 3)
        for pair in [("prose", parts[i]), *([(parts[i + 1], parts[i + 2])] if i + 1 < len(parts) else [])]
    ]


def commands(text: str) -> list[list[str]]:
    """The lines of a block as words, comments left out; a backslash joins lines."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def holds_ours(page: Path) -> bool:
    marks = [(m, t) for m, t in blocks(page) if m in ("bash", "python", "bash exit=1")]
    return any(m == "python" or "dsl-probe" in t for m, t in marks)


# ---------------------------------------------------------------- what is typed


def three_models() -> list[dict]:
    """OLD is BASE again, with other luck; NEW says `zorp`."""
    first, again = rows(), rows(seed=1)
    prompts = {r["problem_id"]: r["prompt"] for r in first}
    names = {"model-a": {"model": "BASE"}, "model-b": {"model": "NEW", "start_model": "BASE"}}
    made = [r | names[r["model"]] for r in first]
    old = {"model": "OLD", "regime": "sft", "start_model": "BASE"}
    made += [
        r | old | {"prompt": prompts[r["problem_id"]], "trace_id": r["trace_id"] + "/old"}
        for r in again
        if r["model"] == "model-a"
    ]
    return made


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every page but those that stand alone may take for granted."""
    import pandas as pd

    folder = tmp_path_factory.mktemp("docs")
    write_jsonl(folder / "traces.jsonl", three_models())
    formats = REPOSITORY / "tests" / "fixtures" / "formats"
    shutil.copytree(formats, folder / "logs")
    completions = folder / "logs" / "trl" / "my-grpo" / "completions"
    completions.mkdir(parents=True)
    said = {"step": [1, 1], "prompt": ["1+1?", "2+2?"], "completion": ["two", "four"], "accuracy_reward": [1.0, 0.0]}
    pd.DataFrame(said | {"advantage": [0.5, -0.5]}).to_parquet(completions / "completions_00001.parquet")
    run = dsl_probe.Run.create(folder / "runs" / "mine")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    dsl_probe.import_traces(run, ["traces.jsonl"])
    dsl_probe.mine_motifs(run, executor="process:1")
    patch.undo()
    return folder


@pytest.fixture
def place(workplace: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of one page."""
    folder = tmp_path / "here"
    if request.node.callspec.params["page"].name in ALONE:
        folder.mkdir()
    else:
        shutil.copytree(workplace, folder)
    (folder / "data").symlink_to(REPOSITORY / "data")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def printed(expected: str, got: str) -> list[str]:
    """Lines of the expected output that were not printed, in this order; `…` stands for anything.

    Figures are held to a tenth, or .03: what a model samples may differ in the last bits between processors.
    """
    lines, missing = iter(got.splitlines()), []
    for line in filter(None, map(str.strip, expected.splitlines())):
        pieces = re.split(rf"(…|{NUMBER})", line)
        figures = [float(p.replace(",", "")) for p in pieces[1::2] if p != "…"]
        marks = [".*?" if p == "…" else f"({NUMBER})" for p in pieces[1::2]]
        pattern = "".join(re.escape(text) + mark for text, mark in zip(pieces[::2], [*marks, ""], strict=True))
        if not any(close(re.fullmatch(pattern, other.strip()), figures) for other in lines):
            missing.append(line)
            lines = iter(got.splitlines())
    return missing


def close(found: re.Match | None, figures: list[float]) -> bool:
    """Whether a line was found, with these figures."""
    read = [float(f.replace(",", "")) for f in found.groups()] if found else None
    return read is not None and all(map(partial(math.isclose, rel_tol=0.1, abs_tol=0.03), read, figures))


def test_what_was_printed_is_told_from_what_was_not():
    assert printed("1,700 motifs in … units\n…0.50 of them", "1,699 motifs in 12 units\nthat is 0.51 of them") == []
    assert printed("17 motifs\nb", "14 motifs\nb") == ["17 motifs"]
    assert printed("b\na", "a\nb") == ["a"]


@pytest.mark.parametrize("page", [p for p in PAGES if holds_ours(p)], ids=name_of)
def test_what_a_page_tells_to_type_works(page, place, capsys, one_thread):
    names, before, said, everything = {}, "", "", ""
    for mark, text in blocks(page):
        if mark.startswith("python"):
            file = re.match(r"# (\w+\.py)\n", text)
            if file:  # a module of the reader's own, which later commands name
                (place / file[1]).write_text(text, "utf-8")
            exec(compile(text, name_of(page), "exec"), names | {"__name__": "page"} if file else names)
            said = capsys.readouterr().out
            everything += said
        elif mark in ("bash", "bash exit=1"):
            said = ""
            for words in commands(text):
                if words[0] == "dsl-probe":
                    code = main([*words[1:], *(SMALL.get(words[1], []) if "--splits" not in words else [])])
                    out, err = capsys.readouterr()
                    said, everything = said + out, everything + out
                    assert code == (1 if "exit" in mark else 0), f"{shlex.join(words)}: {code}\n{err[-2000:]}"
        elif mark == "text" and before.startswith(("bash", "python")) and "no-run" not in before:
            assert not printed(text, said), f"not printed:\n{printed(text, said)}\nbut:\n{said}"
        if mark != "prose" or text.strip():
            before = mark
    assert page != README or everything.count("“zorp”") >= 2, "neither compare nor the Python block finds `zorp`"


def test_the_python_of_the_readme_is_short():
    (code,) = [text for mark, text in blocks(README) if mark == "python"]
    assert len(code.strip().splitlines()) <= 10


def loaded(name: str):
    """A module of docs, by its file's name."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generate():
    """docs/generate.py."""
    return loaded("generate")


@pytest.mark.parametrize("name", ["conf", "generate"])
def test_examples_of_the_programs_hold(name):
    assert doctest.testmod(loaded(name)).failed == 0


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_of_all_commands_parse(page, generate):
    for mark, text in blocks(page):
        assert mark in ("prose", "bash", "bash exit=1", "bash no-run", "python", "text", "json", "toml"), mark
        for words in commands(text) if mark.startswith("bash") else []:
            if words[0] == "dsl-probe" and "--help" not in words and "--config" not in words:
                generate.options_of(COMMANDS[words[1]], words[2:])  # exits where an option is unknown


def test_programs_and_targets_that_pages_name_exist():
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        text = page.read_text("utf-8")
        for name in re.findall(r"(?:^|`|&& )make ([a-z-]+)", text, re.MULTILINE):
            assert name in targets, f"{name_of(page)}: make {name}"
        for path in re.findall(r"\b((?:experiments|docs|app|tests)/[\w/]+\.py)\b", text):
            assert (REPOSITORY / path).is_file(), f"{name_of(page)}: {path}"


# ---------------------------------------------------------------- links


def anchors(page: Path) -> set[str]:
    """Anchors of the headings as GitHub makes them."""
    prose = BLOCK.sub("", page.read_text("utf-8"))
    found: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6} (.+)$", prose, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*\\]", r"\1", heading.strip())
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found[slug if slug not in found else f"{slug}-{found[slug]}"] = 1
    return set(found)


@pytest.mark.parametrize("page", [*PAGES, *sorted(MADE), REPOSITORY / "CONTRIBUTING.md"], ids=name_of)
def test_links_lead_somewhere(page):
    prose = BLOCK.sub("", page.read_text("utf-8"))
    for text, target in re.findall(r"(?<!\\)\[((?:[^\[\]]|\\.)*)\]\(([^()\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{name_of(page)}: [{text}]({target})"
        assert not anchor or anchor in anchors(to), f"{name_of(page)}: [{text}]({target}) has no such heading"


def test_every_page_is_in_the_index():
    linked = set(re.findall(r"\]\(([\w/-]+\.md)\)", (DOCS / "index.md").read_text("utf-8")))
    assert {str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md") if p.parent.name != "img"} - {"index.md"} == linked


# ---------------------------------------------------------------- what is made


@pytest.mark.parametrize("name", ["cli.md", "contracts.md", "api.md"])
def test_generated_pages_are_up_to_date(generate, name):
    text = generate.pages()[name]
    assert (DOCS / "reference" / name).read_text("utf-8") == text, "run: python docs/generate.py"


def test_every_option_and_every_table_stands_in_the_reference(generate):
    import pyarrow as pa

    from dsl_probe import types

    tables = {name for name, value in vars(types).items() if isinstance(value, pa.Schema)}
    assert tables <= set(generate.CONTRACTS["tables"])
    text = (DOCS / "reference" / "cli.md").read_text("utf-8")
    for name, command in COMMANDS.items():
        assert f"## dsl-probe {name}\n" in text
        of_command = text.split(f"## dsl-probe {name}\n")[1].split("\n## ")[0]
        fields = re.findall(r"^\| `(--[\w.-]+)", of_command, re.MULTILINE)
        assert "--json" in fields and len(fields) == len(set(fields)), command


def test_pictures_are_there_and_small():
    shown = [(page, path) for page in PAGES for path in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text("utf-8"))]
    assert shown and all((page.parent / path).is_file() for page, path in shown)
    sizes = [path.stat().st_size for path in (DOCS / "img").glob("*.png")]
    assert max(sizes) < 250_000 and sum(sizes) < 2_500_000

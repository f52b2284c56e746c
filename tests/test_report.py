"""The report: nothing a model wrote is markup in it, it asks for nothing outside, and the same run gives its bytes."""

import base64
import hashlib
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import hostile
import pyarrow as pa
import pytest
from altered import record_anew
from corpus import rows, write_jsonl

import dsl_probe
from dsl_probe import files
from dsl_probe.cli import main
from dsl_probe.export import export
from dsl_probe.share.blocks import Heading, Items, Paragraph, Plot, Table, as_html, as_markdown
from dsl_probe.share.growth import GrowthConfig
from dsl_probe.share.report import report
from dsl_probe.share.report import sources as report_sources
from dsl_probe.share.report.sources import pathless
from dsl_probe.types import VALIDATION

ROOT = Path(__file__).resolve().parents[1]
PAGE = set("html head meta title style body nav ol li a h1 h2 h3 h4 p ul table thead tbody tr th td div".split())  # noqa: SIM905
PAGE |= {"figure", "figcaption", "details", "summary", "svg", "rect", "line", "path", "text"}


class Page(html.parser.HTMLParser):
    """Tags, attributes and text of a page; raises where a tag is closed that is not open."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.said, self.open = "", []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.said += data


def is_inert(page: str) -> Page:
    """Checks that a page runs nothing and asks for nothing; returns what was read of it."""
    read = Page(page)
    assert read.tags <= PAGE, read.tags - PAGE
    assert not [a for a in read.attributes if a[1].startswith("on") or a[1] in ("src", "style", "srcset", "action")]
    links = [value for _, name, value in read.attributes if "href" in name]
    ids = [value for _, name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"#part-\d+", link) and link[1:] in ids for link in links)
    policy = next(v for t, n, v in read.attributes if (t, n) == ("meta", "content") and "default-src" in v)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() if style else ""
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert page.index("default-src") < page.index("<style>")
    assert "url(" not in style[1] and "@import" not in style[1]
    return read


def is_plain(markdown: str) -> None:
    """Checks that Markdown holds headings, lists, paragraphs and whole tables, and nothing else."""
    assert not re.search(r"(?<!\\)://|(?i:(?<!\\)www\.)|(?<!\\)@|<", markdown)
    for block in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in block.splitlines()}
        assert len(cells) == 1, block
    markdown_it = pytest.importorskip("markdown_it")
    tokens = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    inside = {child.type for token in tokens for child in token.children or []}
    assert inside <= {"text", "text_special"}, inside
    kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}
    assert kinds <= {
        "heading",
        "paragraph",
        "inline",
        "bullet_list",
        "list_item",
        *["table", "thead", "tbody", "tr", "th", "td"],
    }


def claims(words: Sequence[str]) -> list[dict]:
    """Claims as `compare` writes them, each saying one of the words everywhere."""
    return [
        {
            **{key: word for key in ("id", "claim", "test", "reading", "effect")},
            "verdict": "undecided",
            "value": 0.25,
            "ci_low": -0.5,
            "ci_high": 1.0,
            "n": 120,
            "evidence": [{"measure": word, "value": 0.125, "ci_low": None, "ci_high": None, "n": 60}],
            "threats": [word, "one model of a regime"],
        }
        for word in words
    ]


@pytest.fixture(scope="module")
def evil(tmp_path_factory) -> dsl_probe.Run:
    """A run with all that a report may hold, in which every name, motif and claim is hostile."""
    folder = tmp_path_factory.mktemp("evil")
    run = dsl_probe.Run.create(folder / "run", name=hostile.SCRIPT)
    names = {"model-a": hostile.CLOSE, "model-b": hostile.MARKDOWN, "math": hostile.ADDRESS, "logic": hostile.SCRIPT}
    given = [
        r
        | {key: names.get(r[key], r[key]) for key in ("model", "domain", "start_model", "regime")}
        | {"licence": hostile.SCRIPT, "finish": hostile.MARKS}
        | {"text": r["text"].replace("zorp", hostile.SCRIPT), "prompt": ""}
        for r in rows()
    ]
    dsl_probe.import_traces(run, [write_jsonl(folder / "traces.jsonl", given)])
    dsl_probe.mine_motifs(
        run, dsl_probe.MineConfig(min_traces=5, min_problems=5, q=1.0, echo_min=99), executor="process:1"
    )
    a, b = (f"model={names[m]}" for m in ("model-b", "model-a"))
    dsl_probe.learn_language(run, dsl_probe.LanguageConfig(group=a, reference=b, name="x"))
    dsl_probe.compare(run, a=a, b=b, permutations=99, name="x")
    table = run.frame("comparisons/x/comparison")
    table["text"] = [(hostile.ALL[k % len(hostile.ALL)] + f" {k}") for k in range(len(table))]
    against = table.assign(b="model=base, which none has")  # a second contrast in the same table
    both = pa.concat_tables([pa.Table.from_pandas(t, preserve_index=False) for t in (table, against)])
    run.write_table("comparisons/x/comparison.parquet", both)
    run.write_json("comparisons/x/claims.json", claims(hostile.ALL))
    measures = ("out_of_lexicon", "switches")
    legibility = [
        {"group": g, "domain": "all", "measure": m, "reference": b, "value": 0.5, "ci_low": 0.25, "ci_high": 0.75}
        | {"problems": 30, "traces": 60}
        for g in (a, b, "A - B")
        for m in measures
    ]
    run.write_table("comparisons/x/legibility.parquet", pa.Table.from_pylist(legibility))
    record_anew(run, "compare.x")
    return run


def test_hostile_words_are_text_in_the_page(evil):
    page = export(evil, "report", "html")
    read = is_inert(page)
    for word in (hostile.SCRIPT, hostile.MARKDOWN, hostile.CLOSE, hostile.ADDRESS):
        assert word in read.said
    assert hostile.LONG not in page and not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\ufffe]", page)
    assert "Motifs: " in read.said and "which none has" in read.said


def test_hostile_words_are_text_in_markdown(evil):
    is_plain(export(evil, "report", "md"))


def test_cells_keep_what_they_say():
    table = Table(("word", "n"), [(word, "1") for word in hostile.ALL])
    blocks = [Heading("T", 1), Heading(hostile.LINES), Paragraph(hostile.LINES), Items(hostile.ALL), table]
    markdown = as_markdown(blocks)
    is_plain(markdown)
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(hostile.ALL) and lines[1] == "|---|---:|"
    read = is_inert(as_html(blocks))
    assert read.said.count("d | # e") == 2


@pytest.fixture
def alone(tiny_run, tmp_path) -> dsl_probe.Run:
    """The tiny run with its one comparison, without those that other tests have made in it."""
    run = dsl_probe.Run(shutil.copytree(tiny_run, tmp_path / "copy"))
    for id in set(run.comparisons()) - {"b-vs-a"}:
        (run.path / "stages" / f"compare.{id}.json").unlink()
        shutil.rmtree(run.path / "comparisons" / id)
    return run


@pytest.fixture
def whole(alone) -> dsl_probe.Run:
    """The same with a validation, as its stage writes it."""
    run = alone
    run.begin("validate.v", {"group": "model=model-b"}, run.trace_files())
    name = run.write_table("validations/v/validation.parquet", VALIDATION.empty_table())
    null = {"kind": "cut", "matched": "raw", "exact": False, "splits": 20, "with_any": 20, "bound": 3, "mean": 291.6}
    found = {"low": 10, "high": 20, "n": 40, "found": 39, "share": 0.975, "ci_low": 0.9, "ci_high": 0.99}
    counts = {"id": "v", "reading": ["found with probability .8"], "nulls": [null], "recall": {"nonce": [found]}}
    run.finish("validate.v", [name], counts, seed=0)
    return run


def test_the_report_says_what_the_tables_hold(whole):
    blocks = list(report(whole))
    tables = [b if isinstance(b, Table) else b.behind for b in blocks if isinstance(b, Table | Plot)]
    amounts = next(t for t in tables if t.caption == "Models and amounts")
    units = sum(len(u) for u in whole.all_shards("units", ["ids"])["ids"].to_pylist())
    assert [r[:5] for r in amounts.rows] == [
        ("model-a", "base", "2", "60", "120"),
        ("model-b", "rl_only", "2", "60", "120"),
    ]
    assert sum(int(r[6].replace(",", "")) for r in amounts.rows) == units
    assert {r[8] for r in amounts.rows} == {"120 stop"}
    comparison = dsl_probe.Comparison(whole, "b-vs-a")
    text = as_markdown(blocks)
    for sentence in comparison.summary().splitlines():
        assert sentence.split("“")[0].replace("[", "\\[").replace("]", "\\]").replace("<", "&lt;")[:80] in text
    motifs = next(t for t in tables if t.columns[0] == "motif" and len(t.columns) == 10)
    found = comparison.discoveries()
    zorp = found[found.text == "zorp"].iloc[0]
    row = next(r for r in motifs.rows if r[0] == "zorp")
    assert row[1] == "A" and row[2] == f"{1000 * zorp.rate_a:.2f}" and row[4].startswith(f"{zorp.log_odds:+.2f} [")
    own = next(t for t in tables if t.caption.startswith("1 of 1 entries"))
    assert own.rows[0][0] == "zorp" and own.columns[-2:] == ("reference", "G2")
    claim = next(t for t in tables if t.columns[0] == "claim")
    assert [r[:2] for r in claim.rows] == [(c.claim, c.verdict) for c in comparison.claims]
    planted = next(t for t in tables if t.columns[-1] == "share found")
    assert planted.rows == [("nonce", "10 to 19", "40", "39", "0.975 [0.900, 0.990]")]
    silent = next(t for t in tables if t.columns[0] == "split, nothing planted")
    assert silent.rows == [("cut", "raw", "20", "20", "no null", "291.60")]
    assert all(f"It may be wrong: {c.threats[0]}"[:60] in text for c in comparison.claims if c.threats)
    assert "- found with probability .8" in text


def test_every_table_names_its_file_and_the_appendix_its_hash(whole):
    blocks = list(report(whole))
    tables = [b if isinstance(b, Table) else b.behind for b in blocks if isinstance(b, Table | Plot)]
    listed = {name: digest for t in tables if t.caption == "Files" for name, digest, _ in t.rows}
    assert listed == {n: files.file_hash(whole.path / n) for s in whole.stages() for n in whole.outputs(s)}
    named = [re.fullmatch(r"from (\S+) \(BLAKE2b (\w+), stage (\S+)\)", t.source) for t in tables]
    recorded = [m for m in named if m]
    assert len(recorded) >= 8 and all(listed[m[1]] == m[2] and m[1] in whole.outputs(m[3]) for m in recorded)
    stages = next(b for b in blocks if isinstance(b, Items) and b.lines[0].startswith("import: "))
    assert [line.split(": ")[0] for line in stages.lines] == whole.stages()


def test_without_claims_it_says_which_command_makes_them(alone):
    run = alone
    (run.path / "comparisons/b-vs-a/claims.json").unlink(missing_ok=True)
    text = export(run, "report", "md")
    assert "### Claims" not in text and "dsl-probe compare RUN --config RUN/stages/compare.NAME.json --force" in text


def test_stale_stages_are_named_first(tiny_run, tmp_path):
    run = dsl_probe.Run(shutil.copytree(tiny_run, tmp_path / "copy"))
    more = write_jsonl(tmp_path / "more.jsonl", rows(problems=31))
    dsl_probe.import_traces(run, [more], force=True)
    text = export(run, "report", "md")
    assert "mine is stale: traces/00000.parquet changed since" in text.split("## What was collected")[0]
    assert "The lexicon is of other traces" in text and "Bits a unit" not in text


def test_an_empty_run_has_a_report(tmp_path):
    text = export(dsl_probe.Run.create(tmp_path / "run"), "report", "md")
    assert "The run holds no traces." in text and "No stage has run." in text


def test_growth_is_told_with_its_curves(tmp_path):
    def text(step: int, k: int) -> str:
        return "so we add both parts of it . " + ("zorp " if k < step // 2 else "then ") + "and check"

    given = [
        {"text": text(s, k), "model": "m", "run": "r", "step": s, "problem_id": f"p{k}", "domain": "d"}
        for s in (0, 20, 40, 60)
        for k in range(40)
    ]
    run = dsl_probe.Run.create(tmp_path / "run")
    dsl_probe.import_traces(run, [write_jsonl(tmp_path / "t.jsonl", given)])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5, q=1.0), executor="process:1")
    dsl_probe.growth(run, GrowthConfig(permutations=99))
    plots = [b for b in report(run) if isinstance(b, Plot)]
    grown = next(p for p in plots if p.behind.columns[0] == "kind")
    row = next(r for r in grown.behind.rows if r[1] == "zorp")
    assert row[2:4] == ("0.000", "0.750") and "zorp" in grown.figure.svg


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(tiny_run, tmp_path):
    made = []
    for seed in ("1", "2"):
        run, out = shutil.copytree(tiny_run, tmp_path / f"place-{seed}"), tmp_path / f"{seed}.html"
        argv = ["export", str(run), "--what", "report", "--out", str(out)]
        env = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-m", "dsl_probe", *argv], check=True, env=env, stdout=subprocess.PIPE)
        made.append((out.read_text(), export(dsl_probe.Run(run), "report", "md")))
    assert made[0] == made[1]
    assert not any(str(folder) in text for text in made[0] for folder in (tmp_path, Path.home() / ".", ROOT))


def test_paths_in_a_config_are_cut_down():
    config = {"model": "/srv/a b/models/base", "c": ["C:\\x\\y", "~/runs/z", "org/name", "https://h.example/a/b"]}
    cut = pathless(config)
    assert cut["c"] == ["…/y", "…/z", "org/name", "https://h.example/a/b"]
    assert "/srv" not in cut["model"]


def test_the_citation_is_that_of_the_repository():
    said = (ROOT / "CITATION.cff").read_text()
    assert f'title: "{report_sources.TITLE}"' in said and f"name: {report_sources.AUTHORS}" in said
    assert f"license: {report_sources.LICENCE}" in said and f"version: {dsl_probe.__version__}" in said


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--what", "report", "--format", "graphml"], ["'graphml'", "html, md"]),
        (["--what", "dictionary", "--format", "jsonl"], ["'jsonl'", "md, json, html, graphml"]),
        (["--what", "verified", "--format", "md", "--out", "x"], ["'md'", "jsonl, trl-sft, hf"]),
        (["--what", "verified"], ["--out PATH"]),
        (["--what", "report", "--language", "model-b"], ["--language model-b", "every language"]),
        (["--what", "report", "--group", "model=model-b"], ["--what report takes no --group"]),
        (["--what", "verified", "--language", "x", "--out", "x"], ["--what verified takes no --language"]),
    ],
)
def test_what_does_not_go_together_is_refused(tiny_run, capsys, argv, words):
    assert main(["export", str(tiny_run), *argv]) == 2
    got = capsys.readouterr()
    assert all(word in got.err for word in words), got.err
    assert got.out == "" and "Traceback" not in got.err


def test_the_command_writes_the_file(tiny_run, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert main(["export", str(tiny_run), "--what", "report", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["what"], told["format"], told["bytes"]) == ("report", "html", out.stat().st_size)
    is_inert(out.read_text())


@pytest.mark.browser
def test_in_a_browser_nothing_is_fetched_run_or_cut_off(shots, evil, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(export(evil, "report", "html"))
    # Of every figure the box of each text against that of the figure, in its own units.
    outside = """() => [...document.querySelectorAll('svg')].flatMap(s => [...s.querySelectorAll('text')].filter(t => {
        const b = t.getBBox(), v = s.viewBox.baseVal;
        return b.x < -1 || b.x + b.width > v.width + 1 || b.y < -1 || b.y + b.height > v.height + 1;
    }).map(t => t.textContent))"""
    with shots.chromium() as browser:
        for width in (1280, 390):
            asked, said = [], []
            context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
            page = context.new_page()
            page.on("request", lambda r, asked=asked: asked.append(r.url))
            page.on("console", lambda m, said=said: said.append(m.text))
            page.on("pageerror", lambda e, said=said: said.append(str(e)))
            page.on("dialog", lambda d, said=said: (said.append(d.message), d.dismiss()))
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("getComputedStyle(document.body).maxWidth") != "none"  # the style is allowed
            assert page.evaluate(outside) == []
            assert asked == [path.as_uri()] and said == []
            context.close()

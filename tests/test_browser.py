"""The app in a real browser: the reader's spans, links between pages, and no request beyond this machine."""

import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from corpus import write_jsonl


@pytest.mark.browser
def test_from_motif_to_trace(shots, tiny_run: Path, tmp_path: Path):
    import dsl_probe

    shutil.copytree(tiny_run, tmp_path / "run")
    evil = dsl_probe.Run.create(tmp_path / "evil")
    text = "<img src=x onerror=alert(1)><script>alert(2)</script> [x](javascript:alert(3)) zorp " * 3
    given = [{"text": text, "model": text, "domain": text, "prompt": text, "problem_id": str(i)} for i in range(9)]
    dsl_probe.import_traces(evil, [write_jsonl(tmp_path / "evil.jsonl", given)])
    dsl_probe.mine_motifs(evil, dsl_probe.MineConfig(min_traces=2, min_problems=2, echo_min=99), executor="process:1")
    run = dsl_probe.Run(tiny_run)
    zorp = run.frame("motifs", ["motif_id"], [("text", "=", "zorp")])["motif_id"][0]
    first_holding = str(run.frame("occurrences", ["trace_row"], [("motif_id", "=", zorp)])["trace_row"].min())
    errors, hosts, dialogs = [], set(), []
    with shots.serving("--runs", str(tmp_path)) as address, shots.chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on(
            "console",
            lambda m: errors.append(m.text) if m.type == "error" and "/_stcore/" not in m.location["url"] else None,
        )
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.on("dialog", lambda d: (dialogs.append(d.message), d.dismiss()))
        page.on("request", lambda r: hosts.add(r.url.split("/")[2].split(":")[0]) if "//" in r.url else None)
        page.goto(f"{address}/?run=run")
        shots.settle(page)
        assert page.locator("h1").inner_text() == "Overview"
        page.get_by_role("link", name="Open", exact=True).click()
        page.wait_for_url("**/compare?**")
        shots.settle(page)
        assert page.locator("h1").inner_text() == "Compare"

        page.goto(f"{address}/motifs?run=run&motif=zorp")
        shots.settle(page)
        line = page.locator(".line").first
        assert line.locator(".motif").inner_text() == "zorp"
        line.click()
        page.wait_for_url("**/traces?**")
        shots.settle(page)
        first = page.get_by_label("Trace", exact=True).input_value()
        marked = page.locator(".text .motif")
        assert marked.count() >= 1
        assert set(marked.all_inner_texts()) == {"zorp"}
        assert page.locator(".text .now").inner_text() == "zorp"
        page.get_by_role("button", name=re.compile("^Next")).click()
        page.wait_for_function("old => !location.search.includes('trace=' + old + '&')", arg=first)
        shots.settle(page)
        second = page.get_by_label("Trace", exact=True).input_value()
        assert int(second) > int(first)
        assert page.locator(".text .now").inner_text() == "zorp"

        # Back to the motif by the sidebar: its own links must win over what was read last.
        page.get_by_test_id("stSidebarNav").get_by_role("link", name="Motifs").click()
        page.wait_for_url("**/motifs**")
        shots.settle(page)
        assert page.get_by_label("Motif, by id or exact text").input_value() != ""
        page.get_by_role("link", name="Read the traces that hold it").click()
        page.wait_for_url("**/traces?**")
        shots.settle(page)
        assert page.get_by_label("Trace", exact=True).input_value() == first_holding
        assert page.locator(".text .now").inner_text() == "zorp"

        # A row of the table opens its motif.
        page.goto(f"{address}/motifs?run=run&q=zorp")
        shots.settle(page)
        page.locator("[data-testid=stDataFrame] .dvn-scroller").first.click(position={"x": 18, "y": 52})
        page.wait_for_url("**motif=**")
        shots.settle(page)
        assert page.locator("h3 code").inner_text() == "zorp"

        # What a model wrote is shown, never run.
        for path in ("", "motifs?q=script&motif=script", "traces?motif=script"):
            page.goto(f"{address}/{path}{'&' if '?' in path else '?'}run=evil")
            shots.settle(page)
        assert "<script>alert(2)</script>" in page.locator(".text").inner_text()
        assert page.locator("img[src=x]").count() == 0
        page.close()
    assert errors == []
    assert not dialogs
    assert hosts <= {"127.0.0.1", "localhost"}


@pytest.mark.browser
def test_from_probes_and_effects_to_trace(shots, tiny_run: Path):
    import made_probes as made

    import dsl_probe

    run = dsl_probe.Run(tiny_run)
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    zorp = run.frame("motifs", ["motif_id"], [("text", "=", "zorp")])["motif_id"][0]
    probes = made.probe_rows("correct") + made.probe_rows(f"motif:{zorp}", 0.05)
    readouts = made.readout_rows(run, "correct", evil)
    made.write_probes(run, "first", probes, readouts, made.site_rows([zorp, evil]))
    effects = [made.effect_row(zorp, "zorp"), made.effect_row("e", evil, effect=0.2)]
    samples = made.sample_rows(run, zorp, "zorp")
    bad = [row | {"motif_id": "e", "text": f"{evil} {row['text']}", "removed": evil} for row in samples]
    made.write_effects(run, "first", effects, {(zorp, "zorp"): samples, ("e", evil): bad})
    errors, dialogs = [], []
    with shots.serving("--run", str(tiny_run)) as address, shots.chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on(
            "console",
            lambda m: errors.append(m.text) if m.type == "error" and "/_stcore/" not in m.location["url"] else None,
        )
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.on("dialog", lambda d: (dialogs.append(d.message), d.dismiss()))

        # A row of the table shows its target, and the address keeps it.
        page.goto(f"{address}/probes")
        shots.settle(page)
        assert page.get_by_role("combobox", name="Target").input_value() == "motif:zorp"
        page.locator("[data-testid=stDataFrame] .dvn-scroller").first.click(position={"x": 18, "y": 88})
        page.wait_for_url("**target=correct**")

        # From where the probe is most wrong to the place in the trace, with its read-outs under the text.
        page.goto(f"{address}/probes?target=correct&in=math")
        shots.settle(page)
        assert "<img src=x onerror" in page.locator("[data-testid=stMain]").inner_text()
        line = page.locator(".line").first
        line.click()
        page.wait_for_url("**/traces?**")
        shots.settle(page)
        asked = parse_qs(urlsplit(page.url).query)
        text, place = run.traces(["text"])["text"][int(asked["trace"][0])], int(asked["place"][0])
        before = page.locator(".text .now").evaluate(
            "e => { let said = ''; while ((e = e.previousSibling)) said = e.textContent + said; return said }"
        )
        marked = "".join(page.locator(".text .motif").all_inner_texts())
        assert text.startswith(before + marked)
        assert len(before + marked) > place and not text[place : max(len(before), place)].strip()
        assert page.locator(".bar").inner_text().count("1 of 1 highlight") == 1
        assert page.locator(".text .shade").count() >= 5
        page.get_by_role("button", name=re.compile("^Next")).click()
        page.wait_for_function("!location.search.includes('place=')")

        # Arm and placebo of one trace: what was given is grey, and a hostile motif is text.
        page.goto(f"{address}/effects?taken=zorp")
        shots.settle(page)
        texts = page.locator(".text")
        assert texts.count() == 2
        given = run.traces(["text"])["text"][0][:20]
        for k, arm in enumerate(("arm", "placebo")):
            assert texts.nth(k).locator(".echo").inner_text().strip() == given.strip()
            assert f"{arm} went on 0" in texts.nth(k).inner_text()
        page.goto(f"{address}/effects?{urlencode({'taken': evil})}")
        shots.settle(page)
        assert "<script>alert(2)</script>" in page.locator(".text").first.inner_text()

        # Nothing is wider than a telephone.
        page.set_viewport_size({"width": 390, "height": 900})
        for path in ("probes", "effects", "motifs?motif=zorp"):
            page.goto(f"{address}/{path}")
            shots.settle(page)
            wide, room = page.eval_on_selector("[data-testid=stMain]", "e => [e.scrollWidth, e.clientWidth]")
            assert wide <= room
        assert page.locator("img[src=x]").count() == 0
        page.close()
    assert errors == []
    assert not dialogs

"""Traces and languages in a real browser: keys, two side by side, copying, and a click on a node of the graph."""

from pathlib import Path

import pytest

import dsl_probe


@pytest.mark.browser
def test_two_traces_and_two_languages(shots, tiny_run: Path):
    run = dsl_probe.Run(tiny_run)
    dsl_probe.learn_language(run, dsl_probe.LanguageConfig(group="model=model-a", reference="model=model-b", name="a"))
    facts = run.traces(["model", "text", "problem_id"])
    row = int(facts.index[facts["model"] == "model-b"][0])
    errors = []
    with shots.serving("--run", str(tiny_run)) as address, shots.chromium() as browser:
        context = browser.new_context(
            viewport={"width": 1280, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
        )
        page = context.new_page()
        page.on(
            "console",
            lambda m: errors.append(m.text) if m.type == "error" and "/_stcore/" not in m.location["url"] else None,
        )
        page.on("pageerror", lambda e: errors.append(str(e)))

        # The keys step through the traces; the model beside stays.
        page.goto(f"{address}/traces?trace={row}&beside=model-a")
        shots.settle(page)
        texts = page.locator(".text")
        assert texts.count() == 2
        boxes = [texts.nth(k).bounding_box() for k in range(2)]
        assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
        # Step numbers are drawn, and are no part of the text.
        assert texts.first.evaluate("e => e.textContent") == facts["text"][row]
        assert texts.first.locator(".step").count() >= 1
        page.locator("h1").click()
        page.keyboard.press("n")
        page.wait_for_function(f"location.search.includes('trace={row + 1}')")
        shots.settle(page)
        assert "beside=model-a" in page.url and texts.count() == 2
        assert texts.first.evaluate("e => e.textContent") == facts["text"][row + 1]
        page.locator("h1").click()
        page.keyboard.press("p")
        page.wait_for_function(f"location.search.includes('trace={row}&') || location.search.endsWith('trace={row}')")
        shots.settle(page)

        # The whole text is copied, and downloaded.
        page.get_by_role("button", name="copy", exact=True).first.click()
        page.get_by_role("button", name="copied", exact=True).wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == facts["text"][row]
        with page.expect_download() as begun:
            page.get_by_role("button", name="Text").first.click()
        assert Path(begun.value.path()).read_text("utf-8") == facts["text"][row]

        # A click on a node of the graph selects it, and the address keeps it.
        page.goto(f"{address}/language?language=model-b&beside_language=a&graph=true")
        shots.settle(page)
        page.get_by_role("combobox", name="Move").nth(1).wait_for()
        before = [page.get_by_role("combobox", name="Move", exact=True).nth(k).input_value() for k in range(2)]
        nodes = page.locator("svg path[fill='#0072b2'], svg path[fill='#e69f00']")
        assert nodes.count() >= 2
        for k in range(nodes.count()):
            nodes.nth(k).click(force=True)
            page.wait_for_timeout(800)
            shots.settle(page)
            if page.get_by_role("combobox", name="Move", exact=True).first.input_value() != before[0]:
                break
        assert page.get_by_role("combobox", name="Move", exact=True).first.input_value() != before[0]
        assert "move=" in page.url
        assert page.get_by_role("combobox", name="Move", exact=True).nth(1).input_value() == before[1]

        # Nothing is wider than a telephone.
        page.set_viewport_size({"width": 390, "height": 900})
        for path in (f"traces?trace={row}&beside=model-a", "language?language=model-b&beside_language=a&graph=true"):
            page.goto(f"{address}/{path}")
            shots.settle(page)
            wide, room = page.eval_on_selector("[data-testid=stMain]", "e => [e.scrollWidth, e.clientWidth]")
            assert wide <= room
        context.close()
    assert errors == []

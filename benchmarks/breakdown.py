"""Where the time of a HEBAE step goes, operator by operator, beside the bare loop."""

from __future__ import annotations

import time

import numpy as np
from contenders import CONTENDERS, SETTINGS, Contender
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

__all__ = ["breakdown"]

PYTHON = "(outside operators)"
"""Above all Python."""


def breakdown(examples: np.ndarray, rows: int = 25) -> Table:
    """Tabulate what `hebae` and the bare loop spend their time in, the costliest first.

    The profiler makes each call dearer by a microsecond or so: differences tell something, totals
    do not.
    """
    ours, bare = (costs(CONTENDERS[name], examples) for name in ("hebae", "bare"))
    table = Table(title="An operator's own time, without what it calls, a step")
    table.add_column("operator", overflow="fold")
    for heading in ("calls", "calls, bare", "µs", "µs, bare", "difference"):
        table.add_column(heading, justify="right")
    lines = []
    for name in {*ours, *bare}:
        (our_calls, our_time), (bare_calls, bare_time) = (c.get(name, (0, 0)) for c in (ours, bare))
        lines.append((name, our_calls, bare_calls, our_time, bare_time, our_time - bare_time))
    lines.sort(key=lambda line: -max(line[3:5]))
    for name, our_calls, bare_calls, our_time, bare_time, difference in lines[:rows]:
        table.add_row(
            name,
            f"{our_calls:.1f}",
            f"{bare_calls:.1f}",
            f"{our_time:,.0f}",
            f"{bare_time:,.0f}",
            f"{difference:+,.0f}",
        )
    return table


def costs(contender: Contender, examples: np.ndarray) -> dict[str, tuple[float, float]]:
    """Measure calls and microseconds a step, by operator."""
    profiler = profile(activities=[ProfilerActivity.CPU])
    clock: list[float] = []

    def mark() -> None:
        if not clock:
            profiler.start()
        clock.append(time.perf_counter())
        if len(clock) == 2:
            profiler.stop()

    contender(examples, mark)
    steps = len(examples) // SETTINGS.batch_size
    events = profiler.key_averages()
    spent = {
        event.key: (event.count / steps, event.self_cpu_time_total / steps) for event in events
    }
    total = 1e6 * (clock[1] - clock[0]) / steps
    spent[PYTHON] = (0, total - sum(microseconds for _, microseconds in spent.values()))
    return spent

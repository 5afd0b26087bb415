"""Time per operator, compared with a reference."""

from __future__ import annotations

import time
from collections.abc import Callable

from contenders import SQUARED_ERROR, Contender, Mark, make_examples, with_pythae
from contenders.bare import by_bare_loop
from contenders.ours import by_hebae
from results import Effort, Result, Table
from torch.profiler import ProfilerActivity, profile

from topics.grid import small

PYTHON = "(outside operators)"
"""Mostly Python."""

TEXT = """\
Time of each operator without the operators that it calls, in microseconds per step, longest first.
The profiler adds about a microsecond per call, so differences are meaningful and totals are not. A
step of stacked models is one step of all of them."""

Stretch = Callable[[Mark], None]


def measure(effort: Effort) -> Result:
    """Profile each pair."""
    examples = make_examples(effort.steps)

    def of(contender: Contender) -> Stretch:
        return lambda mark: contender(examples, mark)

    rows = 5 if effort.smoke else 15
    pairs = {
        "HEBAE step": (of(by_hebae("hebae")), "plain loop", of(by_bare_loop()), effort.steps),
    }
    if with_pythae.AVAILABLE:
        ours, theirs = by_hebae("wae", **SQUARED_ERROR), with_pythae.by_pythae("wae")
        pairs["WAE step"] = (of(ours), "pythae", of(theirs), effort.steps)
    count = 2 if effort.smoke else 16
    family = small("hebae", 10)
    family = family._replace(settings=family.settings.replace(epochs=1 if effort.smoke else 4))
    steps = family.settings.epochs * (len(family.values) // family.settings.batch_size)
    grid, in_turn = whole(family.together(count)), whole(family.in_turn(count))
    pairs[f"{count} stacked models 64-128-10"] = (grid, "one by one", in_turn, steps)
    return Result(
        title="Profiles",
        text=TEXT,
        tables=[
            breakdown(name, ours, reference, theirs, steps, rows)
            for name, (ours, reference, theirs, steps) in pairs.items()
        ],
    )


def whole(function: Callable[[], object]) -> Stretch:
    """Make a function that counts from its start to its end."""

    def stretch(mark: Mark) -> None:
        mark()
        function()
        mark()

    return stretch


def breakdown(
    title: str, ours: Stretch, reference: str, theirs: Stretch, steps: int, rows: int
) -> Table:
    """Tabulate the operators of two stretches."""
    our_costs, their_costs = costs(ours, steps), costs(theirs, steps)
    lines = []
    for name in {*our_costs, *their_costs}:
        both = (c.get(name, (0.0, 0.0)) for c in (our_costs, their_costs))
        (our_calls, our_time), (their_calls, their_time) = both
        lines.append((name, our_calls, their_calls, our_time, their_time))
    lines.sort(key=lambda line: -max(line[3:]))
    return Table(
        title,
        ["operator", "calls", f"calls, {reference}", "µs", f"µs, {reference}", "difference"],
        [
            [f"`{name}`", f"{n:.1f}", f"{m:.1f}", f"{a:,.0f}", f"{b:,.0f}", f"{a - b:+,.0f}"]
            for name, n, m, a, b in lines[:rows]
        ],
    )


def costs(stretch: Stretch, steps: int) -> dict[str, tuple[float, float]]:
    """Measure calls and microseconds per step, by operator."""
    profiler = profile(activities=[ProfilerActivity.CPU])
    clock: list[float] = []

    def mark() -> None:
        if not clock:
            profiler.start()
        clock.append(time.perf_counter())
        if len(clock) == 2:
            profiler.stop()

    stretch(mark)
    spent: dict[str, tuple[float, float]] = {
        event.key: (event.count / steps, event.self_cpu_time_total / steps)
        for event in profiler.key_averages()
    }
    total = 1e6 * (clock[1] - clock[0]) / steps
    rest = total - sum(microseconds for _, microseconds in spent.values())
    return {**spent, PYTHON: (0.0, rest)}

"""A group of jobs, trained together into their run folders."""

from __future__ import annotations

from collections.abc import Sequence

from hebae.training.grid.loop import Member, train_grid
from hebae.training.jobs import Job, Result, Watcher, steps_left
from hebae.training.loop import make_fabric
from hebae.training.session import open_folder, store

__all__ = ["train_group"]


def train_group(jobs: Sequence[Job], command: str, watcher: Watcher) -> list[Result]:
    """Train jobs that `grouping.groups` put together; each becomes an ordinary run folder.

    Parameters and errors are those of `hebae.training.many.train_all`.
    """
    prepared = jobs[0].prepared
    fabric = make_fabric(prepared.settings)
    fabric.launch()
    members = []
    for job in jobs:
        files = open_folder(job.prepared, job.path, command=command, resuming=job.folder.is_run)
        members.append(
            Member(job.prepared.model, job.prepared.settings, files.metrics, files.checkpointer)
        )
    left = sum(map(steps_left, jobs))

    def count(steps: int) -> None:
        nonlocal left
        left -= steps
        watcher.on_steps(steps)

    held_out = prepared.dataset.held_out()
    done = train_grid(
        members,
        prepared.dataset.train.values,
        (held_out[0], held_out[1].values) if held_out else None,
        fabric=fabric,
        on_steps=count,
    )
    results = []
    for job, member in zip(jobs, members, strict=True):
        if member.diverged is not None:
            job.folder.mark_diverged(member.diverged)
            results.append(Result(job, "diverged", member.diverged))
        elif done:
            store(job.prepared, job.path)
            results.append(Result(job, "finished"))
        else:
            results.append(Result(job, "interrupted"))
        job.prepared.release()
    if done:
        watcher.on_spared(left)  # of a resumed epoch, or of members that all diverged
    return results

"""Images: decoded once, on all cores, into memory-mapped arrays in the cache."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from contextvars import copy_context
from functools import partial
from hashlib import sha256
from itertools import starmap
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from hebae.data.cache import cached_folder, progress
from hebae.data.decoding import (
    MOST_LISTED,
    POLICY,
    Decoding,
    UnlikeImage,
    UnreadableImage,
    listed,
    notes_on,
    open_image,
    without_warnings,
)
from hebae.data.examples import Dataset, Examples
from hebae.data.image_files import ImageFiles, Layout, layout_of_folders
from hebae.data.splits import write_header, write_rows
from hebae.errors import HebaeError
from hebae.files import read_json, reading, require_allowed

Item = TypeVar("Item")
Result = TypeVar("Result")
_FORMAT = 5  # to be increased when the cached files change
_CHUNK, _CHUNK_BYTES = 64, 2**22


def load_images(
    name: str,
    files: ImageFiles,
    *,
    arrange: Callable[[str, Sequence[str]], Layout] = layout_of_folders,
    arranged_by: str = "",
    decoding: Decoding = Decoding(),  # noqa: B008  immutable
    skip_unreadable: bool = False,
) -> Dataset:
    """Return image files as a data set of memory-mapped uint8 arrays.

    The first call decodes all files into the cache; later calls open the result. Its key consists
    of the key of the files and of all arguments. The fingerprint hashes the bytes of all files,
    their names, splits and labels. The ids of the examples are the names of the files; each split
    is in their order, compared as text.

    `arrange` takes the source's name in messages and the names of its files, and returns their
    layout; `arranged_by` is what else the layout depends on. Where `decoding` does not set the size
    or mode, all images must have that of the first.
    """
    arguments = _FORMAT, files.key(), arranged_by, decoding, skip_unreadable
    key = sha256(repr(arguments).encode()).hexdigest()
    build = partial(_build, files=files, arrange=arrange, decoding=decoding, skip=skip_unreadable)
    folder = cached_folder(f"images/{key[:32]}", build)
    remedy = f"delete the folder {folder}, and the images will be prepared again"
    with reading(folder / "dataset.json", remedy):
        summary = read_json(folder / "dataset.json", remedy)
        splits, classes = {}, tuple(summary["classes"]) or None
        for split in summary["splits"]:
            values = np.load(folder / f"{split}.npy", mmap_mode="r")
            known = np.load(folder / f"{split}.npz")
            splits[split] = Examples(values, **known, pixels=True, label_names=classes)
        train, digest, notes = splits["train"], summary["fingerprint"], tuple(summary["notes"])
    return Dataset(name, train, splits.get("validation"), splits.get("test"), digest, notes)


def _build(
    folder: Path,
    files: ImageFiles,
    arrange: Callable[[str, Sequence[str]], Layout],
    decoding: Decoding,
    skip: bool,
) -> None:
    source = str(files.path)
    splits, labels, classes = arrange(source, files.names())
    if decoding.form is None:
        decoding = _like_the_first(files, splits["train"], decoding)

    require_allowed(sum(map(len, splits.values())) * prod(decoding.shape), source)
    places, lines = {}, []
    unlike, unreadable, changes = dict[str, str](), dict[str, str](), dict[str, list[str]]()
    with ExitStack() as stack:
        # Not memory maps: on a full disk they kill the process without a message.
        for split, names in splits.items():
            file = stack.enter_context((folder / f"{split}.npy").open("wb"))
            write_header(file, (len(names), *decoding.shape), np.dtype(np.uint8))
            start, size = file.tell(), prod(decoding.shape)
            file.truncate(start + len(names) * size)  # whole, even if the last are left out
            places.update({name: (split, file, start + i * size) for i, name in enumerate(names)})
        decoded = stack.enter_context(closing(_decode_all(files, list(places), decoding)))
        for name, result in decoded:
            if isinstance(result, UnlikeImage):
                unlike[name] = str(result)
                if len(unlike) == MOST_LISTED:
                    break
            elif isinstance(result, UnreadableImage):
                unreadable[name] = str(result)
            elif not unlike:
                split, file, offset = places[name]
                file.seek(offset)
                file.write(result.pixels.tobytes())
                done = "".join(f" {change}" for change in result.changes)
                lines.append(f"{split} {labels.get(name)} {result.digest}{done} {name}\n")
                for change in result.changes:
                    changes.setdefault(change, []).append(name)
    if unlike:
        raise _unlike(source, unlike, decoding)
    if unreadable and not skip:
        raise _unreadable(source, unreadable)

    for split, names in splits.items():
        known: dict[str, Any] = {"ids": np.array(names, np.str_)}
        if labels:
            known["labels"] = np.array([labels[name] for name in names], np.int64)
        kept = np.array([name not in unreadable for name in names])
        if not kept.any():
            raise HebaeError(f"{source}: none of the {split} images can be decoded.")
        if not kept.all():
            path = folder / f"{split}.npy"
            whole = path.rename(folder / "whole.npy")
            write_rows(path, np.load(whole, mmap_mode="r"), kept)
            whole.unlink()
        np.savez(folder / f"{split}.npz", **{name: array[kept] for name, array in known.items()})
    # The fingerprint's text is that of version 0.1 where it could read the images.
    how = "None"
    if decoding.box:
        how = f"Crop(box={decoding.box}, size={decoding.size})"
    elif str(decoding):
        how = f"Fit(size={decoding.size}, grey={decoding.grey})"
    if "composited" in changes:
        how += f" on {decoding.background}"
    fingerprint = sha256("".join([f"{how}\n", *sorted(lines)]).encode()).hexdigest()
    notes = [*notes_on(changes, decoding), *_left_out(files.others(), unreadable)]
    summary = {
        "fingerprint": fingerprint,
        "splits": list(splits),
        "classes": list(classes),
        "notes": notes,
    }
    (folder / "dataset.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _like_the_first(files: ImageFiles, names: Sequence[str], decoding: Decoding) -> Decoding:
    """Require the size and mode of the first image that can be decoded."""
    reasons = {}
    for name in names:
        [(_, content)] = files.read([name])
        try:
            with without_warnings():
                shown = open_image(content, decoding.background)
        except UnreadableImage as error:
            reasons[name] = str(error)
        else:
            return decoding.like(shown.form, f"{name}, the first,")
    raise _unreadable(str(files.path), reasons, among_others=False)


def _unlike(source: str, unlike: Mapping[str, str], decoding: Decoding) -> HebaeError:
    (name, form), *others = unlike.items()
    more = [f"{other} is {form}" for other, form in others]
    others_too = f" Of the images read so far, {len(more)} more differ: {listed(more)}."
    return HebaeError(
        f"{source}/{name} is {form}, but {decoding.model} is {decoding.form}: all images must have "
        f"the same size and mode.{others_too if more else ''}{'' if decoding.box else f' {POLICY}'}"
    )


def _unreadable(
    source: str, unreadable: Mapping[str, str], *, among_others: bool = True
) -> HebaeError:
    remedy = "repair or remove them"
    if among_others:
        remedy += ", or leave them out with --skip-unreadable (skip_unreadable=True)"
    if len(unreadable) == 1:
        [(name, reason)] = unreadable.items()
        remedy = remedy.replace(" them", " it")
        return HebaeError(f"{source}/{name} cannot be decoded as an image ({reason}): {remedy}.")
    reasons = [f"{name} ({reason})" for name, reason in sorted(unreadable.items())]
    return HebaeError(
        f"{source} holds {len(unreadable):,} files that cannot be decoded as images"
        f"{'' if among_others else ', and no others'}: {remedy}. They are: {listed(reasons)}."
    )


def _left_out(others: Sequence[str], unreadable: Mapping[str, str]) -> Iterator[str]:
    """Say which files are not among the examples."""
    if unreadable:
        reasons = [f"{name} ({reason})" for name, reason in sorted(unreadable.items())]
        count = "1 file was" if len(reasons) == 1 else f"{len(reasons):,} files were"
        yield f"{count} left out, since decoding failed: {listed(reasons)}."
    if others:
        count = "1 other file was" if len(others) == 1 else f"{len(others):,} other files were"
        yield f"{count} left out, without the suffix of an image format: {listed(others)}."


class _Decoded(NamedTuple):
    pixels: np.ndarray
    changes: tuple[str, ...]
    digest: str
    """SHA-256 of the file."""


def _decode_all(
    files: ImageFiles, names: Sequence[str], decoding: Decoding
) -> Generator[tuple[str, _Decoded | UnreadableImage | UnlikeImage]]:
    """Yield each name with its image, or why there is none."""
    import joblib

    def decode(name: str, content: Any) -> Any:
        try:
            shown = open_image(content, decoding.background)
            pixels = decoding.pixels(shown)
        except (UnreadableImage, UnlikeImage) as error:
            return name, error
        return name, _Decoded(pixels, shown.changes, sha256(content).hexdigest())

    def decode_some(chunk: list[tuple[str, bytes | UnreadableImage]]) -> list[Any]:
        return list(starmap(decode, chunk))

    with (
        without_warnings(),
        progress(f"Preparing {files.path.name}", len(names)) as advance,
        closing(
            map_in_threads(decode_some, _chunks(files.read(names)), joblib.cpu_count())
        ) as decoded,
    ):
        for chunk in decoded:
            yield from chunk
            advance(len(chunk))


def _chunks(
    contents: Iterable[tuple[str, bytes | UnreadableImage]],
) -> Iterator[list[tuple[str, bytes | UnreadableImage]]]:
    """Group files: many small ones for a thread at a time, but few photographs in memory."""
    chunk, size = [], 0
    for name, content in contents:
        chunk.append((name, content))
        size += len(content) if isinstance(content, bytes) else 0
        if len(chunk) == _CHUNK or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def map_in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    *,
    ahead: int | None = None,
) -> Generator[Result]:
    """Apply a function to items in threads, `ahead` items (by default 2 per thread) in advance.

    For functions that mostly run without Python's global lock, such as Pillow's decoding and
    NumPy's copying. Closing the generator waits for the running calls and cancels the others. What
    `function` or `items` raise comes at the place of its item. The caller's thread reads `items`.
    """
    ahead = 2 * workers if ahead is None else ahead
    pool = ThreadPoolExecutor(workers, thread_name_prefix="hebae")
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(copy_context().run, function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

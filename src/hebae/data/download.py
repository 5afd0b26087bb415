"""Downloads: once, with a checksum, from the first mirror that has the file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hebae.data.cache import cached_folder, progress
from hebae.errors import HebaeError

_TIMEOUT_SECONDS = 20


def download(
    name: str, sha256: Mapping[str, str], mirrors: Sequence[str], folders: Sequence[str]
) -> Path:
    """Download the files of a data set into the folder `name` of the cache, all or none.

    The checksums are `sha256` by file name. HEBAE_MIRROR is tried first, with the files in one of
    `folders`, then the `mirrors`: addresses to which the name of a file is added. A HebaeError is
    raised if none of them has a file with its checksum.
    """
    copy = os.environ.get("HEBAE_MIRROR")
    copies = [f"{copy.rstrip('/')}/{folder}" for folder in folders] if copy else []
    addresses = [address.rstrip("/") + "/" for address in (*copies, *mirrors)]

    def build(folder: Path) -> None:
        for file, checksum in sha256.items():
            with progress(f"{name}: {file}", total=None):
                _fetch(file, checksum, addresses, folder)

    return cached_folder(name, build)


def _fetch(file: str, checksum: str, addresses: Sequence[str], folder: Path) -> None:
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(
        timeout=_TIMEOUT_SECONDS,
        # Some servers would otherwise add a second gzip, which requests undoes.
        headers={"Accept-Encoding": "identity"},
    )
    failures = []
    for address in addresses:
        try:
            pooch.retrieve(
                address + file, f"sha256:{checksum}", file, path=folder, downloader=downloader
            )
        except RequestException as error:
            answer = "no answer" if error.response is None else error.response.status_code
            failures.append(f"{address}: {answer}")
        except ValueError:
            failures.append(f"{address}: a file with another SHA-256")
        else:
            return
    raise HebaeError(
        f"{file} (SHA-256 {checksum}) could not be downloaded ({', '.join(failures)}): put it into "
        "a directory that --data-dir or HEBAE_DATA_DIR names, or set HEBAE_MIRROR to a server that "
        "has it."
    )

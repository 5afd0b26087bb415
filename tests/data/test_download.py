import errno
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hebae import data
from hebae.data import cache as cache_module
from hebae.data.idx import FILES
from hebae.errors import HebaeError

IMAGES = FILES["train"][0]


def test_files_are_downloaded_once_from_the_first_mirror_that_has_them(
    toy_mnist, serve, cache, tmp_path
):
    install, originals = toy_mnist
    (tmp_path / "empty").mkdir()
    (empty, asked_empty), (full, asked_full) = serve(tmp_path / "empty"), serve(originals)
    install(mirrors=(empty, full))
    assert data.catalogue()[0].availability == "download"
    first = data.prepare("mnist")
    assert (len(asked_empty), len(asked_full)) == (4, 4)
    assert data.load("mnist").fingerprint == first.fingerprint
    assert (len(first.train), len(asked_full)) == (30, 4)
    [line, *_] = data.catalogue()
    assert (line.availability, line.location) == ("cache", cache / "mnist")


def test_own_mirror_comes_first_and_is_laid_out_as_a_data_directory(
    toy_mnist, serve, tmp_path, monkeypatch
):
    install, originals = toy_mnist
    official, asked_official = serve(originals)
    (tmp_path / "copy").mkdir()
    originals.rename(tmp_path / "copy" / "mnist")
    own, _ = serve(tmp_path / "copy")
    install(mirrors=(official,))
    monkeypatch.setenv("HEBAE_MIRROR", own.rstrip("/"))
    assert len(data.load("mnist").train) == 30
    assert asked_official == []


def test_other_bytes_are_refused_and_not_kept(toy_mnist, serve, cache):
    install, originals = toy_mnist
    address, _ = serve(originals)
    checksum = "0" * 64
    install(mirrors=(address,), sha256={IMAGES: checksum})
    with pytest.raises(HebaeError, match=f"{IMAGES}.*{checksum}.*another SHA-256.*HEBAE_DATA_DIR"):
        data.load("mnist")
    assert {path.name for path in cache.iterdir()} <= {"mnist.lock"}


def test_an_interrupted_download_leaves_nothing(toy_mnist, serve, cache, monkeypatch):
    install, originals = toy_mnist
    address, asked = serve(originals)
    install(mirrors=(address,))

    received = cache_module._received

    def interrupt_third(url):
        yield from received(url)
        if len(asked) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(cache_module, "_received", interrupt_third)
        with pytest.raises(KeyboardInterrupt):
            data.load("mnist")
    assert len(asked) == 3
    assert {path.name for path in cache.iterdir()} <= {"mnist.lock"}
    assert len(data.load("mnist").train) == 30


def test_without_a_network_the_message_says_what_to_do(toy_mnist):
    install, _ = toy_mnist
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        source = install(mirrors=(f"http://127.0.0.1:{closed.getsockname()[1]}/",))
        with pytest.raises(HebaeError) as refusal:
            data.load("mnist")
    first = next(iter(source.sha256))
    for word in (first, source.sha256[first], "no answer", "--data-dir", "HEBAE_DATA_DIR"):
        assert word in str(refusal.value)
    assert not re.search(r"[.] [A-Z]", str(refusal.value)), "more than one sentence"


def bad_mirror(how):
    """Serve every file in one wrong way; gives the server, which is to be closed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if how == "404":
                self.send_error(404)
                return
            if how == "silent":
                time.sleep(1.5)
                return
            self.send_response(200)
            if how != "endless":
                self.send_header("Content-Length", "100" if how == "other bytes" else "1000")
            self.end_headers()
            try:
                while how in ("endless", "slow"):
                    self.wfile.write(bytes(10_000 if how == "endless" else 1))
                    time.sleep(0.02 if how == "slow" else 0)
            except OSError:  # the other side has had enough
                return
            self.wfile.write(bytes(100))
            if how == "stalls":
                time.sleep(1.5)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("404", "404"),
        ("silent", "no answer"),
        ("stalls", "no answer"),
        ("cut off", "no answer"),
        ("other bytes", "a file with another SHA-256"),
        ("slow", "less than 80 bytes per second"),
        ("endless", "more than 200,000 bytes"),
    ],
)
def test_a_bad_mirror_is_left_for_a_good_one(toy_mnist, serve, cache, monkeypatch, how, reason):
    install, originals = toy_mnist
    good, asked = serve(originals)
    monkeypatch.setattr(cache_module, "_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(cache_module, "_RATE_SECONDS", 0.1)
    monkeypatch.setattr(cache_module, "_LEAST_RATE", 80)
    monkeypatch.setattr(cache_module, "_MOST_BYTES", 200_000)
    bad = bad_mirror(how)
    address = f"http://127.0.0.1:{bad.server_port}/"
    try:
        install(mirrors=(address,))
        with pytest.raises(HebaeError, match=re.escape(f"{address}: {reason}")):
            data.load("mnist")
        assert {path.name for path in cache.iterdir()} <= {"mnist.lock"}
        install(mirrors=(address, good))
        assert len(data.load("mnist").train) == 30
        assert len(asked) == 4
    finally:
        bad.shutdown()
        bad.server_close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://127.0.0.1:1", "nowhere.pem"),
        (f"http://{'a' * 70}.com", "label"),
        ("http://[::1", "Failed to parse"),
        ("nonsense", "No scheme supplied"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(toy_mnist, cache, monkeypatch, address, reason):
    monkeypatch.setenv("HEBAE_MIRROR", address)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with pytest.raises(HebaeError, match=f"could not be downloaded .*{reason}"):
        data.load("mnist")
    assert {path.name for path in cache.iterdir()} <= {"mnist.lock"}


def test_a_full_disk_is_not_taken_for_a_bad_mirror(toy_mnist, serve, monkeypatch):
    install, originals = toy_mnist
    install(mirrors=(serve(originals)[0],))
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("shutil.move", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(HebaeError, match=r"could not be written .No space left on device.*free"):
        data.load("mnist")

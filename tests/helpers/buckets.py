"""Buckets for tests: S3 and GCS servers on loopback, and a fake one in memory where they lack."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

BUCKET = "bucket"
DEADLINE = 60.0
MODULES = {"s3": ("s3fs", "moto", "flask"), "gs": ("gcsfs", "gcp_storage_emulator")}


class Fake(MemoryFileSystem):
    """Answers for s3:// out of memory."""

    store, pseudo_dirs, cachable = {}, [""], False

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(os.fspath(path).removeprefix("s3://"))


def fake(patch):
    """The fake in place of s3fs."""
    from etils.epath import backend

    from resgen_jax.io import paths

    Fake.store, Fake.pseudo_dirs = {}, [""]
    files = Fake()
    files.mkdir(BUCKET)
    patch.setattr(backend.fsspec_backend, "fs", lambda path: files)
    patch.setattr(paths, "SCHEMES", {"s3": paths.Scheme("fsspec", "s3")})
    return files


@contextlib.contextmanager
def server(scheme, patch, folder):
    """A server of this kind with an empty bucket; the environment says where it is."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    if scheme == "s3":
        command = ["moto.server", "-H", "127.0.0.1", "-p", str(port)]
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    else:
        flags = ["--host", "127.0.0.1", "--port", str(port), "--in-memory"]
        command = ["gcp_storage_emulator", "start", *flags, "--default-bucket", BUCKET]
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        patch.setenv("TENSORSTORE_GCS_HTTP_URL", url)
        patch.setenv("TENSORSTORE_GCE_METADATA_DISABLE", "1")
        patch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "test")
        patch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")  # nobody is asked for credentials
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        patch.delenv(variable, raising=False)
    with open(folder / f"{scheme}.log", "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", *command], stdout=log, stderr=log)
    try:
        _wait(process, url)
        fsspec.filesystem(scheme).clear_instance_cache()
        files = fsspec.filesystem(scheme)
        if not files.exists(BUCKET):
            files.mkdir(BUCKET)
        yield files
    finally:
        process.kill()
        process.wait()


def _wait(process, url):
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError:  # it answers
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"no server at {url} (exit code {process.poll()})")


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

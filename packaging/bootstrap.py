"""Make .venv and install streamd into it, with nothing but Python's standard library; do nothing if that is done.

Debian and Ubuntu split venv's half (ensurepip) off into a package that only root can install. Where it is missing,
pip comes as a wheel from the package index instead. PIP_* variables and pip's configuration files are respected.
"""

import os
import shutil
import subprocess
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older python3 gets a sentence instead of a traceback
    for newer in filter(None, map(shutil.which, ("python3.13", "python3.12", "python3.11"))):
        if subprocess.call([newer, "-c", ""], stderr=subprocess.DEVNULL) == 0:  # noqa: S603 - it may be a mere shim
            os.execv(newer, [newer, *sys.argv])  # noqa: S606 - a newer Python runs this very file
    sys.exit(
        f"streamd needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. "
        "Install one (apt install python3.11) and name it: make PYTHON=python3.11 …"
    )

import argparse
import configparser
import hashlib
import html
import importlib.util
import json
import re
import ssl
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import venv
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP_VERSION = "26.3"
PIP_WHEEL = f"pip-{PIP_VERSION}-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
PIP_OLDEST = (25, 1)  # the first one that understands --group
STAMP = "streamd-installed.json"  # inside the environment: what was installed → from what
TIMEOUT_S = 60

COMPILE_WHAT_A_START_IMPORTS = """
import py_compile, sys
import streamd.check, streamd.cli.live, streamd.daemon, streamd.engines.whisper, streamd.listen
for module in list(sys.modules.values()):
    if (getattr(module, "__file__", None) or "").endswith(".py"):
        py_compile.compile(module.__file__, quiet=1)
"""  # the bytecode of everything that is installed would take 60 MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="also what tests and checks need")
    parser.add_argument("--extra", help="also what an optional part needs, and pyproject.toml's group of this name")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where to (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        install(arguments.venv, dev=arguments.dev, extra=arguments.extra)
    except (OSError, ValueError) as error:
        sys.exit(f"streamd can't be installed: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"streamd can't be installed: {' '.join(map(str, error.cmd))} failed, see above")


def install(folder: Path, *, dev: bool, extra: str | None = None) -> None:
    """Bring the environment up to date with pyproject.toml; quick, and without a network, if it is already."""
    python = folder / "bin" / "python"
    wanted = fingerprint((ROOT / "pyproject.toml").read_bytes(), ROOT)
    version = pip_version(python)
    done = read_stamp(folder) if version else {}
    kinds = ["run", *(["dev"] if dev else []), *([extra] if extra else [])]
    if all(done.get(kind) == wanted for kind in kinds[1:] or kinds):
        return
    print(f"Installing streamd into {folder} (once; some hundred megabytes)", flush=True)
    if version is None:
        make_environment(folder)
    if (pip_version(python) or (0,)) < PIP_OLDEST:
        run(python, "-B", "-m", "pip", "install", "--quiet", "--no-compile", "--upgrade", f"pip=={PIP_VERSION}")
    groups = [f"--group={ROOT / 'pyproject.toml'}:{group}" for group in kinds[1:]]
    slim = kinds == ["run"]
    # --prefer-binary: an older wheel rather than a newer source that wants a compiler
    options = ["--prefer-binary", *(["--no-compile"] if slim else [])]
    run(python, "-B", "-m", "pip", "install", *options, "--editable", f"{ROOT}[{extra}]" if extra else ROOT, *groups)
    if slim:
        run(python, "-c", COMPILE_WHAT_A_START_IMPORTS)
    (folder / STAMP).write_text(json.dumps(done | dict.fromkeys(kinds, wanted)))


def fingerprint(pyproject: bytes, root: Path) -> str:
    """What an installation depends on: the requirements, and where the checkout is."""
    return hashlib.sha256(pyproject + os.fsencode(root)).hexdigest()


def read_stamp(folder: Path) -> dict[str, str]:
    try:
        stamp: dict[str, str] = json.loads((folder / STAMP).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return stamp


def pip_version(python: Path) -> tuple[int, ...] | None:
    """Version of the environment's pip; None if either is missing or broken (as after an upgrade of the system)."""
    command = [str(python), "-I", "-c", "import pip; print(pip.__version__)"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(int(number) for number in re.findall(r"\d+", answer)[:2])


def make_environment(folder: Path) -> None:
    """A fresh environment with a pip in it, by ensurepip where Python has it."""
    if importlib.util.find_spec("ensurepip"):
        try:
            venv.create(folder, clear=True, symlinks=True, with_pip=True)
        except subprocess.CalledProcessError:
            print("ensurepip does not work here; fetching pip instead", flush=True)
        else:
            # Python 3.11 brings it along; nothing here needs its 15 MB
            run(folder / "bin" / "python", "-B", "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools")
            return
    venv.create(folder, clear=True, symlinks=True)
    with tempfile.TemporaryDirectory() as scratch:
        wheel = Path(scratch) / PIP_WHEEL
        wheel.write_bytes(fetch_pip())
        # A wheel of pip can be run as it is, and then installs itself.
        run(folder / "bin" / "python", wheel / "pip", "install", "--quiet", "--no-index", "--no-deps", wheel)


def fetch_pip() -> bytes:
    """Pip's wheel from the configured package index, compared with its digest."""
    index = pip_option("index-url", os.environ) or "https://pypi.org/simple"
    page = f"{index.rstrip('/')}/pip/"
    context = ssl.create_default_context(cafile=pip_option("cert", os.environ))
    url = wheel_url(download(page, context).decode(), page)
    wheel = download(url, context)
    if hashlib.sha256(wheel).hexdigest() != PIP_SHA256:
        raise ValueError(f"{url} is not the wheel it should be: its SHA-256 is not {PIP_SHA256}")
    return wheel


def wheel_url(listing: str, page: str) -> str:
    """Address of pip's wheel in the index's page (simple repository API, PEP 503)."""
    for link in re.findall(r'href="([^"]+)"', listing):
        url, _ = urllib.parse.urldefrag(urllib.parse.urljoin(page, html.unescape(link)))
        if url.endswith(f"/{PIP_WHEEL}"):
            return url
    raise ValueError(f"{page} has no {PIP_WHEEL}; install python3-venv, or set PIP_INDEX_URL to a full index")


def pip_option(name: str, environ: Mapping[str, str]) -> str | None:
    """A pip option as pip would see it: the environment first, then the user's and the system's configuration."""
    value = environ.get(f"PIP_{name.upper().replace('-', '_')}")
    config = configparser.RawConfigParser()
    home = Path(environ.get("HOME", "/"))
    user = Path(environ.get("XDG_CONFIG_HOME", home / ".config"))
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", user / "pip/pip.conf"]
    config.read([*files, environ.get("PIP_CONFIG_FILE", "")])  # later ones win, missing ones are passed over
    return value or config.get("global", name, fallback=None)


def download(url: str, context: ssl.SSLContext) -> bytes:
    if not url.startswith(("https://", "http://", "file://")):
        raise ValueError(f"{url} is not an address to download from")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310 - checked above
            body: bytes = answer.read()
    except urllib.error.URLError as error:
        raise ValueError(f"{url}: {error.reason}; is there a network? PIP_INDEX_URL names another index") from error
    return body


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - our own commands


if __name__ == "__main__":
    main()

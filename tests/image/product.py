"""The image itself, built as a user builds it, behind whatever mirror this machine has.

Knows: pip's configuration of this machine, and how it is handed to a build as a secret.
Must not know: what is in the image.
"""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.image.engine import Engine
from tests.image.stand_ins import ROOT

# How pip finds its packages; all else of its configuration is about this machine.
HANDED_OVER: Final = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout")
PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
# Stands in the secret of each build, to be looked for in what came out of it.
CANARY: Final = "canary-9f27c1d05b"


def write_build_secrets(folder: Path) -> list[str]:
    """Write what pip needs inside a build; give the options of `docker build` that hand it over."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    settings = {}
    for line in told.stdout.splitlines():
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = value.strip("'\"")
    lines = [f"# {CANARY}", "[global]"]
    lines += [f"{name} = {settings[name]}" for name in HANDED_OVER if name in settings]
    options = [f"--secret=id=pip.conf,src={folder / 'pip.conf'}"]
    authority = settings.get("cert") or ssl.get_default_verify_paths().cafile
    if authority is not None:
        lines.append("cert = /run/secrets/ca.pem")
        options.append(f"--secret=id=ca.pem,src={authority}")
    # Known to every build, and kept by none: only the names are given here.
    options += [f"--build-arg={name}" for name in PROXIES if name in os.environ]
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    return options


def build(engine: Engine, tag: str, options: Sequence[str]) -> None:
    """Build the checkout without anything an earlier build has kept.

    Raises: EngineFailed with the end of the build's log.
    """
    engine.run("build", "--no-cache", "--network=host", "--tag", tag, *options, ROOT)


def facts(engine: Engine, image: str) -> dict[str, Any]:
    """Give what the engine knows of an image."""
    found: dict[str, Any] = json.loads(engine.run("image", "inspect", image))[0]
    return found

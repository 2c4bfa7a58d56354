"""`fluxpay dev` as a command, and a look into its database."""

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2


def command(directory: Path, *arguments: str) -> list[str]:
    options = ["--dir", str(directory), "--port", "0", "--admin-port", "0"]
    return [sys.executable, "-m", "fluxpay.cli", "dev", *options, *arguments]


def environment(**variables: str) -> dict[str, str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("FLUXPAY_")}
    clean.pop("HOME", None)
    return {**clean, **variables}


def rows(url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()

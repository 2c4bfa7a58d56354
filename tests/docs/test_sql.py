"""The SQL that guides and runbooks give to paste is run, as the role of the service."""

import re
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.conftest import Database
from tests.docs.pages import DOCS, ROOT

# A block in a list is indented with it.
_SQL = re.compile(r"^( *)```sql\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_MAKES_ROLES = re.compile(r"(CREATE|ALTER) (ROLE|DATABASE)\b")
PAGES = sorted(page for page in DOCS.rglob("*.md") if _SQL.search(page.read_text("utf-8")))


def statements(page: Path) -> list[str]:
    """The statements of a page that read."""
    texts = [textwrap.dedent(found[2]) for found in _SQL.finditer(page.read_text("utf-8"))]
    reading = [text for text in texts if not _MAKES_ROLES.search(text)]
    return [one.strip() for text in reading for one in text.split(";") if one.strip()]


def answers(database: Database, asked: list[str]) -> list[list[Any]]:
    with closing(psycopg2.connect(database.app_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            found = []
            for statement in asked:
                cursor.execute(statement)
                found.append(list(cursor.fetchall()) if cursor.description else [])
            return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_asks_the_database_is_answered(page: Path, database: Database) -> None:
    asked = statements(page)
    assert len(asked) == len(answers(database, asked))


def test_the_grants_of_the_ledger_are_shown_to_whoever_asks(database: Database) -> None:
    page = DOCS / "how-to/runbooks/ledger-imbalance.md"
    (grants,) = (one for one in statements(page) if "privilege_type" in one)
    shown = {tuple(row) for row in answers(database, [grants])[0]}
    assert {("fluxpay_app", "SELECT"), ("fluxpay_writer", "INSERT")} <= shown

"""Migrate a database to the schema this code expects."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from app.core.settings import Settings

MIGRATIONS = Path(__file__).parents[3] / "migrations"


def config(url: str) -> Config:
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    made.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return made


def upgrade(url: str) -> None:
    command.upgrade(config(url), "head")


def is_current(engine: Engine) -> bool:
    """Whether every migration this code knows has been applied."""
    heads = ScriptDirectory(str(MIGRATIONS)).get_heads()
    with engine.connect() as connection:
        return set(MigrationContext.configure(connection).get_current_heads()) == set(heads)


def main() -> None:
    """`python -m app.core.db.migrate`: run by the one-shot service in docker-compose.yml."""
    url = Settings().database_url
    if not url:
        raise SystemExit(
            "Set TUNESMITH_DATABASE_URL to the URL of the Postgres database to migrate."
        )
    upgrade(url)


if __name__ == "__main__":
    main()

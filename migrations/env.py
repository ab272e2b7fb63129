"""Alembic's entry point: one connection, one transaction per migration, a lock timeout."""

from alembic import context
from sqlalchemy import create_engine, pool, text

from app.core.db.models import Base
from app.core.settings import Settings


def database_url() -> str:
    url = context.config.get_main_option("sqlalchemy.url") or Settings().database_url
    if not url:
        raise SystemExit(
            "Set TUNESMITH_DATABASE_URL to the URL of the Postgres database to migrate."
        )
    return url


def run() -> None:
    engine = create_engine(database_url(), poolclass=pool.NullPool)
    with engine.connect() as connection:
        # A migration that cannot get its lock must fail, not block every request behind it.
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            compare_server_default=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()

"""Migrations: upgrade, compare with the models, downgrade, upgrade again."""

import pytest
from alembic import command
from sqlalchemy import create_engine, inspect

from app.core.db import migrate
from tests.databases import Databases


@pytest.fixture
def empty_url(databases: Databases) -> str:
    return databases.url(databases.create("template1"))


def tables(url: str) -> set[str]:
    engine = create_engine(url)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_the_schema_goes_up_and_down_and_says_what_the_models_say(empty_url: str) -> None:
    config = migrate.config(empty_url)
    engine = create_engine(empty_url)

    assert not migrate.is_current(engine)
    migrate.upgrade(empty_url)
    command.check(config)
    assert migrate.is_current(engine)
    assert {"jobs", "events", "datasets", "workers"} <= tables(empty_url)

    command.downgrade(config, "base")
    assert tables(empty_url) == {"alembic_version"}
    assert not migrate.is_current(engine)

    migrate.upgrade(empty_url)
    command.check(config)
    engine.dispose()

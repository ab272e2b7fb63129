"""The fixtures of conftest.py, on which every other test relies."""

import pytest
import redis
from sqlalchemy import text


@pytest.mark.parametrize("_again", range(10))
def test_each_test_has_an_empty_migrated_database(engine, _again):
    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM jobs")).scalar() == 0
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
        connection.execute(text("CREATE TABLE left_behind (id int)"))


@pytest.mark.parametrize("_again", range(2))
def test_each_test_has_an_empty_redis(redis_url, _again):
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_settings_name_the_tests_own_servers(settings, database_url, redis_url):
    assert (settings.database_url, settings.redis_url) == (database_url, redis_url)

"""Allow datasets whose bytes have not been fetched yet: an import's hash is set later."""

from alembic import op

revision = "20261124_2200"
down_revision = "20261124_0250"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.alter_column("datasets", "sha256", nullable=True)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("UPDATE datasets SET sha256 = '' WHERE sha256 IS NULL")
    op.alter_column("datasets", "sha256", nullable=False)

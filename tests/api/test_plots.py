"""The plot of lengths: valid SVG and PNG, and the same bytes for the same numbers."""

import xml.etree.ElementTree as ET

import numpy as np

from app.api.answers.plots import draw_lengths
from app.core.datasets.tokens import lengths

SIZES = np.array([10, 20, 2000], dtype=np.int64)
FOUND = lengths.describe(lengths.Measured(4 * SIZES, SIZES, SIZES // 2), 1024)


def test_the_picture_is_svg_and_says_the_share_over_the_limit() -> None:
    drawn = draw_lengths(FOUND, "tickets $x^2$ <script>", "svg")

    text = "".join(ET.fromstring(drawn).itertext())
    assert "33.33% of 3 rows over 1,024 tokens" in text
    assert "tickets $x^2$ <script>" in text
    assert drawn == draw_lengths(FOUND, "tickets $x^2$ <script>", "svg")


def test_the_picture_is_png() -> None:
    assert draw_lengths(FOUND, "tickets", "png").startswith(b"\x89PNG\r\n\x1a\n")

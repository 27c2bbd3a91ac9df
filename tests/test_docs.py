"""The examples in the documentation that need no framework."""

import pytest

from support import documents


@pytest.mark.parametrize(
    ("page", "outputs"),
    [("tour.md", 4), ("conventions.md", 4), ("errors.md", 3), ("normal_equations.md", 3)],
)
def test_the_document_says_what_is_printed(page, outputs):
    assert documents.run(documents.blocks_of(page)) == outputs

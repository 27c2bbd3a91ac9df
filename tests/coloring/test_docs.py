"""The examples in the documentation."""

from support import documents


def test_document():
    assert documents.run(documents.blocks_of("coloring.md")) == 3

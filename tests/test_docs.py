"""The examples in the documentation that need no framework."""

import pytest

from support import documents


@pytest.mark.parametrize(
    ("page", "outputs"),
    [
        *(("tour.md", 4), ("conventions.md", 4), ("errors.md", 3), ("normal_equations.md", 4)),
        *(("models.md", 5), ("scipy.md", 1)),
    ],
)
def test_the_document_says_what_is_printed(page, outputs):
    assert documents.run(documents.blocks_of(page)) == outputs


def test_indefinite_matrices():
    blocks = documents.blocks_of("indefinite.md")
    [place] = [k for k, (_, text) in enumerate(blocks) if "import jax\n" in text]
    assert documents.run(blocks[:place]) == 3


def test_optimizers_of_others():
    pytest.importorskip("cvxopt", reason="cvxopt is not installed")
    blocks = documents.blocks_of("indefinite.md")
    [place] = [k for k, (_, text) in enumerate(blocks) if "import cvxopt" in text]
    assert documents.run(blocks[place:]) == 1


def test_intrinsic_fields():
    blocks = documents.blocks_of("intrinsic.md")
    [place] = [k for k, (_, text) in enumerate(blocks) if "import jax\n" in text]
    assert documents.run(blocks[:place]) == 5

"""The partial inverse kernel called directly."""

import numpy as np
import pytest

from sparsechol._core.numeric.partial_inverse import partial_inverse, workspace
from support.helpers import eps


def test_every_stored_entry_is_that_of_the_dense_inverse(system):
    A, S, structure, packed = system
    flat = S.factorize(packed)._panels[0]
    flat.setflags(write=False)
    z = np.full(structure.size, np.nan, A.dtype)
    work = np.full(workspace(structure, 1, 1), np.nan, A.dtype)
    partial_inverse(structure, flat[None], z[None], work, 1)
    a = structure.arrays
    perm = a["perm"]
    inverse = np.linalg.inv(A[np.ix_(perm, perm)].astype(complex))
    bound = 1000 * eps(A.dtype) * abs(inverse).max()
    for s in range(len(a["parent"])):
        columns = np.arange(a["first"][s], a["first"][s + 1])
        rows = np.concatenate([columns, a["rows"][a["row_start"][s] : a["row_start"][s + 1]]])
        panel = z[a["panel"][s] : a["panel"][s + 1]].reshape(len(columns), len(rows)).T
        np.testing.assert_allclose(panel, inverse[np.ix_(rows, columns)], atol=bound)


def test_wrong_lengths_are_refused(system):
    A, S, structure, packed = system
    flat = S.factorize(packed)._panels[0]
    z = np.empty(structure.size, A.dtype)
    work = np.empty(workspace(structure, 1, 1), A.dtype)
    for panels, target, space in [(flat[:-1], z, work), (flat, z[:-1], work), (flat, z, work[:-1])]:
        with pytest.raises(ValueError, match="do not belong"):
            partial_inverse(structure, panels[None], target[None], space, 1)

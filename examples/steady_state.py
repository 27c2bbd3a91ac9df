"""
Steady state
============

A growth model as a list of equations in named variables, in PyTensor.

Households choose consumption c and hours h, firms produce y = k^alpha h^(1 - alpha), and capital k
wears out at the rate delta. The steady state solves five equations, by Newton's method. Its
derivatives in the parameters follow from the implicit function theorem, and are compared with the
closed form. The path of 200 quarters that begins with half of the capital solves a thousand
equations, which a loop writes one by one. `by_templates` and `sparse_jacobian` find that they have
few forms, and compile one loop for each.

Run: ``python examples/steady_state.py``
"""

from itertools import pairwise

import numpy as np
import pytensor
import pytensor.tensor as pt
from scipy.sparse.linalg import spsolve

import sparsechol.pytensor as scpt

NAMES = ("c", "h", "k", "y", "r")
BETA, THETA = 0.99, 2.0
AT = {"alpha": 0.33, "delta": 0.025}


def model(now, later, alpha, delta):
    """List the equations of a quarter, in the variables of this one and of the next."""
    c, h, k, y, r = now
    c1, _, k1, _, r1 = later
    return [
        1 / c - BETA / c1 * (1 + r1 - delta),
        THETA * c * h - (1 - alpha) * y * (1 - h),
        y - k**alpha * h ** (1 - alpha),
        r - alpha * y / k,
        k1 - (1 - delta) * k - y + c,
    ]


def newton(f, x, steps=60, small=1e-11):
    """Solve a system by Newton's method; f returns the residual and its sparse Jacobian."""
    for _ in range(steps):
        residual, jacobian = f(x)
        if abs(residual).max() < small:
            return x
        step = spsolve(jacobian, residual)
        x = x - step * min(1, 0.8 / max((step / x).max(), 0.1))  # all variables stay positive
    raise RuntimeError("Newton's method did not converge")


def steady_state():
    """Return the steady state, and its derivatives in the parameters."""
    v = [pt.scalar(name) for name in NAMES]
    parameters = [pt.scalar(name) for name in AT]
    equations = model(v, v, *parameters)
    columns = scpt.positions(v)
    J = scpt.sparse_jacobian(equations, v)  # a sparse variable, with rows and columns of the lists
    inputs = [*v, *parameters]
    run = pytensor.function(inputs, [scpt.by_templates(equations, v), J])
    at = np.array(list(AT.values()))
    start = np.array([1.0, 0.3, 10.0, 1.3, 0.04])
    x = newton(lambda x: run(*x, *at), start)
    values, how = scpt.sparse_jacobian(equations, v, format="values")
    changes = scpt.sparse_jacobian(equations, parameters, format="dense")
    slopes = pytensor.function(inputs, -scpt.superlu_solve(values, how, changes))
    return x, slopes(*x, *at), columns


def closed_form(alpha, delta):
    """Return the steady state by hand."""
    r = 1 / BETA - 1 + delta
    ratio = alpha / r  # of capital to output
    share = 1 - delta * ratio  # of consumption
    h = 1 / (1 + THETA * share / (1 - alpha))
    y = ratio ** (alpha / (1 - alpha)) * h
    return np.array([share * y, h, ratio * y, y, r])


def path(x, quarters):
    """Return the path from half of the capital to the steady state, and how it was found."""
    v = pt.vector("v", shape=(5 * quarters,))
    at = [[v[5 * t + q] for q in range(5)] for t in range(quarters)]
    at.append([pt.constant(value) for value in x])
    equations = [at[0][2] - 0.5 * x[2]]
    for now, later in pairwise(at):
        equations += model(now, later, *AT.values())
    equations.pop()  # the capital after the last quarter is free
    J = scpt.sparse_jacobian(equations, v)
    f = pytensor.function([v], [scpt.by_templates(equations, v), J])
    return newton(f, np.tile(x, quarters)).reshape(quarters, 5), J.tag.how


def main(quarters=200):
    x, slopes, columns = steady_state()
    by_hand = closed_form(*AT.values())
    print("steady state", dict(zip(NAMES, x.round(4).tolist(), strict=True)))
    print(f"against the closed form: {abs(x - by_hand).max():.0e}")
    step = 1e-5
    for k, name in enumerate(AT):
        up, down = (dict(AT, **{name: AT[name] + s * step}) for s in (1, -1))
        difference = (closed_form(**up) - closed_form(**down)) / (2 * step)
        error = abs(slopes[:, k] - difference).max() / abs(difference).max()
        capital = slopes[columns["k"], k].item()
        print(f"d k / d {name} = {capital:.2f}, against differences: {error:.0e}")
    found, how = path(x, quarters)
    print(how)
    capital = found[:, NAMES.index("k")] / x[2]
    last = quarters - 1
    print(f"capital after 0, 10, 50, {last} quarters:", capital[[0, 10, 50, last]].round(4))
    return x, by_hand, found


if __name__ == "__main__":
    main()

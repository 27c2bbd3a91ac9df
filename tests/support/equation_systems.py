"""Systems of scalar equations from the literature, for any package of functions like NumPy.

A system is a function of a package and of a sequence of unknowns. It returns a list of equations.
"""

import numpy as np

# ---- economics ----


def smets_wouters(m, v):
    """The linear model of Smets and Wouters (2007), sticky prices only.

    Unknowns are the variables of today, their leads and their lags.
    """
    beta, delta, sigma, h, phi, psi = 0.99, 0.025, 1.38, 0.71, 5.74, 0.54
    xi_w, xi_p, i_w, i_p, share, alpha, sigma_l = 0.70, 0.66, 0.58, 0.24, 1.60, 0.19, 1.83
    r_pi, r_y, r_dy, rho = 2.04, 0.08, 0.22, 0.81
    names = "y c i q k kp z rk mu pi w muw r l ea eb eg ei er ep ew"
    now = dict(zip(names.split(), v[:21], strict=True))
    y, c, i, q, k, kp, z, rk, mu, pi, w, muw, r, lab, ea, eb, eg, ei, er, ep, ew = now.values()
    c1, i1, q1, rk1, pi1, w1, l1 = v[21:28]
    c0, i0, kp0, pi0, w0, r0, y0, eg0, ea0, eb0, ei0, er0, ep0, ew0 = v[28:42]
    kp_price = (1 - beta * xi_p) * (1 - xi_p) / xi_p / (1 + beta * i_p)
    kp_wage = (1 - beta * xi_w) * (1 - xi_w) / xi_w / (1 + beta)
    return [
        y - (0.64 * c + 0.17 * i + 0.18 * eg + 0.01 * z),
        c - (h / (1 + h) * c0 + c1 / (1 + h) + 0.2 * (lab - l1) - (1 - h) / sigma * (r - pi1 + eb)),
        i - (i0 / (1 + beta) + beta / (1 + beta) * i1 + q / phi / (1 + beta) + ei),
        q - (beta * (1 - delta) * q1 + (1 - beta * (1 - delta)) * rk1 - (r - pi1 + eb)),
        y - share * (alpha * k + (1 - alpha) * lab + ea),
        k - (kp0 + z),
        z - (1 - psi) / psi * rk,
        kp - ((1 - delta) * kp0 + delta * i + delta * phi * ei),
        mu - (alpha * (k - lab) + ea - w),
        pi - (i_p / (1 + beta * i_p) * pi0 + beta / (1 + beta * i_p) * pi1 - kp_price * mu + ep),
        rk - (w + lab - k),
        muw - (w - sigma_l * lab - (c - h * c0) / (1 - h)),
        w - (w0 / (1 + beta) + beta / (1 + beta) * (w1 + pi1) - (1 + beta * i_w) / (1 + beta) * pi
             + i_w / (1 + beta) * pi0 - kp_wage * muw + ew),
        r - (rho * r0 + (1 - rho) * (r_pi * pi + r_y * y) + r_dy * (y - y0) + er),
        ea - 0.95 * ea0, eb - 0.22 * eb0, eg - 0.97 * eg0 - 0.52 * ea, ei - 0.71 * ei0,
        er - 0.15 * er0, ep - 0.89 * ep0, ew - 0.96 * ew0,
    ]  # fmt: skip


def business_cycles(m, v, countries=3):
    """The model of Backus, Kehoe and Kydland (1992) with habits and utilization, at one date.

    The countries have the same equations with other parameters, and one market of bonds.
    """
    found, bonds, price = [], 0.0, v[-1]
    for n in range(countries):
        c, lab, k, k1, i, y, u, lam, q, rk, w, a, b = v[13 * n : 13 * n + 13]
        theta, gamma, delta = 0.30 + 0.02 * n, 2.0 + 0.1 * n, 0.02 + 0.001 * n
        found += [
            lam - (c - 0.6 * k) ** (-gamma),
            w * lam - lab**1.5 * (1 + 0.1 * n),
            y - m.exp(a) * (u * k) ** theta * lab ** (1 - theta),
            rk * u * k - theta * y,
            w * lab - (1 - theta) * y,
            k1 - (1 - delta * u**1.4) * k - i * (1 - 2.5 * (i / k - delta) ** 2),
            q * (1 - 5.0 * (i / k - delta)) - 1,
            rk - 1.4 * delta * u**0.4 * q,
            q - 0.98 * (rk * u + q * (1 - delta * u**1.4)),
            a - 0.9 * m.log(1 + a**2),
            c + i + b * price - y,
            lam * price - 0.99 * lam * (1 - 0.001 * b),
            k - k1,
        ]
        bonds = bonds + b
    return [*found, bonds]


# ---- power ----

BRANCHES = np.array([  # of the IEEE test case with 14 buses: ends, resistance, reactance
    (1, 2, 0.01938, 0.05917), (1, 5, 0.05403, 0.22304), (2, 3, 0.04699, 0.19797),
    (2, 4, 0.05811, 0.17632), (2, 5, 0.05695, 0.17388), (3, 4, 0.06701, 0.17103),
    (4, 5, 0.01335, 0.04211), (4, 7, 0, 0.20912), (4, 9, 0, 0.55618), (5, 6, 0, 0.25202),
    (6, 11, 0.09498, 0.1989), (6, 12, 0.12291, 0.25581), (6, 13, 0.06615, 0.13027),
    (7, 8, 0, 0.17615), (7, 9, 0, 0.11001), (9, 10, 0.03181, 0.0845), (9, 14, 0.12711, 0.27038),
    (10, 11, 0.08205, 0.19207), (12, 13, 0.22092, 0.19988), (13, 14, 0.17093, 0.34802),
])  # fmt: skip


def power_flow(m, v):
    """The balance of active and reactive power at 14 buses; unknowns are angles and voltages."""
    angle, voltage = v[:14], v[14:28]
    active, reactive = [0.1 * k for k in range(14)], [0.05 * k for k in range(14)]
    for a, b, r, x in BRANCHES.tolist():
        g, s = r / (r * r + x * x), -x / (r * r + x * x)
        for i, j in ((int(a) - 1, int(b) - 1), (int(b) - 1, int(a) - 1)):
            turn = angle[i] - angle[j]
            both = voltage[i] * voltage[j]
            active[i] = active[i] + g * voltage[i] ** 2 - both * (g * m.cos(turn) + s * m.sin(turn))
            reactive[i] = reactive[i] - s * voltage[i] ** 2 - both * (
                g * m.sin(turn) - s * m.cos(turn)
            )  # fmt: skip
    return active + reactive


# ---- chemistry ----

# Reactions of the air pollution problem of Verwer (1994): what reacts, and what it changes.
REACTIONS = [
    ((1,), {1: -1, 2: 1, 3: 1}), ((2, 4), {2: -1, 4: -1, 1: 1}),
    ((5, 2), {5: -1, 2: -1, 1: 1, 6: 1}),
    ((7,), {7: -1, 5: 2, 8: 1}), ((7,), {7: -1, 8: 1}), ((7, 6), {7: -1, 6: -1, 5: 1, 8: 1}),
    ((9,), {9: -1, 5: 1, 8: 1, 10: 1}), ((9, 6), {9: -1, 6: -1, 11: 1}),
    ((11, 2), {11: -1, 2: -1, 1: 1, 10: 1, 12: 1}), ((11, 1), {11: -1, 1: -1, 13: 1}),
    ((13,), {13: -1, 11: 1, 1: 1}), ((10, 2), {10: -1, 2: -1, 1: 1, 14: 1}),
    ((14,), {14: -1, 7: 1, 5: 1}), ((1, 6), {1: -1, 6: -1, 15: 1}), ((3,), {3: -1, 4: 1}),
    ((4,), {4: -1, 16: 1}), ((4,), {4: -1, 3: 1}), ((16,), {16: -1, 6: 2}), ((16,), {16: -1, 3: 1}),
    ((17, 6), {17: -1, 6: -1, 5: 1, 18: 1}), ((19,), {19: -1, 2: 1}), ((19,), {19: -1, 1: 1, 3: 1}),
    ((1, 4), {1: -1, 4: -1, 19: 1}), ((19, 1), {19: -1, 1: -1, 20: 1}),
    ((20,), {20: -1, 1: 1, 19: 1}),
]  # fmt: skip


def pollution(m, v):
    """The rates of 20 species by mass action."""
    rates = [0.0] * 20
    for k, (species, changes) in enumerate(REACTIONS):
        rate = 0.3 + 0.1 * k
        for s in species:
            rate = rate * v[s - 1]
        for s, change in changes.items():
            rates[s - 1] = rates[s - 1] + change * rate
    return rates


SYSTEMS = {  # function, number of unknowns
    "smets wouters": (smets_wouters, 42),
    "business cycles": (business_cycles, 40),
    "power flow": (power_flow, 28),
    "pollution": (pollution, 20),
}


# ---- loops ----


def three_forms(m, v, n):
    """Equations of three forms that repeat, as a loop makes them."""
    a = np.random.default_rng(n).uniform(0.5, 2, n).tolist()
    found = []
    for i in range(n):
        before, x, after, far = v[(i - 1) % n], v[i], v[(i + 1) % n], v[(7 * i + 3) % n]
        if i % 3 == 0:
            found.append(a[i] * x**2 - m.exp(-before) + after)
        elif i % 3 == 1:
            found.append(m.log(1 + after**2) * x - a[i] * far)
        else:
            found.append(m.tanh(a[i] * before) + x**3 - after * far)
    return found


def random_system(m, v, rng, rows=12):
    """Make equations at random, of few forms, that share expressions."""
    functions = [m.sin, m.exp, m.tanh, m.floor, lambda x: x**2, lambda x: 0.0 * x, lambda x: -x]
    forms = [rng.integers(0, 2**31) for _ in range(3)]
    shared = [v[0] * v[1], m.sin(v[2])]
    found = []
    for _ in range(rows):
        choices = np.random.default_rng(forms[rng.integers(len(forms))])
        terms = [v[rng.integers(len(v))], shared[rng.integers(2)], v[rng.integers(len(v))]]
        for _ in range(choices.integers(1, 6)):
            kind = choices.integers(4)
            k, q = choices.integers(len(terms), size=2)
            if kind == 0:
                terms.append(functions[choices.integers(len(functions))](terms[k]))
            elif kind == 1:
                terms.append(terms[k] * terms[q])
            elif kind == 2:
                terms.append(terms[k] + float(rng.normal()) * terms[q])
            else:
                terms.append(terms[k] - terms[q])
        found.append(terms[-1])
    return found


def separable_terms(m, v, n):
    """Terms of five forms, of three unknowns each, whose sum is a partially separable cost."""
    places, weights = separable_data(n, len(v))
    found = []
    for i, ((p, q, r), w) in enumerate(zip(places.tolist(), weights.tolist(), strict=True)):
        a, b, c = v[p], v[q], v[r]
        forms = (
            lambda a, b, c, w: w * (a - b) ** 2,
            lambda a, b, c, w: m.exp(w * a * c),
            lambda a, b, c, w: w * m.log(1 + a**2 + b**2),
            lambda a, b, c, w: w * a * m.sin(b - c),
            lambda a, b, c, w: (a * b - w * c) ** 4,
        )
        found.append(forms[i % 5](a, b, c, w))
    return found


def separable_data(n, unknowns):
    """Return the unknowns of each term, and its weight."""
    rng = np.random.default_rng(n)
    places = np.array([rng.choice(unknowns, 3, replace=False) for _ in range(n)])
    return places, rng.uniform(0.5, 1.5, n)


def separable_hessian(point, n):
    """The Hessian of the sum of `separable_terms`, from second derivatives by hand."""
    places, w = separable_data(n, len(point))
    a, b, c = point[places].T
    s, r, e = 1 + a**2 + b**2, a * b - w * c, np.exp(w * a * c)
    zero = 0 * w
    blocks = np.array([  # for each form: aa, ab, ac, bb, bc, cc
        (2 * w, -2 * w, zero, 2 * w, zero, zero),
        ((w * c) ** 2 * e, zero, (w + w**2 * a * c) * e, zero, zero, (w * a) ** 2 * e),
        (w * (2 / s - 4 * a**2 / s**2), -4 * w * a * b / s**2, zero,
         w * (2 / s - 4 * b**2 / s**2), zero, zero),
        (zero, w * np.cos(b - c), -w * np.cos(b - c),
         -w * a * np.sin(b - c), w * a * np.sin(b - c), -w * a * np.sin(b - c)),
        (12 * r**2 * b**2, 12 * r**2 * a * b + 4 * r**3, -12 * r**2 * b * w,
         12 * r**2 * a**2, -12 * r**2 * a * w, 12 * r**2 * w**2),
    ])  # fmt: skip
    H = np.zeros((len(point), len(point)))
    for i in range(n):
        aa, ab, ac, bb, bc, cc = blocks[i % 5, :, i]
        H[np.ix_(places[i], places[i])] += [[aa, ab, ac], [ab, bb, bc], [ac, bc, cc]]
    return H

"""
Logistic effects
================

Crossed random effects of answers: iteratively reweighted least squares on `gram`.

Answers y, 0 or 1, of students to questions: the log odds are ``A b``, A = [X Z_1 Z_2] and
b = (beta, u_1, u_2). The effects of factor k are normal with standard deviation s_k. For given s
the mode of b is found by Newton's method, which for these models is iteratively reweighted least
squares (McCullagh and Nelder 1989). Each iteration factors ::

    H = A^T W A + diag(0, I / s_1^2, I / s_2^2),    W = diag(p (1 - p)),    p = 1 / (1 + exp(-A b)),

of one pattern, analyzed once. The deviations maximize Laplace's approximation of the restricted
likelihood, in which beta is integrated out with the effects: but for a constant, -2 log of it is ::

    -2 log p(y | b) + sum_k (u_k^T u_k / s_k^2 + q_k log s_k^2) + log det H    at the mode.

The fixed effects are a Schur complement: with V = W^-1 + Z D Z^T, D = diag(s_1^2 I, s_2^2 I), ::

    log |X^T V^-1 X| = log det H - log det H_uu,    cov(beta) = (X^T V^-1 X)^-1 = (H^-1)_bb.

Run: ``python examples/logistic_effects.py``
"""

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize
from scipy.special import expit

import sparsechol as sc

BETA = np.array([0.4, -0.8, 0.5])
DEVIATIONS = np.array([1.0, 0.6])  # of students and questions


def simulate(levels, answers, rng):
    """Answers, the matrix A, and the true effects."""
    rows = np.arange(answers)
    X = np.column_stack([np.ones(answers), rng.standard_normal((answers, len(BETA) - 1))])
    indicators = [
        sp.csr_array((np.ones(answers), (rows, rng.integers(q, size=answers))), (answers, q))
        for q in levels
    ]
    A = sp.hstack([sp.csr_array(X), *indicators], format="csr")
    effects = [s * rng.standard_normal(q) for s, q in zip(DEVIATIONS, levels, strict=True)]
    b = np.concatenate([BETA, *effects])
    return (rng.random(answers) < expit(A @ b)).astype(float), A, b


class Likelihood:
    """-2 log of the approximate restricted likelihood, of log (s_1, s_2)."""

    def __init__(self, y, A, levels):
        self.y, self.A, self.levels = y, A, np.array(levels)
        self.fixed = A.shape[1] - self.levels.sum()
        self.G = sc.gram(A, sp.eye_array(A.shape[1]))
        self.a = self.G.entries(A)
        self.values = np.empty(self.G.pattern.indices.size)
        self.start = np.zeros(A.shape[1])
        self.factorizations = 0

    def precisions(self, theta):
        """The diagonal of B: nothing for the fixed effects."""
        return np.append(np.zeros(self.fixed), np.repeat(np.exp(-2 * theta), self.levels))

    def mode(self, theta):
        """The mode of b, and the factor of H there."""
        prior, b, F = self.precisions(theta), self.start, None
        for _ in range(50):
            p = expit(self.A @ b)
            self.G.values(self.a, p * (1 - p), prior, out=self.values)
            F = F.refactorize(self.values) if F else self.G.pattern.factorize(self.values)
            self.factorizations += 1
            change = F.solve(self.A.T @ (self.y - p) - prior * b)
            b = b + change
            if abs(change).max() < 1e-8:
                break
        self.start = b
        return b, F

    def __call__(self, theta):
        b, F = self.mode(theta)
        odds = self.A @ b
        deviance = 2 * np.sum(np.logaddexp(0, odds) - self.y * odds)
        prior = self.precisions(theta) @ b**2 + 2 * self.levels @ theta
        return deviance + prior + F.logdet()

    def of_fixed_effects(self, theta):
        """log |X^T V^-1 X| as a Schur complement, and the covariance matrix of beta."""
        b, F = self.mode(theta)
        p, k = expit(self.A @ b), self.fixed
        Z = self.A[:, k:]
        H_uu = sc.gram(Z, sp.eye_array(Z.shape[1]))
        values = H_uu.values(Z, p * (1 - p), self.precisions(theta)[k:])
        places = np.arange(k)
        covariance = F.inverse_entries(np.repeat(places, k), np.tile(places, k)).reshape(k, k)
        return F.logdet() - H_uu.pattern.factorize(values).logdet(), covariance


def main(levels=(800, 60), answers=20_000):
    y, A, truth = simulate(levels, answers, np.random.default_rng(2))
    likelihood = Likelihood(y, A, levels)
    print(f"{answers} answers, {A.shape[1]} effects, {likelihood.G.pattern.nnz} entries in L")
    found = minimize(likelihood, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-3})
    b, F = likelihood.mode(found.x)
    logdet, covariance = likelihood.of_fixed_effects(found.x)
    gap = abs(logdet + np.linalg.slogdet(covariance)[1])
    count = likelihood.factorizations
    print(f"{count} factorizations; two forms of the Schur complement: {gap:.0e}")
    deviations = zip(("students", "questions"), np.exp(found.x), DEVIATIONS, strict=True)
    for name, estimate, true in deviations:
        print(f"deviation of {name:9} {estimate:6.3f}            (true: {true})")
    errors = np.sqrt(np.diag(covariance))
    for k, (estimate, error, true) in enumerate(zip(b[:3], errors, BETA, strict=True)):
        print(f"beta {k}                 {estimate:6.3f} +- {error:.3f}  (true: {true})")
    inside = np.mean(abs(b - truth) < 1.96 * np.sqrt(F.diag_inverse()))
    print(f"{100 * inside:.1f} % of the effects in their 95 % intervals")
    return np.exp(found.x), b[:3], errors, inside


if __name__ == "__main__":
    main()

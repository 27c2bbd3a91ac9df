// Latent Gaussian models for TMB: what reports/laplace.py has in JAX, term by term.
#include <TMB.hpp>

template <class Type> Type objective_function<Type>::operator()() {
  DATA_INTEGER(model);
  DATA_VECTOR(y);
  PARAMETER_VECTOR(theta);
  PARAMETER_VECTOR(x);
  int n = x.size();
  Type logp = 0;
  if (model == 0) {
    // Counts on a grid; the eigenvalues of the grid's Laplacian give the determinant.
    DATA_SPARSE_MATRIX(grid);
    DATA_VECTOR(eigenvalues);
    vector<Type> z = grid * x;
    logp += 0.5 * (n * theta(0) + log(eigenvalues + exp(theta(1))).sum());
    logp -= 0.5 * exp(theta(0)) * ((x * z).sum() + exp(theta(1)) * (x * x).sum());
    logp += (y * x - exp(x)).sum() - 0.5 * n * log(2 * M_PI);
  } else if (model == 1) {
    // Stochastic volatility.
    Type phi = tanh(theta(1)), sigma = exp(theta(2));
    vector<Type> d = (x - theta(0)) / sigma;
    vector<Type> step = d.tail(n - 1) - phi * d.head(n - 1);
    logp += 0.5 * log(1 - phi * phi) - n * log(sigma) - 0.5 * (step * step).sum();
    logp -= 0.5 * (1 - phi * phi) * d(0) * d(0) + 0.5 * (x + y * y * exp(-x)).sum();
    logp -= n * log(2 * M_PI);
  } else {
    // A random walk with Student's noise of four degrees of freedom.
    vector<Type> step = x.tail(n - 1) - x.head(n - 1), r = (y - x) * exp(-theta(1));
    logp += 0.5 * n * theta(0) - 0.5 * exp(theta(0)) * ((step * step).sum() + x(0) * x(0));
    logp -= n * theta(1) + 2.5 * log(1 + r * r / 4).sum();
  }
  return -logp;
}

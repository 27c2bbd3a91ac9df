"""What TMB printed of counts along a random walk.

TMB 1.9.2, R 4.2.2:

  template <class Type> Type objective_function<Type>::operator() () {
    DATA_VECTOR(y); PARAMETER(mu); PARAMETER(log_s); PARAMETER_VECTOR(x);
    Type s = exp(log_s), f = -dnorm(x(0), Type(0), s, true);
    for (int i = 1; i < x.size(); i++) f -= dnorm(x(i), x(i - 1), s, true);
    for (int i = 0; i < x.size(); i++) f -= dpois(y(i), exp(mu + x(i)), true);
    vector<Type> rates = exp(mu + x);
    Type total = rates.sum(), first = x(0) * s;
    ADREPORT(s); ADREPORT(total); ADREPORT(first);
    return f;
  }

  obj <- MakeADFun(list(y = y), list(mu = 1, log_s = -1, x = rep(0, 12)), random = "x", ...)
  report <- sdreport(obj, par.fixed = par, hessian.fixed = hessian, getJointPrecision = TRUE)

at the maximum, with the Hessian from differences of sixth order of obj$gr.

The names of REPORTED are those of ADREPORT. Rows and columns of JOINT are 0, 1, 11 of x, log_s, mu
and of COVARIANCE mu, log_s.
"""

import numpy as np

COUNTS = np.array([1.0, 0, 2, 1, 4, 9, 12, 20, 15, 9, 14, 22])
ESTIMATES = (0.0589753155047432, -0.6632438507830697)  # mu, log_s
VALUE = -33.5294054876869
COVARIANCE = [
    [0.6719608281725101, -0.0691222670496849],
    [-0.0691222670496849, 0.0939365254757293],
]
VARIANCES = [
    *(0.265190564520190, 0.482332617320879, 0.629093747735318, 0.696758547334174),
    *(0.735312562957011, 0.754167363760052, 0.734503445863236, 0.742745954287637),
    *(0.723238777778195, 0.703281657839664, 0.713275608030480, 0.729351656304060),
]
REPORTED = {
    "s": (0.5151774622492559, 0.157897081101395),
    "total": (108.8714306260518612, 10.433709165967715),
    "first": (0.0175795638303465, 0.265569920883976),
}
JOINT = [
    [8.633143044851714, -3.76778652944958, 0, 0.195139971905101, 1.09756998595255],
    [-3.767786529449582, 8.70103530540964, 0, 2.33092449302095, 1.16546224651047],
    [0, 0, 24.40493660073964, -2.72569985741989, 20.63715007129006],
    [0.19513997190510146, 2.33092449302095, -2.72569985741989, 15.97081252941711, 0.00362909553851],
    [1.097569985952551, 1.16546224651047, 20.63715007129006, 0.00362909553851, 108.88062775432],
]

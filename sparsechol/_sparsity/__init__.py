"""Find the inputs that each output of a program may depend on, without running it on numbers.

`sets` stores sets of inputs, `propagate` passes them through operations, and `kernels` through the
kernels of the factorization. The rules for the operations of a framework lie in its own package.
"""

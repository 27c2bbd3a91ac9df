"""PLACEHOLDER until the gram branch lands."""
import jax.numpy as jnp, numpy as np
from .._scipy.symbolic_factor import analyze
from ._matrix import SymmetricMatrix
class gram:
    def __init__(self, sparsity, ordering="auto"):
        A = sparsity.astype(float).tocsc()
        A.data[:] = np.arange(A.nnz) + 1
        R = A.tocsr()
        P = abs(R.T) @ abs(R)
        self.pattern = analyze(P, ordering=ordering)
        q = []; r = []; t = []
        key = self.pattern.indices + A.shape[1] * np.repeat(np.arange(A.shape[1], dtype=np.int64), np.diff(self.pattern.indptr))
        aa=[];bb=[];rr=[];kk=[]
        for i in range(R.shape[0]):
            c = R.indices[R.indptr[i]:R.indptr[i+1]]; v = R.data[R.indptr[i]:R.indptr[i+1]].astype(int)-1
            I,J = np.meshgrid(np.arange(len(c)),np.arange(len(c)),indexing="ij"); m = c[I]>=c[J]
            aa.append(v[I[m]]);bb.append(v[J[m]]);rr.append(np.full(m.sum(),i));kk.append(c[I[m]]+A.shape[1]*c[J[m]].astype(np.int64))
        a,b,r,k=map(np.concatenate,(aa,bb,rr,kk))
        t=np.searchsorted(key,k); o=np.argsort(t,kind="stable")
        self.a,self.b,self.r,self.t=a[o],b[o],r[o],t[o]
    def matrix(self, a, w):
        v = jnp.zeros(len(self.pattern.indices), a.dtype).at[self.t].add(a[self.a]*a[self.b]*w[self.r], indices_are_sorted=True)
        return SymmetricMatrix(self.pattern, v)

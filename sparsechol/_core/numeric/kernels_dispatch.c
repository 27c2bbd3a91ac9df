/* Which instruction set runs: chosen once from what was built and what the processor has. */
#include "kernels.h"

#include <string.h>

#ifdef SPARSECHOL_X86
static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
}
#endif

static int never(int64_t work) {
    (void)work;
    return 0;
}

int (*kernels_stopped)(int64_t work) = never;

const char *kernels_best(void) {
#ifdef SPARSECHOL_X86
    __builtin_cpu_init();
    if (has_avx512()) return "avx512";
    if (has_avx2()) return "avx2";
#endif
    return "portable";
}

int kernels_use(const char *name, const kernels *tables[KINDS]) {
    if (strcmp(name, "portable") == 0) {
        kernels_portable(tables);
        return 1;
    }
#ifdef SPARSECHOL_X86
    __builtin_cpu_init();
    if (strcmp(name, "avx2") == 0 && has_avx2()) {
        kernels_avx2(tables);
        return 1;
    }
    if (strcmp(name, "avx512") == 0 && has_avx512()) {
        kernels_avx512(tables);
        return 1;
    }
#endif
    return 0;
}

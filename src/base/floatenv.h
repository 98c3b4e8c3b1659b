/* The floating-point arithmetic of the process around the library: it may round otherwise, trap, or take subnormal numbers for zero (threads inherit
 * that from torch.set_flush_denormal or -ffast-math). What is computed here must not depend on it, and leaves it as it was:
 *
 *     cn_auto_floatenv fenv_t callers = cn_floatenv_enter();     the default arithmetic, to the end of the block
 *
 * The compiler does not know of it: what is computed must have gone to memory or into another file's function before the block ends. */
#ifndef CN_BASE_FLOATENV_H
#define CN_BASE_FLOATENV_H

#include <fenv.h>

static inline fenv_t cn_floatenv_enter(void)
{
    fenv_t callers;
    fegetenv(&callers);
    fesetenv(FE_DFL_ENV);
    return callers;
}

static inline void cn_floatenv_leave(const fenv_t *callers)
{
    fesetenv(callers);
}

#define cn_auto_floatenv __attribute__((cleanup(cn_floatenv_leave), unused))

#endif

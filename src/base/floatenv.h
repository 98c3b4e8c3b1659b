/* The floating-point arithmetic of the process around the library: it may round otherwise, trap, or take subnormal numbers for zero (threads inherit
 * that from torch.set_flush_denormal or -ffast-math). What is computed here must not depend on it, and leaves its modes as they were (in the default ones
 * an exception's flag may stay raised):
 *
 *     cn_auto_floatenv struct cn_floatenv callers = cn_floatenv_enter();     the default arithmetic, to the end of the block
 *
 * The compiler does not know of it: what is computed must have gone to memory or into another file's function before the block ends. */
#ifndef CN_BASE_FLOATENV_H
#define CN_BASE_FLOATENV_H

#include <fenv.h>
#include <stdbool.h>

struct cn_floatenv {
    fenv_t callers;
    bool changed;
};

/* Asking is quicker than changing, where the processor can be asked. */
static inline bool cn_floatenv_is_default(void)
{
#if defined(__x86_64__)
    enum { SSE_MODES = 0xffc0, SSE_DEFAULT = 0x1f80, X87_MODES = 0x0f3f, X87_DEFAULT = 0x033f };
    unsigned short x87;
    __asm__ volatile("fnstcw %0" : "=m"(x87));
    return (__builtin_ia32_stmxcsr() & SSE_MODES) == SSE_DEFAULT && (x87 & X87_MODES) == X87_DEFAULT;
#else
    return false;
#endif
}

static inline struct cn_floatenv cn_floatenv_enter(void)
{
    struct cn_floatenv floatenv;
    floatenv.changed = !cn_floatenv_is_default();
    if (!floatenv.changed) return floatenv;
    fegetenv(&floatenv.callers);
    fesetenv(FE_DFL_ENV);
    return floatenv;
}

static inline void cn_floatenv_leave(const struct cn_floatenv *floatenv)
{
    if (floatenv->changed) fesetenv(&floatenv->callers);
}

#define cn_auto_floatenv __attribute__((cleanup(cn_floatenv_leave), unused))

#endif

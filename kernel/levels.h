/* Levels of x86-64: the loader takes the best version of a function that the processor has.

   `CLONES` goes before a function whose loops are worth it. `flatten` draws what it calls into each version: a function
   that stays outside would be of the lowest level. Where the compiler or the C library has no such choice (clang before
   17, musl, other processors) there is one version. */
#pragma once

#if defined(__x86_64__) && defined(__GLIBC__) && (defined(__clang__) ? __clang_major__ >= 17 : __GNUC__ >= 11)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), flatten))
#else
#define CLONES
#endif

#define INLINE static inline __attribute__((always_inline))

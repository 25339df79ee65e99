/* Numbers whose bytes lie sorted by place: of a row all first bytes, then all second ones, as icshift/runs/planes.py has them.
   What is alike in neighbours, as their exponents, then stands together and is compressed. */
#include <stdint.h>
#include <string.h>

#include "kernel.h"
#include "levels.h"

CLONES void join_planes(const uint8_t *planes, int64_t rows, int64_t n, int size, uint8_t *values)
{
    for (int64_t r = 0; r < rows; r++) {
        const uint8_t *from = planes + r * n * size;
        uint8_t *to = values + r * n * size;
        if (size == 4) {
            for (int64_t i = 0; i < n; i++) {
                uint32_t whole = from[i] | (uint32_t)from[n + i] << 8 | (uint32_t)from[2 * n + i] << 16 |
                                 (uint32_t)from[3 * n + i] << 24;
                memcpy(to + 4 * i, &whole, sizeof whole);
            }
        } else {
            for (int64_t i = 0; i < n; i++)
                for (int k = 0; k < size; k++)
                    to[size * i + k] = from[k * n + i];
        }
    }
}

/* The hashes of the rows of a tensor, added up; as of icshift/hooks/row_hash.py, in whole numbers modulo 2^64.

   Shifts are those of signed numbers, as NumPy has them; products and sums are unsigned, which may wrap. */
#include "kernel.h"

static int64_t value_at(const void *values, int64_t place, int size)
{
    switch (size) {
    case 1:
        return ((const int8_t *)values)[place];
    case 2:
        return ((const int16_t *)values)[place];
    case 4:
        return ((const int32_t *)values)[place];
    default: {
        int64_t value = ((const int64_t *)values)[place];
        return value ^ (value >> 32);
    }
    }
}

static int64_t times(int64_t a, uint64_t b) { return (int64_t)((uint64_t)a * b); }

static int64_t mixed(int64_t number)
{
    number ^= number >> 32;
    number = times(number, 0x9E3779B97F4A7C15);
    number ^= number >> 29;
    number = times(number, 0xC4CEB9FE1A85EC53);
    return number ^ (number >> 32);
}

int64_t hash_rows(const void *values, int64_t rows, int64_t row, int size, places_t at)
{
    uint64_t total = 0;
    for (int64_t r = 0; r < rows; r++) {
        uint64_t sum = 0;
        for (int64_t k = 0; k < at.n; k++)
            sum += (uint64_t)value_at(values, r * row + at.drawn[k], size) * (uint64_t)at.factors[k];
        total += (uint64_t)mixed((int64_t)sum);
    }
    return (int64_t)total;
}

#include "base/sha256.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#define BLOCK_BYTES 64u

typedef void (*compress_blocks)(uint32_t state[8], const unsigned char *bytes, size_t blocks);

static const uint32_t rounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t turn(uint32_t word, unsigned by)
{
    return word >> by | word << (32 - by);
}

static inline uint32_t big_endian(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void compress_plain(uint32_t state[8], const unsigned char *bytes, size_t blocks)
{
    for (; blocks > 0; blocks--, bytes += BLOCK_BYTES) {
        uint32_t w[64], v[8];
        for (int i = 0; i < 16; i++)
            w[i] = big_endian(bytes + 4 * i);
        for (int i = 16; i < 64; i++) {
            uint32_t early = w[i - 15], late = w[i - 2];
            w[i] = w[i - 16] + (turn(early, 7) ^ turn(early, 18) ^ early >> 3) + w[i - 7] +
                   (turn(late, 17) ^ turn(late, 19) ^ late >> 10);
        }
        memcpy(v, state, sizeof(v));
#pragma GCC unroll 8
        for (int i = 0; i < 64; i++) {
            /* The eight words change places each round: their names do, rather than they. */
#define V(k) v[((k) + 64 - i) & 7]
            V(7) +=
                (turn(V(4), 6) ^ turn(V(4), 11) ^ turn(V(4), 25)) + ((V(4) & V(5)) ^ (~V(4) & V(6))) + rounds[i] + w[i];
            V(3) += V(7);
            V(7) += (turn(V(0), 2) ^ turn(V(0), 13) ^ turn(V(0), 22)) + ((V(0) & V(1)) ^ (V(0) & V(2)) ^ (V(1) & V(2)));
#undef V
        }
        for (int i = 0; i < 8; i++)
            state[i] += v[i];
    }
}

#if defined(__x86_64__)
/** Intel's SHA extensions: they hold the eight words as ABEF and CDGH, and take four words of the message at a time. */
__attribute__((target("sha,sse4.1,ssse3"))) static void compress_native(uint32_t state[8], const unsigned char *bytes,
                                                                        size_t blocks)
{
    const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)&state[0]), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)&state[4]), 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);
    for (; blocks > 0; blocks--, bytes += BLOCK_BYTES) {
        __m128i abef_before = abef, cdgh_before = cdgh, w[4];
        for (int i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(bytes + 16 * i)), order);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i sum = _mm_add_epi32(w[i & 3], _mm_loadu_si128((const __m128i *)&rounds[4 * i]));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            if (i < 12) /* the words of round i + 4 */
                w[i & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]),
                                                              _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4)),
                                                w[(i + 3) & 3]);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1b);
    high = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)&state[0], _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)&state[4], _mm_alignr_epi8(high, low, 8));
}

static compress_blocks choose(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & bit_SHA) == 0)
        return compress_plain;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_SSSE3) == 0 || (c & bit_SSE4_1) == 0)
        return compress_plain;
    return compress_native;
}
#else
static compress_blocks choose(void)
{
    return compress_plain;
}
#endif

static void digest(compress_blocks compress, const void *bytes, size_t size, uint8_t out[SHA256_BYTES])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char last[2 * BLOCK_BYTES] = {0};
    size_t whole = size / BLOCK_BYTES, left = size % BLOCK_BYTES;
    size_t padded = left < BLOCK_BYTES - 8 ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    compress(state, bytes, whole);
    if (left > 0)
        memcpy(last, (const unsigned char *)bytes + whole * BLOCK_BYTES, left);
    last[left] = 0x80;
    for (int i = 0; i < 8; i++)
        last[padded - 1 - (size_t)i] = (unsigned char)((uint64_t)size << 3 >> (8 * i));
    compress(state, last, padded / BLOCK_BYTES);
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 4; j++)
            out[4 * i + j] = (uint8_t)(state[i] >> (24 - 8 * j));
}

void sha256(const void *bytes, size_t size, uint8_t out[SHA256_BYTES])
{
    digest(choose(), bytes, size, out);
}

void sha256_plain(const void *bytes, size_t size, uint8_t out[SHA256_BYTES])
{
    digest(compress_plain, bytes, size, out);
}

// A library in the form that rFaaS gives its functions, built without a header of ours.
#include <cstdint>
#include <numeric>
#include <vector>

extern "C" uint32_t empty(void *args, uint32_t size, void *res)
{
    int *src = static_cast<int *>(args), *dest = static_cast<int *>(res);
    if (size >= sizeof(int))
        *dest = *src;
    return size;
}

extern "C" uint32_t reverse_sum(void *args, uint32_t size, void *res)
{
    int32_t *src = static_cast<int32_t *>(args), *dest = static_cast<int32_t *>(res);
    std::vector<int32_t> values(src, src + size / sizeof(int32_t));
    dest[0] = std::accumulate(values.rbegin(), values.rend(), 0);
    src[0] = 0; // arguments are the function's own to write to
    return sizeof(int32_t);
}

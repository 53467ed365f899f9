// libforms.so: functions in C++. SUBLET_FUNCTION catches what is thrown; a plain extern "C" function need not.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sublet/function.h"

/// Sorts numbers (int32); error when their bytes are none.
SUBLET_FUNCTION(sort_numbers)
{
    if (context->in_bytes % sizeof(int32_t) != 0 || context->in_bytes > context->out_bytes)
        throw std::invalid_argument("not a whole number of numbers, or no room for them");
    const auto *first = static_cast<const int32_t *>(in);
    std::vector<int32_t> numbers(first, first + context->in_bytes / sizeof(int32_t));
    std::sort(numbers.begin(), numbers.end());
    std::memcpy(out, numbers.data(), context->in_bytes);
    context->result_bytes = context->in_bytes;
    return 0;
}

/// Throws through the C interface, as the rFaaS form may.
extern "C" __attribute__((visibility("default"))) uint32_t throws(void *, uint32_t size, void *)
{
    throw std::runtime_error("called with " + std::to_string(size) + " bytes");
}

/// Ends by std::terminate without an exception: a thread that nobody has joined.
extern "C" __attribute__((visibility("default"))) uint32_t forgets_thread(void *, uint32_t, void *)
{
    std::thread thread([] {});
    return 0;
}

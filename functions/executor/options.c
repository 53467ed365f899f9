#include "executor/options.h"

#include <string.h>

#include "wire/ring_layout.h"

#define SPIN_US_DEFAULT 50u
#define SPIN_US_MAX     10000000u

enum key { KIND, LEASE, CORES, OWNER, MEMORY, TOKEN, SPIN_US, SLOTS_MAX, FABRIC, SAYS_CLIENT, KEY_COUNT };

static const char *const names[KEY_COUNT] = {"kind",  "lease",   "cores",     "owner",  "memory",
                                             "token", "spin_us", "slots_max", "fabric", "says_client"};

/** A run of decimal digits up to `end`; false when empty or above `most`. */
static bool number(const char **text, const char *end, uint64_t most, uint64_t *out)
{
    uint64_t value = 0;
    const char *at = *text;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (value > (most - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (at == *text)
        return false;
    *text = at;
    *out = value;
    return true;
}

static bool whole_number(const char *text, const char *end, uint64_t most, uint64_t *out)
{
    return number(&text, end, most, out) && text == end;
}

/** A CPU list: 1,3 or 0-2,5. One worker each, in that order. */
static bool cores(const char *text, const char *end, struct executor_options *out)
{
    while (text < end) {
        uint64_t first, last;
        if (!number(&text, end, 65535, &first))
            return false;
        last = first;
        if (text < end && *text == '-') {
            text++;
            if (!number(&text, end, 65535, &last) || last < first)
                return false;
        }
        for (uint64_t core = first; core <= last; core++) {
            if (out->workers == CONTROL_WORKERS_MAX)
                return false;
            out->cores[out->workers++] = (int)core;
        }
        if (text == end)
            return true;
        if (*text++ != ',')
            return false;
    }
    return out->workers == 0; /* empty, or a comma at the end */
}

static int hex(char letter)
{
    if (letter >= '0' && letter <= '9')
        return letter - '0';
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

static bool token(const char *text, const char *end, uint8_t *out)
{
    if (end - text != 2 * (int)CONTROL_TOKEN_BYTES)
        return false;
    for (uint32_t i = 0; i < CONTROL_TOKEN_BYTES; i++) {
        int high = hex(text[2 * i]), low = hex(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool kind(const char *text, const char *end, bool *region)
{
    size_t size = (size_t)(end - text);
    *region = size == 6 && memcmp(text, "region", 6) == 0;
    return *region || (size == 8 && memcmp(text, "function", 8) == 0);
}

static bool take(enum key key, const char *text, const char *end, struct executor_options *out)
{
    uint64_t value = 0;
    switch (key) {
    case KIND:
        return kind(text, end, &out->region);
    case LEASE:
        if (text == end || (size_t)(end - text) >= sizeof(out->lease))
            return false;
        memcpy(out->lease, text, (size_t)(end - text));
        return true;
    case CORES:
        return cores(text, end, out);
    case OWNER:
        if (!whole_number(text, end, UINT32_MAX - 1, &value))
            return false;
        out->owner = (uid_t)value;
        return true;
    case MEMORY:
        return whole_number(text, end, UINT64_C(1) << 46, &out->memory_bytes);
    case TOKEN:
        return token(text, end, out->token);
    case SPIN_US:
        if (!whole_number(text, end, SPIN_US_MAX, &value))
            return false;
        out->spin_ns = value * 1000;
        return true;
    case SLOTS_MAX:
        if (!whole_number(text, end, 65536, &value) || value == 0)
            return false;
        out->slots_max = value < RING_SLOTS_MAX ? (uint32_t)value : RING_SLOTS_MAX;
        return true;
    case FABRIC:
        if (text == end || (size_t)(end - text) >= sizeof(out->fabric))
            return false;
        memcpy(out->fabric, text, (size_t)(end - text));
        return true;
    case SAYS_CLIENT:
        if (!whole_number(text, end, 65536, &value) || value > 1)
            return false;
        out->says_client = value == 1;
        return true;
    case KEY_COUNT:
        break;
    }
    return false;
}

static sublet_status refuse(const char **why_out, const char *why)
{
    *why_out = why;
    return SUBLET_ERR_INVALID;
}

sublet_status options_parse(const char *text, size_t size, struct executor_options *out, const char **why_out)
{
    struct executor_options options = {.unix_fd = -1,
                                       .tcp_fd = -1,
                                       .stats_fd = -1,
                                       .slots_max = RING_SLOTS_MAX,
                                       .spin_ns = SPIN_US_DEFAULT * UINT64_C(1000)};
    bool seen[KEY_COUNT] = {false};
    const char *end = text + size;
    while (text < end) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        if (line_end == NULL)
            line_end = end;
        const char *equals = memchr(text, '=', (size_t)(line_end - text));
        if (equals == NULL)
            return refuse(why_out, "a line of the configuration has no '='");
        int key = 0;
        while (key < KEY_COUNT && (strlen(names[key]) != (size_t)(equals - text) ||
                                   memcmp(names[key], text, (size_t)(equals - text)) != 0))
            key++;
        if (key == KEY_COUNT)
            return refuse(why_out, "unknown key in the configuration; known are kind, lease, cores, owner, memory, "
                                   "token, spin_us, slots_max, fabric, says_client");
        if (seen[key])
            return refuse(why_out, "a key of the configuration is there twice");
        seen[key] = true;
        if (!take((enum key)key, equals + 1, line_end, &options))
            return refuse(why_out, names[key]);
        text = line_end < end ? line_end + 1 : end;
    }
    if (!seen[KIND] || !seen[OWNER] || !seen[TOKEN])
        return refuse(why_out, "the configuration lacks kind, owner or token");
    if (options.region ? options.memory_bytes == 0 : options.workers == 0)
        return refuse(why_out, options.region ? "a region needs memory" : "functions need cores");
    *out = options;
    return SUBLET_OK;
}

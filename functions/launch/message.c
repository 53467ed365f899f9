#include "launch/message.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool key_is_valid(const char *key, size_t size)
{
    if (size < 1 || size > 32)
        return false;
    for (size_t i = 0; i < size; i++)
        if (!((key[i] >= 'a' && key[i] <= 'z') || key[i] == '_'))
            return false;
    return true;
}

bool message_parse(char *text, size_t size, struct message *message)
{
    message->count = 0;
    text[size] = '\0';
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\n') || text[i] == 0x7f)
            return false;
    char *end = text + size;
    for (char *line = text; line < end;) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        char *equals = memchr(line, '=', (size_t)(end - line));
        if (stop == NULL || equals == NULL || equals > stop || message->count == LINES_MAX)
            return false;
        if (!key_is_valid(line, (size_t)(equals - line)))
            return false;
        *equals = '\0';
        *stop = '\0';
        message->lines[message->count++] = (struct line){.key = line, .value = equals + 1};
        line = stop + 1;
    }
    return message->count > 0;
}

const char *message_get(const struct message *message, const char *key)
{
    const char *value = NULL;
    for (size_t i = 0; i < message->count; i++) {
        if (strcmp(message->lines[i].key, key) != 0)
            continue;
        if (value != NULL)
            return NULL;
        value = message->lines[i].value;
    }
    return value;
}

bool parse_number(const char *text, uint64_t max, uint64_t *value_out)
{
    if (text == NULL || text[0] == '\0')
        return false;
    uint64_t value = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9')
            return false;
        uint64_t digit = (uint64_t)(*at - '0');
        if (value > (max - digit) / 10 || digit > max)
            return false;
        value = value * 10 + digit;
    }
    *value_out = value;
    return true;
}

void text_begin(struct text *text)
{
    text->size = FRAME_HEADER;
    text->full = false;
}

void text_add(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int added = vsnprintf(text->bytes + text->size, sizeof(text->bytes) - text->size, format, arguments);
    va_end(arguments);
    if (added < 0 || (size_t)added >= sizeof(text->bytes) - text->size)
        text->full = true;
    else
        text->size += (size_t)added;
}

void text_end(struct text *text)
{
    uint32_t size = (uint32_t)(text->size - FRAME_HEADER);
    for (int i = 0; i < 4; i++)
        text->bytes[i] = (char)(size >> (8 * i));
}

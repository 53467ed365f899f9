#include "launch/message.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
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

bool message_copy(const struct message *message, struct message_copy *copy_out)
{
    *copy_out = (struct message_copy){.message.count = message->count};
    for (size_t i = 0; i < message->count; i++)
        copy_out->size += strlen(message->lines[i].key) + strlen(message->lines[i].value) + 2;
    char *at = copy_out->bytes = malloc(copy_out->size);
    for (size_t i = 0; at != NULL && i < message->count; i++) {
        struct line *line = &copy_out->message.lines[i];
        line->key = strcpy(at, message->lines[i].key);
        at += strlen(at) + 1;
        line->value = strcpy(at, message->lines[i].value);
        at += strlen(at) + 1;
    }
    return copy_out->bytes != NULL;
}

void message_copy_free(struct message_copy *copy)
{
    if (copy->bytes != NULL)
        explicit_bzero(copy->bytes, copy->size);
    free(copy->bytes);
    copy->bytes = NULL;
}

void message_drop(struct message *message, const char *const *keys)
{
    size_t kept = 0;
    for (size_t i = 0; i < message->count; i++) {
        size_t k = 0;
        while (keys[k] != NULL && strcmp(keys[k], message->lines[i].key) != 0)
            k++;
        if (keys[k] == NULL)
            message->lines[kept++] = message->lines[i];
    }
    message->count = kept;
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

/** Which symbols a library defines: as the loader has it, and whatever else the file may be. */
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "executor/symbols.h"

struct file {
    size_t size;
    unsigned char *bytes; /* ends where a page ends: reading on is a fault */
    size_t mapped;
    unsigned char *pages;
};

static struct file file_of(const unsigned char *bytes, size_t size)
{
    size_t page = 4096, mapped = (size + page - 1) / page * page;
    struct file file = {.size = size, .mapped = mapped + page};
    file.pages = mmap(NULL, mapped + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(file.pages != MAP_FAILED);
    assert_int_equal(mprotect(file.pages + mapped, page, PROT_NONE), 0);
    file.bytes = file.pages + mapped - size;
    memcpy(file.bytes, bytes, size);
    return file;
}

static void drop(struct file *file)
{
    munmap(file->pages, file->mapped);
}

static struct file echo(void)
{
    int fd = open(LIBRARIES "/libecho.so", O_RDONLY | O_CLOEXEC);
    struct stat info;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &info), 0);
    unsigned char *bytes = malloc((size_t)info.st_size);
    assert_true(bytes != NULL);
    assert_int_equal(read(fd, bytes, (size_t)info.st_size), info.st_size);
    close(fd);
    struct file file = file_of(bytes, (size_t)info.st_size);
    free(bytes);
    return file;
}

static bool defines(const struct file *file, const char *name)
{
    return symbols_define(file->bytes, file->size, name);
}

static void reads_what_the_loader_would_find(void **state)
{
    (void)state;
    struct file file = echo();
    assert_true(defines(&file, "echo"));
    assert_true(defines(&file, "empty"));
    assert_false(defines(&file, "ech"));
    assert_false(defines(&file, "echo_"));
    assert_false(defines(&file, ""));
    assert_false(defines(&file, "memcpy")); /* used, not defined */
    drop(&file);
}

static void a_part_of_a_file_defines_nothing(void **state)
{
    (void)state;
    struct file whole = echo();
    for (size_t size = 0; size < whole.size; size += size < 256 ? 1 : 97) {
        struct file file = file_of(whole.bytes, size);
        assert_false(defines(&file, "echo")); /* the headers of sections come last */
        drop(&file);
    }
    drop(&whole);
}

/** Whatever stands in the headers, it reads within the file, and ends. */
static void hostile_headers_are_read_within_bounds(void **state)
{
    (void)state;
    struct file file = echo();
    ElfW(Ehdr) head;
    memcpy(&head, file.bytes, sizeof(head));
    static const uint64_t values[] = {0, 1, 0x7fffffff, 0xffffffff, UINT64_MAX, UINT64_MAX - 63, 0x8000000000000000u};
    size_t from = (size_t)head.e_shoff;
    for (size_t at = 0; at < file.size; at += 4) {
        if (at >= sizeof(head) && at < from)
            at = from;
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            unsigned char kept[8];
            size_t width = file.size - at < 8 ? file.size - at : 8;
            memcpy(kept, file.bytes + at, width);
            memcpy(file.bytes + at, &values[i], width);
            (void)defines(&file, "no_such_function");
            memcpy(file.bytes + at, kept, width);
        }
    }
    assert_true(defines(&file, "echo"));
    drop(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_loader_would_find),
        cmocka_unit_test(a_part_of_a_file_defines_nothing),
        cmocka_unit_test(hostile_headers_are_read_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "executor/symbols.h"

#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <string.h>

/** A part of the file; NULL unless all of it lies within. */
static const unsigned char *part(const unsigned char *bytes, size_t size, uint64_t offset, uint64_t length)
{
    return offset <= size && length <= size - offset ? bytes + offset : NULL;
}

static bool section_at(const unsigned char *bytes, size_t size, const ElfW(Ehdr) * head, uint32_t index,
                       ElfW(Shdr) * section_out)
{
    if (index >= head->e_shnum)
        return false;
    const unsigned char *all = part(bytes, size, head->e_shoff, (uint64_t)head->e_shnum * sizeof(*section_out));
    if (all != NULL)
        memcpy(section_out, all + (size_t)index * sizeof(*section_out), sizeof(*section_out));
    return all != NULL;
}

/** Is this what an undefined, hidden or local symbol is not? */
static bool can_be_found(const ElfW(Sym) * symbol)
{
    unsigned binding = symbol->st_info >> 4, visibility = symbol->st_other & 3u;
    return symbol->st_shndx != SHN_UNDEF && (binding == STB_GLOBAL || binding == STB_WEAK) &&
           (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

/** Looks through one table of symbols, whose names are in `names`. */
static bool table_defines(const unsigned char *bytes, size_t size, const ElfW(Shdr) * table, const ElfW(Shdr) * names,
                          const char *name)
{
    const unsigned char *symbols = part(bytes, size, table->sh_offset, table->sh_size);
    const unsigned char *texts = part(bytes, size, names->sh_offset, names->sh_size);
    size_t length = strlen(name) + 1;
    if (symbols == NULL || texts == NULL)
        return false;
    for (size_t i = 0; i < table->sh_size / sizeof(ElfW(Sym)); i++) {
        ElfW(Sym) symbol;
        memcpy(&symbol, symbols + i * sizeof(symbol), sizeof(symbol));
        const unsigned char *text = part(texts, names->sh_size, symbol.st_name, length);
        if (text != NULL && can_be_found(&symbol) && memcmp(text, name, length) == 0)
            return true;
    }
    return false;
}

bool symbols_define(const unsigned char *bytes, size_t size, const char *name)
{
    ElfW(Ehdr) head;
    ElfW(Shdr) table, names;
    if (size < sizeof(head))
        return false;
    memcpy(&head, bytes, sizeof(head));
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != (sizeof(void *) == 8 ? 2 : 1) ||
        head.e_ident[EI_DATA] != ELFDATA2LSB || head.e_shentsize != sizeof(table))
        return false;
    for (uint32_t i = 0; section_at(bytes, size, &head, i, &table); i++)
        if (table.sh_type == SHT_DYNSYM) /* there is one; a file with more of them would cost time for nothing */
            return table.sh_entsize == sizeof(ElfW(Sym)) && section_at(bytes, size, &head, table.sh_link, &names) &&
                   table_defines(bytes, size, &table, &names, name);
    return false;
}

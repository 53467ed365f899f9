/** A function library as a client sends it: what an executor reads of the file itself, before anything of it is loaded.
 */
#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "executor/symbols.h"

/** Files that are no ELF of this machine end at once: half of the inputs get what such a file begins with. */
static void begin_like_a_library(uint8_t *bytes, size_t size)
{
    static const unsigned char ident[EI_NIDENT] = {
        ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_NONE,
    };
    if (size < sizeof(Elf64_Ehdr))
        return;
    Elf64_Ehdr header;
    memcpy(&header, bytes, sizeof(header));
    memcpy(header.e_ident, ident, sizeof(ident));
    header.e_type = ET_DYN;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_ehsize = sizeof(header);
    header.e_shentsize = sizeof(Elf64_Shdr);
    size_t count = (size - sizeof(header)) / sizeof(Elf64_Shdr);
    header.e_shoff = sizeof(header);
    header.e_shnum = (Elf64_Half)(count < 4 ? count : 4);
    memcpy(bytes, &header, sizeof(header));
    for (size_t i = 0; i < header.e_shnum; i++) {
        Elf64_Shdr section;
        uint8_t *at = bytes + sizeof(header) + i * sizeof(section);
        memcpy(&section, at, sizeof(section));
        section.sh_type = section.sh_type % 2 == 0 ? SHT_DYNSYM : SHT_STRTAB;
        section.sh_entsize = sizeof(Elf64_Sym);
        section.sh_link %= header.e_shnum;
        if (section.sh_flags % 4 != 0) { /* mostly within the file */
            section.sh_offset %= size + 1;
            section.sh_size %= size - section.sh_offset + 1;
        }
        memcpy(at, &section, sizeof(section));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    if (size > 0 && data[size - 1] % 2 == 0)
        begin_like_a_library(copy, size);
    (void)symbols_define(copy, size, "empty");
    free(copy);
    return 0;
}

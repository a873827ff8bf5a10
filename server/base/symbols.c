#include "server/base/symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/error.h"
#include "server/base/fd.h"
#include "server/base/text.h"

struct symbols {
    const uint8_t *file; /* mapped; NULL: none */
    size_t size;
    const ElfW(Sym) * table;
    size_t count;
    const char *names; /* NUL-terminated strings, the last byte of the section included */
    size_t names_size;
    uintptr_t bias; /* of the program: where it was loaded, less where it was linked to be */
};

/* -- the program's own symbol table. The file is ours and cannot be written while it runs, but nothing here
 * relies on its being well formed -- */

static const void *
part(const struct symbols *symbols, uint64_t offset, uint64_t size)
{
    return offset <= symbols->size && size <= symbols->size - offset ? symbols->file + offset : NULL;
}

static const ElfW(Shdr) * section(const struct symbols *symbols, const ElfW(Ehdr) * header, size_t index)
{
    if (index >= header->e_shnum || header->e_shentsize != sizeof(ElfW(Shdr)) || header->e_shoff % 8 != 0)
        return NULL;
    return part(symbols, header->e_shoff + index * sizeof(ElfW(Shdr)), sizeof(ElfW(Shdr)));
}

static void
table_find(struct symbols *symbols)
{
    const ElfW(Ehdr) *header = part(symbols, 0, sizeof *header);
    for (size_t i = 0; header && i < header->e_shnum; i++) {
        const ElfW(Shdr) *table = section(symbols, header, i);
        const ElfW(Shdr) *names =
            table && table->sh_type == SHT_SYMTAB ? section(symbols, header, table->sh_link) : NULL;
        if (!names || table->sh_offset % 8 != 0)
            continue;
        const void *entries = part(symbols, table->sh_offset, table->sh_size);
        const char *text = part(symbols, names->sh_offset, names->sh_size);
        if (!entries || !text || names->sh_size == 0 || text[names->sh_size - 1] != '\0')
            continue;
        symbols->table = entries;
        symbols->count = table->sh_size / sizeof(ElfW(Sym));
        symbols->names = text;
        symbols->names_size = names->sh_size;
        return;
    }
}

/* The first object is the program itself. */
static int
bias_of_program(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    *(uintptr_t *)arg = info->dlpi_addr;
    return 1;
}

struct symbols *
symbols_open(void)
{
    struct symbols *symbols = calloc(1, sizeof *symbols);
    if (!symbols)
        return NULL;
    dl_iterate_phdr(bias_of_program, &symbols->bias);
    CLEANUP(fd_closep)
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0 || info.st_size <= 0)
        return symbols;
    void *file = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (file == MAP_FAILED)
        return symbols;
    symbols->file = file;
    symbols->size = (size_t)info.st_size;
    table_find(symbols);
    return symbols;
}

void
symbols_close(struct symbols *symbols)
{
    if (!symbols)
        return;
    if (symbols->file)
        munmap((void *)(uintptr_t)symbols->file, symbols->size);
    free(symbols);
}

/* -- names -- */

/* The function of the program at `at` (as it was linked), or NULL. */
static const ElfW(Sym) * function_at(const struct symbols *symbols, uintptr_t at)
{
    for (size_t i = 0; i < symbols->count; i++) {
        const ElfW(Sym) *symbol = &symbols->table[i];
        if (ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && symbol->st_name < symbols->names_size &&
            at >= symbol->st_value && at - symbol->st_value < symbol->st_size)
            return symbol;
    }
    return NULL;
}

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void
symbol_text(const struct symbols *symbols, const void *address, bool returns, char text[SYMBOL_TEXT_BYTES])
{
    /* A call may be a function's last instruction: then what it returns to belongs to the next function. */
    uintptr_t at = (uintptr_t)address - (returns ? 1 : 0);
    Dl_info info = {0};
    if (dladdr((const void *)at, &info) == 0 || !info.dli_fname) {
        snprintf(text, SYMBOL_TEXT_BYTES, "(no module)");
        return;
    }
    uintptr_t base = (uintptr_t)info.dli_fbase;
    const ElfW(Sym) *own = NULL;
    if (symbols)
        own = function_at(symbols, at - symbols->bias); /* beyond every function when it is a library's */
    const char *name = own ? symbols->names + own->st_name : info.dli_sname;
    uintptr_t begin = own ? symbols->bias + own->st_value : (uintptr_t)info.dli_saddr;
    uintptr_t linked = own ? symbols->bias : base;
    if (name)
        snprintf(text, SYMBOL_TEXT_BYTES, "%.80s+0x%" PRIxPTR " (%.32s+0x%" PRIxPTR ")", name,
                 (uintptr_t)address - begin, base_name(info.dli_fname), (uintptr_t)address - linked);
    else
        snprintf(text, SYMBOL_TEXT_BYTES, "(%.32s+0x%" PRIxPTR ")", base_name(info.dli_fname),
                 (uintptr_t)address - linked);
}

/* -- build id -- */

struct build_id {
    char *text;
    size_t size;
};

static int
build_id_of_program(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    struct build_id *ret = arg;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        const uint8_t *notes = (const uint8_t *)(info->dlpi_addr + segment->p_vaddr);
        size_t offset = 0;
        while (segment->p_type == PT_NOTE && segment->p_memsz - offset >= sizeof(ElfW(Nhdr))) {
            const ElfW(Nhdr) *note = (const void *)(notes + offset);
            size_t name = (note->n_namesz + 3U) & ~3U, bytes = (note->n_descsz + 3U) & ~3U;
            offset += sizeof *note;
            if (name > segment->p_memsz - offset || bytes > segment->p_memsz - offset - name)
                break;
            if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
                memcmp(notes + offset, "GNU", 4) == 0 && 2 * note->n_descsz < ret->size)
                text_hex(ret->text, notes + offset + name, note->n_descsz);
            offset += name + bytes;
        }
    }
    return 1;
}

void
symbols_build_id(char *text, size_t size)
{
    struct build_id id = {.text = text, .size = size};
    text[0] = '\0';
    dl_iterate_phdr(build_id_of_program, &id);
}

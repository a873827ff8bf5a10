/*
 * Names of code addresses, for stack dumps: the function by the program's own symbol table (static functions
 * included, unless the file was stripped) or by what a shared library exports, and in any case the module
 * with the offset in it, which `addr2line -e MODULE OFFSET` takes. Absolute addresses are never told: they
 * would give away where the program was loaded.
 *
 * Threads: a table belongs to one thread at a time.
 */
#ifndef SERVER_BASE_SYMBOLS_H
#define SERVER_BASE_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of a symbol_text(), NUL included; a longer name is cut. */
#define SYMBOL_TEXT_BYTES 160

struct symbols;

/* Maps the program's file. Never fails: without the file, or without memory (NULL), names are fewer. */
struct symbols *symbols_open(void);

/* NULL is fine. */
void symbols_close(struct symbols *symbols);

/* Writes "function+0x12 (module+0x3456)", or "(module+0x3456)". `returns`: the address is one to return to,
 * so the call before it is what is named. */
void symbol_text(const struct symbols *symbols, const void *address, bool returns,
                 char text[SYMBOL_TEXT_BYTES]);

/* The program's build id as lower-case digits, "" when it has none; it finds the debug information that goes
 * with an offset. */
void symbols_build_id(char *text, size_t size);

#endif

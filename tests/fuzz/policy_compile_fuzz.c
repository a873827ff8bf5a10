/*
 * A policy that parses, whatever the input is: each byte chooses a name, a value or a version from what
 * policies are made of, so that the search spends its time in what comes after the parser.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/policy_load_check.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

enum { TEXT_MAX = 1 << 16, DEPTH_MAX = 6, ITEMS_MAX = 5 };

struct writer {
    const uint8_t *bytes;
    size_t size, at;
    char *text;
    size_t used;
};

static const char *const versions[] = {"0.12.0", "0.5.0",      "0.1.0", "0.11.1", "0.4.1",
                                       "99.0.0", "0.5.0-rc.1", "x",     ""};

static const char *const lists[] = {
    "containers",           "fragments", "external_processes", "platform_rules", "transparency_trust_lists",
    "allowed_log_providers"};

static const char *const flags[] = {"allow_properties_access",   "allow_dump_stacks",
                                    "allow_runtime_logging",     "allow_environment_variable_dropping",
                                    "allow_unencrypted_scratch", "allow_log_provider_dropping",
                                    "allow_capability_dropping", "unheard_of"};

static const char *const members[] = {"command",
                                      "env_rules",
                                      "layers",
                                      "mounted_cim",
                                      "mounts",
                                      "exec_processes",
                                      "signals",
                                      "user",
                                      "working_dir",
                                      "allow_stdio_access",
                                      "pattern",
                                      "strategy",
                                      "required",
                                      "name",
                                      "name_strategy",
                                      "value",
                                      "value_strategy",
                                      "destination",
                                      "source",
                                      "type",
                                      "options",
                                      "issuer",
                                      "feed",
                                      "minimum_svn",
                                      "includes",
                                      "required_receipts",
                                      "parameters",
                                      "subject",
                                      "allowed_ledgers",
                                      "registry_changes",
                                      "add_values",
                                      "delete_keys",
                                      "key",
                                      "hive",
                                      "allowed",
                                      "env_list",
                                      "capabilities",
                                      "user_idname",
                                      "group_idnames",
                                      "umask",
                                      "id"};

static const char *const strings[] = {"ping",
                                      "",
                                      "string",
                                      "re2",
                                      ".+",
                                      "(a+)+$",
                                      "^A=1|B=2$",
                                      "A=\\$",
                                      "[",
                                      "(?m)x",
                                      "\\C",
                                      "a{1001}",
                                      "sandbox:///a/.+",
                                      "rbind",
                                      "rw",
                                      "bind",
                                      "/data",
                                      "CtrlC",
                                      "1aba71bb6a4b4c6df1dee7c37607c8e1da4eb6b93de103b6509daf8efd663a7d",
                                      "*",
                                      "TTL:x",
                                      "containers",
                                      "namespace",
                                      "0.1.0",
                                      "10",
                                      "C:\\",
                                      "System",
                                      "any",
                                      "0022"};

static uint8_t
next(struct writer *writer)
{
    return writer->at < writer->size ? writer->bytes[writer->at++] : 0;
}

static void
put(struct writer *writer, const char *text)
{
    size_t length = strlen(text);
    if (writer->used + length < TEXT_MAX) {
        memcpy(writer->text + writer->used, text, length);
        writer->used += length;
    }
}

static void
put_string(struct writer *writer, const char *text)
{
    put(writer, "\"");
    put(writer, text);
    put(writer, "\"");
}

static const char *
pick(struct writer *writer, const char *const *table, size_t count)
{
    return table[next(writer) % count];
}

static void put_value(struct writer *writer, unsigned depth);

static void
put_items(struct writer *writer, unsigned depth, bool object)
{
    unsigned count = next(writer) % (ITEMS_MAX + 1);
    put(writer, object ? "{" : "[");
    for (unsigned i = 0; i < count; i++) {
        if (object) {
            put_string(writer, pick(writer, members, COUNT(members)));
            put(writer, ": ");
        }
        put_value(writer, depth + 1);
        put(writer, ", ");
    }
    put(writer, object ? "}" : "]");
}

/* Half the room stays for closing what is open, so the text is whole at its bound, too. */
static void
put_value(struct writer *writer, unsigned depth)
{
    unsigned kind = next(writer) % 10;
    if (depth >= DEPTH_MAX || writer->used > TEXT_MAX / 2)
        kind = kind % 4 + 6;
    if (kind < 3)
        put_items(writer, depth, true);
    else if (kind < 6)
        put_items(writer, depth, false);
    else if (kind == 6)
        put(writer, next(writer) % 2 ? "true" : "false");
    else if (kind == 7)
        put(writer, next(writer) % 2 ? "null" : "9");
    else
        put_string(writer, pick(writer, strings, COUNT(strings)));
}

static void
put_rules(struct writer *writer)
{
    put(writer, "package policy\napi_version := ");
    put_string(writer, pick(writer, versions, COUNT(versions)));
    put(writer, "\nframework_version := ");
    put_string(writer, pick(writer, versions, COUNT(versions)));
    for (size_t i = 0; i < COUNT(lists); i++) {
        if (next(writer) % 3 == 0)
            continue;
        put(writer, "\n");
        put(writer, lists[i]);
        put(writer, " := ");
        if (next(writer) % 8 == 0)
            put_value(writer, 0);
        else
            put_items(writer, 0, false);
    }
    for (size_t i = 0; i < COUNT(flags); i++) {
        unsigned choice = next(writer) % 4;
        if (choice == 0)
            continue;
        put(writer, "\n");
        put(writer, flags[i]);
        put(writer, choice == 1 ? " := true" : choice == 2 ? " := false" : " := \"no\"");
    }
    for (unsigned point = 0; point < POLICY_POINTS; point++) {
        unsigned choice = next(writer) % 4;
        const char *name = policy_point_name((enum policy_point)point);
        if (choice == 0)
            continue;
        put(writer, "\n");
        put(writer, name);
        put(writer, choice == 3 ? " := " : " := data.framework.");
        if (choice == 3)
            put_items(writer, 0, true);
        else
            put(writer, name);
    }
    put(writer, next(writer) % 2 ? "\nreason := data.framework.reason\n"
                                 : "\nreason := {\"errors\": data.framework.errors}\n");
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct writer writer = {.bytes = bytes, .size = size, .text = malloc(TEXT_MAX)};
    if (!writer.text)
        abort();
    put_rules(&writer);
    policy_load_check((const uint8_t *)writer.text, writer.used, POLICY_WINDOWS);
    policy_load_check((const uint8_t *)writer.text, writer.used, POLICY_LINUX);
    free(writer.text);
    return 0;
}

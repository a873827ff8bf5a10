/* Writes method_points.c to standard output, from the sidecar's dispatch table. Runs while the project is
 * built. */
#include <stdio.h>
#include <stdlib.h>

#include "server/sidecar/sidecar.h"

static void
write_text(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('"');
}

int
main(int argc, char **argv)
{
    if (argc != 2 || !freopen(argv[1], "we", stdout))
        return EXIT_FAILURE;
    printf("#include \"client/gcsctl/method_points.h\"\n\nconst struct method_point method_points[] = {\n");
    for (size_t i = 0; i < sidecar_methods.count; i++) {
        const struct rpc_method *row = &sidecar_methods.rows[i];
        printf("    {%u, %u, ", row->arm, row->resource);
        write_text(row->name);
        printf(", ");
        write_text(row->policy_point);
        printf("},\n");
    }
    printf("};\nconst size_t method_points_count = %zu;\n", sidecar_methods.count);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

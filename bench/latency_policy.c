#include "bench/latency_policy.h"

#include <stdio.h>
#include <stdlib.h>

static const char head[] = "package policy\n"
                           "\n"
                           "import future.keywords.every\n"
                           "import future.keywords.in\n"
                           "\n"
                           "api_version := \"0.12.0\"\n"
                           "framework_version := \"0.5.0\"\n"
                           "\n"
                           "fragments := [\n"
                           "]\n"
                           "\n"
                           "containers := [\n"
                           "  {\n"
                           "    \"allow_stdio_access\": true,\n"
                           "    \"command\": [\"" LATENCY_POLICY_COMMAND "\"],\n"
                           "    \"env_rules\": [],\n"
                           "    \"exec_processes\": [],\n"
                           "    \"id\": \"bench\",\n"
                           "    \"layers\": [\"%s\"],\n"
                           "    \"mounted_cim\": [\"%s\"],\n"
                           "    \"mounts\": [\n";

static const char mount[] = "      {\n"
                            "        \"destination\": \"" LATENCY_POLICY_MOUNT "\",\n"
                            "        \"options\": [\"rbind\", \"rshared\", \"rw\"],\n"
                            "        \"source\": \"sandbox:///bench/.+\",\n"
                            "        \"type\": \"bind\"\n"
                            "      },\n";

static const char tail[] = "    ],\n"
                           "    \"name\": \"bench\",\n"
                           "    \"signals\": [],\n"
                           "    \"user\": \"\",\n"
                           "    \"working_dir\": \"C:\\\\\"\n"
                           "  }\n"
                           "]\n"
                           "\n"
                           "external_processes := [\n"
                           "]\n"
                           "\n"
                           "allow_properties_access := true\n"
                           "allow_dump_stacks := false\n"
                           "allow_runtime_logging := false\n"
                           "allow_environment_variable_dropping := false\n"
                           "\n";

static const char *const rules[] = {
    "mount_device",       "mount_overlay",
    "create_container",   "mount_cims",
    "unmount_device",     "unmount_overlay",
    "exec_in_container",  "exec_external",
    "shutdown_container", "signal_container_process",
    "get_properties",     "dump_stacks",
    "runtime_logging",    "load_fragment",
    "scratch_mount",      "scratch_unmount",
};

char *
latency_policy(const char *digest, size_t *ret_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);
    if (!out)
        return NULL;
    fprintf(out, head, digest, digest);
    for (unsigned i = 0; i < LATENCY_POLICY_MOUNTS; i++)
        fprintf(out, mount, i);
    fputs(tail, out);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        fprintf(out, "%s := data.framework.%s\n", rules[i], rules[i]);
    fputs("reason := {\"errors\": data.framework.errors}\n", out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

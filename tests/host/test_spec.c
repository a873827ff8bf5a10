#include "tests/host/test_spec.h"

#include <stdbool.h>
#include <stdint.h>

static char *
text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

static void
process_fill(Gcs__V1__Process *process, char **args, char **env)
{
    gcs__v1__process__init(process);
    process->args = args;
    process->env = env;
    process->cwd = text("C:\\");
    process->stdin = process->stdout = process->stderr = true;
}

void
spec_init(struct test_spec *spec)
{
    *spec = (struct test_spec){.args = {text("ping"), text("-t"), text("127.0.0.1")},
                               .env = {text("PATH=/bin")},
                               .options = {text("rbind"), text("rshared"), text("rw")}};
    gcs__v1__spec__init(&spec->spec);
    process_fill(&spec->process, spec->args, spec->env);
    spec->process.n_args = 3;
    spec->process.n_env = 1;
    spec->spec.process = &spec->process;
    spec->spec.mounts = spec->mount_list;
}

void
spec_add_mount(struct test_spec *spec, const char *source, const char *destination)
{
    size_t number = spec->spec.n_mounts++;
    Gcs__V1__Mount *mount = &spec->mounts[number];
    gcs__v1__mount__init(mount);
    mount->source = text(source);
    mount->destination = text(destination);
    mount->type = text("bind");
    mount->options = spec->options;
    mount->n_options = 3;
    spec->mount_list[number] = mount;
}

void
spec_init_mounted(struct test_spec *spec)
{
    spec_init(spec);
    spec_add_mount(spec, MOUNT_SOURCE, MOUNT_TARGET);
}

void
process_init(struct test_process *process, const char *const *args)
{
    *process = (struct test_process){.env = {text("PATH=/bin")}};
    process_fill(&process->process, process->args, process->env);
    for (; args[process->process.n_args]; process->process.n_args++)
        process->args[process->process.n_args] = text(args[process->process.n_args]);
    process->process.n_env = 1;
}

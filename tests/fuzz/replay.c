/* Runs a fuzz target over the files of a folder: what the fuzzer once found stays tested in every build. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "tests/fuzz/fuzz.h"

static int
run_file(int folder, const char *name)
{
    CLEANUP(fd_closep)
    int file = openat(folder, name, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (file < 0 || fstat(file, &info) < 0)
        return -1;
    size_t size = (size_t)info.st_size;
    uint8_t *bytes = malloc(size ? size : 1); /* exactly as large, so that ASan sees a read beyond the end */
    if (!bytes || fd_read_full(file, bytes, size) != (ssize_t)size) {
        free(bytes);
        return -1;
    }
    LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
    return 0;
}

int
main(int argc, char **argv)
{
    size_t count = 0;
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (!folder) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return EXIT_FAILURE;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        if (run_file(dirfd(folder), entry->d_name) < 0) {
            perror(entry->d_name);
            return EXIT_FAILURE;
        }
        count++;
    }
    closedir(folder);
    printf("%zu inputs\n", count);
    return count ? EXIT_SUCCESS : EXIT_FAILURE; /* an empty folder tests nothing */
}

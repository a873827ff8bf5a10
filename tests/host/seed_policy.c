#include "tests/host/seed_policy.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "server/base/text.h"

#define SEED_POLICY "tests/fixtures/policy-seed/policy.rego"

/* What the seed's policy says of the reference's own layers. */
#define SEED_BASE "1aba71bb6a4b4c6df1dee7c37607c8e1da4eb6b93de103b6509daf8efd663a7d"
#define SEED_TOP  "8f05ecc2618a5410c5f5360d1bfe5f4b413dd18e3d7ba0bbc724d77e8d6e4628"
#define SEED_CIM  "0b1bdf3036da10b119eb0f656d67f59a87e54bdaa932c3f9dbd1ace1a1738743"

static void
digest_of(const void *bytes, size_t size, unsigned char raw[32], char text[65])
{
    assert_int_equal(1, EVP_Digest(bytes, size, raw, NULL, EVP_sha256(), NULL));
    text_hex(text, raw, 32);
}

static void
make_layer(const char *directory, const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fprintf(file, "the layer %s", name) > 0);
    assert_int_equal(0, fclose(file));
}

static void
read_layer(const char *directory, const char *name, unsigned char raw[32], char digest[65])
{
    char path[200], *bytes = NULL;
    size_t size;
    struct error err;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    assert_int_equal(STATUS_OK, fd_read_file(path, 1 << 28, &bytes, &size, &err));
    digest_of(bytes, size, raw, digest);
    free(bytes);
}

void
seed_layers_make(const char *directory, struct seed_layers *ret)
{
    make_layer(directory, "base");
    make_layer(directory, "top");
    seed_layers_read(directory, ret);
}

void
seed_layers_read(const char *directory, struct seed_layers *ret)
{
    unsigned char raw[64];
    read_layer(directory, "base", raw, ret->digests[0]);
    read_layer(directory, "top", raw + 32, ret->digests[1]);
    digest_of(raw, sizeof raw, raw, ret->mounted_cim);
}

char *
policy_replace(char *text, const char *from, const char *to)
{
    char *replaced = NULL;
    size_t size, count = 0;
    FILE *out = open_memstream(&replaced, &size);
    assert_non_null(out);
    const char *rest = text;
    for (const char *found; (found = strstr(rest, from)) != NULL; rest = found + strlen(from), count++)
        fprintf(out, "%.*s%s", (int)(found - rest), rest, to);
    fputs(rest, out);
    assert_int_equal(0, fclose(out));
    free(text);
    assert_true(count > 0);
    return replaced;
}

char *
seed_policy_text(const struct seed_layers *layers)
{
    char *text = NULL;
    size_t size;
    struct error err;
    assert_int_equal(STATUS_OK, fd_read_file(SEED_POLICY, 1 << 20, &text, &size, &err));
    char *copy = strndup(text, size);
    free(text);
    copy = policy_replace(copy, SEED_TOP, layers->digests[1]);
    copy = policy_replace(copy, SEED_BASE, layers->digests[0]);
    return policy_replace(copy, SEED_CIM, layers->mounted_cim);
}

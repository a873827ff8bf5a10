/*
 * The seed's policy, made to fit two small layer files: a test needs no image of any size, and what the
 * policy says of layers is checked all the same.
 */
#ifndef TESTS_HOST_SEED_POLICY_H
#define TESTS_HOST_SEED_POLICY_H

struct seed_layers {
    char digests[2][65];  /* of the layer files "base" and "top" */
    char mounted_cim[65]; /* of both */
};

/* Writes the files into `directory`. */
void seed_layers_make(const char *directory, struct seed_layers *ret);

/* Takes the files that are in `directory`: images that somebody else has put there. */
void seed_layers_read(const char *directory, struct seed_layers *ret);

/* The seed's policy with these layers in it; free() it. Tests run in the project's root directory. */
char *seed_policy_text(const struct seed_layers *layers);

/* `text` with every `from` turned into `to`, of which there must be one; frees `text`. */
char *policy_replace(char *text, const char *from, const char *to);

#endif

#include "server/policy/started.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = STARTED_SLOT_BYTES - 1, FLAGS_AT = KEY_BYTES, ROOM_MIN = 64 };

static bool
key_of(const char *id, unsigned char key[EVP_MAX_MD_SIZE])
{
    return EVP_Digest(id, strlen(id), key, NULL, EVP_sha256(), NULL) == 1;
}

/* The slot of the key, or the free one where it belongs: there is always a free one. */
static unsigned char *
slot_of(unsigned char (*slots)[STARTED_SLOT_BYTES], size_t room, const unsigned char *key)
{
    uint64_t at;
    memcpy(&at, key, sizeof(at)); /* a digest's bits are as good as any hash of them */
    for (;; at++) {
        unsigned char *slot = slots[at & (room - 1)];
        if (slot[FLAGS_AT] == 0 || memcmp(slot, key, KEY_BYTES) == 0)
            return slot;
    }
}

static bool
grow(struct started *started)
{
    if (started->count + 1 <= started->room / 4 * 3)
        return true;
    size_t room = started->room ? started->room * 2 : ROOM_MIN;
    unsigned char(*slots)[STARTED_SLOT_BYTES] = calloc(room, sizeof(*slots));
    if (!slots)
        return false;
    for (size_t i = 0; i < started->room; i++)
        if (started->slots[i][FLAGS_AT])
            memcpy(slot_of(slots, room, started->slots[i]), started->slots[i], sizeof(*slots));
    free(started->slots);
    started->slots = slots;
    started->room = room;
    return true;
}

bool
started_put(struct started *started, const char *id, unsigned flags)
{
    unsigned char key[EVP_MAX_MD_SIZE];

    if (!key_of(id, key) || !grow(started))
        return false;
    unsigned char *slot = slot_of(started->slots, started->room, key);
    if (slot[FLAGS_AT] == 0)
        started->count++;
    memcpy(slot, key, KEY_BYTES);
    slot[FLAGS_AT] = (unsigned char)flags;
    return true;
}

bool
started_find(const struct started *started, const char *id, unsigned *flags)
{
    unsigned char key[EVP_MAX_MD_SIZE];

    if (started->count == 0) {
        *flags = 0;
        return true;
    }
    if (!key_of(id, key))
        return false;
    *flags = slot_of(started->slots, started->room, key)[FLAGS_AT];
    return true;
}

void
started_done(struct started *started)
{
    free(started->slots);
    *started = (struct started){0};
}

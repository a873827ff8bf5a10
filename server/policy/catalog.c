#include "server/policy/catalog.h"

#include <stdlib.h>

#include "server/base/limits.h"

struct catalog *
catalog_ref(struct catalog *catalog)
{
    atomic_fetch_add_explicit(&catalog->references, 1, memory_order_relaxed);
    return catalog;
}

void
catalog_unref(struct catalog *catalog)
{
    if (!catalog || atomic_fetch_sub_explicit(&catalog->references, 1, memory_order_acq_rel) != 1)
        return;
    HASH_CLEAR(hh, catalog->by_layers);
    for (uint32_t i = 0; i < catalog->groups_count; i++) {
        env_table_done(catalog->groups[i]->env);
        free(catalog->groups[i]->growing);
    }
    env_table_done(catalog->processes_env);
    for (size_t i = 0; i < catalog->parts_count; i++)
        fragment_part_unref(catalog->parts[i]);
    free(catalog->parts);
    free(catalog->groups);
    arena_done(&catalog->arena);
    free(catalog);
}

void
catalog_unrefp(struct catalog **catalog)
{
    catalog_unref(*catalog);
}

struct fragment_part *
fragment_part_new(struct module *module)
{
    struct fragment_part *part = calloc(1, sizeof(*part));
    if (!part)
        return NULL;
    atomic_init(&part->references, 1);
    arena_init(&part->arena, module->size * LIMIT_POLICY_FRAGMENT_GROWTH + LIMIT_POLICY_FRAGMENT_BASE_BYTES);
    part->module = module;
    return part;
}

struct fragment_part *
fragment_part_ref(struct fragment_part *part)
{
    atomic_fetch_add_explicit(&part->references, 1, memory_order_relaxed);
    return part;
}

void
fragment_part_unref(struct fragment_part *part)
{
    if (!part || atomic_fetch_sub_explicit(&part->references, 1, memory_order_acq_rel) != 1)
        return;
    arena_done(&part->arena);
    module_free(part->module);
    free(part);
}

static void
candidate_read(struct candidate *candidate, const struct value *object)
{
    *candidate = (struct candidate){
        .object = object,
        .command = value_member(object, "command"),
        .working_dir = value_member(object, "working_dir"),
        .user = value_member(object, "user"),
        .layers = value_member(object, "layers"),
        .mounted_cim = value_member(object, "mounted_cim"),
        .exec_processes = value_member(object, "exec_processes"),
        .signals = value_member(object, "signals"),
        .allow_stdio_access = value_member(object, "allow_stdio_access"),
        .mounts = value_member(object, "mounts"),
    };
}

/* ---- platform rules (spec 7) ---- */

/* a ++ b, an undefined one being empty; false in *ok when either is no array. */
static enum status
concatenate(const struct value *a, const struct value *b, struct arena *arena, struct value *ret, bool *ok,
            struct error *err)
{
    *ok = (!a || a->kind == VALUE_ARRAY) && (!b || b->kind == VALUE_ARRAY);
    if (!*ok)
        return STATUS_OK;
    size_t left = a ? a->count : 0, right = b ? b->count : 0;
    if (left + right > VALUE_COUNT_MAX)
        return module_too_large(err);
    struct value *items = ARENA_NEW(arena, struct value, left + right ? left + right : 1);
    if (!items)
        return module_too_large(err);
    if (left)
        memcpy(items, a->items, left * sizeof(*items));
    if (right)
        memcpy(items + left, b->items, right * sizeof(*items));
    *ret = value_array(items, left + right);
    return STATUS_OK;
}

/* One container under one rule; *ret stays NULL when they do not go together. */
static enum status
apply_rule(const struct value *container, const struct value *rule, struct arena *arena,
           const struct value **ret, struct error *err)
{
    struct value env, mounts;
    bool env_ok, mounts_ok;

    if (!value_is(container, VALUE_OBJECT) || !value_is(rule, VALUE_OBJECT))
        return STATUS_OK;
    TRY(concatenate(value_member(container, "env_rules"), value_member(rule, "env_rules"), arena, &env,
                    &env_ok, err));
    TRY(concatenate(value_member(container, "mounts"), value_member(rule, "mounts"), arena, &mounts,
                    &mounts_ok, err));
    if (!env_ok || !mounts_ok)
        return STATUS_OK;
    struct member *members = ARENA_NEW(arena, struct member, (size_t)container->count + 2);
    struct value *object = ARENA_NEW(arena, struct value, 1);
    if (!members || !object)
        return module_too_large(err);
    size_t count = container->count;
    if (count)
        memcpy(members, container->members, count * sizeof(*members));
    for (size_t i = 0; i < count; i++)
        members[i].key_offset = 0; /* the two below come last among equals, and so win */
    members[count] = member_of("env_rules", env);
    members[count + 1] = member_of("mounts", mounts);
    members[count].key_offset = members[count + 1].key_offset = 1;
    *object = value_object(members, count + 2);
    *ret = object;
    return STATUS_OK;
}

/* ---- lists ---- */

struct gathering {
    const struct contribution *policy;
    struct fragment_part *const *parts;
    size_t parts_count;
    struct arena *arena;
};

/* Where a contribution keeps the list in question. */
typedef const struct list *list_fn(const struct contribution *contribution);

static const struct list *
list_containers(const struct contribution *contribution)
{
    return &contribution->containers;
}

static const struct list *
list_processes(const struct contribution *contribution)
{
    return &contribution->external_processes;
}

static const struct list *
list_fragments(const struct contribution *contribution)
{
    return &contribution->fragments;
}

static const struct list *
list_trust_lists(const struct contribution *contribution)
{
    return &contribution->trust_lists;
}

static const struct list *
list_platform_rules(const struct contribution *contribution)
{
    return &contribution->platform_rules;
}

/* The policy's list and the fragments', one behind the other; undefined when one of them is. */
static enum status
gather(const struct gathering *from, list_fn *pick, struct list *ret, struct error *err)
{
    size_t count = pick(from->policy)->count;

    *ret = (struct list){.is_undefined = pick(from->policy)->is_undefined};
    for (size_t i = 0; i < from->parts_count; i++) {
        count += pick(&from->parts[i]->lists)->count;
        ret->is_undefined = ret->is_undefined || pick(&from->parts[i]->lists)->is_undefined;
    }
    if (count > LIMIT_POLICY_CANDIDATES)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                         "the policy holds more than %d containers, processes or fragments",
                         LIMIT_POLICY_CANDIDATES);
    const struct value **items = ARENA_NEW(from->arena, const struct value *, count ? count : 1);
    if (!items)
        return module_too_large(err);
    for (size_t i = 0; i <= from->parts_count; i++) {
        const struct list *list = pick(i == 0 ? from->policy : &from->parts[i - 1]->lists);
        if (list->count)
            memcpy(items + ret->count, list->items, list->count * sizeof(*items));
        ret->count += list->count;
    }
    ret->items = items;
    if (ret->is_undefined)
        ret->count = 0;
    return STATUS_OK;
}

/* Every container under every platform rule, in that order. */
static enum status
expand(const struct gathering *from, struct list *containers, struct error *err)
{
    struct list rules;
    size_t total, count = 0;

    TRY(gather(from, list_platform_rules, &rules, err));
    if (rules.is_undefined) {
        containers->is_undefined = true;
        containers->count = 0;
    }
    if (rules.count == 0)
        return STATUS_OK;
    if (__builtin_mul_overflow(containers->count, rules.count, &total) || total > LIMIT_POLICY_CANDIDATES)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the platform rules make more than %d containers",
                         LIMIT_POLICY_CANDIDATES);
    const struct value **items = ARENA_NEW(from->arena, const struct value *, total ? total : 1);
    if (!items)
        return module_too_large(err);
    for (size_t i = 0; i < containers->count; i++) {
        for (size_t j = 0; j < rules.count; j++) {
            const struct value *made = NULL;
            TRY(apply_rule(containers->items[i], rules.items[j], from->arena, &made, err));
            if (made)
                items[count++] = made;
        }
    }
    containers->items = items;
    containers->count = count;
    return STATUS_OK;
}

/* ---- groups ---- */

/* Layers as a key: each text with a NUL behind, `reverse` from the last to the first. NULL: no memory. */
static char *
layers_key(const struct view *layers, size_t count, bool reverse, struct arena *arena, size_t *length)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += layers[i].length + 1;
    char *key = arena_alloc(arena, size ? size : 1), *at = key;
    for (size_t i = 0; key && i < count; i++) {
        struct view layer = layers[reverse ? count - 1 - i : i];
        if (layer.length)
            memcpy(at, layer.text, layer.length);
        at[layer.length] = '\0';
        at += layer.length + 1;
    }
    *length = size;
    return key;
}

/* Whether the layers can equal a request's: an array of strings. */
static bool
layers_can_match(const struct value *layers)
{
    if (!value_is(layers, VALUE_ARRAY))
        return false;
    for (size_t i = 0; i < layers->count; i++)
        if (layers->items[i].kind != VALUE_STRING ||
            (layers->items[i].count && memchr(layers->items[i].text, '\0', layers->items[i].count)))
            return false;
    return true;
}

static enum status
group_new(struct catalog *catalog, const char *key, size_t key_length, struct group **ret, struct error *err)
{
    struct group *group = ARENA_NEW(&catalog->arena, struct group, 1);
    struct env_table *env = env_table_new(&catalog->arena);
    if (!group || !env)
        return module_too_large(err);
    if ((catalog->groups_count & (catalog->groups_count - 1)) == 0) { /* a power of two: full */
        size_t room = catalog->groups_count ? (size_t)catalog->groups_count * 2 : 1;
        struct group **groups = realloc(catalog->groups, room * sizeof(*groups));
        if (!groups)
            return module_too_large(err);
        catalog->groups = groups;
    }
    *group = (struct group){.key = key, .key_length = key_length, .env = env};
    HASH_ADD_KEYPTR(hh, catalog->by_layers, group->key, group->key_length, group);
    if (!hash_holds(&group->hh))
        return module_too_large(err);
    catalog->groups[catalog->groups_count++] = group;
    *ret = group;
    return STATUS_OK;
}

static enum status
group_add(struct group *group, uint32_t container, struct error *err)
{
    if (group->count == group->room) {
        uint32_t room = group->room ? group->room * 2 : 1;
        uint32_t *members = realloc(group->growing, room * sizeof(*members));
        if (!members)
            return module_too_large(err);
        group->growing = members;
        group->members = members;
        group->room = room;
    }
    group->growing[group->count++] = container;
    return STATUS_OK;
}

static enum status
container_place(struct catalog *catalog, uint32_t index, struct pattern_pool *pool, struct error *err)
{
    struct candidate *container = &catalog->containers[index];
    struct group *group;
    size_t length;

    if (!layers_can_match(container->layers))
        return STATUS_OK;
    struct view *layers = ARENA_NEW(&catalog->arena, struct view, (size_t)container->layers->count + 1);
    if (!layers)
        return module_too_large(err);
    for (size_t i = 0; i < container->layers->count; i++)
        layers[i] = value_view(&container->layers->items[i]);
    char *key = layers_key(layers, container->layers->count, false, &catalog->arena, &length);
    if (!key)
        return module_too_large(err);
    HASH_FIND(hh, catalog->by_layers, key, length, group);
    if (!group)
        TRY(group_new(catalog, key, length, &group, err));
    TRY(group_add(group, index, err));
    container->group = group;
    return env_table_add(group->env, value_member(container->object, "env_rules"), pool, &container->env,
                         err);
}

static enum status
compile_containers(struct catalog *catalog, const struct gathering *from, struct pattern_pool *pool,
                   struct error *err)
{
    struct list containers;

    TRY(gather(from, list_containers, &containers, err));
    TRY(expand(from, &containers, err));
    catalog->containers_undefined = containers.is_undefined;
    catalog->containers_count = (uint32_t)containers.count;
    catalog->containers =
        ARENA_NEW(&catalog->arena, struct candidate, containers.count ? containers.count : 1);
    if (!catalog->containers)
        return module_too_large(err);
    for (uint32_t i = 0; i < catalog->containers_count; i++) {
        candidate_read(&catalog->containers[i], containers.items[i]);
        TRY(container_place(catalog, i, pool, err));
    }
    for (uint32_t i = 0; i < catalog->groups_count; i++)
        TRY(env_table_finish(catalog->groups[i]->env, pool, err));
    return STATUS_OK;
}

static enum status
compile_processes(struct catalog *catalog, const struct gathering *from, bool hidden,
                  struct pattern_pool *pool, struct error *err)
{
    struct list processes;

    TRY(gather(from, list_processes, &processes, err));
    if (hidden)
        processes.count = 0;
    catalog->processes = ARENA_NEW(&catalog->arena, struct candidate, processes.count ? processes.count : 1);
    catalog->processes_env = env_table_new(&catalog->arena);
    if (!catalog->processes || !catalog->processes_env)
        return module_too_large(err);
    catalog->processes_count = processes.count;
    for (size_t i = 0; i < processes.count; i++) {
        struct candidate *process = &catalog->processes[i];
        candidate_read(process, processes.items[i]);
        TRY(env_table_add(catalog->processes_env, value_member(process->object, "env_rules"), pool,
                          &process->env, err));
    }
    return env_table_finish(catalog->processes_env, pool, err);
}

/* What mount_device looks at: the policy's containers as written, whatever its version, and the
 * fragments'. */
static enum status
gather_raw(struct catalog *catalog, const struct value *raw, const struct gathering *from, struct error *err)
{
    size_t count = value_length(raw);

    for (size_t i = 0; i < from->parts_count; i++)
        count += from->parts[i]->lists.containers.count;
    const struct value **items = ARENA_NEW(&catalog->arena, const struct value *, count ? count : 1);
    if (!items)
        return module_too_large(err);
    for (size_t i = 0; i < value_length(raw); i++)
        items[catalog->raw_containers.count++] = value_at(raw, i);
    for (size_t i = 0; i < from->parts_count; i++) {
        const struct list *list = &from->parts[i]->lists.containers;
        for (size_t j = 0; j < list->count; j++)
            items[catalog->raw_containers.count++] = list->items[j];
    }
    catalog->raw_containers.items = items;
    return STATUS_OK;
}

enum status
catalog_make(const struct contribution *policy, const struct value *raw_containers, enum framework_age age,
             bool has_external_processes, struct fragment_part *const *parts, size_t parts_count,
             struct pattern_pool *pool, struct catalog **ret, struct error *err)
{
    CLEANUP(catalog_unrefp)
    struct catalog *catalog = calloc(1, sizeof(*catalog));
    if (!catalog)
        return module_too_large(err);
    atomic_init(&catalog->references, 1);
    arena_init(&catalog->arena, LIMIT_POLICY_CATALOG_BYTES);

    catalog->parts = calloc(parts_count + 1, sizeof(struct fragment_part *));
    if (!catalog->parts)
        return module_too_large(err);
    for (size_t i = 0; i < parts_count; i++)
        catalog->parts[catalog->parts_count++] = fragment_part_ref(parts[i]);

    struct gathering from = {policy, parts, parts_count, &catalog->arena};
    /* Spec 3.3: an unusable version hides every external process, an older one that has none likewise. */
    bool hidden = age > FRAMEWORK_OLDER || (age == FRAMEWORK_OLDER && !has_external_processes);
    TRY(compile_containers(catalog, &from, pool, err));
    TRY(compile_processes(catalog, &from, hidden, pool, err));
    TRY(gather(&from, list_fragments, &catalog->fragments, err));
    TRY(gather(&from, list_trust_lists, &catalog->trust_lists, err));
    TRY(gather_raw(catalog, raw_containers, &from, err));
    *ret = TAKE_PTR(catalog);
    return STATUS_OK;
}

const struct group *
catalog_group(const struct catalog *catalog, const struct view *layers, size_t count, struct arena *arena)
{
    struct group *group = NULL;
    size_t length;
    char *key = layers_key(layers, count, true, arena, &length);
    if (key)
        HASH_FIND(hh, catalog->by_layers, key, length, group);
    return group;
}

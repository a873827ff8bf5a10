#include "client/gcs-policy/warnings.h"

#include <string.h>

#include "server/base/text.h"
#include "server/policy/compiled.h"
#include "server/policy/pattern.h"

enum { DIGEST_DIGITS = 64 };

struct search {
    const struct module *module;
    struct pattern_pool *patterns;
    warning_fn *warn;
    void *arg;
    struct error *err;
};

static void
poolp(struct pattern_pool **pool)
{
    pattern_pool_free(*pool);
}

static void
warn(const struct search *search, const struct value *where, const char *text)
{
    search->warn(where->offset, text, search->arg);
}

/* A pattern of strategy "re2": what is odd about it. */
static enum status
look_at_pattern(const struct search *search, const struct value *value)
{
    const struct pattern *pattern;

    TRY(pattern_pool_get(search->patterns, value_view(value), &pattern, search->err));
    if (!pattern_is_valid(pattern))
        warn(search, value, "this pattern is no valid RE2 expression: the rule can never match");
    else if (pattern_has_open_alternative(value_view(value)))
        warn(search, value,
             "'|' outside parentheses: the reference anchors only the first and the last alternative; write "
             "(?:A|B)");
    else if (!pattern_is_plain(pattern))
        warn(search, value, "the reference does not anchor this pattern at both ends; strict does");
    return STATUS_OK;
}

/* Whether the pattern matches every sample; the samples are NULL-terminated. */
static enum status
matches_all(const struct search *search, const struct value *value, const char *const *samples, bool *all)
{
    const struct pattern *pattern;

    TRY(pattern_pool_get(search->patterns, value_view(value), &pattern, search->err));
    *all = true;
    for (; *samples && *all; samples++)
        *all = pattern_matches_whole(pattern, view_of(*samples));
    return STATUS_OK;
}

/* One half of an environment rule, text and strategy: whether it can match, and whether it matches every
 * sample. */
struct half {
    bool works, anything;
};

static enum status
look_at_half(const struct search *search, const struct value *rule, const char *text, const char *strategy,
             const char *const *samples, struct half *half)
{
    const struct value *value = value_member(rule, text), *how = value_member(rule, strategy);
    bool is_pattern = value_is_text(how, view_of("re2"));

    *half = (struct half){.works = value_is(value, VALUE_STRING) &&
                                   (is_pattern || value_is_text(how, view_of("string")))};
    if (!half->works || !is_pattern)
        return STATUS_OK;
    TRY(look_at_pattern(search, value));
    return matches_all(search, value, samples, &half->anything);
}

static enum status
look_at_env_rule(const struct search *search, const struct value *rule)
{
    /* One text of each kind that a rule for anything lets through and a rule for something does not. */
    static const char *const entries[] = {"A=1", "LD_PRELOAD=/x.so", "z9_=%#~\t", NULL};
    static const char *const names[] = {"A", "LD_PRELOAD", "z9_", NULL};
    static const char *const values[] = {"1", "/x.so", "%#~\t", NULL};
    struct half whole, name, value;

    TRY(look_at_half(search, rule, "pattern", "strategy", entries, &whole));
    TRY(look_at_half(search, rule, "name", "name_strategy", names, &name));
    TRY(look_at_half(search, rule, "value", "value_strategy", values, &value));
    if (!whole.works && !(name.works && value.works))
        warn(search, rule,
             "this rule can never match: it needs 'pattern' and 'strategy', or 'name', 'name_strategy', "
             "'value' and 'value_strategy', with strategy \"string\" or \"re2\"");
    if (whole.anything || (name.anything && value.anything))
        warn(search, rule, "this rule allows any environment variable with any value");
    return STATUS_OK;
}

static enum status
look_at_env_rules(const struct search *search, const struct value *owner)
{
    const struct value *rules = value_member(owner, "env_rules");

    for (size_t i = 0; i < value_length(rules); i++)
        TRY(look_at_env_rule(search, value_at(rules, i)));
    return STATUS_OK;
}

static enum status
look_at_mount(const struct search *search, const struct value *mount)
{
    static const char *const samples[] = {"sandbox:///a/b", "/etc/shadow", "C:\\x", NULL};
    const struct value *source = value_member(mount, "source");
    bool anything = false;

    if (!value_is(value_member(mount, "destination"), VALUE_STRING) || !value_is(source, VALUE_STRING) ||
        !value_is(value_member(mount, "type"), VALUE_STRING) ||
        !value_is(value_member(mount, "options"), VALUE_ARRAY))
        warn(search, mount,
             "this rule can never match: it needs texts 'destination', 'source' and 'type' and a list "
             "'options'");
    if (!value_is(source, VALUE_STRING))
        return STATUS_OK;
    TRY(look_at_pattern(search, source));
    TRY(matches_all(search, source, samples, &anything));
    if (anything)
        warn(search, source, "this rule allows any source");
    return STATUS_OK;
}

static enum status
look_at_mounts(const struct search *search, const struct value *owner)
{
    const struct value *mounts = value_member(owner, "mounts");

    for (size_t i = 0; i < value_length(mounts); i++)
        TRY(look_at_mount(search, value_at(mounts, i)));
    return STATUS_OK;
}

/* What a guest measures: SHA-256 in lower-case hexadecimal, compared as text. */
static void
look_at_digests(const struct search *search, const struct value *container, const char *name)
{
    const struct value *digests = value_member(container, name);

    for (size_t i = 0; i < value_length(digests); i++) {
        const struct value *digest = value_at(digests, i);
        char text[DIGEST_DIGITS + 1] = "";
        if (value_is(digest, VALUE_STRING) && digest->count == DIGEST_DIGITS)
            memcpy(text, digest->text, DIGEST_DIGITS);
        if (!text_is_hex(text, DIGEST_DIGITS))
            warn(search, digest,
                 "no SHA-256 in 64 lower-case hexadecimal digits: this container can never be mounted");
    }
}

static void
look_at_execs(const struct search *search, const struct value *container)
{
    const struct value *execs = value_member(container, "exec_processes");

    for (size_t i = 0; i < value_length(execs); i++)
        if (!value_is(value_member(value_at(execs, i), "command"), VALUE_ARRAY))
            warn(search, value_at(execs, i), "this rule can never match: it needs a list 'command'");
}

static enum status
look_at_process(const struct search *search, const struct value *process)
{
    static const char *const needed[] = {"command", "working_dir", "env_rules", "allow_stdio_access"};

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (value_member(process, needed[i]))
            continue;
        warn(search, process,
             "this rule can never match: it needs 'command', 'working_dir', 'env_rules' and "
             "'allow_stdio_access'");
        break;
    }
    return look_at_env_rules(search, process);
}

static enum status
look_at_container(const struct search *search, const struct value *container)
{
    static const struct {
        const char *member, *text;
    } needed[] = {
        {"mounted_cim", "no 'mounted_cim': on windows this container can never be mounted"},
        {"layers", "no 'layers': this container can never be mounted"},
        {"command", "no 'command': this container can never be created"},
        {"user", "no 'user': this container can never be created"},
        {"working_dir", "no 'working_dir': this container can never be created"},
        {"env_rules", "no 'env_rules': this container can never be created"},
        {"allow_stdio_access", "no 'allow_stdio_access': this container can never be created"},
    };

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if (!value_member(container, needed[i].member))
            warn(search, container, needed[i].text);
    look_at_digests(search, container, "layers");
    look_at_digests(search, container, "mounted_cim");
    TRY(look_at_env_rules(search, container));
    look_at_execs(search, container);
    return look_at_mounts(search, container);
}

static void
look_at_flags(const struct search *search)
{
    for (int flag = 0; flag < FLAGS; flag++) {
        const struct value *value = module_rule(search->module, policy_flag_name((enum policy_flag)flag));
        if (value && value->kind != VALUE_TRUE && value->kind != VALUE_FALSE)
            warn(search, value, "a flag that is no boolean: the reference takes anything but false for true");
    }
}

static void
look_at_points(const struct search *search)
{
    for (int point = 0; point < POLICY_POINTS; point++) {
        const struct value *rule = module_rule(search->module, policy_point_name((enum policy_point)point));
        if (value_is(rule, VALUE_OBJECT) && !value_member(rule, "allowed"))
            warn(search, rule,
                 point_info((enum policy_point)point)->allowed == DEFAULT_ALLOW
                     ? "a constant without 'allowed' takes the point's default, which is to allow"
                     : "a constant without 'allowed' takes the point's default, which is to deny");
    }
}

enum status
warnings_find(const struct module *module, warning_fn *warning, void *arg, struct error *err)
{
    CLEANUP(poolp)
    struct pattern_pool *patterns = NULL;
    const struct value *containers = module_rule(module, "containers");
    const struct value *processes = module_rule(module, "external_processes");
    const struct value *platform_rules = module_rule(module, "platform_rules");

    TRY(pattern_pool_new(&patterns, err));
    struct search search = {module, patterns, warning, arg, err};
    look_at_flags(&search);
    look_at_points(&search);
    for (size_t i = 0; i < value_length(containers); i++)
        TRY(look_at_container(&search, value_at(containers, i)));
    for (size_t i = 0; i < value_length(processes); i++)
        TRY(look_at_process(&search, value_at(processes, i)));
    for (size_t i = 0; i < value_length(platform_rules); i++) {
        TRY(look_at_env_rules(&search, value_at(platform_rules, i)));
        TRY(look_at_mounts(&search, value_at(platform_rules, i)));
    }
    return STATUS_OK;
}

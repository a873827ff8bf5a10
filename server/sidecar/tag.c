#include "server/sidecar/tag.h"

#include <string.h>

#include "server/base/limits.h"
#include "server/base/text.h"
#include "server/rpc/wire.h"

static ProtobufCBinaryData
pack(const Gcs__V1__Tag *tag, struct arena *arena)
{
    ProtobufCBinaryData packed = {.len = gcs__v1__tag__get_packed_size(tag)};
    if (packed.len > LIMIT_TAG_BYTES || !(packed.data = arena_alloc(arena, packed.len)))
        return (ProtobufCBinaryData){0};
    gcs__v1__tag__pack(tag, packed.data);
    return packed;
}

/* The tag with its object or, when that does not fit, without. */
static ProtobufCBinaryData
finish(const struct policy_gate *gate, struct arena *arena, Gcs__V1__Tag *tag,
       Gcs__V1__Tag__ObjectCase object_case)
{
    tag->policy_sha256 =
        (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)policy_gate_digest(gate), .len = HOST_DATA_BYTES};
    tag->object_case = object_case;
    ProtobufCBinaryData packed = pack(tag, arena);
    if (packed.data)
        return packed;
    tag->object_case = GCS__V1__TAG__OBJECT__NOT_SET;
    return pack(tag, arena);
}

static char *
text(const char *constant)
{
    return (char *)(uintptr_t)constant; /* packing only reads */
}

ProtobufCBinaryData
tag_of_scratch(const struct policy_gate *gate, struct arena *arena, const char *target)
{
    Gcs__V1__Tag tag = GCS__V1__TAG__INIT;
    Gcs__V1__ScratchTag scratch = GCS__V1__SCRATCH_TAG__INIT;
    scratch.target = text(target);
    scratch.is_accounted = policy_export_scratch(policy_gate_state(gate), target);
    tag.scratch = &scratch;
    return finish(gate, arena, &tag, GCS__V1__TAG__OBJECT_SCRATCH);
}

/* False: it cannot be told. */
static bool
policy_fill(const struct policy_gate *gate, struct arena *arena, const char *container_id,
            Gcs__V1__PolicyTag *ret)
{
    struct policy_container_state state;
    struct error err;
    if (policy_export_container(policy_gate_state(gate), container_id, arena, &state, &err) != STATUS_OK)
        return false;
    gcs__v1__policy_tag__init(ret);
    ret->is_present = state.is_present;
    ret->is_started = state.is_started;
    ret->is_privileged = state.is_privileged;
    ret->has_stdio = state.has_stdio;
    ret->allow_stdio = state.allow_stdio;
    ret->n_candidates = state.candidates_count;
    ret->candidates = (uint32_t *)(uintptr_t)state.candidates;
    ret->candidates_total = state.candidates_total;
    return true;
}

ProtobufCBinaryData
tag_of_root(const struct policy_gate *gate, struct arena *arena, const char *container_id,
            const char *scratch_target, const char *volume_id, const struct volume_stack *stack)
{
    Gcs__V1__Tag tag = GCS__V1__TAG__INIT;
    Gcs__V1__RootTag root = GCS__V1__ROOT_TAG__INIT;
    Gcs__V1__PolicyTag policy;
    uint8_t digests[LIMIT_LAYERS][LAYER_DIGEST_BYTES];
    bool good = policy_fill(gate, arena, container_id, &policy);
    for (size_t i = 0; good && i < stack->layer_count; i++)
        good = text_unhex(digests[i], LAYER_DIGEST_BYTES, stack->layers[i].digest);
    root.container_id = text(container_id);
    root.scratch_target = text(scratch_target);
    root.volume_id = text(volume_id);
    root.layer_digests =
        (ProtobufCBinaryData){.data = digests[0], .len = stack->layer_count * sizeof digests[0]};
    root.policy = &policy;
    tag.root = &root;
    return finish(gate, arena, &tag, good ? GCS__V1__TAG__OBJECT_ROOT : GCS__V1__TAG__OBJECT__NOT_SET);
}

ProtobufCBinaryData
tag_of_container(const struct policy_gate *gate, struct arena *arena, const char *container_id)
{
    Gcs__V1__Tag tag = GCS__V1__TAG__INIT;
    Gcs__V1__ContainerTag container = GCS__V1__CONTAINER_TAG__INIT;
    Gcs__V1__PolicyTag policy;
    bool good = policy_fill(gate, arena, container_id, &policy);
    container.container_id = text(container_id);
    container.policy = &policy;
    tag.container = &container;
    return finish(gate, arena, &tag, good ? GCS__V1__TAG__OBJECT_CONTAINER : GCS__V1__TAG__OBJECT__NOT_SET);
}

ProtobufCBinaryData
tag_of_process(const struct policy_gate *gate, struct arena *arena, const Gcs__V1__Process *process,
               bool allow_stdio)
{
    Gcs__V1__Tag tag = GCS__V1__TAG__INIT;
    Gcs__V1__ProcessTag message = GCS__V1__PROCESS_TAG__INIT;
    message.n_args = process->n_args;
    message.args = process->args;
    message.allow_stdio = allow_stdio;
    tag.process = &message;
    return finish(gate, arena, &tag, GCS__V1__TAG__OBJECT_PROCESS);
}

enum status
tag_read(const struct policy_gate *gate, const ProtobufCBinaryData *bytes, Gcs__V1__Tag__ObjectCase kind,
         struct arena *arena, const Gcs__V1__Tag **ret, struct error *err)
{
    ProtobufCMessage *message;
    TRY(wire_unpack(&gcs__v1__tag__descriptor, bytes->data, bytes->len, arena, &message, err));
    const Gcs__V1__Tag *tag = (const Gcs__V1__Tag *)message;
    if (tag->policy_sha256.len != HOST_DATA_BYTES ||
        memcmp(tag->policy_sha256.data, policy_gate_digest(gate), HOST_DATA_BYTES) != 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "it was approved under another policy");
    if (tag->object_case != kind)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         tag->object_case == GCS__V1__TAG__OBJECT__NOT_SET
                             ? "what was approved did not fit into its tag"
                             : "its tag is another object's");
    *ret = tag;
    return STATUS_OK;
}

bool
tag_policy_state(const Gcs__V1__PolicyTag *policy, struct policy_container_state *ret)
{
    if (!policy)
        return false;
    *ret = (struct policy_container_state){
        .is_present = policy->is_present,
        .is_started = policy->is_started,
        .is_privileged = policy->is_privileged,
        .has_stdio = policy->has_stdio,
        .allow_stdio = policy->allow_stdio,
        .candidates = policy->candidates,
        .candidates_count = policy->n_candidates,
        .candidates_total = policy->candidates_total,
    };
    return true;
}

#include "server/rpc/caller_acks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
ids_begin_at_one_and_rise(void **state)
{
    struct caller_acks *acks = *state;
    assert_int_equal(caller_acks_take(acks), 1);
    assert_int_equal(caller_acks_take(acks), 2);
    assert_int_equal(caller_acks_take(acks), 3);
}

static void
a_note_tells_each_id_once(void **state)
{
    struct caller_acks *acks = *state;
    struct caller_acks_note note;
    for (int i = 0; i < 5; i++)
        (void)caller_acks_take(acks);
    caller_acks_done(acks, 1, 10);
    caller_acks_done(acks, 4, 10);

    caller_acks_note(acks, &note);
    assert_int_equal(note.through, 1);
    assert_int_equal(note.count, 1);
    assert_int_equal(note.ids[0], 4);
    assert_int_equal(acks->untold, 2);
    assert_int_equal(acks->untold_bytes, 20);
    caller_acks_sent(acks, &note);
    assert_int_equal(acks->untold, 0);
    assert_int_equal(acks->untold_bytes, 0);
    caller_acks_note(acks, &note);
    assert_int_equal(note.through, 1);
    assert_int_equal(note.count, 0);

    caller_acks_done(acks, 3, 0);
    caller_acks_done(acks, 2, 0);
    caller_acks_note(acks, &note);
    assert_int_equal(note.through, 4);
    assert_int_equal(note.count, 0);
    assert_int_equal(acks->untold, 2);
}

static void
after_a_lost_connection_everything_is_told_again(void **state)
{
    struct caller_acks *acks = *state;
    struct caller_acks_note note;
    for (int i = 0; i < 5; i++)
        (void)caller_acks_take(acks);
    caller_acks_done(acks, 3, 0);
    caller_acks_done(acks, 5, 0);
    caller_acks_note(acks, &note);
    caller_acks_sent(acks, &note);

    caller_acks_recall(acks, SIZE_MAX);

    caller_acks_note(acks, &note);
    assert_int_equal(note.count, 2);
    assert_int_equal(note.ids[0], 3);
    assert_int_equal(note.ids[1], 5);
    assert_int_equal(acks->untold, 2);
}

static void
more_than_one_note_holds_goes_into_the_next(void **state)
{
    struct caller_acks *acks = *state;
    struct caller_acks_note note;
    for (int i = 0; i < 400; i++)
        (void)caller_acks_take(acks);
    for (uint64_t id = 2; id <= 400; id++)
        caller_acks_done(acks, id, 1);

    caller_acks_note(acks, &note);
    assert_int_equal(note.count, LIMIT_ACKNOWLEDGED_IDS);
    assert_int_equal(note.ids[0], 2);
    caller_acks_sent(acks, &note);
    assert_int_equal(acks->untold, 399 - LIMIT_ACKNOWLEDGED_IDS);
    caller_acks_note(acks, &note);
    assert_int_equal(note.count, 399 - LIMIT_ACKNOWLEDGED_IDS);
    assert_int_equal(note.ids[0], LIMIT_ACKNOWLEDGED_IDS + 2);
}

static void
any_number_of_ids_may_pass_an_old_call(void **state)
{
    struct caller_acks *acks = *state;
    struct caller_acks_note note;
    assert_int_equal(caller_acks_take(acks), 1);
    for (uint64_t id = 2; id < 3 * LIMIT_SESSION_WINDOW_IDS; id++) {
        assert_int_equal(caller_acks_take(acks), id);
        caller_acks_done(acks, id, 1);
        caller_acks_note(acks, &note);
        assert_int_equal(note.through, 0);
        assert_int_equal(note.count, 1);
        assert_int_equal(note.ids[0], id);
        caller_acks_certain(acks, caller_acks_sent(acks, &note));
        assert_int_equal(acks->untold, 0);
    }
    caller_acks_done(acks, 1, 0);
    caller_acks_note(acks, &note);
    assert_int_equal(note.through, 3 * LIMIT_SESSION_WINDOW_IDS - 1);
    assert_int_equal(note.count, 0);
}

static void
no_more_ids_are_open_or_untold_than_the_server_keeps(void **state)
{
    struct caller_acks *acks = *state;
    struct caller_acks_note note;
    for (uint64_t id = 1; id <= LIMIT_SESSION_ANSWERS; id++)
        assert_int_equal(caller_acks_take(acks), id);
    assert_int_equal(caller_acks_take(acks), 0);
    caller_acks_done(acks, 2, 0);
    assert_int_equal(caller_acks_take(acks), 0); /* the server does not know yet */
    caller_acks_note(acks, &note);
    caller_acks_sent(acks, &note);
    assert_int_equal(caller_acks_take(acks), LIMIT_SESSION_ANSWERS + 1);
}

static void
what_was_told_is_remembered_until_its_message_is_answered(void **state)
{
    struct caller_acks *acks = *state;
    struct caller_acks_note note;
    struct caller_acks_told told[2];
    for (int i = 0; i < 9; i++)
        (void)caller_acks_take(acks);
    for (uint64_t id = 2; id <= 5; id++) {
        caller_acks_done(acks, id, 0);
        if (id % 2 == 0)
            continue;
        caller_acks_note(acks, &note);
        told[id / 4] = caller_acks_sent(acks, &note);
    }

    caller_acks_certain(acks, told[1]); /* the first message was lost, the second was answered */
    caller_acks_certain(acks, told[1]); /* twice, which changes nothing */
    caller_acks_recall(acks, SIZE_MAX);

    caller_acks_note(acks, &note);
    assert_int_equal(note.count, 2);
    assert_int_equal(note.ids[0], 2);
    assert_int_equal(note.ids[1], 3);
    told[1] = caller_acks_sent(acks, &note);
    caller_acks_certain(acks, told[0]); /* too late: they were told again elsewhere, and that may be lost */
    caller_acks_recall(acks, SIZE_MAX);
    caller_acks_note(acks, &note);
    assert_int_equal(note.count, 2);
}

static void
what_an_answer_never_made_certain_is_told_again_in_time(void **state)
{
    struct caller_acks *acks = *state;
    struct caller_acks_note note;
    assert_int_equal(caller_acks_take(acks), 1); /* holds `through` back */
    for (uint64_t id = 2; id < 2 + CALLER_ACKS_UNCERTAIN; id++) {
        assert_false(caller_acks_should_ask(acks));
        assert_int_equal(caller_acks_take(acks), id);
        caller_acks_done(acks, id, 0);
        caller_acks_note(acks, &note);
        caller_acks_sent(acks, &note);
    }
    assert_true(caller_acks_should_ask(acks));

    caller_acks_recall(acks, SIZE_MAX);
    assert_int_equal(acks->untold, CALLER_ACKS_UNCERTAIN);
    while (acks->untold > 0) {
        caller_acks_note(acks, &note);
        caller_acks_certain(acks, caller_acks_sent(acks, &note));
    }
    assert_false(caller_acks_should_ask(acks));
    assert_int_equal(acks->told_count, 0);
}

/* As many messages as the ring has places, each with one id that nobody confirms, and one confirmed. */
static void
an_old_uncertain_id_in_the_way_is_told_again_not_forgotten(void **state)
{
    struct caller_acks *acks = *state;
    struct caller_acks_note note;
    (void)caller_acks_take(acks);
    (void)caller_acks_take(acks);
    caller_acks_done(acks, 2, 0);
    caller_acks_note(acks, &note);
    struct caller_acks_told old = caller_acks_sent(acks, &note);
    unsigned told_again = 0;
    for (uint64_t id = 3; id < 3 + CALLER_ACKS_RING; id++) {
        assert_int_equal(caller_acks_take(acks), id);
        caller_acks_done(acks, id, 0);
        caller_acks_note(acks, &note);
        for (size_t i = 0; i < note.count; i++)
            told_again += note.ids[i] == 2;
        caller_acks_certain(acks, caller_acks_sent(acks, &note));
    }

    caller_acks_note(acks, &note);
    assert_int_equal(told_again + note.count, 1);
    caller_acks_certain(acks, old); /* its place is another's by now */
    assert_true(acks->told_count <= 1);
}

/* Random steps, beside a model that keeps one byte an id. */
enum { TAKEN = 1, DONE = 2, TOLD = 4, CERTAIN = 8 };

/* What a note may say: the model's `through`, and ids above it that are done and not told, each once. */
static void
note_check(uint8_t *model, uint64_t through, uint64_t next, const struct caller_acks_note *note)
{
    size_t expected = 0;
    assert_int_equal(note->through, through);
    for (uint64_t id = through + 1; id < next; id++)
        expected += (model[id] & (DONE | TOLD)) == DONE;
    assert_int_equal(note->count, expected < LIMIT_ACKNOWLEDGED_IDS ? expected : LIMIT_ACKNOWLEDGED_IDS);
    for (size_t i = 0; i < note->count; i++) {
        assert_true(note->ids[i] > through && note->ids[i] < next);
        assert_int_equal(model[note->ids[i]] & (DONE | TOLD), DONE);
        model[note->ids[i]] |= TOLD;
    }
}

static void
random_steps_agree_with_a_plain_model(void **state)
{
    enum { STEPS = 100000 };
    struct caller_acks *acks = *state;
    uint8_t *model = calloc(STEPS + 2, 1);
    uint64_t next = 1, through = 0;
    unsigned seed = 1;
    for (int step = 0; step < STEPS; step++) {
        int choice = rand_r(&seed) % 10;
        if (choice < 4) {
            uint64_t id = caller_acks_take(acks);
            if (id != 0) {
                assert_int_equal(id, next);
                model[next++] = TAKEN;
            }
        } else if (choice < 8 && next > through + 1) {
            uint64_t id = through + 1 + (uint64_t)rand_r(&seed) % (next - through - 1);
            if (!(model[id] & DONE)) {
                model[id] |= DONE;
                caller_acks_done(acks, id, 0);
            }
            while (through + 1 < next && (model[through + 1] & DONE))
                through++;
        } else if (choice == 8) {
            struct caller_acks_note note;
            caller_acks_note(acks, &note);
            note_check(model, through, next, &note);
            struct caller_acks_told told = caller_acks_sent(acks, &note);
            if (rand_r(&seed) % 2 == 0) {
                caller_acks_certain(acks, told);
                for (size_t i = 0; i < note.count; i++)
                    model[note.ids[i]] |= CERTAIN;
            }
        } else if (rand_r(&seed) % 100 == 0) {
            caller_acks_recall(acks, SIZE_MAX);
            for (uint64_t id = through + 1; id < next; id++)
                if (!(model[id] & CERTAIN))
                    model[id] &= (uint8_t)~TOLD;
        }
    }
    free(model);
}

static int
setup(void **state)
{
    struct caller_acks *acks = malloc(sizeof *acks);
    caller_acks_init(acks);
    *state = acks;
    return 0;
}

static int
teardown(void **state)
{
    free(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ids_begin_at_one_and_rise),
        TEST(a_note_tells_each_id_once),
        TEST(after_a_lost_connection_everything_is_told_again),
        TEST(more_than_one_note_holds_goes_into_the_next),
        TEST(any_number_of_ids_may_pass_an_old_call),
        TEST(no_more_ids_are_open_or_untold_than_the_server_keeps),
        TEST(what_was_told_is_remembered_until_its_message_is_answered),
        TEST(what_an_answer_never_made_certain_is_told_again_in_time),
        TEST(an_old_uncertain_id_in_the_way_is_told_again_not_forgotten),
        TEST(random_steps_agree_with_a_plain_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

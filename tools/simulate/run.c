/*
 * The virtual clock. Everything that is due now happens until nothing is left to do; then the clock
 * jumps to the next event, of a connection or of an engine's timer, whichever comes first.
 */
#include "simulate.h"

#include "base/clock.h"

/* Something may still happen at this instant. */
static bool is_busy(void)
{
    for (size_t i = 0; i < sim.pipe_count; i++)
        if (sim.pipes[i].engine->idle_active)
            return true;
    return false;
}

static bool tick_engines(int64_t now)
{
    bool any = false;

    for (size_t i = 0; i < sim.pipe_count; i++) {
        struct engine *g = sim.pipes[i].engine;
        if (scheduler_next_ms(g) > now)
            continue;
        scheduler_tick(g);
        any = true;
    }
    return any;
}

static void settle(int64_t now)
{
    bool again;

    do {
        again = peers_step();
        again |= world_answer_reads();
        again |= tick_engines(now);
        if (is_busy()) {
            uv_run(&sim.loop, UV_RUN_NOWAIT);
            again = true;
        }
    } while (again);
}

static int64_t next_ms(void)
{
    int64_t at = peers_next_ms();

    for (size_t i = 0; i < sim.pipe_count; i++)
        at = MIN_OF(at, scheduler_next_ms(sim.pipes[i].engine));
    return at;
}

static bool work_is_left(void)
{
    if (sim.live && clock_wall_ms() - sim.options->start_ms >= sim.options->for_ms)
        sim.gave_up = true;
    return sim.live && !sim.gave_up;
}

static void on_drained(void *arg)
{
    ((struct sim_pipe *)arg)->drained = true;
}

static bool all_drained(void)
{
    for (size_t i = 0; i < sim.pipe_count; i++)
        if (!sim.pipes[i].drained)
            return false;
    return true;
}

/* Connections end and handles close, so that the engines can be freed. */
static void drain(void)
{
    for (size_t i = 0; i < sim.pipe_count; i++)
        engine_drain(sim.pipes[i].engine, 0, on_drained, &sim.pipes[i]);
    while (!all_drained()) {
        peers_step();
        world_answer_reads();
        for (size_t i = 0; i < sim.pipe_count; i++)
            scheduler_check_drained(sim.pipes[i].engine);
        uv_run(&sim.loop, UV_RUN_NOWAIT);
    }
}

void sim_run(void)
{
    for (size_t i = 0; i < sim.pipe_count; i++)
        engine_start(sim.pipes[i].engine);
    sim.sampled_ms = sim.options->start_ms;
    for (;;) {
        settle(clock_wall_ms());
        if (!work_is_left())
            break;
        int64_t now = clock_wall_ms(), at = next_ms();
        held_sample(at);
        if (at > now)
            clock_fake_advance(at - now);
    }
    sim.end_ms = clock_wall_ms();
    drain();
}

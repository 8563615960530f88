/*
 * pmta-simulate; `pmtactl simulate` runs it. Loads a configuration, queues the volumes in a real
 * engine per pipe, and lets a virtual clock run until everything is delivered, bounced or expired.
 * No socket is opened and no file written.
 */
#include "simulate.h"

#include <stdio.h>

struct sim sim;

int main(int argc, char **argv)
{
    struct simulate_options options;
    struct err e = {0};
    int status = 2;
    int rc = simulate_options_parse(&options, argc, argv, &e);

    if (rc == 0)
        rc = sim_init(&options, &e);
    if (rc == 0) {
        sim_run();
        if (options.json)
            print_json();
        else
            print_table();
        status = sim.gave_up ? 1 : 0;
        sim_fini();
    }
    if (rc < 0)
        fprintf(stderr, "pmta-simulate: %s\n", e.text);
    simulate_options_fini(&options);
    if (fflush(stdout) != 0)
        status = 2;
    return rc == CLI_DONE ? 0 : status;
}

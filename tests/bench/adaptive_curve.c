/*
 * The curve of adaptive: rate against time, the hidden limit of the provider as a line, deferrals
 * as marks, drawn as an SVG. One picture with three runs on the virtual clock of the unit test: a
 * limit that stays, one that falls and rises, one that counts by the minute.
 *
 *     adaptive_curve FILE.svg
 *
 * The figures go to standard output, one JSON object per run.
 */
#include "pace_sim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    WIDTH = 1120,
    PANEL = 250,
    TOP = 92,
    LEFT = 76,
    RIGHT = 34,
    PLOT = 170,
    FOOT = 56,
    SECONDS_MAX = 3600,
};

struct second {
    double rate, limit;
    unsigned delivered, deferred;
};

struct run {
    const char *title;
    struct sim sim;
    double base;
    struct sim_result result;
    struct second seconds[SECONDS_MAX];
};

static double constant(void *arg, double t)
{
    (void)t;
    return *(double *)arg;
}

static double falls_and_rises(void *arg, double t)
{
    double base = *(double *)arg;
    return t < 600 ? base : t < 1200 ? base / 2 : base * 1.4;
}

static void keep(void *user, int second, double rate, double limit, unsigned delivered,
                 unsigned deferred)
{
    struct run *r = user;
    if (second < SECONDS_MAX)
        r->seconds[second] = (struct second){rate, limit, delivered, deferred};
}

static double x_of(const struct run *r, double t)
{
    return LEFT + t / r->sim.seconds * (WIDTH - LEFT - RIGHT);
}

static double y_of(double value, double top_value, double base_y)
{
    return base_y - fmin(value / top_value, 1) * PLOT;
}

/* A round number above the limit. */
static double scale_of(const struct run *r)
{
    double most = 0;
    for (int i = 0; i < (int)r->sim.seconds; i++)
        most = fmax(most, r->seconds[i].limit);
    most *= 1.35;
    double unit = pow(10, floor(log10(most)));
    while (unit * 4 > most)
        unit /= 2;
    return ceil(most / unit) * unit;
}

static void draw_grid(FILE *f, const struct run *r, double top, double base_y)
{
    for (int i = 0; i <= 4; i++) {
        double v = top * i / 4, y = y_of(v, top, base_y);
        fprintf(f, "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' class='%s'/>\n", LEFT, WIDTH - RIGHT,
                y, y, i ? "grid" : "axis");
        fprintf(f, "<text x='%d' y='%.1f' class='num' text-anchor='end'>%g/s</text>\n", LEFT - 10,
                y + 4, v);
    }
    fprintf(f,
            "<text transform='translate(18 %.1f) rotate(-90)' class='fact' "
            "text-anchor='middle'>recipients</text>\n",
            base_y - PLOT / 2.0);
    fprintf(f, "<text x='%d' y='%.1f' class='fact' text-anchor='middle'>time since start</text>\n",
            LEFT + (WIDTH - LEFT - RIGHT) / 2, base_y + 36);
    for (int t = 0; t <= (int)r->sim.seconds; t += 300)
        fprintf(f, "<text x='%.1f' y='%.1f' class='num' text-anchor='middle'>%d min</text>\n",
                x_of(r, t), base_y + 18, t / 60);
}

/* What was delivered, over ten seconds (a minute for windows of one). */
static void draw_delivered(FILE *f, const struct run *r, double top, double base_y)
{
    int step = 10;
    fprintf(f, "<path class='area' d='M%.1f %.1f", x_of(r, 0), base_y);
    for (int t = 0; t + step <= (int)r->sim.seconds; t += step) {
        unsigned sum = 0;
        for (int i = t; i < t + step; i++)
            sum += r->seconds[i].delivered;
        fprintf(f, " L%.1f %.1f", x_of(r, t + step / 2.0), y_of((double)sum / step, top, base_y));
    }
    fprintf(f, " L%.1f %.1f Z'/>\n", x_of(r, r->sim.seconds), base_y);
}

static void draw_lines(FILE *f, const struct run *r, double top, double base_y)
{
    fprintf(f, "<path class='limit' d='");
    for (int t = 0; t < (int)r->sim.seconds; t++)
        if (t == 0)
            fprintf(f, "M%.1f %.1f", x_of(r, t), y_of(r->seconds[t].limit, top, base_y));
        else if (r->seconds[t].limit != r->seconds[t - 1].limit || t + 1 == (int)r->sim.seconds)
            fprintf(f, " H%.1f V%.1f", x_of(r, t), y_of(r->seconds[t].limit, top, base_y));
    fprintf(f, "'/>\n<path class='rate' d='");
    for (int t = 0; t < (int)r->sim.seconds; t++)
        fprintf(f, "%s%.1f %.1f", t ? " L" : "M", x_of(r, t),
                y_of(r->seconds[t].rate, top, base_y));
    fprintf(f, "'/>\n");
}

/* Each level of the hidden limit, by its line. */
static void draw_levels(FILE *f, const struct run *r, double top, double base_y)
{
    for (int t = 0; t < (int)r->sim.seconds; t++) {
        double limit = r->seconds[t].limit;
        if (t == 0 || limit != r->seconds[t - 1].limit)
            fprintf(f, "<text x='%.1f' y='%.1f' class='level'>takes %g/s</text>\n",
                    x_of(r, t ? t : SIM_SETTLED_S) + 8, y_of(limit, top, base_y) - 7, limit);
    }
}

/* A mark for each incident, with its area by how many were put off. */
static void draw_deferrals(FILE *f, const struct run *r, double base_y)
{
    int end = (int)r->sim.seconds;
    for (int t = 0; t < end; t++) {
        unsigned sum = 0;
        int begin = t;
        while (t < end && r->seconds[t].deferred)
            sum += r->seconds[t++].deferred;
        if (!sum)
            continue;
        double radius = fmin(2.2 + 0.9 * log((double)sum), 9);
        fprintf(f,
                "<circle cx='%.1f' cy='%.1f' r='%.1f' class='mark'><title>%d s: %u "
                "deferred</title></circle>\n",
                x_of(r, begin), base_y - PLOT - 10, radius, begin, sum);
    }
}

static void draw_run(FILE *f, const struct run *r, int panel)
{
    double base_y = TOP + panel * (PANEL + FOOT) + PANEL - 24, top = scale_of(r);
    double share = 100 * (double)r->result.delivered / r->result.capacity;
    double deferred =
        100 * (double)r->result.deferred / (double)(r->result.delivered + r->result.deferred);

    fprintf(f, "<text x='%d' y='%.1f' class='title'>%s</text>\n", LEFT, base_y - PLOT - 32,
            r->title);
    fprintf(f,
            "<text x='%d' y='%.1f' class='fact' text-anchor='end'>after the first two minutes: "
            "<tspan class='strong'>%.1f%%</tspan> of what the provider takes, <tspan "
            "class='strong'>%.2f%%</tspan> deferred</text>\n",
            WIDTH - RIGHT, base_y - PLOT - 32, share, deferred);
    fprintf(f, "<rect x='%.1f' y='%.1f' width='%.1f' height='%d' class='settling'/>\n", x_of(r, 0),
            base_y - PLOT, x_of(r, SIM_SETTLED_S) - x_of(r, 0), PLOT);
    draw_grid(f, r, top, base_y);
    draw_delivered(f, r, top, base_y);
    draw_lines(f, r, top, base_y);
    draw_levels(f, r, top, base_y);
    draw_deferrals(f, r, base_y);
}

static const char style[] =
    "<style>text{font-family:system-ui,'DejaVu Sans',sans-serif;fill:#24324a}"
    ".head{font-size:21px;font-weight:600}.title{font-size:14px;font-weight:600}"
    ".fact{font-size:12.5px;fill:#5b6b84}.strong{font-weight:600;fill:#24324a}"
    ".num{font-size:11px;fill:#7a879c}.grid{stroke:#e7ebf2}.axis{stroke:#aab4c5}"
    ".settling{fill:#f6f8fb}.area{fill:#2f7df6;fill-opacity:.13}"
    ".rate{fill:none;stroke:#1f66d6;stroke-width:1.7;stroke-linejoin:round}"
    ".limit{fill:none;stroke:#e0662c;stroke-width:1.4;stroke-dasharray:7 5}"
    ".level{font-size:11px;fill:#c2551f}.mark{fill:#d6304a;fill-opacity:.55}</style>\n";

static void draw_legend(FILE *f)
{
    fprintf(f,
            "<text x='%d' y='38' class='head'>adaptive: finding the rate that a provider "
            "takes</text>\n",
            LEFT);
    fprintf(f,
            "<g transform='translate(%d 60)'><line x1='0' x2='26' y1='-4' y2='-4' class='rate'/>"
            "<text x='34' class='fact'>rate</text>"
            "<rect x='84' y='-10' width='26' height='11' class='area'/>"
            "<text x='118' class='fact'>delivered</text>"
            "<line x1='204' x2='230' y1='-4' y2='-4' class='limit'/>"
            "<text x='238' class='fact'>hidden limit</text>"
            "<circle cx='340' cy='-4' r='4.5' class='mark'/>"
            "<text x='352' class='fact'>deferrals</text>"
            "<rect x='434' y='-10' width='26' height='11' fill='#eef1f6'/>"
            "<text x='468' class='fact'>first two minutes</text></g>\n",
            LEFT);
}

static int draw(const char *path, const struct run *runs, size_t count)
{
    int height = TOP + (int)count * (PANEL + FOOT);
    FILE *f = fopen(path, "we");

    if (!f)
        return -errno;
    fprintf(f,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' "
            "height='%d'>\n%s<rect width='100%%' height='100%%' fill='#fff'/>\n",
            WIDTH, height, WIDTH, height, style);
    draw_legend(f);
    for (size_t i = 0; i < count; i++)
        draw_run(f, &runs[i], (int)i);
    fprintf(f, "</svg>\n");
    int failed = ferror(f);
    return fclose(f) || failed ? -EIO : 0;
}

int main(int argc, char **argv)
{
    static struct run runs[] = {
        {.title = "500/s, a bucket of one second",
         .base = 500,
         .sim = {.window = SIM_BUCKET, .window_s = 1, .limit = constant, .rtt_ms = 200}},
        {.title = "20/s, halved after ten minutes, 28/s after twenty",
         .base = 20,
         .sim = {.window = SIM_BUCKET, .window_s = 1, .limit = falls_and_rises, .rtt_ms = 200}},
        {.title = "60 a minute, counted by the minute of the clock",
         .base = 1,
         .sim = {.window = SIM_FIXED, .window_s = 60, .limit = constant, .rtt_ms = 200}},
    };
    int status = 0;

    if (argc != 2) {
        fputs("usage: adaptive_curve FILE.svg\n", stderr);
        return 2;
    }
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        struct run *r = &runs[i];
        r->sim.arg = &r->base;
        r->sim.seconds = 1800;
        r->sim.sample = keep;
        r->sim.user = r;
        r->result = sim_run(&r->sim, INT64_C(1795250017000));
        double share = 100 * (double)r->result.delivered / r->result.capacity;
        double deferred =
            100 * (double)r->result.deferred / (double)(r->result.delivered + r->result.deferred);
        printf("{\"name\":\"%s\",\"goodput_percent\":%.2f,\"deferred_percent\":%.3f}\n", r->title,
               share, deferred);
        if (share < 85 || deferred > 3)
            status = 1;
    }
    int rc = draw(argv[1], runs, ARRAY_LEN(runs));
    if (rc < 0) {
        fprintf(stderr, "adaptive_curve: %s: %s\n", argv[1], strerror(-rc));
        return 2;
    }
    return status;
}

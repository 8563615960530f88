/*
 * The clocks; see clock.h.
 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static bool fake;
static int64_t fake_wall_ms;
static int64_t fake_mono_ms;

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
    return fake ? fake_mono_ms : read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_wall_ms(void)
{
    return fake ? fake_wall_ms : read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_wall_us(void)
{
    return fake ? fake_wall_ms * 1000 : read_us(CLOCK_REALTIME);
}

void clock_fake_set(int64_t wall_ms)
{
    fake = true;
    fake_wall_ms = wall_ms;
    fake_mono_ms = 1000000;
}

void clock_fake_advance(int64_t ms)
{
    fake_wall_ms += ms;
    fake_mono_ms += ms;
}

static struct tm utc(int64_t wall_ms)
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&t, &tm);
    return tm;
}

char *clock_iso(int64_t wall_ms, char *out)
{
    struct tm tm = utc(wall_ms);
    size_t n = strftime(out, CLOCK_ISO_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, CLOCK_ISO_SIZE - n, ".%03dZ", (int)(wall_ms % 1000));
    return out;
}

char *clock_rfc5322(int64_t wall_ms, char *out)
{
    static const char day[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char month[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm = utc(wall_ms);
    snprintf(out, CLOCK_RFC5322_SIZE, "%s, %d %s %d %02d:%02d:%02d +0000", day[tm.tm_wday % 7],
             tm.tm_mday, month[tm.tm_mon % 12], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
             tm.tm_sec);
    return out;
}

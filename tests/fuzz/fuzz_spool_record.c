/*
 * Any bytes as a segment and as a journal file: the scans must end, stay inside, and agree with
 * themselves. The first byte chooses which; the file is a memfd.
 */
#include "spool/scan.h"

#include <sys/mman.h>
#include <unistd.h>

#include "spool/dir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t covered;

static void on_record(void *arg, uint32_t offset, const struct record *r, const char *in, bool ok)
{
    uint64_t end = *(uint64_t *)arg;
    struct record again;
    (void)ok;
    BUG_ON(offset + record_total_bytes(r) > end || !record_peek(in, &again) ||
           !record_verify(in, &again));
    covered += record_total_bytes(r);
}

static void on_damage(void *arg, uint64_t from, uint64_t to, bool to_end)
{
    uint64_t end = *(uint64_t *)arg;
    BUG_ON(from >= to || to > end || (to_end && to != end));
    covered += to - from;
}

static void on_event(void *arg, uint64_t offset, const struct event *e, struct strview encoded)
{
    uint64_t end = *(uint64_t *)arg;
    struct buf again = {0};
    BUG_ON(offset + encoded.len > end || e->text.len > EVENT_TEXT_MAX);
    BUG_ON(event_encode(&again, e) != encoded.len);
    buf_free(&again);
    covered += encoded.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char header[JOURNAL_HEADER_BYTES] = {0};
    struct segment_header segment;
    struct journal_header journal;
    if (size < 1)
        return 0;
    uint64_t end = size - 1;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    BUG_ON(fd < 0 || spool_write_at(fd, data + 1, size - 1, 0) < 0);
    memcpy(header, data + 1, MIN_OF(size - 1, sizeof(header)));
    covered = 0;
    uint64_t start = 0;
    if (data[0] & 1) {
        struct segment_scan scan = {0, data[0] & 2, on_record, on_damage, &end};
        if (segment_header_decode(header, &segment))
            scan.tag = segment.tag;
        segment_scan(&scan, fd, end);
        start = SEGMENT_HEADER_BYTES;
    } else {
        struct journal_scan scan = {on_event, on_damage, &end};
        journal_header_decode(header, &journal);
        journal_scan(&scan, fd, end);
        start = JOURNAL_HEADER_BYTES;
    }
    BUG_ON(covered != (end > start ? end - start : 0));
    close(fd);
    return 0;
}

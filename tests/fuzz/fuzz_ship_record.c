/*
 * Lines of accounting files: the first line of the input is the header, or a JSON line; each other
 * one is converted. What is taken must be one well-formed JSON object with an id.
 */
#include "base/buf.h"
#include "json_scan.h"
#include "record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void convert(const struct columns *columns, struct strview line, uint64_t offset)
{
    struct record_request q = {columns, line,    SV("bulk"), SV("acct-bulk-2026-11-21-0000"),
                               offset,  ACCT_ALL};
    struct json_wanted id = {.key = "eventId"};
    struct buf json = {0}, ids = {0};
    struct record_result r;

    if (record_convert(&q, &json, &ids, &r) == RECORD_TAKEN) {
        BUG_ON(!json_scan_object(buf_view(&json), &id, 1) || !id.seen || !r.id.len);
        BUG_ON(memchr(buf_data(&json), '\n', buf_len(&json)));
    } else {
        BUG_ON(buf_len(&json) || buf_len(&ids));
    }
    buf_free(&json);
    buf_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strview rest = sv((const char *)data, size), line;
    struct columns *columns = NULL;

    if (!sv_split(&rest, '\n', &line))
        return 0;
    if (!record_is_json(line)) {
        if (columns_new(sv_trim(line), &columns, NULL) < 0)
            return 0;
    } else {
        convert(NULL, line, 0);
    }
    for (uint64_t n = 1; sv_split(&rest, '\n', &line); n++)
        convert(columns, line, n);
    columns_free(columns);
    return 0;
}

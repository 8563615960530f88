/*
 * data_scan against its definition: every string over CR, LF, dot and a letter up to a length, in
 * every size of pieces. The data ends at the first CRLF.CRLF of CRLF + input, and nowhere else.
 */
#include "unit.h"

#include "data_scan.h"

enum { LENGTH_MAX = 8 };

/* Bytes up to and including the end of data, or 0. */
static size_t real_end(const char *in, size_t len)
{
    char whole[LENGTH_MAX + 2] = "\r\n";
    memcpy(whole + 2, in, len);
    const char *end = memmem(whole, len + 2, "\r\n.\r\n", 5);
    return end ? (size_t)(end - whole) + 5 - 2 : 0;
}

static void check_one(const char *in, size_t len, size_t piece, bool fix_lf)
{
    struct data_scan d;
    struct buf out = {0};
    size_t taken = 0;
    bool ended = false;

    data_scan_reset(&d, false, fix_lf, 1000);
    while (taken < len && !ended) {
        size_t n = MIN_OF(piece, len - taken);
        size_t used = data_scan(&d, in + taken, n, &out, &ended);
        assert_true(used == n || ended);
        taken += used;
    }
    size_t end = real_end(in, len);
    assert_int_equal(ended, end > 0);
    if (ended)
        assert_int_equal(taken, end);
    if (ended && d.fault == DATA_OK) { /* wire form: nothing in it can end the data */
        size_t n = buf_len(&out);
        assert_true(n == 0 || (n >= 2 && memcmp(buf_data(&out) + n - 2, "\r\n", 2) == 0));
        assert_null(memmem(buf_data(&out), n, "\r\n.\r\n", 5));
        assert_false(n >= 3 && memcmp(buf_data(&out), ".\r\n", 3) == 0);
        for (size_t i = 0; i < n; i++) {
            char c = buf_data(&out)[i];
            assert_false(c == '\n' && (i == 0 || buf_data(&out)[i - 1] != '\r'));
            assert_false(c == '\r' && (i + 1 == n || buf_data(&out)[i + 1] != '\n'));
        }
    }
    buf_free(&out);
}

static void every_short_string(void **state)
{
    static const size_t pieces[] = {1, 2, 3, LENGTH_MAX};
    (void)state;
    for (size_t len = 1; len <= LENGTH_MAX; len++) {
        for (unsigned n = 0; n < 1u << (2 * len); n++) {
            char in[LENGTH_MAX];
            for (size_t i = 0; i < len; i++)
                in[i] = "\r\n.a"[n >> (2 * i) & 3];
            for (size_t k = 0; k < ARRAY_LEN(pieces); k++) {
                check_one(in, len, pieces[k], false);
                check_one(in, len, pieces[k], true);
            }
        }
    }
}

/* Specials at every offset of a 16 byte step are found. */
static void every_offset(void **state)
{
    (void)state;
    for (size_t at = 0; at < 70; at++) {
        char in[80];
        struct data_scan d;
        struct buf out = {0};
        bool ended;
        memset(in, 'x', sizeof(in));
        in[at] = '\0';
        data_scan_reset(&d, false, false, 1000);
        data_scan(&d, in, sizeof(in), &out, &ended);
        assert_int_equal(d.fault, DATA_NUL);
        in[at] = (char)0xc3;
        data_scan_reset(&d, false, false, 1000);
        data_scan(&d, in, sizeof(in), &out, &ended);
        assert_int_equal(d.fault, DATA_OK);
        assert_true(d.eight_bit);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_string),
        cmocka_unit_test(every_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What every unit test includes: cmocka needs these in this order.
 */
#ifndef PMTA_TESTS_UNIT_H
#define PMTA_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

#define assert_sv_equal(view, literal)                      \
    do {                                                    \
        struct strview view_ = (view);                      \
        assert_int_equal(view_.len, strlen(literal));       \
        assert_memory_equal(view_.ptr, literal, view_.len); \
    } while (0)

#endif

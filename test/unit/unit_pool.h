/* unit_pool.h - for tests that need APR: one pool for all of a program's tests, made and taken down with the group. */
#ifndef MERCURE_UNIT_POOL_H
#define MERCURE_UNIT_POOL_H

#include "unit.h"

static apr_pool_t *pool;

static int unit_setup(void **state)
{
    (void)state;
    apr_initialize();
    return apr_pool_create(&pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int unit_teardown(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

#endif

/* urlpattern_effort.c - what matching may cost.
 *
 * A pattern comes from a subscriber whom nobody knows, and brokerd matches for all tenants in one thread. So three
 * things have a bound: one evaluation of a regular expression, all regular expressions asked about one update, and all
 * programs run for it. Costs are counted in steps of one to two nanoseconds, never in time: what matches does not
 * depend on how busy the machine is.
 *
 * PCRE2 counts its backtracking. Between two counts it may look at the whole value ("a{4000}") and run the expression's
 * whole code without moving on ("(?:\B\B\B...)"), so one count is taken to cost both.
 */
#include "urlpattern_internal.h"

#define EVALUATION_STEPS 400000   /* of one regular expression: less than a millisecond */
#define REGEXP_STEPS     4000000  /* of all regular expressions for one update */
#define PROGRAM_STEPS    20000000 /* of all programs for one update */

#define QUICK_LIMIT 16 /* counts that an ordinary regular expression stays below */
#define MOST_COUNTS 20000
#define DEPTH_LIMIT 5000
#define HEAP_LIMIT  256 /* KiB */

struct mercure_effort {
    pcre2_match_data *match_data; /* NULL until a regular expression is asked */
    pcre2_match_context *match_context;
    apr_pool_t *pool;
    uint64_t regexp_steps;
    uint64_t program_steps;
    bool exhausted;
};

mercure_effort *mercure_effort_make(apr_pool_t *pool)
{
    mercure_effort *effort = apr_pcalloc(pool, sizeof(*effort));

    effort->pool = pool;
    return effort;
}

uint64_t mercure_effort_spent(const mercure_effort *effort)
{
    return effort->regexp_steps + effort->program_steps;
}

bool mercure_effort_exhausted(const mercure_effort *effort)
{
    return effort->exhausted;
}

static apr_status_t free_match_data(void *data)
{
    mercure_effort *effort = data;

    pcre2_match_data_free(effort->match_data);
    pcre2_match_context_free(effort->match_context);
    return APR_SUCCESS;
}

/* What PCRE2 needs, made once; false without memory. */
static bool prepare(mercure_effort *effort)
{
    if (effort->match_data != NULL) {
        return true;
    }
    effort->match_context = pcre2_match_context_create(NULL);
    effort->match_data = effort->match_context != NULL ? pcre2_match_data_create(1, NULL) : NULL;
    if (effort->match_data == NULL) {
        pcre2_match_context_free(effort->match_context);
        effort->match_context = NULL;
        return false;
    }
    pcre2_set_depth_limit(effort->match_context, DEPTH_LIMIT);
    pcre2_set_heap_limit(effort->match_context, HEAP_LIMIT);
    apr_pool_cleanup_register(effort->pool, effort, free_match_data, apr_pool_cleanup_null);
    return true;
}

/* What one of PCRE2's counts may cost. */
static uint64_t count_steps(const urlpattern_compiled *c, size_t len)
{
    return (len + 1) * c->weight + c->code_size;
}

uint32_t urlpattern_match_limit(const urlpattern_compiled *c, size_t len)
{
    uint64_t limit = EVALUATION_STEPS / count_steps(c, len) + 1;

    return (uint32_t)(limit < MOST_COUNTS ? limit : MOST_COUNTS);
}

/* Once with a limit, which is paid for. */
static int try_regexp(mercure_effort *effort, const urlpattern_compiled *c, mercure_str value, uint32_t limit)
{
    effort->regexp_steps += limit * count_steps(c, value.len);
    pcre2_set_match_limit(effort->match_context, limit);
    return pcre2_match(c->u.code, (PCRE2_SPTR)value.data, value.len, 0, 0, effort->match_data, effort->match_context);
}

bool urlpattern_match_regexp(mercure_effort *effort, const urlpattern_compiled *c, mercure_str value)
{
    uint32_t limit = urlpattern_match_limit(c, value.len);
    int result;

    if (effort->regexp_steps >= REGEXP_STEPS || !prepare(effort)) {
        effort->exhausted = true;
        return false;
    }
    result = try_regexp(effort, c, value, limit < QUICK_LIMIT ? limit : QUICK_LIMIT);
    if (result == PCRE2_ERROR_MATCHLIMIT && limit > QUICK_LIMIT) {
        result = try_regexp(effort, c, value, limit);
    }
    return result >= 0; /* else it does not match, or a limit was reached */
}

bool urlpattern_may_run(mercure_effort *effort)
{
    effort->exhausted = effort->exhausted || effort->program_steps >= PROGRAM_STEPS;
    return effort->program_steps < PROGRAM_STEPS;
}

void urlpattern_note_steps(mercure_effort *effort, uint64_t steps)
{
    effort->program_steps += steps;
}

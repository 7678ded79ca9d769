/* sse.c - see sse.h. One walk serves both functions: with no output it only counts. */
#include "mercure/sse.h"

typedef struct {
    char *out; /* NULL: only count */
    size_t len;
} sink;

static void put(sink *to, const char *bytes, size_t len)
{
    if (to->out != NULL && len > 0) {
        memcpy(to->out + to->len, bytes, len);
    }
    to->len += len;
}

static void put_field(sink *to, const char *name, mercure_str value)
{
    put(to, name, strlen(name));
    put(to, value.data, value.len);
    put(to, "\n", 1);
}

static void put_data(sink *to, mercure_str data)
{
    size_t start = 0, at = 0;

    while (at < data.len) {
        if (data.data[at] != '\r' && data.data[at] != '\n') {
            at++;
            continue;
        }
        put_field(to, "data: ", (mercure_str){data.data + start, at - start});
        at += data.data[at] == '\r' && at + 1 < data.len && data.data[at + 1] == '\n' ? 2 : 1;
        start = at;
    }
    /* What follows the last line break is a line too, and empty data is one empty line. */
    put_field(to, "data: ", (mercure_str){data.data != NULL ? data.data + start : "", data.len - start});
}

static void put_event(sink *to, const mercure_update *update)
{
    if (update->type.len > 0) {
        put_field(to, "event: ", update->type);
    }
    if (update->retry.len > 0) {
        put_field(to, "retry: ", update->retry);
    }
    put_field(to, "id: ", update->id);
    put_data(to, update->data);
    put(to, "\n", 1);
}

size_t mercure_sse_length(const mercure_update *update)
{
    sink to = {NULL, 0};

    put_event(&to, update);
    return to.len;
}

void mercure_sse_write(const mercure_update *update, char *out)
{
    sink to = {out, 0};

    put_event(&to, update);
}

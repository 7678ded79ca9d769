/* mercurectl_input.c - what mercurectl is given: keys, files, durations, words of a configuration line. */
#include "mercurectl.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mercure/claims.h"

#define KEY_FILE_MAX 65536

typedef struct {
    char *data;
    size_t size;
} wiped;

static apr_status_t wipe(void *data)
{
    wiped *buffer = data;

    OPENSSL_cleanse(buffer->data, buffer->size);
    return APR_SUCCESS;
}

/* Memory for what may be a secret. */
static char *buffer_of(apr_pool_t *pool, size_t size)
{
    wiped *buffer = apr_palloc(pool, sizeof(*buffer));

    *buffer = (wiped){apr_palloc(pool, size), size};
    apr_pool_cleanup_register(pool, buffer, wipe, apr_pool_cleanup_null);
    return buffer->data;
}

static mercure_status read_all(apr_pool_t *pool, int fd, const char *what, size_t most, mercure_str *bytes,
                               mercure_error *err)
{
    char *buffer = buffer_of(pool, most + 1);
    size_t len = 0;
    ssize_t got;

    while (len <= most && (got = read(fd, buffer + len, most + 1 - len)) != 0) {
        if (got < 0 && errno != EINTR) {
            return mercure_fail(err, MERCURE_SYSTEM, "cannot read %s: %s", what, strerror(errno));
        }
        len += got > 0 ? (size_t)got : 0;
    }
    if (len == 0 || len > most) {
        return mercure_fail(err, MERCURE_INVALID, "%s must have 1 to %zu bytes", what, most);
    }
    *bytes = (mercure_str){buffer, len};
    return MERCURE_OK;
}

mercure_status ctl_read_stdin(apr_pool_t *pool, const char *what, size_t most, mercure_str *bytes, mercure_error *err)
{
    return read_all(pool, STDIN_FILENO, what, most, bytes, err);
}

mercure_status ctl_read_file(apr_pool_t *pool, const char *path, size_t most, mercure_str *bytes, mercure_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    mercure_status status;

    if (fd < 0) {
        return mercure_fail(err, MERCURE_INVALID, "cannot open %.150s: %s", path, strerror(errno));
    }
    status = read_all(pool, fd, path, most, bytes, err);
    close(fd);
    return status;
}

static void drop_final_newline(mercure_str *bytes)
{
    if (bytes->len > 0 && bytes->data[bytes->len - 1] == '\n') {
        bytes->len--;
    }
    if (bytes->len > 0 && bytes->data[bytes->len - 1] == '\r') {
        bytes->len--;
    }
}

const char *ctl_rooted(apr_pool_t *pool, const char *path, const char *root)
{
    return root != NULL && *path != '/' ? apr_pstrcat(pool, root, "/", path, NULL) : path;
}

mercure_status ctl_find_key(apr_pool_t *pool, const char *text, const char *root, mercure_str *bytes,
                            mercure_error *err)
{
    mercure_status status = MERCURE_OK;
    const char *value;

    if (strncmp(text, "file:", 5) == 0) {
        status = ctl_read_file(pool, ctl_rooted(pool, text + 5, root), KEY_FILE_MAX, bytes, err);
    } else if (strcmp(text, "-") == 0) {
        status = ctl_read_stdin(pool, "the key on standard input", KEY_FILE_MAX, bytes, err);
    } else if (strncmp(text, "env:", 4) == 0) {
        value = getenv(text + 4);
        if (value == NULL || *value == '\0') {
            return mercure_fail(err, MERCURE_INVALID, "the environment variable %.100s is not set", text + 4);
        }
        *bytes = mercure_str_of(value);
        return MERCURE_OK;
    } else {
        *bytes = mercure_str_of(text);
        return MERCURE_OK;
    }
    if (status == MERCURE_OK) {
        drop_final_newline(bytes);
    }
    return status;
}

bool ctl_parse_duration(const char *text, int64_t *seconds)
{
    static const char letters[] = "smhd";
    static const int64_t units[] = {1, 60, 3600, 86400};
    const int64_t most = INT64_C(100) * 366 * 86400;
    char *end;
    long long count;
    const char *unit;

    if (!apr_isdigit(*text)) {
        return false;
    }
    errno = 0;
    count = strtoll(text, &end, 10);
    unit = *end != '\0' ? strchr(letters, *end) : NULL;
    if (errno != 0 || unit == NULL || end[1] != '\0' || count > most / units[unit - letters]) {
        return false;
    }
    *seconds = count * units[unit - letters];
    return true;
}

char *ctl_next_word(apr_pool_t *pool, const char **line)
{
    const char *at = *line;
    char *word, *to, quote;

    while (apr_isspace(*at)) {
        at++;
    }
    if (*at == '\0') {
        *line = at;
        return NULL;
    }
    word = to = apr_palloc(pool, strlen(at) + 1);
    if (*at == '"' || *at == '\'') {
        quote = *at++;
        while (*at != '\0' && *at != quote) {
            if (*at == '\\' && (at[1] == '\\' || at[1] == quote)) {
                at++;
            }
            *to++ = *at++;
        }
        at += *at == quote;
    } else {
        while (*at != '\0' && !apr_isspace(*at)) {
            *to++ = *at++;
        }
    }
    *to = '\0';
    *line = at;
    return word;
}

bool ctl_add_dialect(const char *text, unsigned *dialects)
{
    if (strcmp(text, "8") == 0) {
        *dialects |= MERCURE_DIALECT_8;
    } else if (strcasecmp(text, "targets") == 0) {
        *dialects |= MERCURE_DIALECT_TARGETS;
    } else {
        return false;
    }
    return true;
}

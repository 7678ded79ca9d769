/* h2_head.c - see h2_head.h.
 *
 * All text lies in one block that grows; fields are offsets into it until the head is finished. nghttp2 has checked the
 * syntax by then (RFC 9113 8.2.1, 8.3.1); what would be dangerous in an HTTP/1.1 server if it had not is looked at
 * again.
 */
#include "h2_head.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_MOST  (64u << 10) /* bytes of all fields together */
#define NO_TEXT    ((size_t)-1)
#define FIRST_ROOM 512

typedef struct {
    size_t name, value; /* offsets */
} span;

enum { METHOD, SCHEME, AUTHORITY, PATH, PSEUDO_COUNT };

struct h2_head {
    h2_head_limits limits;
    int refused;
    char *text;
    size_t len, room;
    span *fields;
    size_t count, field_room;
    size_t seen; /* fields that came */
    size_t pseudo[PSEUDO_COUNT];
    size_t host;
    size_t cookies; /* how many fields are cookies */
};

h2_head *h2_head_create(const h2_head_limits *limits)
{
    h2_head *head = calloc(1, sizeof(*head));
    size_t i;

    if (head == NULL) {
        return NULL;
    }
    head->limits = *limits;
    head->host = NO_TEXT;
    for (i = 0; i < PSEUDO_COUNT; i++) {
        head->pseudo[i] = NO_TEXT;
    }
    return head;
}

void h2_head_free(h2_head *head)
{
    if (head != NULL) {
        free(head->text);
        free(head->fields);
        free(head);
    }
}

/* From now on only the status matters. */
static void refuse(h2_head *head, int status)
{
    if (head->refused == 0) {
        head->refused = status;
    }
}

/* Append text and a NUL; its offset, or NO_TEXT without memory. */
static size_t add_text(h2_head *head, const char *text, size_t len)
{
    size_t at = head->len;

    if (head->len + len + 1 > head->room) {
        size_t room = head->room == 0 ? FIRST_ROOM : head->room * 2;
        char *larger;
        while (room < head->len + len + 1) {
            room *= 2;
        }
        larger = realloc(head->text, room);
        if (larger == NULL) {
            return NO_TEXT;
        }
        head->text = larger;
        head->room = room;
    }
    memcpy(head->text + at, text, len);
    head->text[at + len] = '\0';
    head->len += len + 1;
    return at;
}

static bool add_field(h2_head *head, const char *name, size_t name_len, const char *value, size_t value_len)
{
    span field;

    if (head->count == head->field_room) {
        size_t room = head->field_room == 0 ? 16 : head->field_room * 2;
        span *larger = realloc(head->fields, room * sizeof(*larger));
        if (larger == NULL) {
            return false;
        }
        head->fields = larger;
        head->field_room = room;
    }
    field.name = add_text(head, name, name_len);
    field.value = field.name != NO_TEXT ? add_text(head, value, value_len) : NO_TEXT;
    if (field.value == NO_TEXT) {
        return false;
    }
    head->fields[head->count++] = field;
    return true;
}

static bool is(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

/* Would this end a line, or a string, where HTTP/1.1 is spoken? */
static bool is_dangerous(const char *text, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (text[i] == '\r' || text[i] == '\n' || text[i] == '\0') {
            return true;
        }
    }
    return false;
}

static bool add_pseudo(h2_head *head, const char *name, size_t name_len, const char *value, size_t value_len)
{
    static const char *const names[PSEUDO_COUNT] = {":method", ":scheme", ":authority", ":path"};
    size_t i;

    for (i = 0; i < PSEUDO_COUNT && !is(name, name_len, names[i]); i++) {
    }
    if (i == PSEUDO_COUNT || head->pseudo[i] != NO_TEXT || memchr(value, ' ', value_len) != NULL) {
        refuse(head, 400);
        return true;
    }
    if ((i == PATH || i == METHOD) && head->limits.line > 0 && value_len > head->limits.line) {
        refuse(head, 414);
        return true;
    }
    head->pseudo[i] = add_text(head, value, value_len);
    return head->pseudo[i] != NO_TEXT;
}

bool h2_head_add(h2_head *head, const char *name, size_t name_len, const char *value, size_t value_len)
{
    head->seen += head->cookies == 0 || !is(name, name_len, "cookie"); /* cookies, however split, are one field */
    if (head->refused != 0) {
        return true;
    }
    if (name_len == 0 || is_dangerous(name, name_len) || is_dangerous(value, value_len)) {
        refuse(head, 400);
        return true;
    }
    if (head->len + name_len + value_len + 2 > HEAD_MOST ||
        (head->limits.fields > 0 && head->seen > head->limits.fields + PSEUDO_COUNT) ||
        (head->limits.field_size > 0 && name[0] != ':' && name_len + value_len + 2 > head->limits.field_size)) {
        refuse(head, 431);
        return true;
    }
    if (name[0] == ':') {
        return add_pseudo(head, name, name_len, value, value_len);
    }
    if (is(name, name_len, "host")) {
        if (head->host != NO_TEXT) {
            refuse(head, 400);
            return true;
        }
        head->host = add_text(head, value, value_len);
        return head->host != NO_TEXT;
    }
    head->cookies += is(name, name_len, "cookie");
    return add_field(head, name, name_len, value, value_len);
}

/* RFC 9113 8.2.3: cookies may be split over several fields; everybody else expects one. The first becomes them all. */
static void join_cookies(h2_head *head)
{
    size_t i, kept = 0, first = NO_TEXT, len = 0, joined_at;
    char *joined;

    for (i = 0; i < head->count; i++) {
        if (strcmp(head->text + head->fields[i].name, "cookie") == 0) {
            len += strlen(head->text + head->fields[i].value) + 2;
        }
    }
    joined = malloc(len + 1);
    if (joined == NULL) {
        refuse(head, 503);
        return;
    }
    len = 0;
    for (i = 0; i < head->count; i++) {
        const char *value = head->text + head->fields[i].value;
        if (strcmp(head->text + head->fields[i].name, "cookie") != 0) {
            head->fields[kept++] = head->fields[i];
            continue;
        }
        if (first == NO_TEXT) {
            first = kept;
            head->fields[kept++] = head->fields[i];
        } else {
            memcpy(joined + len, "; ", 2);
            len += 2;
        }
        memcpy(joined + len, value, strlen(value));
        len += strlen(value);
    }
    joined_at = add_text(head, joined, len);
    free(joined);
    if (joined_at == NO_TEXT) {
        refuse(head, 503);
        return;
    }
    head->fields[first].value = joined_at;
    head->count = kept;
    if (head->limits.field_size > 0 && len + sizeof("cookie: ") > head->limits.field_size) {
        refuse(head, 431);
    }
}

void h2_head_finish(h2_head *head)
{
    const char *method;

    if (head->refused != 0) {
        return;
    }
    if (head->pseudo[METHOD] == NO_TEXT) {
        refuse(head, 400);
        return;
    }
    method = head->text + head->pseudo[METHOD];
    if (strcmp(method, "CONNECT") == 0) {
        refuse(head, 405); /* this is no proxy */
        return;
    }
    if (head->pseudo[SCHEME] == NO_TEXT || head->pseudo[PATH] == NO_TEXT ||
        (head->text[head->pseudo[PATH]] != '/' && strcmp(head->text + head->pseudo[PATH], "*") != 0)) {
        refuse(head, 400);
        return;
    }
    if (strcasecmp(head->text + head->pseudo[SCHEME], "https") != 0) {
        refuse(head, 400); /* it came over TLS */
        return;
    }
    if (head->host != NO_TEXT && head->pseudo[AUTHORITY] != NO_TEXT &&
        strcasecmp(head->text + head->host, head->text + head->pseudo[AUTHORITY]) != 0) {
        refuse(head, 400); /* RFC 9113 8.3.1: else two servers might see two hosts */
        return;
    }
    if (head->host == NO_TEXT && head->pseudo[AUTHORITY] == NO_TEXT) {
        refuse(head, 400);
        return;
    }
    if (head->cookies > 1) {
        join_cookies(head);
    }
}

int h2_head_refused(const h2_head *head)
{
    return head->refused;
}

static const char *pseudo_of(const h2_head *head, int which)
{
    return head->pseudo[which] != NO_TEXT ? head->text + head->pseudo[which] : "";
}

const char *h2_head_method(const h2_head *head)
{
    return pseudo_of(head, METHOD);
}

const char *h2_head_scheme(const h2_head *head)
{
    return pseudo_of(head, SCHEME);
}

const char *h2_head_authority(const h2_head *head)
{
    return head->pseudo[AUTHORITY] == NO_TEXT && head->host != NO_TEXT ? head->text + head->host
                                                                       : pseudo_of(head, AUTHORITY);
}

const char *h2_head_path(const h2_head *head)
{
    return pseudo_of(head, PATH);
}

size_t h2_head_count(const h2_head *head)
{
    return head->count;
}

h2_field h2_head_field(const h2_head *head, size_t at)
{
    return (h2_field){head->text + head->fields[at].name, head->text + head->fields[at].value};
}

const char *h2_head_get(const h2_head *head, const char *name)
{
    size_t i;

    for (i = 0; i < head->count; i++) {
        if (strcmp(head->text + head->fields[i].name, name) == 0) {
            return head->text + head->fields[i].value;
        }
    }
    return NULL;
}

size_t h2_head_size(const h2_head *head)
{
    return sizeof(*head) + head->room + head->field_room * sizeof(span);
}

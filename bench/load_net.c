/*
 * load_net.c - URLs, non-blocking connections (plain and TLS) and the parsing of HTTP/1.1
 * answers for the load client. Nothing here blocks, save the one name lookup at the start.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

void *must_alloc(void *memory, size_t size)
{
    void *grown = realloc(memory, size);

    if (!grown) {
        fprintf(stderr, "bench-load: out of memory (%zu bytes asked for)\n", size);
        exit(3);
    }
    return grown;
}

static void bytes_reserve(struct bytes *b, size_t more)
{
    size_t need = b->len + more;
    size_t cap = b->cap ? b->cap : 64;

    if (need <= b->cap)
        return;
    while (cap < need)
        cap *= 2;
    b->data = must_alloc(b->data, cap);
    b->cap = (uint32_t)cap;
}

void bytes_append(struct bytes *b, const void *data, size_t len)
{
    if (!len)
        return;
    bytes_reserve(b, len);
    memcpy(b->data + b->len, data, len);
    b->len += (uint32_t)len;
}

void bytes_format(struct bytes *b, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0)
        return;
    bytes_reserve(b, (size_t)len + 1);
    va_start(args, format);
    vsnprintf(b->data + b->len, (size_t)len + 1, format, args);
    va_end(args);
    b->len += (uint32_t)len;
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

/* One line for each kind of failure is enough: ten thousand streams fail alike. */
void complain_once(atomic_bool *said, const char *format, ...)
{
    va_list args;

    if (atomic_exchange(said, true))
        return;
    va_start(args, format);
    fputs("bench-load: ", stderr);
    vfprintf(stderr, format, args);
    fputs(" (said once)\n", stderr);
    va_end(args);
}

/* ---- URLs ---- */

static bool url_parse_port(const char *text, const char *end, struct url *url)
{
    char *stop;
    unsigned long port;

    if (text == end) {
        url->port = url->tls ? 443 : 80;
        return true;
    }
    if (*text != ':')
        return false;
    port = strtoul(text + 1, &stop, 10);
    if (stop != end || port == 0 || port > 65535)
        return false;
    url->port = (uint16_t)port;
    return true;
}

bool url_parse(const char *text, struct url *url)
{
    const char *host, *host_end, *end;
    size_t len;

    *url = (struct url){0};
    if (strncasecmp(text, "https://", 8) == 0)
        url->tls = true;
    else if (strncasecmp(text, "http://", 7) != 0)
        return false;
    host = text + (url->tls ? 8 : 7);
    end = host + strcspn(host, "/?");
    if (*host == '[') {
        host++;
        host_end = memchr(host, ']', (size_t)(end - host));
        if (!host_end || !url_parse_port(host_end + 1, end, url))
            return false;
    } else {
        host_end = memchr(host, ':', (size_t)(end - host));
        if (!host_end)
            host_end = end;
        if (!url_parse_port(host_end, end, url))
            return false;
    }
    len = (size_t)(host_end - host);
    if (len == 0 || len >= sizeof(url->host))
        return false;
    memcpy(url->host, host, len);
    url->path = must_alloc(NULL, strlen(end) + 2);
    sprintf(url->path, "%s%s", *end == '/' ? "" : "/", end);
    return true;
}

bool url_resolve(struct url *url)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char port[8];
    int rc;

    snprintf(port, sizeof(port), "%u", url->port);
    rc = getaddrinfo(url->host, port, &hints, &found);
    if (rc != 0) {
        fprintf(stderr, "bench-load: cannot find the host \"%s\": %s\n", url->host, gai_strerror(rc));
        return false;
    }
    memcpy(&url->address, found->ai_addr, found->ai_addrlen);
    url->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

void topic_name(char *out, size_t size, uint32_t topic)
{
    snprintf(out, size, "%s%u", opt.topic_prefix, topic);
}

void percent_encode(struct bytes *out, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *text; text++) {
        if (strchr(plain, *text))
            bytes_append(out, text, 1);
        else
            bytes_format(out, "%%%02X", (unsigned char)*text);
    }
}

void template_expand(struct bytes *out, const char *path, const char *topic)
{
    static const char mark[] = "{topic}";
    const char *at;

    while ((at = strstr(path, mark)) != NULL) {
        bytes_append(out, path, (size_t)(at - path));
        percent_encode(out, topic);
        path = at + sizeof(mark) - 1;
    }
    bytes_append(out, path, strlen(path));
}

/* ---- connections ---- */

/* Each source address has its own ports, so several lift the bound of one address. */
bool source_bind(int fd, uint32_t spread)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    int on = 1;

    if (opt.source_addresses == 0)
        return true;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + spread % opt.source_addresses);
    /* The port is then chosen at connect(), where it need only be unique for that peer. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    return bind(fd, (struct sockaddr *)&source, sizeof(source)) == 0;
}

static bool connection_start_tls(struct connection *c, const struct url *url)
{
    unsigned char ip[sizeof(struct in6_addr)];

    c->ssl = SSL_new(opt.tls);
    if (!c->ssl || !SSL_set_fd(c->ssl, c->fd))
        return false;
    /* A server name must be a name: addresses are not allowed there. */
    if (inet_pton(AF_INET, url->host, ip) != 1 && inet_pton(AF_INET6, url->host, ip) != 1)
        SSL_set_tlsext_host_name(c->ssl, url->host);
    SSL_set_connect_state(c->ssl);
    return true;
}

bool connection_open(struct connection *c, const struct url *url, uint16_t port, uint32_t spread)
{
    static atomic_bool said;
    struct sockaddr_storage address = url->address;
    int on = 1;

    *c = (struct connection){.wanted = EPOLLOUT};
    c->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        complain_once(&said, "cannot make a socket: %s", strerror(errno));
        return false;
    }
    if (address.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)&address)->sin_port = htons(port);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!source_bind(c->fd, spread)) {
        complain_once(&said, "cannot bind a source address: %s", strerror(errno));
    } else if (connect(c->fd, (struct sockaddr *)&address, url->address_len) < 0 && errno != EINPROGRESS) {
        complain_once(&said, "cannot connect to %s port %u: %s", url->host, port, strerror(errno));
    } else if (!url->tls || connection_start_tls(c, url)) {
        return true;
    }
    connection_close(c);
    return false;
}

static enum io tls_outcome(struct connection *c, int rc)
{
    int error = SSL_get_error(c->ssl, rc);

    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        return IO_FAILED;
    c->wanted = error == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT;
    return IO_AGAIN;
}

/* Completes connect() and, for https, the handshake. */
enum io connection_ready(struct connection *c)
{
    static atomic_bool said_connect, said_tls;
    int error = 0, rc;
    socklen_t len = sizeof(error);
    enum io outcome;

    if (!c->connected) {
        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0) {
            complain_once(&said_connect, "a connect failed: %s", strerror(error ? error : errno));
            return IO_FAILED;
        }
        c->connected = true;
    }
    if (!c->ssl)
        return IO_DONE;
    ERR_clear_error();
    rc = SSL_do_handshake(c->ssl);
    if (rc == 1)
        return IO_DONE;
    outcome = tls_outcome(c, rc);
    if (outcome == IO_FAILED) {
        const char *reason = ERR_reason_error_string(ERR_peek_error());
        complain_once(&said_tls, "a TLS handshake failed: %s", reason ? reason : "connection closed");
    }
    return outcome;
}

enum io connection_write(struct connection *c, const char *data, size_t len, size_t *sent)
{
    while (*sent < len) {
        ssize_t n;

        if (c->ssl) {
            ERR_clear_error();
            n = SSL_write(c->ssl, data + *sent, (int)(len - *sent));
            if (n <= 0)
                return tls_outcome(c, (int)n);
        } else {
            n = send(c->fd, data + *sent, len - *sent, MSG_NOSIGNAL);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0 && errno != EAGAIN)
                return IO_FAILED;
            if (n < 0) {
                c->wanted = EPOLLOUT;
                return IO_AGAIN;
            }
        }
        *sent += (size_t)n;
    }
    return IO_DONE;
}

/* 0 at the end of the connection. */
ssize_t connection_read(struct connection *c, char *buffer, size_t size)
{
    ssize_t n;

    if (!c->ssl) {
        do
            n = recv(c->fd, buffer, size, 0);
        while (n < 0 && errno == EINTR);
        if (n >= 0)
            return n;
        c->wanted = EPOLLIN;
        return errno == EAGAIN ? READ_AGAIN : READ_FAILED;
    }
    ERR_clear_error();
    n = SSL_read(c->ssl, buffer, (int)size);
    if (n > 0)
        return n;
    if (SSL_get_error(c->ssl, (int)n) == SSL_ERROR_ZERO_RETURN)
        return 0;
    return tls_outcome(c, (int)n) == IO_AGAIN ? READ_AGAIN : READ_FAILED;
}

/* Bytes already taken from the socket, of which epoll therefore will not tell. */
bool connection_pending(const struct connection *c)
{
    return c->ssl && SSL_pending(c->ssl) > 0;
}

void connection_watch(struct connection *c, int epoll_fd, uint32_t events, void *owner)
{
    struct epoll_event event = {.events = events, .data.ptr = owner};

    if (c->watched == events)
        return;
    if (epoll_ctl(epoll_fd, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event) < 0) {
        fprintf(stderr, "bench-load: epoll_ctl failed: %s\n", strerror(errno));
        exit(3);
    }
    c->watched = events;
}

void connection_close(struct connection *c)
{
    SSL_free(c->ssl);
    if (c->fd >= 0)
        close(c->fd);
    *c = (struct connection){.fd = -1};
}

/* ---- HTTP ---- */

static bool header_is(const char *line, size_t len, const char *name, const char **value, size_t *value_len)
{
    size_t name_len = strlen(name);

    if (len <= name_len || line[name_len] != ':' || strncasecmp(line, name, name_len) != 0)
        return false;
    line += name_len + 1;
    len -= name_len + 1;
    while (len && (*line == ' ' || *line == '\t'))
        line++, len--;
    while (len && (line[len - 1] == ' ' || line[len - 1] == '\t'))
        len--;
    *value = line;
    *value_len = len;
    return true;
}

static bool ends_with(const char *value, size_t len, const char *word)
{
    size_t word_len = strlen(word);

    return len >= word_len && strncasecmp(value + len - word_len, word, word_len) == 0;
}

static void http_parse_header(const char *line, size_t len, struct http_head *head)
{
    const char *value;
    size_t n;

    if (header_is(line, len, "Transfer-Encoding", &value, &n)) {
        head->chunked = ends_with(value, n, "chunked");
    } else if (header_is(line, len, "Content-Length", &value, &n)) {
        head->has_length = true;
        head->length = strtoull(value, NULL, 10);
    } else if (header_is(line, len, "Connection", &value, &n)) {
        head->close = ends_with(value, n, "close");
    } else if (header_is(line, len, "Last-Event-ID", &value, &n) && n < sizeof(head->last_event_id)) {
        memcpy(head->last_event_id, value, n);
        head->last_event_id[n] = '\0';
    }
}

ssize_t http_parse_head(const char *data, size_t len, struct http_head *head)
{
    const char *end, *line, *line_end;

    if (memcmp(data, "HTTP/1.", len < 7 ? len : 7) != 0)
        return -1;
    end = memmem(data, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    *head = (struct http_head){0};
    if (end - data < 12 || data[8] != ' ')
        return -1;
    head->status = atoi(data + 9);
    if (head->status < 100 || head->status > 999)
        return -1;
    head->close = data[7] == '0';
    line = memchr(data, '\r', (size_t)(end + 1 - data));
    while (line < end) {
        line += 2;
        line_end = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        http_parse_header(line, (size_t)(line_end - line), head);
        line = line_end;
    }
    end += 4;
    if (head->status < 200 && head->status != 101) { /* an interim answer: the real one follows */
        ssize_t rest = end == data + len ? 0 : http_parse_head(end, len - (size_t)(end - data), head);
        return rest > 0 ? rest + (end - data) : rest;
    }
    return end - data;
}

static void chunks_size_byte(struct chunks *c, char byte)
{
    const char *hex = "0123456789abcdef";
    const char *digit = byte ? strchr(hex, byte >= 'A' && byte <= 'F' ? byte + 32 : byte) : NULL;

    if (digit && c->digits < 15) {
        c->left = c->left * 16 + (uint64_t)(digit - hex);
        c->digits++;
    } else if (c->digits == 0 || digit) {
        c->state = CHUNK_BAD;
    } else if (byte == '\n') {
        c->state = c->left ? CHUNK_DATA : CHUNK_TRAILER;
    } else {
        c->state = CHUNK_EXTENSION;
    }
}

static void chunks_trailer_byte(struct chunks *c, char byte)
{
    if (byte != '\n') {
        c->trailer_line |= byte != '\r';
        return;
    }
    if (!c->trailer_line)
        c->state = CHUNK_END;
    c->trailer_line = false;
}

size_t chunks_step(struct chunks *c, const char *data, size_t len, const char **piece, size_t *piece_len)
{
    *piece_len = 0;
    switch (c->state) {
    case CHUNK_SIZE:
        chunks_size_byte(c, *data);
        return 1;
    case CHUNK_EXTENSION:
        if (*data == '\n')
            c->state = c->left ? CHUNK_DATA : CHUNK_TRAILER;
        return 1;
    case CHUNK_DATA:
        *piece = data;
        *piece_len = len < c->left ? len : (size_t)c->left;
        c->left -= *piece_len;
        if (c->left == 0)
            c->state = CHUNK_DATA_END;
        return *piece_len;
    case CHUNK_DATA_END:
        if (*data == '\n')
            *c = (struct chunks){.state = CHUNK_SIZE};
        else if (*data != '\r')
            c->state = CHUNK_BAD;
        return 1;
    case CHUNK_TRAILER:
        chunks_trailer_byte(c, *data);
        return 1;
    default: /* bytes after the end: none of our business */
        return len;
    }
}

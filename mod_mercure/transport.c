/* transport.c - see transport.h.
 *
 * What surprised us: SSL_free() of a session that was not shut down takes it out of mod_ssl's cache, through a callback
 * that uses httpd's pools from our thread. So the shutdown flags are set before the SSL is freed, whatever happened.
 */
#include "transport.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

static void free_ssl(SSL *ssl)
{
    if (ssl != NULL) {
        SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(ssl);
    }
}

static bool take_over_ssl(SSL *ssl, int fd)
{
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_set_shutdown(ssl, 0);
    ERR_clear_error();
    return SSL_set_fd(ssl, fd) == 1; /* also frees mod_ssl's BIOs */
}

bool transport_take_over(transport *t, int fd, SSL *ssl, unsigned vanished_after_ms)
{
    int flags = fcntl(fd, F_GETFL);

    t->fd = fd;
    t->ssl = ssl;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || (ssl != NULL && !take_over_ssl(ssl, fd))) {
        free_ssl(ssl);
        close(fd);
        return false;
    }
    if (vanished_after_ms > 0) {
        /* Not a TCP socket, or an old kernel: then the system's own, slower time-outs find the client gone. */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &vanished_after_ms, sizeof(vanished_after_ms));
    }
    return true;
}

static ssize_t tls_result(SSL *ssl, int result)
{
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return 0;
    default:
        ERR_clear_error();
        return -1;
    }
}

ssize_t transport_write(transport *t, const char *data, size_t len)
{
    ssize_t sent;

    if (t->ssl != NULL) {
        int result;
        ERR_clear_error();
        result = SSL_write(t->ssl, data, len > (1 << 30) ? 1 << 30 : (int)len);
        return result > 0 ? result : tls_result(t->ssl, result);
    }
    do {
        sent = send(t->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    }
    return sent;
}

ssize_t transport_read(transport *t, char *into, size_t room)
{
    ssize_t got;

    if (t->ssl != NULL) {
        int result;
        ERR_clear_error();
        result = SSL_read(t->ssl, into, (int)room);
        return result > 0 ? result : tls_result(t->ssl, result);
    }
    do {
        got = recv(t->fd, into, room, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    }
    return got > 0 ? got : -1;
}

/* A client that sends all the time is read a little at a time; the next event goes on. */
#define READS_AT_ONCE 16

static bool drain_tls(SSL *ssl)
{
    char dropped[1024];
    int i;

    for (i = 0; i < READS_AT_ONCE; i++) {
        int result;
        ERR_clear_error();
        result = SSL_read(ssl, dropped, sizeof(dropped));
        if (result <= 0) {
            return tls_result(ssl, result) == 0;
        }
    }
    return false; /* a subscriber that talks so much is none */
}

bool transport_drain(transport *t)
{
    char dropped[4096];
    int i;

    if (t->ssl != NULL) {
        return drain_tls(t->ssl);
    }
    for (i = 0; i < READS_AT_ONCE; i++) {
        ssize_t got = recv(t->fd, dropped, sizeof(dropped), MSG_DONTWAIT);
        if (got == 0) {
            return false;
        }
        if (got < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        }
    }
    return false;
}

void transport_forget(transport *t)
{
    const struct linger at_once = {1, 0};

    /* Else it is kept until the system gives up, which is no harm but memory. */
    (void)setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

void transport_close(transport *t, bool clean)
{
    if (clean && t->ssl != NULL) {
        ERR_clear_error();
        (void)SSL_shutdown(t->ssl); /* the alert goes out if the socket takes it; we do not wait for the answer */
        ERR_clear_error();
    }
    free_ssl(t->ssl);
    t->ssl = NULL;
    if (clean) {
        (void)shutdown(t->fd, SHUT_WR); /* fails when the client has gone meanwhile, which is as good */
    }
    close(t->fd);
    t->fd = -1;
}

/* transport.h - a client's connection after it was taken over from httpd: a plain socket, or TLS over one.
 *
 * Nothing here knows of streams, updates or HTTP. Belongs to the streamer's thread.
 */
#ifndef MOD_MERCURE_TRANSPORT_H
#define MOD_MERCURE_TRANSPORT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct {
    int fd;   /* non-blocking, ours */
    SSL *ssl; /* NULL: plain; else ours, one reference */
} transport;

/* Take a connection over.
 *
 * fd                 a descriptor of the socket that nobody else uses any more
 * ssl                the connection's SSL with one reference for us, or NULL; no longer bound to httpd's structures
 * vanished_after_ms  when sent bytes stay unacknowledged so long the client counts as gone; 0: the system's default
 *
 * Returns false when the system refuses; both are then released.
 */
bool transport_take_over(transport *t, int fd, SSL *ssl, unsigned vanished_after_ms);

/* Write what the connection takes now. Returns the number of bytes, 0 when it would block, -1 when the connection has
 * failed.
 */
ssize_t transport_write(transport *t, const char *data, size_t len);

/* Read what the client has sent. Returns the number of bytes, 0 when there is nothing now, -1 when the client has gone.
 * With TLS, `room` of a whole record (16 KiB) leaves nothing behind that a later event would not tell of.
 */
ssize_t transport_read(transport *t, char *into, size_t room);

/* Read and drop what the client has sent: a subscriber has nothing to say, but its end of file, errors, and TLS's own
 * messages are to be heard. Returns false when the client has gone.
 */
bool transport_drain(transport *t);

/* What the client has not taken yet is not worth keeping: the system forgets it when the connection is closed. */
void transport_forget(transport *t);

/* Say goodbye (close_notify, FIN) when `clean`, then close. */
void transport_close(transport *t, bool clean);

#endif

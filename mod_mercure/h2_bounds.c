/* h2_bounds.c - what a client of HTTP/2 may cost: the patience of its session, and memory for its requests.
 *
 * Patience: every frame that a client sends without being of use to itself (a reset, a ping, settings, priorities,
 * empty data, a part of a head) costs some of the session's patience, which comes back with time, with requests that
 * were answered and with data that was sent. Who has used it up is told ENHANCE_YOUR_CALM, and the connection closes.
 * nghttp2 has bounds of its own on answers that wait to be sent and on CONTINUATION frames.
 *
 * Memory: what requests hold until they have been run is counted, in each session and in all of a kind.
 */
#include "h2_internal.h"

#define PATIENCE_A_SECOND 100
#define COST_GIVEN_UP     250 /* a response that the client asked for and did not take */

#define FRAME_HEAD 9

#define HELD_MOST       (64u << 20) /* bytes of requests that wait, in all sessions of a kind */
#define HELD_MOST_HERE  (6u << 20)  /* and in one: more than its windows let it send */
#define HELD_ALWAYS     (16u << 10) /* in one, whatever the others hold */
#define HELD_GENEROUSLY (2u << 20)  /* in one, and a part of all: past it, nobody gets more than the first window */

/* --- patience --- */

static void regain(h2_session *session)
{
    uint64_t passed = session->now_ms - session->patience_ms;

    if (passed >= 1000 / PATIENCE_A_SECOND) {
        h2_session_please(session, (unsigned)(passed * PATIENCE_A_SECOND / 1000 < PATIENCE_MOST
                                                  ? passed * PATIENCE_A_SECOND / 1000
                                                  : PATIENCE_MOST));
        session->patience_ms = session->now_ms;
    }
}

void h2_session_please(h2_session *session, unsigned gain)
{
    session->patience = session->patience + gain < PATIENCE_MOST ? session->patience + gain : PATIENCE_MOST;
}

/* False when the client has tried it too far. */
bool h2_session_try_patience(h2_session *session, unsigned cost)
{
    regain(session);
    if (session->patience >= cost) {
        session->patience -= cost;
        return true;
    }
    session->is_fed_up = true;
    return false;
}

/* nghttp2 does not tell of frames that it passes over: of unknown types, and of streams that were reset. */
void h2_session_count_frames(h2_session *session, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t now = session->skip < len ? session->skip : len;
        session->skip -= now;
        bytes += now;
        len -= now;
        for (; len > 0 && session->skip == 0; bytes++, len--) {
            if (session->head_len++ < 3) { /* RFC 9113 4.1: its length comes first */
                session->length = session->length << 8 | (unsigned char)*bytes;
            } else if (session->head_len == FRAME_HEAD) {
                session->skip = session->length;
                session->head_len = session->length = 0;
                session->frames++;
            }
        }
    }
}

void h2_session_let_down(h2_session *session)
{
    (void)h2_session_try_patience(session, COST_GIVEN_UP); /* h2_session_look() sees it */
}

/* --- memory of requests that wait --- */

bool h2_stream_hold_bytes(h2_stream *s, size_t len)
{
    h2_session *session = s->session;
    bool is_modest = session->held + len <= HELD_ALWAYS;

    if (!is_modest && (session->kind->held + len > HELD_MOST || session->held + len > HELD_MOST_HERE)) {
        return false;
    }
    session->kind->held += len;
    session->held += len;
    s->held += len;
    return true;
}

void h2_stream_let_bytes_go(h2_stream *s, size_t len)
{
    len = len < s->held ? len : s->held;
    s->session->kind->held -= len;
    s->session->held -= len;
    s->held -= len;
}

/* Is there memory for more of a body than its first window? */
bool h2_session_is_generous(const h2_session *session)
{
    return session->held < HELD_GENEROUSLY && session->kind->held < HELD_MOST / 2;
}

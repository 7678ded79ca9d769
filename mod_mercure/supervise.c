/* supervise.c - see supervise.h.
 *
 * The parent and brokerd share a socket pair. Its end tells brokerd that httpd is gone, however httpd went; after a
 * graceful restart it carries the newly opened error log.
 *
 * What surprised us: on a graceful restart httpd unloads this module and loads it again, perhaps elsewhere. So what
 * outlives the restart is plain data in httpd's process pool, never a function of ours: callbacks are registered anew
 * each time with the pool of the configuration.
 */
#include "supervise.h"

#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <errno.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <mpm_common.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixd.h>

#include "clock.h"
#include "config.h"

#include "mercure/wire.h"

APLOG_USE_MODULE(mercure);

#define RETAINED      "mod_mercure_broker"
#define YOUNG_MS      1000
#define FAILURES_MOST 3 /* so many in a row that died young, and it is not started again at once */
#define READY_WAIT_MS 5000
#define STOP_WAIT_MS  10000

/* Outlives restarts: no pointers into pools or code. */
typedef struct {
    apr_proc_t proc; /* pid 0: none runs */
    int socket;      /* our end of the pair */
    uint64_t started_ms;
    unsigned failures;
    char command[4096]; /* what it was started with */
} running_broker;

/* For the callbacks: set by each supervise_post_config(). */
static struct {
    running_broker *broker;
    server_rec *server;
    apr_pool_t *pconf;
    pid_t parent;
} self;

static running_broker *retained(void)
{
    running_broker *broker = ap_retained_data_get(RETAINED);

    if (broker == NULL) {
        broker = ap_retained_data_create(RETAINED, sizeof(*broker));
        broker->socket = -1;
    }
    return broker;
}

/* --- starting --- */

/* In the forked process: become brokerd. Only calls that are safe between fork() and exec() in a single-threaded
 * parent. */
static void become_broker(server_rec *s, const char *program, const char *state, const char *sockets, int parent)
{
    /* Not httpd's own environment: it may hold keys (MercureIssuer env:). */
    char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    const server_config *config = config_of_server(s);
    const char *arguments[16] = {"brokerd",
                                 "--state",
                                 state,
                                 "--socket-dir",
                                 sockets,
                                 "--durability",
                                 config->durable == 0 ? "async" : "fsync",
                                 "--parent-socket",
                                 "3"};
    int count = 9;

    if (ap_run_drop_privileges(NULL, s) < 0) {
        _exit(1);
    }
    /* The pair's end becomes 3, all others but standard error are closed. */
    if (dup2(parent, 3) < 0 || close_range(4, ~0u, 0) != 0) {
        _exit(1);
    }
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    setpgid(0, 0); /* a Ctrl-C at httpd's terminal is httpd's: brokerd stops when httpd has */
    if (config->key_set_ca != NULL) {
        arguments[count++] = "--keyset-ca";
        arguments[count++] = config->key_set_ca;
    }
    if (config->key_sets_private == 1) {
        arguments[count++] = "--keyset-private";
    }
    execve(program, (char *const *)arguments, environment);
    _exit(errno == ENOENT ? 127 : 126);
}

/* Make the state directory for the user that brokerd runs as. */
static bool prepare_state(server_rec *s, const char *state)
{
    bool made = mkdir(state, 0700) == 0;

    if (!made && errno != EEXIST) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, s,
                     "mercure: cannot create %s: make its parent, or set MercureStateDir", state);
        return false;
    }
    if (made && geteuid() == 0 && chown(state, ap_unixd_config.user_id, ap_unixd_config.group_id) != 0) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, s, "mercure: cannot give %s to the User of httpd's children",
                     state);
        return false;
    }
    return true;
}

static void watch(running_broker *broker);

static bool start(running_broker *broker, server_rec *s, apr_pool_t *pool)
{
    const char *program = config_broker_program(pool, s), *state = config_state_dir(pool, s);
    const char *sockets = config_socket_dir(pool, s);
    int pair[2];
    pid_t pid;

    if (access(program, X_OK) != 0) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, s,
                     "mercure: %s cannot be run: install it, or set MercureBrokerProgram", program);
        return false;
    }
    if (!prepare_state(s, state)) {
        return false;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, s, "mercure: no socket pair for brokerd");
        return false;
    }
    pid = fork();
    if (pid == 0) {
        become_broker(s, program, state, sockets, pair[1]);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, s, "mercure: cannot start brokerd");
        return false;
    }
    if (broker->socket >= 0) {
        close(broker->socket);
    }
    memset(&broker->proc, 0, sizeof(broker->proc));
    broker->proc.pid = pid;
    broker->socket = pair[0];
    broker->started_ms = clock_now_ms();
    watch(broker);
    return true;
}

/* --- watching --- */

static void broker_ended(int reason, void *data, apr_wait_t status)
{
    running_broker *broker = data;
    bool young = clock_now_ms() - broker->started_ms < YOUNG_MS, again;

    if (reason != APR_OC_REASON_DEATH && reason != APR_OC_REASON_LOST) {
        return; /* unregistered by a restart or a stop */
    }
    apr_proc_other_child_unregister(data);
    broker->proc.pid = 0;
    broker->failures = young ? broker->failures + 1 : 0;
    again = broker->failures < FAILURES_MOST;
    /* APR gives the exit status or the signal's number, and does not say which. */
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, self.server, "mercure: brokerd has ended (exit status or signal %d), %s",
                 status, again ? "starting it again" : "it is tried again within 10 seconds");
    if (again) {
        start(broker, self.server, self.pconf);
    }
}

static void watch(running_broker *broker)
{
    apr_proc_other_child_register(&broker->proc, broker_ended, broker, NULL, self.pconf);
}

int supervise_monitor(apr_pool_t *pool, server_rec *s)
{
    (void)pool;
    (void)s;
    if (self.broker != NULL && self.broker->proc.pid == 0 && clock_now_ms() - self.broker->started_ms >= YOUNG_MS) {
        start(self.broker, self.server, self.pconf);
    }
    return DECLINED;
}

/* --- stopping --- */

static void stop(running_broker *broker)
{
    uint64_t until = clock_now_ms() + STOP_WAIT_MS;
    pid_t pid = broker->proc.pid;

    if (pid == 0) {
        return;
    }
    kill(pid, SIGTERM);
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        struct timespec moment = {0, 5000000};
        if (clock_now_ms() > until) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            break;
        }
        nanosleep(&moment, NULL);
    }
    broker->proc.pid = 0;
    close(broker->socket);
    broker->socket = -1;
}

/* The configuration's pool goes: on a restart, when brokerd stays, and at the very end, when it must go. */
static apr_status_t configuration_ends(void *data)
{
    (void)data;
    if (self.broker != NULL && ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_EXITING) {
        stop(self.broker);
    }
    return APR_SUCCESS;
}

/* --- restarts --- */

/* Send brokerd the error log that this configuration has opened. A failure costs log lines only. */
static void send_log(const running_broker *broker, server_rec *s)
{
    char byte = 'l';
    struct iovec part = {&byte, 1};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } extra = {.bytes = {0}};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = extra.bytes, .msg_controllen = sizeof(extra.bytes)};
    struct cmsghdr *first = CMSG_FIRSTHDR(&message);
    int log = STDERR_FILENO;

    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = SCM_RIGHTS;
    first->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(first), &log, sizeof(log));
    if (sendmsg(broker->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, s, "mercure: brokerd does not take the new error log");
    }
}

/* Wait until brokerd listens, so that the first requests find it. */
static void wait_until_ready(server_rec *s, apr_pool_t *pool, const running_broker *broker)
{
    const char *last = apr_pstrcat(pool, config_socket_dir(pool, s), "/", MERCURE_SOCKET_CONTROL, NULL);
    uint64_t until = clock_now_ms() + READY_WAIT_MS;
    struct timespec moment = {0, 2000000};
    struct stat found;
    time_t before = time(NULL) - 1;

    while (clock_now_ms() < until) {
        siginfo_t ended = {.si_pid = 0};
        if (stat(last, &found) == 0 && found.st_mtime >= before) {
            return;
        }
        if (waitid(P_PID, (id_t)broker->proc.pid, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid != 0) {
            break; /* it has ended; the main loop will find that too */
        }
        nanosleep(&moment, NULL);
    }
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                 "mercure: brokerd is not ready yet, its lines in the error log say why");
}

int supervise_post_config(apr_pool_t *pconf, server_rec *s)
{
    running_broker *broker = retained();
    const server_config *config = config_of_server(s);
    const char *command =
        apr_pstrcat(pconf, config_broker_program(pconf, s), "\n", config_state_dir(pconf, s), "\n",
                    config->durable == 0 ? "async" : "fsync", "\n", config->key_sets_private == 1 ? "private\n" : "\n",
                    config->key_set_ca != NULL ? config->key_set_ca : "", NULL);

    self.broker = config->broker_dir == NULL ? broker : NULL;
    self.server = s;
    self.pconf = pconf;
    self.parent = getpid();
    apr_pool_cleanup_register(pconf, NULL, configuration_ends, apr_pool_cleanup_null);
    if (broker->proc.pid != 0 && (self.broker == NULL || strcmp(command, broker->command) != 0)) {
        stop(broker); /* it is no longer wanted, or not like this */
    }
    if (self.broker == NULL) {
        if (config->key_set_ca != NULL || config->key_sets_private == 1) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                         "mercure: MercureKeySetCA and MercureKeySetPrivate are for a brokerd that httpd starts: give "
                         "your own --keyset-ca and --keyset-private");
        }
        return OK;
    }
    if (broker->proc.pid != 0) {
        watch(broker);
        send_log(broker, s);
        return OK;
    }
    apr_cpystrn(broker->command, command, sizeof(broker->command));
    if (!start(broker, s, pconf)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    wait_until_ready(s, pconf, broker);
    return OK;
}

void supervise_child_init(void)
{
    if (getpid() == self.parent) {
        return; /* httpd -X: the parent serves requests itself */
    }
    if (self.broker != NULL && self.broker->socket >= 0) {
        close(self.broker->socket);
        self.broker->socket = -1;
    }
}

/* main.c - brokerd's command line, its directories, and the lock that keeps a second one away. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_general.h>

#include "broker.h"
#include "log.h"
#include "mercure/version.h"

static const char usage[] = "Usage: brokerd --state DIR --socket-dir DIR [options]\n"
                            "\n"
                            "Receives the publications of mod_mercure, stores them, and forwards them to the\n"
                            "children of httpd whose subscribers want them.\n"
                            "\n"
                            "  --state DIR             where the history is kept; made with mode 0700 when missing\n"
                            "  --socket-dir DIR        where the sockets are; made with mode 0700 when missing.\n"
                            "                          httpd finds them with: MercureBroker ipc:DIR\n"
                            "  --durability fsync      an update is on the disk before it is acknowledged (default)\n"
                            "  --durability async      the disk follows within a second: a power failure may lose\n"
                            "                          that much, a killed brokerd nothing\n"
                            "  --keyset-ca FILE        certificates (PEM) that key sets' servers may have beside the\n"
                            "                          system's\n"
                            "  --keyset-private        key sets may be at private and loopback addresses\n"
                            "  --keyset-min-refresh N  a key set is fetched for want of a key at most once in N\n"
                            "                          seconds (default 30), and on schedule in 2 N at the soonest\n"
                            "  --parent-socket FD      used by httpd when it starts brokerd itself\n"
                            "  --help, --version\n"
                            "\n"
                            "Run it as the user that httpd's children run as. SIGTERM stops it cleanly.\n";

/* Make a directory of ours, or make sure that an existing one is. */
static mercure_status prepare_directory(const char *path, mercure_error *err)
{
    struct stat found;

    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return mercure_fail(err, MERCURE_SYSTEM, "cannot create the directory %s: %s", path, strerror(errno));
    }
    if (stat(path, &found) != 0 || !S_ISDIR(found.st_mode)) {
        return mercure_fail(err, MERCURE_SYSTEM, "%s is not a directory", path);
    }
    if (found.st_uid != geteuid() || (found.st_mode & 077) != 0) {
        return mercure_fail(err, MERCURE_INVALID,
                            "%s must belong to the user that runs brokerd and be closed to others (chmod 0700)", path);
    }
    return MERCURE_OK;
}

/* Take the directory's lock, which ends with the process. */
static mercure_status lock_directory(const char *path, mercure_error *err)
{
    char name[4096], pid[16];
    ssize_t got;
    int lock;

    if (snprintf(name, sizeof(name), "%s/brokerd.lock", path) >= (int)sizeof(name)) {
        return mercure_fail(err, MERCURE_INVALID, "the path %.100s... is too long", path);
    }
    lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0) {
        return mercure_fail(err, MERCURE_SYSTEM, "cannot open %s: %s", name, strerror(errno));
    }
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        got = pread(lock, pid, sizeof(pid) - 1, 0);
        pid[got > 0 ? got : 0] = '\0';
        close(lock);
        return mercure_fail(err, MERCURE_SYSTEM,
                            "another brokerd (pid %d) is using %s: stop it, or name another directory", atoi(pid),
                            path);
    }
    snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    /* The pid is for the message above only: not to have it there costs nothing else. */
    if (ftruncate(lock, 0) != 0 || pwrite(lock, pid, strlen(pid), 0) < 0) {
        log_notice("cannot note the pid in %s: %s", name, strerror(errno));
    }
    return MERCURE_OK;
}

static mercure_status prepare(const broker_options *options, mercure_error *err)
{
    struct rlimit files;
    mercure_status status;

    umask(077);
    prctl(PR_SET_DUMPABLE, 0); /* as httpd's children: others of our user shall not look into us */
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files); /* one descriptor a child: the old limit may do as well */
    }
    if ((status = prepare_directory(options->state_dir, err)) != MERCURE_OK ||
        (status = prepare_directory(options->socket_dir, err)) != MERCURE_OK ||
        (status = lock_directory(options->state_dir, err)) != MERCURE_OK) {
        return status;
    }
    return strcmp(options->state_dir, options->socket_dir) == 0 ? MERCURE_OK : lock_directory(options->socket_dir, err);
}

static int usage_error(const char *sentence)
{
    fprintf(stderr, "brokerd: %s\nTry 'brokerd --help'.\n", sentence);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"state", required_argument, NULL, 's'},
        {"socket-dir", required_argument, NULL, 'k'},
        {"durability", required_argument, NULL, 'd'},
        {"parent-socket", required_argument, NULL, 'p'},
        {"keyset-ca", required_argument, NULL, 'c'},
        {"keyset-private", no_argument, NULL, 'i'},
        {"keyset-min-refresh", required_argument, NULL, 'r'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    broker_options options = {NULL, NULL, true, -1, {NULL, false, FETCHER_MIN_REFRESH}};
    mercure_error err;
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 's':
            options.state_dir = optarg;
            break;
        case 'k':
            options.socket_dir = optarg;
            break;
        case 'd':
            if (strcmp(optarg, "fsync") != 0 && strcmp(optarg, "async") != 0) {
                return usage_error("--durability is fsync or async");
            }
            options.durable = strcmp(optarg, "fsync") == 0;
            break;
        case 'p':
            options.parent = atoi(optarg);
            break;
        case 'c':
            options.fetcher.ca = optarg;
            break;
        case 'i':
            options.fetcher.inner = true;
            break;
        case 'r':
            if (atoi(optarg) < 1 || atoi(optarg) > 3600) {
                return usage_error("--keyset-min-refresh wants 1 to 3600 seconds");
            }
            options.fetcher.min_refresh = (unsigned)atoi(optarg);
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        case 'v':
            puts("brokerd " MERCURE_VERSION);
            return 0;
        default:
            return usage_error("unknown or incomplete option");
        }
    }
    if (optind < argc || options.state_dir == NULL || options.socket_dir == NULL) {
        return usage_error("--state DIR and --socket-dir DIR are needed, and nothing else");
    }
    if (apr_initialize() != APR_SUCCESS) {
        fputs("brokerd: cannot initialise APR\n", stderr);
        return 1;
    }
    if (prepare(&options, &err) != MERCURE_OK || broker_run(&options, &err) != MERCURE_OK) {
        log_error("%s", err.reason);
        return 1;
    }
    log_notice("stopped");
    return 0;
}

/* mercurectl.c - a hub from the command line. This file finds the subcommand; each has a file of its own. */
#include <apr_general.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mercure/version.h"
#include "mercurectl.h"

static const char usage[] = "Usage: mercurectl COMMAND [options]\n"
                            "\n"
                            "  token            make a token\n"
                            "  token --inspect  explain a token, and say whether a hub would accept it\n"
                            "  version          the version\n"
                            "\n"
                            "mercurectl COMMAND --help tells a command's options.\n"
                            "Exit status: 0 done or accepted, 1 refused, 2 wrong options.\n";

static void complain(const char *format, va_list arguments)
{
    fputs("mercurectl: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

int ctl_fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    complain(format, arguments);
    va_end(arguments);
    return CTL_USAGE;
}

void ctl_note(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    complain(format, arguments);
    va_end(arguments);
}

static int run(apr_pool_t *pool, int argc, char **argv)
{
    static char token_name[] = "mercurectl token"; /* for getopt's sentences */
    const char *command = argc > 1 ? argv[1] : "";

    if (strcmp(command, "token") == 0) {
        argv[1] = token_name;
        return ctl_token(pool, argc - 1, argv + 1);
    }
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
        puts("mercurectl " MERCURE_VERSION);
        return CTL_DONE;
    }
    if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0) {
        fputs(usage, stdout);
        return CTL_DONE;
    }
    if (*command == '\0') {
        fputs(usage, stderr);
        return CTL_USAGE;
    }
    return ctl_fail("there is no command %.40s; mercurectl --help lists them", command);
}

int main(int argc, char **argv)
{
    apr_pool_t *pool;
    int status;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        return ctl_fail("no memory");
    }
    status = run(pool, argc, argv);
    apr_pool_destroy(pool);
    apr_terminate();
    if (fflush(stdout) != 0 || ferror(stdout)) {
        ctl_note("cannot write to standard output");
        return CTL_REFUSED;
    }
    return status;
}
